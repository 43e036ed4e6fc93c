"""Whatever prices and fills do, the slices of an order together never go beyond its limits."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from order_world import RULES, Played, large, later, order_at, repriced, turn
from planner_world import USDC, WBTC, WETH

from rebalancer.model import PPM, Rebalance

#: Seconds until the next look, moves of two prices since the start, whether the pools follow, how
#: much of the slippage the fill loses, and whether it happens at all.
_TURN = st.tuples(
    st.integers(0, 120),
    st.integers(-80_000, 80_000),
    st.integers(-80_000, 80_000),
    st.booleans(),
    st.integers(0, PPM),
    st.booleans(),
)


@settings(max_examples=60)
@given(turns=st.lists(_TURN, min_size=1, max_size=8), slices=st.integers(2, 6))
def test_amounts_prices_and_cost_are_kept(
    turns: list[tuple[int, int, int, bool, int, bool]], slices: int
) -> None:
    order = order_at(large(), replace(RULES, slices=slices))
    played = Played(order, large())
    for seconds, weth, wbtc, follow, short_ppm, happens in turns:
        played.at = later(repriced(played.at, {WETH: weth, WBTC: wbtc}), seconds)
        if not follow:
            played.at = replace(played.at, prices=large().prices)
        before = played.at
        due = before.block.timestamp >= order.due_at(played.so_far)
        found = turn(before, order, played.so_far)
        if not isinstance(found.decision, Rebalance):
            continue
        plan = found.decision.plan
        assert due
        assert before.block.timestamp <= order.expires_at
        for leg in plan.legs:
            assert leg.token_in in (WETH, USDC, WBTC)
        if happens:
            played.fill(plan, short_ppm)
        check(played)


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
