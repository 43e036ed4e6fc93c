"""Plans for goals on exposures that may move LP positions: what holds whatever the market is."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import random_markets as world
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.amm.goals import exposed, position_targets
from rebalancer.amm.valuation import value
from rebalancer.errors import PlanError
from rebalancer.model import (
    PPM,
    BlockRef,
    Circumstances,
    Goal,
    Hold,
    Rebalance,
    Scheme,
    Snapshot,
    to_json,
)
from rebalancer.planner import replay
from rebalancer.planner.decision import pose
from rebalancer.planner.exposure import Exposures, exposures
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.proof import proof
from rebalancer.planner.restated import differences
from rebalancer.planner.verification import verify

BLOCK = BlockRef(1, 100, "0x" + "ab" * 32, 1_700_000_000, 10**10)
seeds = st.integers(0, 10**6)


def case_of(seed: int) -> tuple[Inputs, Scheme] | None:
    """A market whose tokens all have goals, its LP positions looked through."""
    random = Random(seed)  # noqa: S311
    case = world.make(random, BLOCK)
    tokens = sorted(amount.token.symbol for amount in case.snapshot.balances)
    lps = tuple(pair.name for pair in case.snapshot.pairs if _held(case.snapshot, pair.address))
    cuts = sorted(random.randint(0, PPM) for _ in tokens[1:])
    shares = [b - a for a, b in zip([0, *cuts], [*cuts, PPM], strict=True)]
    goals = tuple(Goal(name, share, (name,)) for name, share in zip(tokens, shares, strict=True))
    scheme = Scheme("exposures", (*tokens, *lps), goals)
    policy = replace(
        case.policy, planner="optimal", drift_aversion_ppm=random.choice((PPM, PPM * 9))
    )
    try:
        targets = position_targets(case.snapshot, scheme)
        value(case.snapshot, targets)
    except PlanError:
        return None  # worth nothing
    return Inputs(case.snapshot, targets, policy, None, Circumstances()), scheme


def _seen(case: Inputs) -> Exposures | None:
    valuation = value(case.snapshot, case.targets)
    return exposures(pose(case.snapshot, valuation, case.targets, case.policy, case.circumstances))


def _held(at: Snapshot, pair: str) -> int:
    return sum(holding.shares for holding in at.holdings if holding.pair == pair)


def _far(at: Snapshot, scheme: Scheme) -> int:
    """How far the exposures are from their goals, all together, as the penalty counts it."""
    return sum(e.drift_ppm**2 for e in exposed(value(at, position_targets(at, scheme)), scheme))


@settings(max_examples=50)
@given(seeds)
def test_a_plan_is_proved_restated_and_brings_exposures_nearer(seed: int) -> None:
    made = case_of(seed)
    if made is None:
        return
    case, scheme = made
    _, decision = case.decide()
    if not isinstance(decision, Rebalance):
        return
    plan = decision.plan
    assert all(finding.ok for finding in verify(to_json(decision), case))
    numbers = proof(plan.certificate)
    assert numbers.hold_e8 <= numbers.realised_e8 <= numbers.upper_e8
    claim = json.loads(plan.certificate)["statement"]
    assert differences(plan.legs, case, claim) == ()
    if _seen(case) is None:
        return
    done = replay(case.snapshot, plan.legs)
    assert _far(done, scheme) < _far(case.snapshot, scheme)
    # Where no limit cut it, little was lost and the best is known, it stays done.
    moved = abs(plan.nav_after_e8 - plan.nav_before_e8)
    if decision.limits or moved * 5_000 > plan.nav_before_e8:
        return
    if numbers.gap_e8 * 2 <= plan.costs.gas_e8:
        again = Inputs(done, position_targets(done, scheme), case.policy, None)
        assert isinstance(again.decide()[1], Hold)


@settings(max_examples=100)
@given(seeds)
def test_the_targets_of_what_may_be_moved_meet_every_goal(seed: int) -> None:
    made = case_of(seed)
    if made is None:
        return
    case, scheme = made
    at, seen = case.snapshot, _seen(case)
    if seen is None:
        return
    weights = {target.position: target.weight_ppm for target in seen.problem.targets}
    assert min(weights.values()) >= 0
    still = {t.position for t in seen.problem.targets if t.kept}
    sides = {pair.name: (pair.token0.symbol, pair.token1.symbol) for pair in at.pairs}
    for goal in scheme.goals:
        through = sum(weights[lp] * sides[lp].count(goal.name) for lp in sides if lp in weights)
        assert abs(weights[goal.name] + through / 2 - goal.weight_ppm) <= len(weights)
        loads = seen.loads[goal.name]
        assert loads.keys() & still == set()
