"""Which approvals a plan needs, and in which steps."""

from __future__ import annotations

from typing import Any

import pytest
from bundler_fakes import TWO_HOPS, USDC, USDC_WETH, WALLET, WBTC, WBTC_WETH, WETH, FakeRpc, plan_of
from bundler_fakes import leg as leg_of

from rebalancer.bundler.approvals import approval_calls, approval_succeeded
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.head import Head
from rebalancer.errors import MissingAllowance, ReadError
from rebalancer.evm.abi import encode_call, selector, to_hex
from rebalancer.evm.rpc import RpcError

HEAD = Head(100, "0x" + "22" * 32, 1_000, 30_000_000)
ALLOWANCE = to_hex(selector("allowance(address,address)"))
TRUE = "0x" + "1".rjust(64, "0")
REVERT = RpcError("eth_call", 3, "execution reverted")


def node(allowances: dict[str, int], approve: Any = TRUE) -> FakeRpc:
    def eth_call(request: dict[str, str], block: object) -> str:
        assert block == {"blockHash": HEAD.hash}
        if request["data"].startswith(ALLOWANCE):
            return f"0x{allowances[request['to']]:064x}"
        assert request["from"] == WALLET
        if isinstance(approve, Exception):
            raise approve
        return str(approve)

    return FakeRpc({"eth_call": eth_call})


def calls(rpc: FakeRpc, **options: Any) -> list[tuple[str, int]]:
    plan, policy = options.get("plan", TWO_HOPS), options.get("policy", "exact")
    found = approval_calls(rpc, plan, EXECUTOR_ADDRESS, HEAD, policy)
    amounts = []
    for call in found:
        amount = int.from_bytes(call.data[-32:])
        assert call.purpose == "approve"
        assert call.data == encode_call("approve(address,uint256)", EXECUTOR_ADDRESS, amount)
        amounts.append((call.to, amount))
    return amounts


NEEDED = TWO_HOPS.legs[0].amount_in


@pytest.mark.parametrize("allowed", [NEEDED, NEEDED + 1, 2**256 - 1])
def test_an_allowance_that_covers_it_is_left_alone(allowed: int) -> None:
    assert calls(node({USDC.address: allowed})) == []


def test_a_chained_leg_needs_none() -> None:
    assert calls(node({USDC.address: 0})) == [(USDC.address, NEEDED)]


@pytest.mark.parametrize("allowed", [1, NEEDED - 1])
def test_a_token_that_refuses_the_change_goes_through_zero(allowed: int) -> None:
    through_zero = [(USDC.address, 0), (USDC.address, NEEDED)]
    assert calls(node({USDC.address: allowed}, REVERT)) == through_zero
    assert calls(node({USDC.address: allowed}, "0x" + "0" * 64)) == through_zero  # says false
    assert calls(node({USDC.address: allowed})) == [(USDC.address, NEEDED)]
    assert calls(node({USDC.address: allowed}, "0x")) == [(USDC.address, NEEDED)]


def test_two_legs_of_one_token_share_one_exact_approval() -> None:
    plan = plan_of(
        leg_of(USDC_WETH, WETH, USDC, 10**18, 3_000_000_000),
        leg_of(WBTC_WETH, WETH, WBTC, 2 * 10**18, 10_000_000),
        leg_of(USDC_WETH, USDC, WETH, 5, 6),
    )
    found = calls(node({WETH.address: 0, USDC.address: 4}), plan=plan)
    assert found == [(WETH.address, 3 * 10**18), (USDC.address, 5)]


def test_never_means_never_and_names_what_is_missing() -> None:
    with pytest.raises(MissingAllowance) as caught:
        calls(node({USDC.address: NEEDED - 1}), policy="never")
    assert str(caught.value) == (
        f"the executor {EXECUTOR_ADDRESS} may take 2,999.999999 USDC and needs 3,000 USDC"
    )
    assert f"approve {NEEDED} (smallest units) of {USDC.address}" in caught.value.hint
    assert calls(node({USDC.address: NEEDED}), policy="never") == []


def test_an_address_without_a_token_is_named() -> None:
    with pytest.raises(ReadError, match=r"USDC at .* does not answer allowance"):
        calls(FakeRpc({"eth_call": "0x"}))


@pytest.mark.parametrize(
    ("data", "fine"), [(b"", True), (bytes(31) + b"\x01", True), (bytes(32), False)]
)
def test_what_an_approve_returns(data: bytes, fine: bool) -> None:
    assert approval_succeeded(data) is fine
