"""What drifts and sales are weighed by, in words: covariances, taxes, and where they are from."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

from rebalancer.model import E8, PPM, Reason
from rebalancer.planner.aside import cost_of
from rebalancer.planner.bands import goals_of
from rebalancer.planner.exposure import exposures
from rebalancer.planner.metric import COVARIANCE_UNIT, covariances_of
from rebalancer.planner.problem import Problem
from rebalancer.planner.texts import money, percent


def weighed(problem: Problem) -> tuple[Reason, ...]:
    """A line for each rule that makes a plan worth something else than penalty less costs."""
    return (*_risk(problem), *_tax(problem), *_stays(problem))


def _risk(problem: Problem) -> Iterator[Reason]:
    policy = problem.policy
    if policy.risk_half_life_s is None and not policy.risk_volatilities:
        return
    found, measured = covariances_of(problem)
    if not found:
        text = (
            "Each drift costs by itself until the ledger has prices enough to measure covariances"
        )
        yield Reason("risk", text)
        return
    own = [(a, isqrt(value * PPM**2 // COVARIANCE_UNIT)) for a, b, value in found if a == b]
    listed = ", ".join(f"{symbol} {percent(sigma)}" for symbol, sigma in own)
    source = "the ledger's prices" if measured else "the portfolio file"
    text = f"Drifts cost by their covariance, from {source}: volatility a year {listed}"
    yield Reason("risk", text)


def _tax(problem: Problem) -> Iterator[Reason]:
    policy, numeraire = problem.policy, problem.snapshot.numeraire
    for target in problem.targets:
        token = problem.token(target.position)
        if not policy.tax_rate_ppm or token is None:
            continue
        if any(symbol == token.symbol for symbol, _, _ in policy.tax_tiers):
            continue
        cost = cost_of(policy, problem.circumstances, token)
        now = problem.snapshot.price(token).value_down(10**token.decimals)
        if cost is not None and int(cost * E8) < now:
            text = (
                f"{token.symbol} cost {money(int(cost * E8), numeraire)} on average and is at "
                f"{money(now, numeraire)}: {percent(policy.tax_rate_ppm)} of the gain is due on "
                "what is sold"
            )
            yield Reason("tax_ppm", text, policy.tax_rate_ppm)


def _stays(problem: Problem) -> Iterator[Reason]:
    """That LP positions stay as they are, where the planner would move them for a goal."""
    lps = [target.position for target in problem.targets if target.kept]
    goals = any(target.goal_ppm is not None for target in problem.targets)
    if not lps or not goals or problem.policy.planner != "optimal" or exposures(problem):
        return
    if not goals_of(problem.targets, problem.policy):
        why = "with multipliers the tokens alone make up for them"
    else:
        why = "what of them is staked, or in pools that cannot be used, leaves the goals no way"
    yield Reason("lp_stays", f"{', '.join(lps)} stay as they are: {why}")
