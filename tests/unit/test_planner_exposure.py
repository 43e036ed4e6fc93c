"""Targets on exposures with a planner that moves LP positions: when, how far, what it says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from planner_world import (
    NOW,
    POLICY,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_WETH,
    WETH,
    problem,
    snapshot,
    worth,
)

from rebalancer.amm.goals import exposed, position_targets
from rebalancer.amm.valuation import value
from rebalancer.model import (
    PPM,
    AddLeg,
    Circumstances,
    Goal,
    Hold,
    LpHolding,
    Rebalance,
    RemoveLeg,
    Scheme,
    Snapshot,
    SwapLeg,
    Target,
    to_json,
)
from rebalancer.planner import decide
from rebalancer.planner.bands import drifts
from rebalancer.planner.benefit import penalty_down_e8
from rebalancer.planner.explain import drifting
from rebalancer.planner.exposure import exposures
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.metric import metric_of
from rebalancer.planner.optimal.verify import verify
from rebalancer.planner.optimal_problem import stated
from rebalancer.planner.proof import proof
from rebalancer.planner.replay import replay
from rebalancer.planner.restated import differences
from rebalancer.planner.verification import verify as verify_plan

LP = USDC_WETH.name
BEST = replace(
    POLICY,
    planner="optimal",
    max_impact_ppm=50_000,
    max_cost_ppm=50_000,
    drift_aversion_ppm=5 * PPM,
)


def scheme(**percent: int) -> Scheme:
    """Goals on exposures, shares in per cent; the LP position belongs to none."""
    goals = tuple(Goal(name, share * 10_000, (name,)) for name, share in percent.items())
    return Scheme("exposures", (*percent, LP), goals)


def world(lp: int, weth: int = 0, usdc: int = 0, wbtc: int = 0, staked: int = 0) -> Snapshot:
    """So many dollars in the LP position (of a pool of 100 million) and of each token."""
    shares = USDC_WETH.total_supply * lp // 100_000_000
    held = LpHolding(USDC_WETH.address, shares, None)
    if staked:
        held = replace(held, staked=shares * staked // 100, farm="0x" + "fa" * 20)
    return snapshot(
        worth(WETH, weth), worth(USDC, usdc), worth(WBTC, wbtc), holdings=[held],
        pairs=(USDC_WETH, WBTC_WETH),
    )  # fmt: skip


def inputs(at: Snapshot, goals: Scheme, policy=BEST) -> Inputs:
    return Inputs(at, position_targets(at, goals), policy, None)


def exposure(at: Snapshot, goals: Scheme) -> dict[str, int]:
    return {e.name: e.weight_ppm for e in exposed(value(at, position_targets(at, goals)), goals)}


#: 30 % in WETH through the LP position alone, wanted are 20 %.
TOO_MUCH, WANTED = world(600_000, usdc=400_000), scheme(WETH=20, USDC=80)


def test_more_of_a_token_in_a_pool_than_its_goal_allows__is_redeemed():
    _, decision = inputs(TOO_MUCH, WANTED).decide()
    assert isinstance(decision, Rebalance), decision
    assert "USDC drifted -10.00 points" in decision.reasons[0].text
    plan = decision.plan
    assert [type(leg) for leg in plan.legs] == [RemoveLeg, SwapLeg]
    done = replay(TOO_MUCH, plan.legs)
    assert exposure(done, WANTED)["WETH"] == pytest.approx(200_000, abs=8_000)
    # Just as much is redeemed as is sold of WETH: 100,000 dollars, half of 200,000.
    assert value(done, position_targets(done, WANTED)).position(LP).value_e8 == pytest.approx(
        400_000 * 10**8, rel=0.02
    )


def test_the_greedy_planner_leaves_it_and_nothing_fires():
    _, decision = inputs(TOO_MUCH, WANTED, replace(BEST, planner="greedy")).decide()
    assert isinstance(decision, Hold)
    assert exposures(problem(TOO_MUCH, position_targets(TOO_MUCH, WANTED))) is None


def test_the_benefit_is_that_of_the_exposures():
    """10 points of WETH too much and 10 of USDC too little: kappa/2 * NAV * (0.01 + 0.01)."""
    targets = position_targets(TOO_MUCH, WANTED)
    case = problem(TOO_MUCH, targets, planner="optimal")
    plain = penalty_down_e8(case.valuation, 250_000)
    seen = penalty_down_e8(case.valuation, 250_000, metric_of(case))
    assert plain < 10**8  # the tokens are where they can be, with the LP position as it is
    assert seen == pytest.approx(2_500 * 10**8, rel=0.01)
    weights = {t.position: t.weight_ppm for t in exposures(case).problem.targets}
    assert weights[LP] == pytest.approx(400_000, abs=2)
    assert weights["WETH"] <= 2
    assert weights["USDC"] == pytest.approx(600_000, abs=2)


@pytest.mark.parametrize(
    ("at", "goals"),
    [
        (TOO_MUCH, WANTED),
        (world(600_000, weth=20_000, usdc=300_000, wbtc=80_000), scheme(WETH=20, USDC=70, WBTC=10)),
        (world(100_000, weth=600_000, usdc=300_000), scheme(WETH=50, USDC=50)),
    ],
    ids=["clipped", "three", "room"],
)
def test_it_is_proved_replayed_and_stays_done(at, goals):
    case = inputs(at, goals)
    _, decision = case.decide()
    plan = decision.plan
    verify(plan.certificate)
    found = proof(plan.certificate)
    assert found.gain_e8 == pytest.approx(plan.benefit_e8 - plan.costs.total_e8, rel=1e-2)
    assert all(finding.ok for finding in verify_plan(to_json(decision), case))
    claim = json.loads(plan.certificate)["statement"]
    assert differences(plan.legs, case, claim) == ()
    told = {f["key"] for f in claim["factors"]}
    assert told == {"WETH", "USDC"}
    done = replay(at, plan.legs)
    again = Inputs(done, position_targets(done, goals), BEST, NOW - 10**6)
    assert isinstance(again.decide()[1], Hold)


def test_where_tokens_will_do_the_lp_position_stays():
    at, goals = world(100_000, weth=600_000, usdc=300_000), scheme(WETH=50, USDC=50)
    _, decision = inputs(at, goals).decide()
    assert not [x for x in decision.plan.legs if isinstance(x, AddLeg | RemoveLeg)]
    done = exposure(replay(at, decision.plan.legs), goals)
    assert done["WETH"] == pytest.approx(500_000, abs=10_000)


def test_trading_less_than_what_is_staked__is_left_to_the_tokens():
    """Of 60 % in the pool 50 are staked: to go down to 40 is not ours to do."""
    at = world(600_000, usdc=400_000, staked=83)
    targets = position_targets(at, WANTED)
    assert exposures(problem(at, targets, planner="optimal")) is None
    some = world(600_000, usdc=400_000, staked=50)
    _, decision = inputs(some, WANTED).decide()
    assert exposure(replay(some, decision.plan.legs), WANTED)["WETH"] < 210_000


def test_multipliers_and_pools_that_cannot_be_used_leave_it():
    goals = replace(WANTED, multipliers=(("WETH", 2 * PPM),))
    targets = position_targets(TOO_MUCH, goals)
    assert exposures(problem(TOO_MUCH, targets, planner="optimal")) is None
    off = replace(USDC_WETH, reserve0=USDC_WETH.reserve0 * 11 // 10)
    at = replace(TOO_MUCH, pairs=(off, WBTC_WETH))
    assert exposures(problem(at, position_targets(at, WANTED), planner="optimal")) is None


def test_plan_says_why_lp_positions_stay():
    def said(at: Snapshot, goals: Scheme, policy=BEST) -> list[str]:
        return [reason.text for reason in drifting(inputs(at, goals, policy)).weighed]

    assert said(TOO_MUCH, WANTED) == []
    assert said(TOO_MUCH, WANTED, replace(BEST, planner="greedy")) == []
    (staked,) = said(world(600_000, usdc=400_000, staked=83), WANTED)
    assert staked.startswith(f"{LP} stay as they are: what of them is staked")
    (leveraged,) = said(TOO_MUCH, replace(WANTED, multipliers=(("WETH", 2 * PPM),)))
    assert "with multipliers the tokens alone make up for them" in leveraged


def test_drifts_are_the_exposures_for_who_can_move_them():
    targets = position_targets(TOO_MUCH, WANTED)
    valuation = value(TOO_MUCH, targets)
    found = {d.position: d for d in drifts(valuation, targets, BEST)}
    assert (found["WETH"].weight_ppm, found["WETH"].target_ppm) == (300_000, 200_000)
    assert found[LP].drift_ppm == 0
    greedy = {d.position: d.drift_ppm for d in drifts(valuation, targets, POLICY)}
    assert greedy["WETH"] == 0


def test_a_bucket_of_exposures_drifts_as_one():
    goals = Scheme(
        "exposures",
        ("WETH", "WBTC", "USDC", LP),
        (Goal("coins", 200_000, ("WETH", "WBTC")), Goal("USDC", 800_000, ("USDC",))),
    )
    at = world(600_000, usdc=400_000)
    case = problem(at, position_targets(at, goals), planner="optimal")
    loads = dict(metric_of(case).factors)
    assert loads["coins"] == {"WETH": PPM, "WBTC": PPM, LP: PPM // 2}
    _, decision = inputs(at, goals).decide()
    done = exposure(replay(at, decision.plan.legs), goals)
    assert done["coins"] == pytest.approx(200_000, abs=8_000)


def test_with_a_covariance_lp_positions_move_as_well():
    rules = {"risk_volatilities": (("USDC", 0), ("WETH", 700_000))}
    case = inputs(TOO_MUCH, WANTED, replace(BEST, **rules))
    _, decision = case.decide()
    assert exposure(replay(TOO_MUCH, decision.plan.legs), WANTED)["WETH"] < 210_000
    claim = json.loads(decision.plan.certificate)["statement"]
    assert differences(decision.plan.legs, case, claim) == ()


def test_a_withdrawal_comes_off_all_of_it():
    wanted = Circumstances(withdrawal=worth(USDC, 500_000))
    targets = position_targets(TOO_MUCH, WANTED)
    decision = decide(TOO_MUCH, value(TOO_MUCH, targets), targets, BEST, None, circumstances=wanted)
    bought = sum(c.raw for c in decision.plan.net if c.token == USDC)
    assert bought >= worth(USDC, 100_000).raw


def test_targets_of_older_files_have_no_goal_and_move_nothing():
    targets = tuple(replace(t, goal_ppm=None) for t in position_targets(TOO_MUCH, WANTED))
    assert "goal_ppm" not in to_json(targets)
    case = problem(TOO_MUCH, targets, planner="optimal")
    assert exposures(case) is None
    assert stated(case).stakes == ()
    plain = Scheme("positions", ("WETH",), (Goal("WETH", PPM, ("WETH",)),))
    assert position_targets(TOO_MUCH, plain) == (Target("WETH", PPM),)
