"""Fees stay under the plan's ceiling, follow the market, and rise by the network's rule."""

from __future__ import annotations

from typing import Any

import pytest
from bundler_fakes import FakeRpc

from rebalancer.bundler.fees import Fees, choose_fees, paid_tip_wei, raise_fees, read_fees
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


def node(tips: list[Any] | None, used: list[Any] | None = None, suggested: int = 3) -> FakeRpc:
    history: dict[str, Any] = {"baseFeePerGas": [hex(10), hex(11)]}
    if tips is not None:
        history["reward"] = [[hex(tip)] for tip in tips]
        history["gasUsedRatio"] = used or [0.5] * len(tips)
    return FakeRpc({"eth_feeHistory": history, "eth_maxPriorityFeePerGas": hex(suggested)})


def test_the_next_blocks_base_fee_counts_not_the_heads() -> None:
    assert read_fees(node(None), 100) == Fees(11, 25, 3)


def test_the_tip_is_the_median_of_what_blocks_paid() -> None:
    rpc = node([9, 1, 2, 8, 5])
    assert read_fees(rpc, 100) == Fees(11, 27, 5)
    assert rpc.count("eth_maxPriorityFeePerGas") == 0
    assert rpc.calls[0] == ("eth_feeHistory", ("0xa", "latest", [50]))


@pytest.mark.parametrize(
    ("tips", "used", "tip"),
    [
        ([7], [0.1], 7),
        ([4, 6], [0.5, 0.5], 4),  # the lower one of two
        ([0, 0, 6], [0, 0, 0.2], 6),  # empty blocks say nothing
        ([0, 0], [0, 0], None),
        ([0, 3], [0.5, 0.5], 3),  # a block that nobody paid in neither
        ([], [], None),
    ],
)
def test_only_blocks_that_paid_count(tips: list[int], used: list[float], tip: int | None) -> None:
    assert paid_tip_wei([[hex(wei)] for wei in tips], used) == tip


@pytest.mark.parametrize(("rewards", "used"), [([[]], [1]), ([None], [1]), ([["0x1"]], [])])
def test_a_node_that_lists_no_tips_is_asked_for_its_own(rewards: Any, used: Any) -> None:
    assert paid_tip_wei(rewards, used) is None
    assert read_fees(node([]), 100).max_priority_fee_wei == 3


@pytest.mark.parametrize(
    "history", [None, {}, {"baseFeePerGas": []}, {"baseFeePerGas": ["0x0", "0x0"]}]
)
def test_a_chain_without_base_fee_is_refused(history: Any) -> None:
    rpc = FakeRpc({"eth_feeHistory": history, "eth_maxPriorityFeePerGas": "0x1"})
    with pytest.raises(ReadError, match="no base fee"):
        read_fees(rpc, 100)


# Replacement: Geth takes it for floor(old * 110 / 100) of both fees, and for more than the old ones


@pytest.mark.parametrize("max_fee", [1, 9, 10, 11, 19, 99, 101, 10**9 + 1, 10**20 + 7])
@pytest.mark.parametrize("tip", [0, 1, 9, 10, 15, 10**9 + 3])
def test_every_node_takes_the_raised_fees(max_fee: int, tip: int) -> None:
    raised = raise_fees(Fees(0, max_fee, tip), Fees(5, 0, 0), 2**255)
    assert raised is not None
    for new, old in ((raised.max_fee_wei, max_fee), (raised.max_priority_fee_wei, tip)):
        assert new > old
        assert new * 100 >= old * 110
        # and by the least that does, where the tip does not pull the other along
        assert (new - 1) * 100 < old * 110 or new == old + 1 or new == raised.max_priority_fee_wei
    assert raised.max_fee_wei >= raised.max_priority_fee_wei


def test_raised_fees_are_at_least_the_markets() -> None:
    assert raise_fees(Fees(0, 100, 10), Fees(60, 140, 20), 1_000) == Fees(60, 140, 20)
    assert raise_fees(Fees(0, 100, 10), Fees(60, 105, 20), 1_000) == Fees(60, 110, 20)


def test_the_ceiling_ends_the_raising() -> None:
    now = Fees(1, 3, 1)
    assert raise_fees(Fees(0, 100, 10), now, 110) == Fees(1, 110, 11)
    assert raise_fees(Fees(0, 100, 10), now, 109) is None
    assert raise_fees(Fees(0, 100, 10), Fees(60, 130, 9), 120) is None, "it would not be enough"


def test_the_price_of_the_next_block() -> None:
    assert Fees(10, 100, 2).next_price_wei == 12
    assert Fees(10, 11, 2).next_price_wei == 11
