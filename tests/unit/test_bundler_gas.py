"""Components of gas add up exactly, whatever the node can tell."""

from __future__ import annotations

from typing import Any

import pytest
from bundler_fakes import WALLET, FakeRpc
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.bundler.gas import calldata_gas, floor_gas, gas_components
from rebalancer.errors import RpcUnavailable
from rebalancer.evm.abi import selector, to_hex
from rebalancer.evm.rpc import RpcError
from rebalancer.model import SignedTransaction

NO_METHOD = RpcError("trace", -32601, "the method does not exist")
TRANSFER_FROM = to_hex(selector("transferFrom(address,address,uint256)"))
GET_RESERVES = to_hex(selector("getReserves()"))
SWAP = to_hex(selector("swap(uint256,uint256,address,bytes)"))
DATA = bytes(10) + b"\x01" * 5  # 40 + 80 gas


def transaction(purpose: str = "execute", data: bytes = DATA) -> SignedTransaction:
    return SignedTransaction(
        "0xab", purpose, WALLET, WALLET, 1, 900_000, 5, 1, to_hex(data), "0x02"
    )


def parity(spent: int, *calls: tuple[str, int]) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = [
        {"traceAddress": [], "action": {"input": "0x"}, "result": {"gasUsed": hex(spent)}}
    ]
    for index, (called, gas) in enumerate(calls):
        frames += [
            {
                "traceAddress": [index],
                "action": {"input": called + "00"},
                "result": {"gasUsed": hex(gas)},
            },
            # A call deeper down is part of the one above it.
            {
                "traceAddress": [index, 0],
                "action": {"input": TRANSFER_FROM},
                "result": {"gasUsed": hex(gas // 2)},
            },
        ]
    return frames


CALLS = ((TRANSFER_FROM, 25_000), (GET_RESERVES, 500), (SWAP, 60_000), (SWAP, 40_000))


def components(rpc: FakeRpc, gas_used: int, *, purpose: str = "execute") -> dict[str, int]:
    listed = gas_components(rpc, transaction(purpose), gas_used)
    assert sum(c.gas for c in listed) == gas_used
    return {c.name: c.gas for c in listed}


def test_a_trace_with_gas_before_refunds_tells_everything() -> None:
    rpc = FakeRpc({"trace_transaction": parity(130_000, *CALLS)})
    assert components(rpc, 21_120 + 130_000 - 7_600) == {
        "intrinsic": 21_000,
        "calldata": 120,
        "transfers": 25_000,
        "quotes": 500,
        "swaps": 100_000,
        "executor": 4_500,
        "refund": -7_600,
    }
    assert rpc.count("debug_traceTransaction") == 0


def test_a_geth_trace_leaves_the_refund_in_the_executors_share() -> None:
    calls = [{"input": called + "00", "gasUsed": hex(gas)} for called, gas in CALLS]
    top = {"input": "0x", "gasUsed": hex(99), "calls": calls}
    rpc = FakeRpc({"trace_transaction": NO_METHOD, "debug_traceTransaction": top})
    assert components(rpc, 143_520) == {
        "intrinsic": 21_000,
        "calldata": 120,
        "transfers": 25_000,
        "quotes": 500,
        "swaps": 100_000,
        "executor_less_refund": -3_100,
    }


@pytest.mark.parametrize("silence", [NO_METHOD, RpcUnavailable("silence"), None, [], "nonsense"])
def test_without_a_usable_trace_there_is_one_remainder(silence: Any) -> None:
    rpc = FakeRpc({"trace_transaction": silence, "debug_traceTransaction": silence})
    if silence in ([], "nonsense", None):
        rpc.answers["debug_traceTransaction"] = NO_METHOD
    assert components(rpc, 143_520) == {"intrinsic": 21_000, "calldata": 120, "execution": 122_400}


def test_an_approval_is_one_component() -> None:
    rpc = FakeRpc({"trace_transaction": parity(24_193)})
    assert components(rpc, 21_120 + 24_193, purpose="approve") == {
        "intrinsic": 21_000,
        "calldata": 120,
        "approval": 24_193,
    }


def test_where_the_floor_of_calldata_binds_it_is_named() -> None:
    """EIP-7623: 10 + 4 * 5 = 30 tokens, so at least 21,300."""
    rpc = FakeRpc({"trace_transaction": parity(10)})
    assert floor_gas(DATA) == 21_300
    assert components(rpc, 21_300)["calldata_floor"] == 21_300 - 21_120 - 10
    assert components(rpc, 21_400)["other"] == 21_400 - 21_120 - 10


def test_the_price_of_bytes() -> None:
    assert calldata_gas(b"") == 0
    assert calldata_gas(bytes(3)) == 12
    assert calldata_gas(b"\x00\x01\xff") == 36


@given(
    st.integers(21_000, 10**7),
    st.integers(0, 10**7),
    st.lists(
        st.tuples(st.sampled_from([TRANSFER_FROM, SWAP, "0x12345678"]), st.integers(0, 10**6))
    ),
)
def test_they_add_up_even_if_the_trace_is_nonsense(
    gas_used: int, spent: int, calls: list[tuple[str, int]]
) -> None:
    rpc = FakeRpc({"trace_transaction": parity(spent, *calls)})
    components(rpc, gas_used)
