"""Cash-flow first: deposits buy before anything is sold, withdrawals are raised from the excess."""

from __future__ import annotations

import pytest
from planner_world import (
    NOW,
    TARGETS,
    UNI,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_USDC,
    WBTC_WETH,
    WETH,
    decided,
    holding,
    pool,
    problem,
    snapshot,
    worth,
)

from rebalancer.amm.valuation import value
from rebalancer.errors import PlanError
from rebalancer.model import E8, PPM, Amount, Circumstances, Hold, Rebalance, to_json
from rebalancer.planner import replay
from rebalancer.planner.withdrawal import set_aside

BALANCED = holding(500_000, 250_000, 250_000)
EAGER = {"drift_aversion_ppm": 5 * PPM, "max_impact_ppm": 50_000}


def raising(amount: Amount) -> Circumstances:
    return Circumstances(withdrawal=amount)


def planned(decision):
    assert isinstance(decision, Rebalance), decision
    return decision.plan


def codes(reasons):
    return [reason.code for reason in reasons]


def sold(plan):
    return {a.token: -a.raw for a in plan.net if a.raw < 0}


# Withdrawals


def test_raise__what_is_lacking_is_bought_to_the_unit():
    decision = decided(
        BALANCED, last_ts=NOW - 60, circumstances=raising(worth(USDC, 300_000)), **EAGER
    )
    plan = planned(decision)
    assert codes(decision.reasons) == ["withdrawal_e8"]  # the calendar is not asked
    done = replay(BALANCED, plan.legs)
    assert done.balance(USDC) >= worth(USDC, 300_000).raw
    assert done.balance(USDC) - worth(USDC, 300_000).raw < 10**6  # and hardly more
    assert plan.withdrawal == worth(USDC, 300_000)
    assert set(sold(plan)) <= {WETH, WBTC}


def test_raise__the_most_overweight_sells_first():
    # Without the 50,000 both others are overweight, WETH by far more.
    at = holding(600_000, 250_000, 150_000)
    plan = planned(
        decided(at, last_ts=NOW - 60, circumstances=raising(worth(USDC, 170_000)), **EAGER)
    )
    assert set(sold(plan)) == {WETH}


def test_raise__what_is_there_is_left_alone_and_the_rest_decided_on():
    held = decided(BALANCED, last_ts=NOW - 60, circumstances=raising(worth(USDC, 10_000)))
    assert isinstance(held, Hold)  # enough is there: nothing has to be sold for it
    assert codes(held.reasons)[0] == "calendar_not_due_s"
    # A deposit of 50,000 that is to go out again is no drift at all.
    extra = holding(500_000, 250_000, 300_000)
    held = decided(extra, circumstances=raising(worth(USDC, 50_000)))
    assert codes(held.reasons) == ["dead_band_ppm", "inside_band_ppm", *["inside_band_ppm"] * 2]
    # What is set aside is never sold.
    rich = holding(300_000, 100_000, 600_000)
    plan = planned(decided(rich, circumstances=raising(worth(USDC, 400_000)), **EAGER))
    assert replay(rich, plan.legs).balance(USDC) >= worth(USDC, 400_000).raw


def test_raise__with_the_trigger__the_rest_goes_to_target_too():
    at = holding(700_000, 100_000, 200_000)
    plan = planned(decided(at, circumstances=raising(worth(USDC, 250_000)), **EAGER))
    done = replay(at, plan.legs)
    assert done.balance(USDC) >= worth(USDC, 250_000).raw
    rest, owed = set_aside(done, worth(USDC, 250_000))
    assert owed is None
    after = {p.name: p.weight_ppm for p in value(rest, TARGETS).positions}
    assert after == pytest.approx({"WETH": 500_000, "WBTC": 250_000, "USDC": 250_000}, abs=50)
    assert {p.name: p.after_ppm for p in plan.positions} == pytest.approx(after, abs=1)


def test_raise__nav_is_without_what_leaves():
    plan = planned(decided(BALANCED, circumstances=raising(worth(USDC, 300_000)), **EAGER))
    lost = plan.costs.total_e8 - plan.costs.gas_e8
    assert plan.nav_before_e8 - plan.nav_after_e8 == lost
    assert plan.nav_after_e8 == pytest.approx(700_000 * E8 - lost, abs=E8)


