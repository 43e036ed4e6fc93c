"""What stands behind a decision: cost of waiting, every question, a recomputation, a picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import NOW, POLICY, TARGETS, USDC, WBTC_WETH, WETH, holding, pool

from rebalancer.model import PPM, ExpectedPosition, Rebalance, to_json
from rebalancer.planner.benefit import penalty_up_e8
from rebalancer.planner.explain import drifting, told, why
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.verification import verify
from rebalancer.report.picture import WIDTH, bars

AT = holding(700_000, 120_000, 180_000)


def inputs(at=AT, last_ts=None, **changes):
    return Inputs(at, TARGETS, replace(POLICY, **changes), last_ts)


def test_waiting__a_kappa_of_the_file_has_no_horizon():
    found = drifting(inputs())
    assert found.penalty_e8 == penalty_up_e8(inputs().decide()[0], 250_000)
    assert (found.horizon_s, found.daily_e8, found.bands) == (None, None, ())
    (line,) = told(found, "USD")
    assert "drift_aversion (kappa) 25.00%" in line


def test_waiting__a_derived_kappa_has_one():
    found = drifting(inputs(risk_aversion_ppm=4 * PPM, volatility_ppm=600_000))
    assert found.governs is not None
    assert found.kappa_ppm == found.governs.kappa_ppm
    years = found.horizon_s / 31_556_952
    # kappa = A T with A = eta sigma^2: the penalty is what the running cost adds up to.
    assert found.kappa_ppm / PPM == pytest.approx(4 * 0.6**2 * years, rel=1e-4)
    assert found.daily_e8 * years * 365.2425 == pytest.approx(found.penalty_e8, rel=1e-6)
    assert len(told(found, "USD")) == 3


def test_why__a_plan__every_answer_is_yes():
    steps = why(inputs())
    assert [step.passed for step in steps] == [True] * 5
    assert isinstance(inputs().decide()[1], Rebalance)


@pytest.mark.parametrize(("weth_ppm", "said"), [(-10_000, True), (10_000, False)])
def test_why__the_cost_is_the_one_that_is_weighed(weth_ppm, said):
    # A pool short of WETH pays more for it than the oracle: `plan` shows a smaller total.
    off = (pool(1, USDC, WETH, 50_000_000, skew_ppm=weth_ppm), WBTC_WETH)
    step = why(inputs(holding(700_000, 120_000, 180_000, pairs=off)))[3]
    (answer,) = step.answers
    assert ("what pools off the oracle seem to give is not counted" in answer.text) is said


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        (inputs(last_ts=NOW - 60), [False, True, True, True, True]),
        (inputs(drift_aversion_ppm=10_000), [True, True, True, False, True]),
        (inputs(max_gas_price_wei=1), [True, False, True, True, True]),
        (inputs(holding(500_000, 250_000, 250_000)), [False, True, False, None, None]),
        (inputs(max_stale_gain_ppm=0, max_price_age_s=0), [True, True, True, True, True]),
    ],
)
def test_why__each_question_is_answered_by_itself(asked, answers):
    assert [step.passed for step in why(asked)] == answers
    decided = isinstance(asked.decide()[1], Rebalance)
    assert decided == (False not in answers)


def test_why__optimal__says_what_is_decided():
    strict = inputs(planner="optimal", max_cost_ppm=3_300, drift_aversion_ppm=PPM)
    decided = isinstance(strict.decide()[1], Rebalance)
    assert decided == all(step.passed for step in why(strict))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"amount_out": 1}, "legs"),
        ({"amount_in": 10**40}, "legs"),
        ({"pair": "0x" + "0" * 40}, "legs"),
        ({"chained": True}, "legs"),
    ],
)
def test_verification__does_not_lean_on_the_planner(monkeypatch, change, what):
    """Even if ``decide`` itself made the false plan, its arithmetic is done again."""
    asked = inputs()
    valuation, decision = asked.decide()
    legs = (replace(decision.plan.legs[0], **change), *decision.plan.legs[1:])
    false = replace(decision, plan=replace(decision.plan, legs=legs))
    monkeypatch.setattr(Inputs, "decide", lambda self: (valuation, false))
    found = {f.what: f.ok for f in verify(to_json(false), asked)}
    assert found["decision"]
    assert not found[what]


def test_verification__balances_costs_and_gas(monkeypatch):
    asked = inputs()
    valuation, decision = asked.decide()
    plan = decision.plan
    for changed, what in (
        (replace(plan, net=plan.net[1:]), "balances"),
        (replace(plan, costs=replace(plan.costs, fee_e8=plan.costs.fee_e8 + 1)), "costs"),
        (replace(plan, costs=replace(plan.costs, gas_units=1)), "gas"),
    ):
        false = replace(decision, plan=changed)
        monkeypatch.setattr(Inputs, "decide", lambda self, f=false: (valuation, f))
        found = {f.what: f.ok for f in verify(to_json(false), asked)}
        assert [name for name, ok in found.items() if not ok] == [what]


def test_picture__kept_sold_bought_and_the_target():
    made = bars(
        (
            ExpectedPosition(WETH.symbol, 600_000, 500_000, 500_000),
            ExpectedPosition(USDC.symbol, 0, 300_000, 200_000),
            ExpectedPosition("X", 0, 0, 0),
        )
    )
    assert made[0] == "█" * 25 + "│" + "░" * 4
    assert made[1] == "▒" * 10 + " " * 5 + "│"
    assert made[2] == "│"
    assert all(len(bar) <= WIDTH + 1 for bar in made)
