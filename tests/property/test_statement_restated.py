"""The problem of a certificate, stated twice: by the solver's bridge and by verification."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import random_markets as world
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.errors import PlanError
from rebalancer.model import E8, PPM, Amount, BlockRef, Circumstances, to_plain
from rebalancer.planner.decision import asked
from rebalancer.planner.explain import posed
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.optimal_problem import stated
from rebalancer.planner.restated import differences

BLOCK = BlockRef(1, 100, "0x" + "ab" * 32, 1_700_000_000, 10**10)


def inputs_of(seed: int) -> Inputs:
    """A market with any caps, taxes, buckets, and a withdrawal of anything that is read."""
    random = Random(seed)  # noqa: S311
    case, pick = world.make(random, BLOCK), random.choice
    balances = case.snapshot.balances
    policy = replace(
        case.policy,
        planner="optimal",
        trigger=pick(("threshold", "cost_aware")),
        band_abs_ppm=pick((10_000, PPM)),
        max_trade_e8=pick((None, 5_000 * E8)),
        max_turnover_ppm=pick((None, 50_000)),
        max_pool_share_ppm=pick((None, 0, 2_000)),
        max_off_oracle_ppm=pick((0, 5_000, 50_000)),
        max_impact_ppm=pick((0, 1, 20_000, PPM, PPM)),
        tax_rate_ppm=pick((0, 300_000)),
        tax_costs=tuple((a.token.symbol, pick((0, 10**16, 10**21))) for a in balances),
        tax_tiers=pick(((), ((balances[0].token.symbol, 7 * 10**17, 40_000),))),
        slippage_reserve_ppm=pick((0, 1_000)),
    )
    targets = case.inputs.targets
    if random.random() < 0.4:
        targets = tuple(replace(t, bucket=pick((None, "b", "c"))) for t in targets)
    withdrawal = None
    if random.random() < 0.5:
        some = pick(balances)
        withdrawal = Amount(some.token, random.randint(1, 2 * some.raw + 10**6))
    past = Circumstances(turnover_e8=random.randint(0, 10**12), withdrawal=withdrawal)
    return Inputs(case.snapshot, targets, policy, None, past)


@settings(max_examples=150)
@given(st.integers(0, 10**6))
def test_both_state_the_same_problem(seed: int) -> None:
    inputs = inputs_of(seed)
    try:
        problem = posed(inputs)
        verdict = asked(problem, None)
        claimed: Any = to_plain(stated(replace(problem, only_raise=verdict.only_raise)))
    except PlanError:
        return  # worth nothing, or more is to be raised than there is
    assert differences((), inputs, claimed) == ()
    claimed["kappa_ppm"] += 1
    (found,) = differences((), inputs, claimed)
    assert found.startswith("kappa_ppm")
