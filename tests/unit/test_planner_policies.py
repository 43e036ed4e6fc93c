"""The layers of a policy: cron, cooldown, cost-aware; reset to the edge; the J-band as rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import (
    NOW,
    POLICY,
    TARGETS,
    USDC,
    USDC_WETH,
    WBTC,
    WETH,
    decided,
    holding,
    problem,
    snapshot,
    worth,
)

from rebalancer.errors import PlanError
from rebalancer.model import E8, PPM, Circumstances, Hold, Rebalance, Target, to_plain
from rebalancer.planner.bands import band_ppm, drifts, grouped
from rebalancer.planner.calibration import settle
from rebalancer.planner.gas_schedule import PRAGUE
from rebalancer.planner.jband import best_band, kappa
from rebalancer.planner.reset import back_to_edges
from rebalancer.planner.triggers import evaluate

AT = holding(700_000, 120_000, 180_000)


def codes(reasons):
    return [reason.code for reason in reasons]


def planned(decision):
    assert isinstance(decision, Rebalance), decision
    return decision.plan


def after(plan):
    return {p.name: p.after_ppm for p in plan.positions}


# Calendar as cron, cooldown


def test_cron__due_when_its_time_has_come():
    cron = {"trigger": "calendar", "calendar_cron": "0 9 * * 1"}
    early = decided(AT, last_ts=NOW - 60, circumstances=Circumstances(NOW + 1), **cron)
    assert codes(early.reasons) == ["calendar_not_due_s"]
    assert early.reasons[0].text == (
        "Last rebalanced 1 min ago, the calendar '0 9 * * 1' (UTC) is not due for another 1 s"
    )
    due = decided(AT, last_ts=NOW - 60, circumstances=Circumstances(NOW), **cron)
    assert codes(due.reasons) == ["calendar_due_s"]
    first = decided(AT, **cron)
    assert codes(first.reasons) == ["never_rebalanced"]


def test_cron__nobody_said_when():
    with pytest.raises(PlanError, match="worked out when"):
        decided(AT, last_ts=NOW - 60, calendar_cron="0 9 * * 1")
    # What never looks at the calendar does not ask.
    assert planned(decided(AT, last_ts=NOW - 60, calendar_cron="0 9 * * 1", trigger="threshold"))


@pytest.mark.parametrize("trigger", ["threshold", "calendar", "hybrid", "cost_aware"])
def test_cooldown__beside_the_calendar(trigger):
    rules = {"trigger": trigger, "calendar_s": 60, "cooldown_s": 600}
    held = decided(AT, last_ts=NOW - 599, **rules)
    assert isinstance(held, Hold)
    assert codes(held.reasons) == ["cooldown_s"]
    assert (held.reasons[0].measured, held.reasons[0].limit) == (599, 600)
    assert planned(decided(AT, last_ts=NOW - 600, **rules))
    assert planned(decided(AT, **rules))


# Cost-aware


def test_cost_aware__inside_every_band__trades_when_worth_it():
    near = holding(525_000, 237_500, 237_500)
    assert isinstance(decided(near, trigger="threshold"), Hold)
    done = decided(near, trigger="cost_aware", drift_aversion_ppm=3 * PPM)
    assert codes(done.reasons) == ["cost_aware_ppm", "worth_its_cost_e8"]
    plan = planned(done)
    worth_it = done.reasons[1]
    assert (worth_it.measured, worth_it.limit) == (plan.benefit_e8, plan.costs.total_e8)
    assert worth_it.measured > worth_it.limit
    dear = decided(near, trigger="cost_aware", drift_aversion_ppm=50_000)
    assert codes(dear.reasons)[0] == "cost_above_benefit_e8"
    still = decided(holding(504_000, 248_000, 248_000), trigger="cost_aware")
    assert codes(still.reasons) == ["dead_band_ppm"]


def test_cost_margin__to_the_unit():
    plan = planned(decided(AT))
    cost = plan.costs.total_e8 - min(plan.costs.off_oracle_e8, 0)
    just = (plan.benefit_e8 * PPM - 1) // cost - PPM
    assert planned(decided(AT, cost_margin_ppm=just)).legs == plan.legs
    held = decided(AT, cost_margin_ppm=just + 1)
    assert codes(held.reasons)[0] == "cost_above_benefit_e8"
    assert "it must be more by" in held.reasons[0].text


# Reset to the edge


def test_edge__only_what_is_outside_comes_back_to_it():
    at = holding(560_000, 220_000, 220_000)
    plan = planned(decided(at, reset="edge", drift_aversion_ppm=3 * PPM))
    ends = after(plan)
    assert ends["WETH"] == pytest.approx(530_000, abs=100)  # target 50 %, band 3 points
    assert ends["WBTC"] == pytest.approx(235_000, abs=100)
    half = planned(decided(at, reset="edge", reset_edge_ppm=PPM // 2, drift_aversion_ppm=3 * PPM))
    assert after(half)["WETH"] == pytest.approx(515_000, abs=100)
    full = planned(decided(at, reset="edge", reset_edge_ppm=0, drift_aversion_ppm=3 * PPM))
    same = planned(decided(at, drift_aversion_ppm=3 * PPM))
    assert after(full) == pytest.approx(after(same), abs=2)
    assert plan.costs.traded_e8 < half.costs.traded_e8 < full.costs.traded_e8


def test_edge__what_it_brings_goes_to_the_most_underweight():
    names = ["A", "B", "C", "D"]
    values, fulls = [500, 200, 190, 110], [400, 200, 200, 200]
    edges = dict.fromkeys(names, 30)
    wanted = back_to_edges(names, values, fulls, edges, 1_000)
    # A falls to 430; D must rise to 170 anyway; the other 10 make D 180: still the lowest drift.
    assert wanted == [430, 200, 190, 180]


def test_edge__what_it_takes_comes_from_the_most_overweight():
    names = ["A", "B", "C"]
    wanted = back_to_edges(names, [220, 230, 50], [200, 200, 100], dict.fromkeys(names, 10), 500)
    assert wanted == [205, 205, 90]


def test_edge__a_bucket_moves_as_one():
    names = ["x", "x", "y"]
    wanted = back_to_edges(names, [300, 300, 400], [250, 250, 500], {"x": 20, "y": 20}, 1_000)
    assert wanted == [260, 260, 480]
    # One member is over, one under its part: both go the same share of their way.
    lopsided = back_to_edges(names, [400, 200, 400], [250, 250, 500], {"x": 20, "y": 20}, 1_000)
    assert lopsided == [400 - 150 * 8 // 10, 200 + 50 * 8 // 10, 480]


def test_edge__nobody_outside__nothing_to_trade():
    inside = holding(525_000, 240_000, 235_000)
    held = decided(inside, reset="edge", trigger="calendar", drift_aversion_ppm=3 * PPM)
    assert codes(held.reasons)[0] == "nothing_to_trade"


# The J-band

OPTIMAL = {"reset": "optimal", "risk_aversion_ppm": 4 * PPM, "volatility_ppm": 600_000}


def rules(at=AT, targets=TARGETS, circumstances=None, **changes):
    policy = replace(POLICY, **changes)
    ordered = tuple(sorted(targets, key=lambda t: t.position))
    nav = problem(at, targets).valuation.nav_e8
    return settle(at, nav, ordered, policy, PRAGUE, circumstances or Circumstances())


def test_optimal__kappa_and_bands_are_those_of_the_formula():
    made = rules(**OPTIMAL)
    gas_e8 = AT.native.value_up(PRAGUE.trade() * 10 * 10**9)
    fixed = gas_e8 / (1_000_000 * E8)
    for wander in made.wanders:
        weight = dict(WETH=0.5, WBTC=0.25, USDC=0.25)[wander.name]
        variance = (weight * (1 - weight) * 0.6) ** 2
        band = best_band(variance, 4 * 0.6**2, fixed, 0.003)
        assert wander.trigger_ppm == round(band.trigger * PPM)
        assert wander.reset_ppm == round(band.reset * PPM)
        assert wander.kappa_ppm == round(kappa(band, variance) * PPM)
        assert (wander.rate_ppm, wander.volatility_ppm) == (3_000, 600_000)
    assert {w.name for w in made.wanders} == {"WETH", "WBTC", "USDC"}
    assert made.governs == min(made.wanders, key=lambda w: w.kappa_ppm)
    assert made.governs.name == "WETH"  # drifts most
    assert made.policy.drift_aversion_ppm == made.governs.kappa_ppm
    bands = {t.position: band_ppm(t, made.policy) for t in made.targets}
    assert bands == {w.name: w.trigger_ppm for w in made.wanders}
    assert made.edges == {w.name: w.reset_ppm for w in made.wanders}


def test_optimal__the_decision_follows_it():
    made = rules(**OPTIMAL)
    weth = next(w for w in made.wanders if w.name == "WETH")
    inside = 500_000 + weth.trigger_ppm - 500
    outside = 500_000 + weth.trigger_ppm + 500

    def at(x):
        return holding(x, (10**6 - x) // 2, 10**6 - x - (10**6 - x) // 2)

    assert isinstance(decided(at(inside), **OPTIMAL), Hold)
    done = decided(at(outside), **OPTIMAL)
    assert done.reasons[0].limit == pytest.approx(weth.trigger_ppm, abs=5)
    assert after(planned(done))["WETH"] == pytest.approx(500_000 + weth.reset_ppm, abs=200)


def test_optimal__dearer_gas__wider_band_further_back():
    cheap, dear = (
        rules(**OPTIMAL),
        rules(holding(700_000, 120_000, 180_000, gas_gwei=90), **OPTIMAL),
    )
    for a, b in zip(cheap.wanders, dear.wanders, strict=True):
        assert a.trigger_ppm < b.trigger_ppm
        assert a.reset_ppm > b.reset_ppm


def test_optimal__own_bands_stand__without_a_pool_the_files():
    targets = (Target("WETH", 500_000, 10_000), Target("WBTC", 250_000), Target("USDC", 250_000))
    made = rules(targets=targets, **OPTIMAL)
    bands = {t.position: band_ppm(t, made.policy) for t in made.targets}
    assert bands["WETH"] == 10_000
    assert made.edges["WETH"] <= 10_000
    lonely = snapshot(worth(WETH, 500_000), worth(USDC, 250_000), worth(WBTC, 250_000), pairs=[
        USDC_WETH
    ])  # fmt: skip
    made = rules(lonely, **OPTIMAL)
    assert {w.name for w in made.wanders} == {"WETH", "USDC"}
    assert {t.position: band_ppm(t, made.policy) for t in made.targets}["WBTC"] == 30_000


def test_optimal__measured_volatility_stands_in_for_the_files():
    seen = Circumstances(volatilities=(("WETH", 300_000),))
    made = {w.name: w for w in rules(circumstances=seen, **OPTIMAL).wanders}
    assert (made["WETH"].volatility_ppm, made["WBTC"].volatility_ppm) == (300_000, 600_000)


def test_nothing_derived__nothing_changed():
    made = rules()
    assert made.policy == POLICY
    assert (made.edges, made.wanders, made.governs) == (None, (), None)
    assert made.targets == tuple(sorted(TARGETS, key=lambda t: t.position))


# Bands that scale with volatility


@pytest.mark.parametrize(
    ("volatility", "band"),
    [(600_000, 30_000), (900_000, 45_000), (300_000, 15_000), (10_000, 7_500), (9 * PPM, 120_000)],
)
def test_bands_scale_with_volatility(volatility, band):
    made = rules(
        volatility_ppm=600_000,
        band_volatility_ppm=600_000,
        circumstances=Circumstances(volatilities=(("WETH", volatility),)),
    )
    bands = {t.position: band_ppm(t, made.policy) for t in made.targets}
    assert bands == {"WETH": band, "WBTC": 30_000, "USDC": 30_000}


def test_bands_scale__relative_ones_too():
    made = rules(
        band_rel_ppm=100_000,
        volatility_ppm=600_000,
        band_volatility_ppm=300_000,
    )
    bands = {t.position: band_ppm(t, made.policy) for t in made.targets}
    assert bands == {"WETH": 60_000, "WBTC": 50_000, "USDC": 50_000}


def test_grouped__a_bucket_is_the_sum_of_its_members():
    targets = (
        Target("WETH", 300_000, bucket="big", band_abs_ppm=7),
        Target("USDC", 500_000),
        Target("WBTC", 200_000, bucket="big", band_abs_ppm=7),
    )
    made = grouped(targets)
    assert {name: (t.weight_ppm, t.band_abs_ppm) for name, t in made.items()} == {
        "big": (500_000, 7),
        "USDC": (500_000, None),
    }


# Old digests


def test_fields_added_later_leave_old_rules_as_they_were():
    assert set(to_plain(POLICY)) == {
        "trigger", "band_abs_ppm", "band_rel_ppm", "band_rule", "calendar_s", "dead_band_ppm",
        "reset_ppm", "drift_aversion_ppm", "min_trade_e8", "max_impact_ppm", "max_cost_ppm",
        "max_off_oracle_ppm", "slippage_ppm", "max_gas_price_wei", "deadline_s", "max_age_blocks",
    }  # fmt: skip
    assert "withdrawal" not in to_plain(planned(decided(AT)))


def test_trigger__all_that_keeps_it_is_named():
    at = drifts(problem(holding(502_000, 249_000, 249_000)).valuation, TARGETS, POLICY)
    verdict = evaluate(at, replace(POLICY, cooldown_s=600), NOW, NOW - 60)
    assert not verdict.fired
    assert codes(verdict.reasons)[:3] == ["dead_band_ppm", "cooldown_s", "calendar_not_due_s"]
    assert WBTC.symbol in {d.position for d in at}
