"""A hold of the optimal planner says what any plan could gain at most; deposits are weighed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from planner_world import (
    NOW,
    POLICY,
    TARGETS,
    USDC,
    decided,
    holding,
    problem,
    worth,
)

from rebalancer.model import E8, PPM, Circumstances, Hold, Reason, Rebalance, Snapshot, to_json
from rebalancer.planner import optimal_proposer
from rebalancer.planner.costs import appraise
from rebalancer.planner.explain import why
from rebalancer.planner.greedy import GreedyProposer
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.optimal import bridge
from rebalancer.planner.optimal.statement import statement
from rebalancer.planner.optimal.verify import verify as certified
from rebalancer.planner.reasons import most_gain
from rebalancer.planner.verification import verify
from rebalancer.report.why import why_document

BEST: dict[str, Any] = {"planner": "optimal", "trigger": "cost_aware", "dead_band_ppm": 0}
#: A point off: not worth its gas at 300 gwei, but more than its fee.
NEARLY = holding(510_000, 245_000, 245_000, gas_gwei=90)
FAR = holding(700_000, 120_000, 180_000)


def inputs(at: Snapshot, **changes: Any) -> Inputs:
    return Inputs(at, TARGETS, replace(POLICY, **BEST | changes), NOW - 60)


def bound(reasons: tuple[Reason, ...]) -> Reason | None:
    found = [reason for reason in reasons if reason.code == "most_gain_e8"]
    assert len(found) <= 1
    return found[0] if found else None


def held(asked: Inputs) -> Hold:
    decision = asked.decide()[1]
    assert isinstance(decision, Hold), decision
    return decision


def test_a_hold_that_nothing_is_worth_leaving_says_so() -> None:
    asked = inputs(NEARLY, drift_aversion_ppm=100_000)
    said = bound(held(asked).reasons)
    assert said is not None
    assert said.measured is not None
    assert 0 <= said.measured < 10 * E8
    assert said.text.startswith("No plan is worth more than ")
    # No greedy plan is, either.
    case = problem(NEARLY, **BEST, drift_aversion_ppm=100_000)
    legs = GreedyProposer().propose(case).legs
    assert legs
    assert appraise(case, legs).gain_e8 <= said.measured


def test_a_hold_of_a_plan_that_breaks_a_limit_says_what_is_forgone() -> None:
    asked = inputs(FAR, max_cost_ppm=1)
    decision = held(asked)
    said = bound(decision.reasons)
    assert decision.reasons[0].code == "max_cost_ppm"
    assert said is not None
    free = inputs(FAR, max_cost_ppm=PPM).decide()[1]
    assert isinstance(free, Rebalance)
    assert said.measured >= free.plan.benefit_e8 - free.plan.costs.total_e8 - E8
    assert said.measured > 1_000 * E8


def test_a_hold_for_want_of_a_plan_within_limits_says_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(optimal_proposer, "_broken_cap", lambda *_: "it breaks one")
    decision = held(inputs(FAR, max_cost_ppm=PPM))
    assert "within_limits" in [reason.code for reason in decision.reasons]
    said = bound(decision.reasons)
    assert said is not None
    assert said.measured is not None
    assert said.measured > 1_000 * E8


def test_why_not__tells_it_though_it_is_not_time() -> None:
    asked = inputs(FAR, trigger="calendar")
    assert bound(held(asked).reasons) is None  # nothing was asked of the planner
    steps = why(asked)
    assert [step.passed for step in steps] == [False, True, True, True, True]
    said = bound(steps[2].answers)
    assert said is not None
    # Whoever wants to check it himself finds it in the JSON.
    (proved,) = [step["certificate"] for step in why_document(steps) if "certificate" in step]
    numbers = certified(proved)
    assert numbers["upper_e8"] - numbers["hold_e8"] == said.measured


def test_the_greedy_planner_proves_nothing() -> None:
    asked = inputs(NEARLY, planner="greedy", drift_aversion_ppm=100_000)
    assert bound(held(asked).reasons) is None
    assert all(bound(step.answers) is None for step in why(asked))


def test_a_withdrawal_is_not_told_of_by_its_charge() -> None:
    case = problem(FAR, **BEST, circumstances=Circumstances(withdrawal=worth(USDC, 300_000)))
    assert case.owed is not None
    certificate = inputs(FAR).decide()[1].plan.certificate
    assert most_gain(case, certificate) == ()
    assert most_gain(replace(case, owed=None), certificate) != ()


def test_the_text_is_rounded_up() -> None:
    case = problem(FAR, **BEST)
    (reason,) = most_gain(case, '{"hold_e8":5,"realised_e8":5,"upper_e8":6,"gap_e8":1}')
    assert (reason.measured, "more than 0.01 USD more" in reason.text) == (1, True)


# Recomputed.


def test_verification__a_holds_bound_is_proved_again() -> None:
    asked = inputs(NEARLY, drift_aversion_ppm=100_000)
    found = {f.what: f.ok for f in verify(to_json(held(asked)), asked)}
    assert found == dict.fromkeys(("decision", "most gain", "certificate", "statement"), True)


def test_verification__a_false_bound_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = inputs(NEARLY, drift_aversion_ppm=100_000)
    valuation, decision = asked.decide()
    assert isinstance(decision, Hold)
    less = replace(decision.reasons[-1], measured=-1)
    false = replace(decision, reasons=(*decision.reasons[:-1], less))
    monkeypatch.setattr(Inputs, "decide", lambda self: (valuation, false))
    found = {f.what: f.ok for f in verify(to_json(false), asked)}
    assert found == {"decision": True, "most gain": False, "certificate": True, "statement": True}


def test_verification__a_hold_for_another_problem_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(**parts: Any) -> Any:
        return statement(**parts | {"nav_e8": 2 * parts["nav_e8"]})

    monkeypatch.setattr(bridge, "statement", twice)
    asked = inputs(holding(), drift_aversion_ppm=500_000)
    found = {f.what: f.ok for f in verify(to_json(held(asked)), asked)}
    assert found == {"decision": True, "most gain": True, "certificate": True, "statement": False}


# Deposits.


def test_deposits__optimal__are_weighed_with_everything_else() -> None:
    came = Circumstances(deposits=(worth(USDC, 100_000),))
    at = holding(620_000, 180_000, 300_000)
    with_them, without = (
        decided(at, planner="optimal", drift_aversion_ppm=500_000, circumstances=c)
        for c in (came, Circumstances())
    )
    assert isinstance(with_them, Rebalance)
    assert isinstance(without, Rebalance)
    assert with_them.plan.legs == without.plan.legs
    (said,) = [r for r in with_them.reasons if r.code == "deposits_weighed"]
    assert said.text.startswith("What came in (100,000.00 USD of USDC) is not spent before")
    assert [r for r in without.reasons if r.code == "deposits_weighed"] == []
    greedy = decided(at, circumstances=came)
    assert [r for r in greedy.reasons if r.code == "deposits_weighed"] == []
