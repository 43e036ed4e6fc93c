"""The planner's problem as the optimal solver has it, with every limit of the policy in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rebalancer.model import PPM, mul_div_down, mul_div_nearest
from rebalancer.planner.aside import tax_tiers
from rebalancer.planner.exposure import exposures
from rebalancer.planner.metric import buckets_of, metric_of
from rebalancer.planner.problem import Problem

if TYPE_CHECKING:
    from rebalancer.planner.optimal.statement import Statement, TaxTier

#: What is raised may be more by this part and so many units: what roundings need.
_ROUND_UP = 10_000
_UNITS = 10_000


def stated(problem: Problem) -> Statement:
    """The problem as the solver and the certificate have it, with every limit of the policy.

    Without a metric of its own buckets drift as one; with goals on exposures LP positions are moved
    for them. The share of a pool that may be paid in
    tightens the pool's limit of impact.
    """
    from rebalancer.planner.optimal.bridge import statement_of
    from rebalancer.planner.optimal.statement import Factor

    found = metric_of(problem) or buckets_of(problem)
    seen = exposures(problem)
    problem = problem if seen is None else seen.problem
    made = statement_of(
        problem, taxes=_taxes(problem), reserve_ppm=problem.policy.slippage_reserve_ppm
    )
    keys = _keys(problem)
    weights = {keys[name]: weight for name, weight in found.weights_ppm.items()}
    known = {asset.key for asset in made.assets} | {stake.key for stake in made.stakes}
    made = replace(
        made,
        assets=tuple(
            replace(asset, drift_weight_ppm=weights.get(asset.key, PPM)) for asset in made.assets
        ),
        stakes=tuple(replace(stake, drift_weight_ppm=weights[stake.key]) for stake in made.stakes),
        factors=tuple(
            Factor(name, tuple(sorted((keys[x], n) for x, n in loads.items() if keys[x] in known)))
            for name, loads in found.factors
        ),
        pools=tuple(
            replace(
                pool,
                max_impact_ppm=min(
                    pool.max_impact_ppm,
                    impact_of_share_ppm(problem.policy.max_pool_share_ppm, pool.fee_ppm),
                ),
            )
            for pool in made.pools
        ),
    )
    return _limited(problem, _owing(problem, made))


def _keys(problem: Problem) -> dict[str, str]:
    """What the statement calls each position: its address, or its pair's, in lower case."""
    pairs = {pair.name: pair.address.lower() for pair in problem.snapshot.pairs}
    tokens = {target.position: problem.token(target.position) for target in problem.targets}
    return {
        name: pairs[name] if token is None else token.address.lower()
        for name, token in tokens.items()
    }


def _taxes(problem: Problem) -> dict[str, tuple[TaxTier, ...]]:
    """What selling each position is taxed with, by address in lower case."""
    from rebalancer.planner.optimal.statement import TaxTier

    snapshot, rules = problem.snapshot, (problem.policy, problem.circumstances)
    tokens = (problem.token(target.position) for target in problem.targets)
    return {
        token.address.lower(): tuple(
            TaxTier(tier.above_raw, tier.rate_ppm) for tier in tax_tiers(snapshot, *rules, token)
        )
        for token in tokens
        if token is not None
    }


def _owing(problem: Problem, made: Statement) -> Statement:
    """What is owed to a withdrawal: to be there in the end, and no part of NAV.

    Where nothing but the withdrawal is asked for, nothing else is bought.
    """
    owed = problem.owed
    if owed is None:
        return made
    key, nav_e8 = owed.token.address.lower(), problem.valuation.nav_e8
    left_e8 = nav_e8 - problem.owed_e8
    weights = {
        token.address.lower(): target.weight_ppm
        for target in problem.targets
        if (token := problem.token(target.position)) is not None
    }
    assets = []
    for asset in made.assets:
        if asset.target_ppm is not None:
            # What cannot be traded of it is a larger share of what is left.
            beside = weights[asset.key] - asset.target_ppm
            share = mul_div_nearest(beside, nav_e8, left_e8)
            asset = replace(asset, target_ppm=max(weights[asset.key] - share, 0))
        if asset.key == key:
            asset = replace(asset, owed=owed.raw)
        if problem.only_raise and asset.target_ppm is not None:
            more = owed.raw + owed.raw // _ROUND_UP + _UNITS if asset.key == key else 0
            asset = replace(asset, most=asset.held + more)
        assets.append(asset)
    made = replace(made, nav_e8=left_e8, assets=tuple(assets))
    return without(made, {stake.key for stake in made.stakes}) if problem.only_raise else made


def _limited(problem: Problem, made: Statement) -> Statement:
    """With the caps per trade and per day, and the least that may be sold of a token."""
    policy = problem.policy
    sold = None
    if policy.max_turnover_ppm is not None:
        limit = mul_div_down(problem.valuation.nav_e8, policy.max_turnover_ppm, PPM)
        # The values of what is sold are rounded one by one.
        sold = max(limit - problem.circumstances.turnover_e8 - len(made.assets), 0)
    least = policy.min_trade_e8 if problem.owed is None else 0
    return replace(
        made,
        max_leg_e8=policy.max_trade_e8,
        max_sold_e8=sold,
        assets=tuple(
            replace(a, least_sold=-(-least * a.price_denominator // a.price_numerator))
            if a.target_ppm is not None
            else a
            for a in made.assets
        ),
    )


def impact_of_share_ppm(share_ppm: int | None, fee_ppm: int) -> int:
    """The impact, rounded down, of paying in that share of a reserve: ``a / (1 + a)`` after fee.

    At least 1 ppm, which is no trade worth its gas, where a pool may not be used at all.
    """
    if share_ppm is None:
        return PPM
    after_fee = share_ppm * (PPM - fee_ppm)
    return max(mul_div_down(after_fee, PPM, PPM * PPM + after_fee), 1)


def without(made: Statement, keys: set[str]) -> Statement:
    """The statement in which these are passed through, or left, and neither bought nor sold."""
    return replace(
        made,
        assets=tuple(
            replace(asset, target_ppm=None, tax=()) if asset.key in keys else asset
            for asset in made.assets
        ),
        stakes=tuple(stake for stake in made.stakes if stake.key not in keys),
        factors=tuple(
            replace(factor, loads=tuple(x for x in factor.loads if x[0] not in keys))
            for factor in made.factors
        ),
    )