def test_raise__it_need_not_be_worth_it_but_limits_hold():
    cheap = {"drift_aversion_ppm": 1}
    plan = planned(decided(BALANCED, circumstances=raising(worth(USDC, 300_000)), **cheap))
    assert plan.benefit_e8 < plan.costs.total_e8
    held = decided(BALANCED, circumstances=raising(worth(USDC, 300_000)), max_cost_ppm=1_000)
    assert codes(held.reasons)[0] == "max_cost_ppm"
    gas = holding(500_000, 250_000, 250_000, gas_gwei=101)
    held = decided(gas, circumstances=raising(worth(USDC, 300_000)))
    assert codes(held.reasons) == ["max_gas_price_wei"]


def test_raise__cut_by_a_limit__says_what_is_lacking():
    decision = decided(
        BALANCED, circumstances=raising(worth(USDC, 300_000)), max_trade_e8=20_000 * E8
    )
    plan = planned(decision)
    short = next(r for r in decision.limits if r.code == "withdrawal_short_e8")
    bought = next(a.raw for a in plan.net if a.token == USDC)
    assert short.measured == (50_000 * 10**6 - bought) * 100
    assert "not raised by this plan" in short.text


def test_raise__a_token_that_is_no_position():
    pools = (USDC_WETH, WBTC_WETH, WBTC_USDC, pool(4, UNI, WETH, 5_000_000))
    at = snapshot(
        worth(WETH, 500_000), worth(WBTC, 250_000), worth(USDC, 250_000), worth(UNI, 1_000),
        pairs=pools,
    )  # fmt: skip
    plan = planned(decided(at, circumstances=raising(worth(UNI, 5_000)), **EAGER))
    done = replay(at, plan.legs)
    assert done.balance(UNI) >= worth(UNI, 5_000).raw
    before = value(at, TARGETS).nav_e8
    assert plan.nav_before_e8 == pytest.approx(before - 4_000 * E8, abs=E8)
    lost = plan.costs.total_e8 - plan.costs.gas_e8
    assert abs(plan.nav_before_e8 - plan.nav_after_e8 - lost) <= 1  # each side rounded down


def test_raise__smaller_than_the_smallest_trade():
    at = holding(500_000, 250_000, 250_000)
    asked = raising(worth(USDC, 250_040))
    held = decided(at, circumstances=asked, last_ts=NOW - 1)
    assert codes(held.reasons) == ["max_cost_ppm"]  # gas is 7 % of it
    plan = planned(decided(at, circumstances=asked, last_ts=NOW - 1, max_cost_ppm=PPM))
    assert replay(at, plan.legs).balance(USDC) >= worth(USDC, 250_040).raw
    assert plan.costs.traded_e8 < 100 * E8


@pytest.mark.parametrize(
    "amount", [Amount(USDC, 0), Amount(USDC, -1), Amount(UNI, 10**18)], ids=["0", "-1", "unread"]
)
def test_raise__cannot_be(amount):
    with pytest.raises(PlanError, match="cannot be raised"):
        decided(BALANCED, circumstances=raising(amount))


def test_raise__more_than_there_is():
    with pytest.raises(PlanError, match=r"the rest is worth 750,000\.00 USD"):
        decided(BALANCED, circumstances=raising(worth(USDC, 5_000_000)), **EAGER)


def test_set_aside__nothing_asked_nothing_changed():
    assert set_aside(BALANCED, None) == (BALANCED, None)


# Deposits


def came(*amounts: Amount) -> Circumstances:
    return Circumstances(deposits=amounts)


def test_deposit__buys_what_is_underweight_and_nothing_is_sold():
    # WETH is 1.5 points over, USDC by a deposit 4.5; WBTC is 6 points under.
    at = holding(515_000, 190_000, 295_000)
    without = planned(decided(at, **EAGER))
    assert set(sold(without)) == {WETH, USDC}
    decision = decided(at, circumstances=came(worth(USDC, 100_000)), **EAGER)
    plan = planned(decision)
    assert set(sold(plan)) == {USDC}
    assert codes(decision.limits) == ["deposits_first"]
    assert "100,000.00 USD of USDC" in decision.limits[0].text
    assert plan.costs.total_e8 < without.costs.total_e8
    ends = {p.name: abs(p.after_ppm - p.target_ppm) for p in plan.positions}
    assert max(ends.values()) <= 30_000


