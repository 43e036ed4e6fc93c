"""Whatever prices and fills do, the slices of an order together never go beyond its limits."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from order_world import RULES, Played, large, later, order_at, repriced, turn
from planner_world import WBTC, WETH

from rebalancer.model import PPM, Rebalance, Snapshot

TURNS = 8


# Drawn from a seed: what is interesting here is the middle of the ranges, not their ends.
@settings(max_examples=60)
@given(seed=st.integers(0, 10**9))
def test_amounts_prices_and_cost_are_kept(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a market, no secret
    order = order_at(large(), replace(RULES, slices=random.randint(2, 6)))
    order = replace(order, max_cost_e8=order.max_cost_e8 * random.randint(100, 1_000) // 1_000)
    played = Played(order, large())
    for _ in range(TURNS):
        played.at = market(played.at, random)
        before = played.at
        found = turn(before, order, played.so_far)
        if not isinstance(found.decision, Rebalance):
            continue
        plan = found.decision.plan
        assert order.due_at(played.so_far) <= before.block.timestamp <= order.expires_at
        if random.random() < 0.8:  # else it was dropped, or reverted
            played.fill(plan, short_ppm=random.randint(0, PPM))
        check(played)


def market(at: Snapshot, random: Random) -> Snapshot:
    """Later; prices moved from the start's; the pools follow, or stay where the last slice left
    them."""
    moves = {token: random.randint(-80_000, 120_000) for token in (WETH, WBTC)}
    moved = later(repriced(at, moves), random.randint(0, 100))
    return moved if random.random() < 0.7 else replace(moved, pairs=at.pairs)


def check(played: Played) -> None:
    order, so_far = played.order, played.so_far
    for amount in so_far.sold:
        assert amount.raw <= order.most(amount.token)
    assert so_far.cost_e8 <= order.max_cost_e8
    for plan in played.plans:
        for index, leg in enumerate(plan.legs):
            if leg.chained:
                continue
            last = index
            while last + 1 < len(plan.legs) and plan.legs[last + 1].chained:
                last += 1
            first, second = order.price(leg.token_in), order.price(plan.legs[last].token_out)
            assert first is not None
            assert second is not None
            paid = leg.amount_in * first.numerator * second.denominator
            least = plan.legs[last].min_amount_out * second.numerator * first.denominator
            assert least * PPM >= paid * (PPM - order.worst_ppm)
