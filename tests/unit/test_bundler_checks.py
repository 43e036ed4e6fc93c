"""Limits of gas and purse, to the unit."""

from __future__ import annotations

import pytest
from bundler_fakes import WALLET, FakeRpc

from rebalancer.bundler.checks import TX_GAS_CAP, check_gas_limits, check_purse, read_nonce
from rebalancer.bundler.fees import Fees
from rebalancer.bundler.head import Head
from rebalancer.errors import ExecutionError, InsufficientGas, NonceConflict

HEAD = Head(100, "0x" + "22" * 32, 1_000, 30_000_000)
FEES = Fees(10, 25, 2)


@pytest.mark.parametrize(
    ("block_gas_limit", "cap"), [(30_000_000, 2**24), (2**24, 2**24), (1_000_000, 1_000_000)]
)
def test_no_transaction_may_have_more_gas_than_itself_or_a_block_can(
    block_gas_limit: int, cap: int
) -> None:
    head = Head(100, HEAD.hash, 1_000, block_gas_limit)
    check_gas_limits((cap, 1), head)
    with pytest.raises(ExecutionError, match=f"at most {cap:,} are possible"):
        check_gas_limits((1, cap + 1), head)
    assert TX_GAS_CAP == 16_777_216


def test_a_chain_may_have_another_limit_or_none() -> None:
    check_gas_limits((2**24 + 1,), HEAD, None)
    check_gas_limits((2**25,), Head(100, HEAD.hash, 1_000, 2**25), None)
    with pytest.raises(ExecutionError, match="at most 30,000,000"):
        check_gas_limits((30_000_001,), HEAD, None)
    with pytest.raises(ExecutionError, match="at most 1,000,000"):
        check_gas_limits((1_000_001,), HEAD, 1_000_000)


def test_the_purse_must_hold_every_transaction_at_its_max_fee() -> None:
    need = (46_000 + 100_000) * 25
    assert check_purse(purse(need), WALLET, (46_000, 100_000), FEES, HEAD) == need
    with pytest.raises(InsufficientGas, match=r"146,000 gas at 0.000000025 gwei") as caught:
        check_purse(purse(need - 1), WALLET, (46_000, 100_000), FEES, HEAD)
    assert caught.value.hint == "send it 0.000000000000000001 more"


def test_ether_that_is_wrapped_must_be_there_beside_the_gas() -> None:
    gas, wrapped = 46_000 * 25, 3 * 10**18
    assert check_purse(purse(gas + wrapped), WALLET, (46_000,), FEES, HEAD, wrapped) == gas
    with pytest.raises(InsufficientGas, match="and 3 are to be wrapped") as caught:
        check_purse(purse(gas + wrapped - 1), WALLET, (46_000,), FEES, HEAD, wrapped)
    assert caught.value.hint == "send it 0.000000000000000001 more"


def purse(balance_wei: int) -> FakeRpc:
    return FakeRpc({"eth_getBalance": hex(balance_wei)})


@pytest.mark.parametrize(("mined", "pending"), [(7, 7), (7, 6)])
def test_the_next_nonce_is_the_mined_one(mined: int, pending: int) -> None:
    assert read_nonce(nonces(mined, pending), WALLET) == 7


def test_pending_transactions_are_counted() -> None:
    with pytest.raises(NonceConflict, match="2 pending transactions, from nonce 7 on"):
        read_nonce(nonces(7, 9), WALLET)


def nonces(mined: int, pending: int) -> FakeRpc:
    counts = {"latest": mined, "pending": pending}
    return FakeRpc({"eth_getTransactionCount": lambda wallet, tag: hex(counts[tag])})