def test_deposit__not_enough__the_rest_is_sold_after_it():
    at = holding(640_000, 100_000, 260_000)
    plan = planned(decided(at, circumstances=came(worth(USDC, 8_000)), **EAGER))
    assert plan.legs[0].token_in == USDC
    assert WETH in sold(plan)
    assert {p.name: p.after_ppm for p in plan.positions}["WETH"] == pytest.approx(500_000, abs=500)


def test_deposit__of_dust_changes_nothing():
    at = holding(640_000, 100_000, 260_000)
    plain = decided(at, **EAGER)
    assert to_json(decided(at, circumstances=came(Amount(USDC, 5)), **EAGER)) == to_json(plain)


def test_deposit__problem_knows_it():
    assert problem(BALANCED, circumstances=came(worth(USDC, 1))).circumstances.deposits == (
        worth(USDC, 1),
    )


# Caps


def test_cap__per_trade__the_rest_waits():
    at = holding(700_000, 120_000, 180_000)
    decision = decided(at, max_trade_e8=50_000 * E8, **EAGER)
    plan = planned(decision)
    for leg in plan.legs:
        if not leg.chained:
            assert at.price(leg.token_in).value_down(leg.amount_in) <= 50_000 * E8
    assert codes(decision.limits) == ["max_trade_e8", "max_trade_e8"]
    assert decision.limits[0].limit == 50_000 * E8
    assert plan.costs.traded_e8 == pytest.approx(100_000 * E8, rel=1e-6)


@pytest.mark.parametrize(("before", "left"), [(0, 100_000), (60_000, 40_000)])
def test_cap__per_day__what_was_sold_before_counts(before, left):
    at = holding(700_000, 120_000, 180_000)
    decision = decided(
        at,
        max_turnover_ppm=100_000,
        circumstances=Circumstances(turnover_e8=before * E8),
        **EAGER,
    )
    plan = planned(decision)
    assert plan.costs.traded_e8 <= left * E8
    assert plan.costs.traded_e8 == pytest.approx(left * E8, rel=1e-6)
    assert "max_turnover_e8" in codes(decision.limits)


def test_cap__per_day__used_up():
    at = holding(700_000, 120_000, 180_000)
    held = decided(
        at, max_turnover_ppm=100_000, circumstances=Circumstances(turnover_e8=99_950 * E8)
    )
    assert isinstance(held, Hold)
    assert codes(held.reasons)[:2] == ["nothing_to_trade", "max_turnover_e8"]
    assert "99,950.00 USD of the 100,000.00 USD that 24 hours may sell are used" in (
        held.reasons[1].text
    )


def test_cap__share_of_a_pool():
    at = holding(700_000, 120_000, 180_000, pairs=(USDC_WETH, WBTC_WETH))
    decision = decided(at, max_pool_share_ppm=1_000, **EAGER)  # 50,000 and 20,000 of each side
    plan = planned(decision)
    assert "max_pool_share_ppm" in codes(decision.limits)
    paid: dict[str, int] = {}
    for leg in plan.legs:
        paid[leg.pair] = paid.get(leg.pair, 0) + leg.amount_in
    for address, amount in paid.items():
        reserve = at.pair(address).reserves(WETH)[0]
        assert amount * PPM <= 1_000 * reserve
    assert max(amount * PPM for amount in paid.values()) > 0
    assert set(sold(plan)) == {WETH}
    assert WBTC in {a.token for a in plan.net}


def test_extreme_drift__any_share_may_be_paid():
    at = holding(900_000, 50_000, 50_000)
    strict = {"max_cost_ppm": 1_000, **EAGER}
    assert codes(decided(at, **strict).reasons)[:2] == ["max_cost_ppm", "max_nav_loss_ppm"]
    assert planned(decided(at, extreme_drift_ppm=399_999, **strict))
    assert isinstance(decided(at, extreme_drift_ppm=400_000, **strict), Hold)
