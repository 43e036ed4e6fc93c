"""Every guard, seen to pass a sound plan and to stop a tampered one with its numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import (
    TARGETS,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_WETH,
    WETH,
    decided,
    holding,
    leg,
    pool,
    problem,
    snapshot,
    worth,
)

from rebalancer.amm.swap import apply_swap
from rebalancer.model import E8, Amount, Circumstances, Plan, Rebalance, Target
from rebalancer.planner import guards
from rebalancer.planner.caps import (
    no_dust,
    plan_still_good,
    pool_share_within_limit,
    prices_fresh,
    stale_gain_within_limit,
    trades_within_cap,
    turnover_within_day,
)
from rebalancer.planner.guards import CONSISTENCY, LIMITS, keeps_the_withdrawal, violations
from rebalancer.planner.trades import MAX_LEGS

AT = holding(700_000, 120_000, 180_000)


@pytest.fixture
def plan() -> Plan:
    decision = decided(AT)
    assert isinstance(decision, Rebalance)
    return decision.plan


def only(guard, plan, **changes):
    """What ``guard`` says of ``plan`` under POLICY with ``changes``."""
    return [
        (reason.code, reason.measured, reason.limit)
        for reason in guard(problem(AT, **changes), plan)
    ]


def test_a_sound_plan_passes_them_all(plan):
    assert violations(problem(AT), plan, (*CONSISTENCY, *LIMITS)) == ()


def test_every_guard_is_on_duty():
    on_duty = {guard.__name__ for guard in (*CONSISTENCY, *LIMITS)}
    assert on_duty == {
        "sells_only_what_is_held",
        "trades_only_positions",
        "trades_nothing_held_out",
        "min_outs_follow_slippage",
        "costs_add_up",
        "keeps_the_withdrawal",
        "certificate_holds",
        "few_enough_legs",
        "keeps_the_gas_reserve",
        "impact_within_limit",
        "pools_near_oracle",
        "trades_within_cap",
        "turnover_within_day",
        "pool_share_within_limit",
        "stale_gain_within_limit",
        "prices_fresh",
        "no_dust",
        "nav_loss_within_max_cost",
        "no_position_further_off",
    }


def test_sells_only_what_is_held(plan):
    # Two legs of 60 % each: neither alone is too much.
    held = AT.balance(WETH)
    most = replace(plan.legs[0], amount_in=held * 6 // 10)
    found = only(guards.sells_only_what_is_held, replace(plan, legs=(most, most)))
    assert found == [("sells_more_than_held", held * 6 // 10, held - held * 6 // 10)]


def test_bought_tokens_fund_later_sales_and_no_earlier_ones(plan):
    bought = sum(x.amount_out for x in plan.legs if x.token_out == USDC)
    most = AT.balance(USDC) + bought
    for amount, found in ((most, []), (most + 1, [("sells_more_than_held", most + 1, most)])):
        legs = (*plan.legs, leg(USDC_WETH, USDC, amount, 1))
        assert only(guards.sells_only_what_is_held, replace(plan, legs=legs)) == found
    early = replace(plan, legs=(leg(USDC_WETH, USDC, most, 1), *plan.legs))
    assert only(guards.sells_only_what_is_held, early) == [
        ("sells_more_than_held", most, AT.balance(USDC))
    ]


def test_trades_only_positions(plan):
    case = problem(AT, TARGETS[:1])
    found = [reason.text for reason in guards.trades_only_positions(case, plan)]
    assert found == [
        "The plan changes the balance of WBTC, which is no position",
        "The plan changes the balance of USDC, which is no position",
    ]
    sold = replace(plan, net=(), legs=(leg(WBTC_WETH, WBTC, 1, 1),))
    assert [r.text for r in guards.trades_only_positions(case, sold)] == [
        "The plan sells WBTC, which is no position"
    ]


@pytest.mark.parametrize("wrong", [-1, 1])
def test_min_outs_follow_slippage(plan, wrong):
    first = plan.legs[0]
    least = first.min_amount_out + wrong
    tampered = replace(plan, legs=(replace(first, min_amount_out=least), *plan.legs[1:]))
    found = only(guards.min_outs_follow_slippage, tampered)
    assert found == [("min_amount_out", least, first.min_amount_out)]


def test_a_least_output_of_nothing_is_refused(plan):
    open_door = replace(plan, slippage_ppm=10**6)
    legs = tuple(replace(one, min_amount_out=0) for one in plan.legs)
    assert len(only(guards.min_outs_follow_slippage, replace(open_door, legs=legs))) == len(legs)


def test_costs_add_up(plan):
    costs = plan.costs
    total = replace(plan, costs=replace(costs, total_e8=costs.total_e8 - 1))
    assert only(guards.costs_add_up, total) == [("costs_e8", costs.total_e8 - 1, costs.total_e8)]
    hidden = replace(costs, impact_e8=costs.impact_e8 - 1, total_e8=costs.total_e8 - 1)
    lost = costs.total_e8 - costs.gas_e8
    assert only(guards.costs_add_up, replace(plan, costs=hidden)) == [("costs_e8", lost - 1, lost)]


def test_few_enough_legs(plan):
    full = replace(plan, legs=plan.legs[:1] * MAX_LEGS)
    assert only(guards.few_enough_legs, full) == []
    over = replace(plan, legs=plan.legs[:1] * (MAX_LEGS + 1))
    assert only(guards.few_enough_legs, over) == [("max_legs", MAX_LEGS + 1, MAX_LEGS)]


def test_impact_within_limit(plan):
    measured = [m for _, m, _ in only(guards.impact_within_limit, plan, max_impact_ppm=0)]
    assert len(measured) == len(plan.legs)
    edge = max(measured)
    assert only(guards.impact_within_limit, plan, max_impact_ppm=edge) == []
    assert only(guards.impact_within_limit, plan, max_impact_ppm=edge - 1) == [
        ("max_impact_ppm", edge, edge - 1)
    ]


def test_impact_of_legs_on_one_pool_adds_up(plan):
    moved, out = apply_swap(USDC_WETH, WETH, 10**20)
    again = apply_swap(moved, WETH, 10**20)[1]
    twice = replace(
        plan, legs=(leg(USDC_WETH, WETH, 10**20, out), leg(USDC_WETH, WETH, 10**20, again))
    )
    first, second = [m for _, m, _ in only(guards.impact_within_limit, twice, max_impact_ppm=0)]
    assert second > 2.9 * first


def test_pools_near_oracle(plan):
    skewed = pool(1, USDC, WETH, 50_000_000, skew_ppm=-15_000)
    at = replace(AT, pairs=(skewed, *AT.pairs[1:]))
    used = replace(plan, legs=(leg(skewed, WETH, 1, 1),) * 2)
    (reason,) = guards.pools_near_oracle(problem(at, max_off_oracle_ppm=15_228), used)
    assert (reason.code, reason.measured, reason.limit) == ("off_oracle_ppm", 15_229, 15_228)
    assert list(guards.pools_near_oracle(problem(at, max_off_oracle_ppm=15_229), used)) == []


def test_nav_loss_within_max_cost(plan):
    costs = replace(plan.costs, traded_e8=1_000 * E8)
    lost = replace(plan, costs=costs, nav_after_e8=plan.nav_before_e8 - 20 * E8)
    assert only(guards.nav_loss_within_max_cost, lost) == []
    more = replace(lost, nav_after_e8=lost.nav_after_e8 - 1)
    assert only(guards.nav_loss_within_max_cost, more) == [("max_nav_loss_ppm", 20_001, 20_000)]


def test_no_position_further_off(plan):
    sound = [Amount(change.token, change.raw) for change in plan.net]
    beyond = Amount(WBTC, sound[1].raw + worth(WBTC, 135_000).raw)
    tampered = replace(plan, net=(sound[0], beyond, sound[2]))
    (reason,) = guards.no_position_further_off(problem(AT), tampered)
    assert reason.code == "further_off_e8"
    assert reason.text.startswith("WBTC would end 135,")
    assert reason.measured > reason.limit >= 130_000 * E8


# Caps, freshness, dust: what a proposer may have missed


def test_trades_within_cap(plan):
    sold = [AT.price(WETH).value_down(x.amount_in) for x in plan.legs if not x.chained]
    assert only(trades_within_cap, plan, max_trade_e8=max(sold)) == []
    found = only(trades_within_cap, plan, max_trade_e8=max(sold) - 1)
    assert found == [("max_trade_e8", max(sold), max(sold) - 1)]
    assert only(trades_within_cap, plan) == []


def test_turnover_within_day(plan):
    nav = problem(AT).valuation.nav_e8
    share = -(-plan.costs.traded_e8 * 10**6 // nav)
    assert only(turnover_within_day, plan, max_turnover_ppm=share) == []
    limit = nav * share // 10**6
    before = Circumstances(turnover_e8=limit)
    assert only(turnover_within_day, plan, max_turnover_ppm=share, circumstances=before) == [
        ("max_turnover_e8", limit + plan.costs.traded_e8, limit)
    ]


def test_pool_share_within_limit(plan):
    pair = AT.pair(plan.legs[0].pair)
    share = -(-plan.legs[0].amount_in * 10**6 // pair.reserves(WETH)[0])
    first = replace(plan, legs=plan.legs[:1])
    assert only(pool_share_within_limit, first, max_pool_share_ppm=share) == []
    assert only(pool_share_within_limit, first, max_pool_share_ppm=share - 1) == [
        ("max_pool_share_ppm", share, share - 1)
    ]
    # Twice the same leg is twice the share, each violation by itself.
    twice = replace(plan, legs=(plan.legs[0], plan.legs[0]))
    found = only(pool_share_within_limit, twice, max_pool_share_ppm=share)
    assert [(code, limit) for code, _, limit in found] == [("max_pool_share_ppm", share)]


@pytest.mark.parametrize(("gain", "limit"), [(10_000, None), (4_000, 4_000)])
def test_stale_gain_within_limit(plan, gain, limit):
    def with_gain(share_ppm):
        traded = 1_000_000 * E8
        costs = replace(plan.costs, traded_e8=traded, off_oracle_e8=-traded * share_ppm // 10**6)
        return replace(plan, costs=costs)

    changes = {"max_off_oracle_ppm": 10_000, "max_stale_gain_ppm": limit}
    assert only(stale_gain_within_limit, with_gain(gain), **changes) == []
    assert only(stale_gain_within_limit, with_gain(gain + 1), **changes) == [
        ("max_stale_gain_ppm", gain + 1, gain)
    ]
    assert only(stale_gain_within_limit, with_gain(-50_000), **changes) == []  # a loss is no gain


def test_prices_fresh(plan):
    late = replace(AT.block, timestamp=AT.block.timestamp + 601)
    at = replace(AT, block=late)
    found = [
        (r.code, r.measured, r.limit) for r in prices_fresh(problem(at, max_price_age_s=600), plan)
    ]
    tokens = {t for leg in plan.legs for t in (leg.token_in, leg.token_out)}
    assert found == [("max_price_age_s", 601, 600)] * len(tokens)
    assert list(prices_fresh(problem(at, max_price_age_s=601), plan)) == []
    assert only(prices_fresh, plan) == []


def test_no_dust(plan):
    change = next(c for c in plan.net if c.raw < 0)
    sold = AT.price(change.token).value_down(-change.raw)
    assert only(no_dust, plan, min_trade_e8=sold) == []
    assert only(no_dust, plan, min_trade_e8=sold + 1) == [("dust_e8", sold, sold + 1)]


def test_keeps_the_withdrawal(plan):
    asked = Circumstances(withdrawal=worth(WETH, 5_000_000 // 7))  # more WETH than there is
    assert only(keeps_the_withdrawal, plan, circumstances=asked) == [("withdrawal", None, None)]
    assert only(keeps_the_withdrawal, plan) == []


def test_every_way_a_plan_is_too_old(plan):
    head = replace(AT.block, base_fee_wei=0)
    assert plan_still_good(plan, head) == ()
    old = replace(
        head, chain_id=5, number=head.number + 6, timestamp=plan.deadline_ts, hash="0x" + "cd" * 32
    )
    assert [(r.code, r.measured, r.limit) for r in plan_still_good(plan, old)] == [
        ("chain_id", 5, 1),
        ("max_age_blocks", 6, 5),
        ("deadline_s", plan.deadline_ts, plan.deadline_ts),
    ]
    last = replace(head, number=head.number + 5, timestamp=plan.deadline_ts - 1)
    assert plan_still_good(plan, last) == ()
    forked = replace(head, hash="0x" + "cd" * 32)
    assert [r.code for r in plan_still_good(plan, forked)] == ["reorganised"]


def test_a_stale_pool_that_gives_too_much__held():
    """The pool pays 1.5 % too much for WETH: within ``max_off_oracle``, yet a gift."""
    rich = pool(1, USDC, WETH, 50_000_000, skew_ppm=-15_000)
    at = snapshot(worth(WETH, 700_000), worth(USDC, 300_000), pairs=(rich,))
    targets = (Target("WETH", 500_000), Target("USDC", 500_000))
    changes = {"targets": targets, "drift_aversion_ppm": 3 * 10**6, "max_impact_ppm": 10**5}
    decision = decided(at, **changes)
    assert isinstance(decision, Rebalance), decision
    gains = -decision.plan.costs.off_oracle_e8
    assert gains > 0
    share = -(-gains * 10**6 // decision.plan.costs.traded_e8)
    held = decided(at, max_stale_gain_ppm=share - 1, **changes)
    assert [r.code for r in held.reasons] == ["max_stale_gain_ppm"]
    allowed = decided(at, max_stale_gain_ppm=share, **changes)
    assert allowed.plan.legs == decision.plan.legs
