"""Fees stay under the plan's ceiling."""

from __future__ import annotations

from typing import Any

import pytest
from bundler_fakes import FakeRpc

from rebalancer.bundler.fees import Fees, choose_fees, read_fees
from rebalancer.errors import LimitBreached, ReadError

GWEI = 10**9


@pytest.mark.parametrize(
    ("base", "tip", "ceiling", "max_fee"),
    [
        (20, 2, 100, 42),  # twice the base fee and the tip
        (20, 2, 42, 42),
        (20, 2, 41, 41),  # cut by the ceiling
        (20, 2, 22, 22),  # just enough for the next block
        (20, 0, 20, 20),
        (1, 50, 51, 51),
    ],
)
def test_the_max_fee_is_room_for_rising_base_fees_under_the_ceiling(
    base: int, tip: int, ceiling: int, max_fee: int
) -> None:
    assert choose_fees(base, tip, ceiling) == Fees(base, max_fee, tip)


@pytest.mark.parametrize(("base", "tip", "ceiling"), [(20, 2, 21), (20, 0, 19), (1, 51, 51)])
def test_a_block_dearer_than_the_plan_allows_is_refused(base: int, tip: int, ceiling: int) -> None:
    with pytest.raises(LimitBreached, match="the plan allows"):
        choose_fees(base, tip, ceiling)


def test_the_refusal_shows_the_numbers_exactly() -> None:
    with pytest.raises(LimitBreached) as caught:
        choose_fees(20 * GWEI, 1_500_000_000, 20 * GWEI)
    assert str(caught.value) == (
        "gas costs 21.5 gwei now (base 20 gwei + tip 1.5 gwei), the plan allows 20 gwei"
    )
    assert caught.value.hint


def test_the_next_blocks_base_fee_counts_not_the_heads() -> None:
    rpc = FakeRpc(
        {
            "eth_feeHistory": {"baseFeePerGas": [hex(10), hex(11)]},
            "eth_maxPriorityFeePerGas": hex(3),
        }
    )
    assert read_fees(rpc, 100) == Fees(11, 25, 3)


@pytest.mark.parametrize(
    "history", [None, {}, {"baseFeePerGas": []}, {"baseFeePerGas": ["0x0", "0x0"]}]
)
def test_a_chain_without_base_fee_is_refused(history: Any) -> None:
    rpc = FakeRpc({"eth_feeHistory": history, "eth_maxPriorityFeePerGas": "0x1"})
    with pytest.raises(ReadError, match="no base fee"):
        read_fees(rpc, 100)
