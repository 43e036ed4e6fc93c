"""Plans under taxes, a reserve for slippage and covariances: what holds whatever the market is."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from math import ceil
from random import Random

import random_markets as world
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.errors import PlanError
from rebalancer.model import PPM, BlockRef, Decision, Plan, Rebalance, SwapLeg, to_json
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.metric import stated_covariances
from rebalancer.planner.proof import proof
from rebalancer.planner.restated import differences
from rebalancer.planner.verification import verify

BLOCK = BlockRef(1, 100, "0x" + "ab" * 32, 1_700_000_000, 10**10)
seeds = st.integers(0, 10**6)


def case_of(seed: int) -> Inputs:
    """A market with some of each: rates, costs and schedules, a reserve, risk given or measured."""
    random = Random(seed)  # noqa: S311
    case = world.make(random, BLOCK)
    at = case.snapshot
    symbols = sorted(amount.token.symbol for amount in at.balances)
    prices = {p.token.symbol: p.numerator * 10 ** (p.token.decimals + 10) // p.denominator
              for p in at.prices}  # fmt: skip
    costs = tuple((s, int(prices[s] * random.uniform(0, 1.5))) for s in symbols)
    policy = replace(
        case.policy,
        tax_rate_ppm=random.choice((0, 100_000, 300_000)),
        tax_costs=costs[: random.randint(0, len(costs))],
        slippage_reserve_ppm=random.choice((0, 500)),
    )
    if random.random() < 0.4:
        steps = sorted({0, *(random.randint(1, 10**20) for _ in range(2))})
        rates = sorted(random.randint(0, 50_000) for _ in steps)
        name = random.choice(symbols)
        tiers = tuple((name, above, rate) for above, rate in zip(steps, rates, strict=True))
        policy = replace(policy, tax_tiers=tiers)
    own = tuple((s, random.randint(0, 10**6)) for s in symbols)
    around = circumstances = case.circumstances
    if any(sigma for _, sigma in own) and random.random() < 0.6:
        # One common cause: any correlation of one sign is a covariance.
        rho = random.choice((0, 300_000, 990_000))
        rows = tuple((a, b, rho) for a in symbols for b in symbols if a < b)
        if random.random() < 0.5:
            policy = replace(policy, risk_volatilities=own, risk_correlations=rows)
        else:
            policy = replace(policy, risk_half_life_s=86_400)
            circumstances = replace(around, covariances=stated_covariances(own, rows))
    if random.random() < 0.5:
        circumstances = replace(circumstances, costs=costs)
    return Inputs(at, case.targets, policy, None, circumstances)


def decided(case: Inputs) -> Decision | None:
    """The decision; None for a portfolio that is worth nothing."""
    try:
        return case.decide()[1]
    except PlanError as error:
        if "worth" not in str(error):
            raise
        return None


def tax_e8(case: Inputs, plan: Plan) -> int:
    """The tax by its definition, in fractions: of each token that the trades take, tier by tier."""
    policy, at, due = case.policy, case.snapshot, 0
    known = dict(policy.tax_costs) | dict(case.circumstances.costs)
    # Wrapping is no sale: what trades take of the wrapped token counts, be it there or not.
    change: dict[str, int] = {}
    forwarded = [getattr(leg, "chained", False) for leg in (*plan.legs[1:], None)]
    for leg, goes_on in zip(plan.legs, forwarded, strict=True):
        if leg.kind in ("wrap", "unwrap"):
            continue
        for amount in leg.takes:
            change[amount.token.address] = change.get(amount.token.address, 0) - amount.raw
        for amount in () if goes_on else leg.pays:
            change[amount.token.address] = change.get(amount.token.address, 0) + amount.raw
    for price in at.prices:
        sold = -change.get(price.token.address, 0)
        tiers = [(above, rate) for s, above, rate in policy.tax_tiers if s == price.token.symbol]
        value = Fraction(price.numerator, price.denominator)
        if not tiers and price.token.symbol in known:
            now = value * 10**price.token.decimals / 10**8
            gain = 1 - Fraction(known[price.token.symbol], 10**18) / now
            tiers = [(0, max(ceil(policy.tax_rate_ppm * gain), 0))]
        taxed, last = Fraction(0), 0
        for above, rate in tiers:
            beyond = max(sold - above * 10**price.token.decimals // 10**18, 0)
            taxed += Fraction((rate - last) * beyond, PPM)
            last = rate
        due += ceil(taxed * value)
    return due


@settings(max_examples=60)
@given(seeds)
def test_a_plan_is_worth_all_that_it_costs_and_replays(seed: int) -> None:
    case = case_of(seed)
    decision = decided(case)
    if not isinstance(decision, Rebalance):
        return
    plan, policy = decision.plan, case.policy
    assert all(finding.ok for finding in verify(to_json(decision), case))
    assert plan.costs.tax_e8 == tax_e8(case, plan)
    paid = sum(
        Fraction(leg.amount_out * p.numerator, p.denominator)
        for leg in plan.legs
        if isinstance(leg, SwapLeg)
        for p in [case.snapshot.price(leg.token_out)]
    )
    assert plan.costs.reserve_e8 == ceil(paid * policy.slippage_reserve_ppm / PPM)
    cost = plan.costs.total_e8 - min(plan.costs.off_oracle_e8, 0) + plan.costs.beside_e8
    if plan.withdrawal is None:
        assert plan.benefit_e8 > cost
    if plan.certificate is not None:
        numbers = proof(plan.certificate)
        assert numbers.hold_e8 <= numbers.realised_e8 <= numbers.upper_e8
        claim = json.loads(plan.certificate)["statement"]
        assert differences(plan.legs, case, claim) == ()
