"""Large plans in slices: when to cut, what the order allows, and each slice within it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from order_world import RULES, Played, cut, inputs_of, large, later, order_at, recovered, repriced
from planner_world import E8, POLICY, TARGETS, USDC, WBTC, WETH, holding

from rebalancer.amm.valuation import value
from rebalancer.model import Amount, Hold, Plan, Rebalance, Snapshot, SoFar, digest
from rebalancer.planner.costs import appraise
from rebalancer.planner.decision import pose
from rebalancer.planner.greedy import GreedyProposer
from rebalancer.planner.order_limits import least_loss_e8, order_breaches
from rebalancer.planner.problem import Problem
from rebalancer.planner.slices import sold_out
from rebalancer.planner.slicing import order_of, slicing

# Whether to cut


def test_large__saves_more_impact_than_it_costs_gas() -> None:
    found, plan = cut(large())
    assert found.worth_it
    assert found.slices == 4
    assert found.saved_e8 > found.more_gas_e8 > 0
    # Impact grows with the square of the size: a quarter, four times, is a quarter of it.
    assert found.sliced.impact_e8 * 4 == pytest.approx(found.whole.impact_e8, rel=0.05)
    assert {a.token: a.raw for a in found.sells} == {c.token: -c.raw for c in plan.net if c.raw < 0}


def test_small__in_one_go__says_the_two_numbers() -> None:
    found, _ = cut(holding(60_000, 20_000, 20_000))
    assert not found.worth_it
    (reason,) = found.reasons
    assert (reason.measured, reason.limit) == (found.saved_e8, found.more_gas_e8)
    assert found.saved_e8 <= found.more_gas_e8


def test_impact_limit_cuts_the_plan__in_slices__for_all_of_it() -> None:
    found, plan = cut(large(), max_impact_ppm=5_000)
    assert found.worth_it
    assert found.reasons[0].code == "max_impact_ppm"
    (most,) = found.sells
    (change,) = [c for c in plan.net if c.raw < 0]
    assert most.raw > -change.raw


def test_below_above__in_one_go() -> None:
    found, _ = cut(large(), replace(RULES, above_e8=400_000 * E8))
    assert (found.worth_it, found.reasons[0].code) == (False, "below_above_e8")


def test_slices_below_the_smallest_trade__fewer_of_them() -> None:
    found, _ = cut(large(), min_trade_e8=70_000 * E8)
    assert found.slices == 2
    found, _ = cut(large(1_800_000, 750_000, 450_000), min_trade_e8=160_000 * E8)
    assert (found.worth_it, found.reasons[0].code) == (False, "slices_too_small")


def test_slices_that_cost_more_than_they_bring__in_one_go() -> None:
    dear = holding(1_800_000, 600_000, 600_000, gas_gwei=20)
    found, _ = cut(dear, replace(RULES, slices=1_000))
    assert (found.worth_it, found.reasons[0].code) == (False, "slices_cost_e8")


def test_a_hold_is_not_cut() -> None:
    at = holding(500_000, 250_000, 250_000)
    inputs = inputs_of(at)
    valuation, decision = inputs.decide()
    with pytest.raises(ValueError, match="only a rebalance"):
        slicing(inputs, valuation, decision, RULES)


# What the order allows


def test_the_order_fixes_amounts_prices_cost_and_time() -> None:
    at = large()
    found, plan = cut(at)
    order = order_at(at)
    assert order.plan == digest(plan)
    assert (order.sells, order.max_cost_e8) == (found.sells, found.max_cost_e8)
    assert order.opened_at == at.block.timestamp
    assert order.expires_at == at.block.timestamp + 480
    assert {p.token for p in order.prices} >= {WETH, WBTC, USDC}
    in_blocks = order_at(at, replace(RULES, clock="blocks", every=5, lasts=40))
    assert (in_blocks.opened_at, in_blocks.expires_at) == (100, 140)


def test_an_order_that_waits_for_a_yes__has_a_day_more() -> None:
    at = large()
    found, plan = cut(at)
    waits = order_of(found, inputs_of(at), plan, RULES, "main", True)
    assert waits.needs_consent
    assert waits.expires_at == order_at(at).expires_at + 86_400


def test_most_cost__just_below_what_it_is_worth_and_within_max_cost() -> None:
    at = large()
    found, _ = cut(at)
    benefit = value_of_whole(at)
    assert found.max_cost_e8 == min(benefit - 1, found.whole.traded_e8 * 20_000 // 1_000_000)
    margin, _ = cut(at, cost_margin_ppm=500_000, max_cost_ppm=1_000_000)
    assert margin.max_cost_e8 == (benefit * 1_000_000 - 1) // 1_500_000


def posed(at: Snapshot, **changes: Any) -> Problem:
    inputs = inputs_of(at, **changes)
    valuation = value(at, TARGETS)
    return pose(at, valuation, TARGETS, inputs.policy, inputs.circumstances)


def value_of_whole(at: Snapshot) -> int:
    boundless = posed(at, max_impact_ppm=999_999, drift_aversion_ppm=10**18)
    return appraise(posed(at), GreedyProposer().propose(boundless).legs).benefit_e8


def test_turns__missing_ones__or_as_many_as_time_allows() -> None:
    order = order_at(large())
    start = order.opened_at
    assert order.turns(SoFar(), start) == 4
    assert order.turns(SoFar(slices=1, last_at=start), start + 60) == 3
    assert order.turns(SoFar(slices=1, last_at=start), start + 420) == 2
    assert order.turns(SoFar(slices=1, last_at=start), start + 480) == 1
    assert order.turns(SoFar(slices=9, last_at=start), start + 100) == 1


# Slice by slice


def test_four_slices__equal_parts__then_done() -> None:
    played = Played(order_at(large()), large())
    first = played.look()
    assert isinstance(first.decision, Rebalance)
    assert first.decision.plan.order == digest(played.order)
    assert first.decision.reasons[0].measured == 1
    waits = played.look()
    assert isinstance(waits.decision, Hold)
    assert (waits.decision.reasons[0].code, waits.ends) == ("slice_not_due", False)
    for _ in range(3):
        played.at = later(recovered(played.at), 60)
        assert isinstance(played.look().decision, Rebalance)
    (most,) = played.order.sells
    parts = [next(-c.raw for c in plan.net if c.token == WETH) for plan in played.plans]
    for part in parts:
        assert part == pytest.approx(most.raw / 4, rel=0.02)
    assert sum(parts) <= most.raw
    played.at = later(played.at, 60)
    end = played.look()
    assert end.ends
    assert isinstance(end.decision, Hold)
    assert end.decision.reasons[0].code in ("order_sold", "order_back_ppm", "order_met")


def test_slices_lose_less_than_one_go__where_the_pools_recover() -> None:
    played = Played(order_at(large()), large())
    for _ in range(4):
        assert isinstance(played.look().decision, Rebalance)
        played.at = later(recovered(played.at), 60)
    impact = sum(plan.costs.impact_e8 for plan in played.plans)
    assert impact < played.order.whole.impact_e8 * 3 // 10


def test_drift_gone__ends() -> None:
    order = order_at(large())
    back = later(large(1_500_000, 750_000, 750_000), 60)
    end = Played(order, back).look()
    assert end.ends
    assert isinstance(end.decision, Hold)
    assert end.decision.reasons[0].code == "order_back_ppm"


def test_drift_the_other_way__sells_nothing_else__and_ends() -> None:
    other = later(large(1_200_000, 900_000, 900_000), 60)
    end = Played(order_at(large()), other).look()
    assert end.ends
    assert isinstance(end.decision, Hold)
    assert end.decision.reasons[0].code == "order_met"


def test_expired__ends__however_much_is_left() -> None:
    late = later(large(), 481)
    end = Played(order_at(large()), late).look()
    assert end.ends
    assert isinstance(end.decision, Hold)
    assert (end.decision.reasons[0].code, end.decision.reasons[0].measured) == ("order_expired", 0)
    assert not Played(order_at(large()), later(large(), 480)).look().ends


def test_price_below_the_limit__holds_and_says_so() -> None:
    order = order_at(large())
    fallen = later(repriced(large(), {WETH: -46_000}), 60)
    held = Played(order, fallen).look()
    assert isinstance(held.decision, Hold)
    assert not held.ends
    assert held.decision.reasons[0].code == "order_price_ppm"
    assert isinstance(
        Played(order, later(repriced(large(), {WETH: -30_000}), 60)).look().decision, Rebalance
    )


def test_pending__waits() -> None:
    held = Played(order_at(large()), later(large(), 60), SoFar(1, pending=True, last_at=0)).look()
    assert isinstance(held.decision, Hold)
    assert held.decision.reasons[0].code == "slice_pending"


def test_gas_too_dear__holds() -> None:
    held = Played(order_at(large()), large()).look(replace(POLICY, max_gas_price_wei=1))
    assert isinstance(held.decision, Hold)
    assert held.decision.reasons[0].code == "max_gas_price_wei"


def test_budget_spent__holds() -> None:
    order = order_at(large())
    spent = SoFar(cost_e8=order.max_cost_e8 - 1)
    held = Played(order, large(), spent).look()
    assert isinstance(held.decision, Hold)
    assert held.decision.reasons[0].code == "order_cost_e8"


def test_guards_of_the_policy_hold__max_trade_cuts_the_slice() -> None:
    played = Played(order_at(large()), large())
    played.look(replace(POLICY, max_trade_e8=20_000 * E8))
    (plan,) = played.plans
    for leg in plan.legs:
        if not leg.chained:
            assert large().price(leg.token_in).value_down(leg.amount_in) <= 20_000 * E8


def test_little_left__a_part_is_too_small__all_of_it_goes() -> None:
    at, order = large(), order_at(large())
    (most,) = order.sells
    rest = at.price(WETH).raw_down(250 * E8)
    played = Played(order, at, SoFar(slices=1, sold=(Amount(WETH, most.raw - rest),)))
    assert isinstance(played.look().decision, Rebalance)
    (plan,) = played.plans
    assert [-c.raw for c in plan.net if c.token == WETH] == [rest]


def test_sold_out__less_than_the_smallest_trade_left() -> None:
    at, order = large(), order_at(large())
    (most,) = order.sells
    dust = at.price(WETH).raw_down(100 * E8)
    left = SoFar(sold=(Amount(WETH, most.raw - dust),))
    assert not sold_out(at, POLICY, order, left)
    gone = SoFar(sold=(Amount(WETH, most.raw - dust + 1),))
    assert sold_out(at, POLICY, order, gone)


def test_reset_edge__every_slice_a_part_of_the_way_to_the_edge() -> None:
    changes: dict[str, Any] = {"reset": "edge", "reset_edge_ppm": 500_000}
    played = Played(order_at(large(), **changes), large())
    policy = replace(POLICY, **changes)
    for _ in range(4):
        assert isinstance(played.look(policy).decision, Rebalance)
        played.at = later(recovered(played.at), 60)
    drift = value(played.at, TARGETS).position("WETH").drift_ppm
    assert drift == pytest.approx(15_000, abs=500)
    (most,) = played.order.sells
    parts = [next(-c.raw for c in plan.net if c.token == WETH) for plan in played.plans]
    for part in parts:
        assert part == pytest.approx(most.raw / 4, rel=0.05)


# The limits, each by itself


def test_amount_limit__one_unit_too_many() -> None:
    played = Played(order_at(large()), large())
    plan = slice_of(played)
    (change,) = [c for c in plan.net if c.raw < 0]
    case = pose(large(), value(large(), TARGETS), TARGETS, POLICY, inputs_of(large()).circumstances)
    exact = replace(played.order, sells=(Amount(WETH, -change.raw),))
    assert order_breaches(case, plan, exact, SoFar()) == ()
    short = replace(played.order, sells=(Amount(WETH, -change.raw - 1),))
    assert [r.code for r in order_breaches(case, plan, short, SoFar())] == ["order_amount"]
    used = SoFar(sold=(Amount(WETH, 1),))
    assert [r.code for r in order_breaches(case, plan, exact, used)] == ["order_amount"]


def test_cost_limit__at_minimum_outputs__one_unit_too_many() -> None:
    played = Played(order_at(large()), large())
    plan = slice_of(played)
    case = pose(large(), value(large(), TARGETS), TARGETS, POLICY, inputs_of(large()).circumstances)
    worst = least_loss_e8(case, plan.legs) + plan.costs.gas_e8
    assert worst > plan.costs.total_e8
    exact = replace(played.order, max_cost_e8=worst)
    assert order_breaches(case, plan, exact, SoFar()) == ()
    short = replace(played.order, max_cost_e8=worst - 1)
    assert [r.code for r in order_breaches(case, plan, short, SoFar())] == ["order_cost_e8"]
    assert plan.most_gas_e8 == played.order.max_cost_e8 - least_loss_e8(case, plan.legs)


def slice_of(played: Played) -> Plan:
    played.look()
    (plan,) = played.plans
    return plan
