"""What the drifts of several positions cost together, where not each of them costs by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from rebalancer.errors import PlanError
from rebalancer.model import PPM, PairState
from rebalancer.planner.exposure import Exposures, exposures
from rebalancer.planner.problem import Problem

#: A year's covariance of 1 in the units in which it is kept: the cube of a ppm.
COVARIANCE_UNIT = PPM**3
#: Drift of one member of a bucket costs this share of what the bucket's drift costs: enough for
#: there to be one best plan, too little to trade for.
_WITHIN_PPM = 1_000

#: By two symbols, in 1 / COVARIANCE_UNIT; of a token with itself, its variance.
Covariances = tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """``sum_i d_i x_i^2 + sum_j (sum_i F_ji x_i)^2`` of drifts ``x``, instead of ``sum_i x_i^2``.

    ``d`` by position and ``F`` by factor and position, all in ppm. ``targets_ppm`` are what drifts
    are reckoned from where that is not each position's own target.
    """

    weights_ppm: Mapping[str, int]
    factors: tuple[tuple[str, Mapping[str, int]], ...]
    targets_ppm: Mapping[str, int] | None = None

    def squares(self, deviations: Mapping[str, int]) -> int:
        """The same of ``deviations``, by position, times ``PPM ** 2``; exactly."""
        alone = sum(weight * deviations[name] ** 2 for name, weight in self.weights_ppm.items())
        common = (
            sum(load * deviations[name] for name, load in loads.items())
            for _, loads in self.factors
        )
        return alone * PPM + sum(drift**2 for drift in common)


def metric_of(problem: Problem) -> Metric | None:
    """How the drifts of ``problem`` count together; None where each costs by itself.

    By the covariance that was measured, else that of the file; an LP position moves as half of each
    of its tokens. Raises PlanError for what is no covariance of these positions.
    """
    found, _ = covariances_of(problem)
    seen = exposures(problem)
    targets = None
    if seen is not None:
        targets = {target.position: target.weight_ppm for target in seen.problem.targets}
    if found:
        return replace(_metric(_sides(problem), found), targets_ppm=targets)
    return None if seen is None else _of_goals(seen, targets)


def _of_goals(seen: Exposures, targets: Mapping[str, int] | None) -> Metric:
    """Exposures drift: those of one token that no LP position holds by themselves."""
    weights = dict.fromkeys((t.position for t in seen.problem.targets), _WITHIN_PPM)
    factors = []
    for name, loads in sorted(seen.loads.items()):
        if len(loads) > 1:
            factors.append((name, loads))
        else:
            weights |= loads
    return Metric(weights, tuple(factors), targets)


def covariances_of(problem: Problem) -> tuple[Covariances, bool]:
    """What drifts are priced by, () where each costs by itself; and whether it was measured."""
    policy, measured = problem.policy, problem.circumstances.covariances
    if policy.risk_half_life_s is not None and _covers(measured, _sides(problem)):
        return measured, True
    return stated_covariances(policy.risk_volatilities, policy.risk_correlations), False


def buckets_of(problem: Problem) -> Metric:
    """Buckets drift as one: their sum is a factor, the members alone cost next to nothing."""
    weights, members = {}, dict[str, dict[str, int]]()
    for target in problem.targets:
        weights[target.position] = PPM if target.bucket is None else _WITHIN_PPM
        if target.bucket is not None:
            members.setdefault(target.bucket, {})[target.position] = PPM
    return Metric(weights, tuple(sorted(members.items())))


def stated_covariances(
    volatilities: Sequence[tuple[str, int]], correlations: Covariances
) -> Covariances:
    """What volatilities and correlations, both in ppm, come to."""
    own = dict(volatilities)
    found = [(name, name, PPM * sigma**2) for name, sigma in own.items()]
    return tuple(sorted([*found, *((a, b, rho * own[a] * own[b]) for a, b, rho in correlations)]))


def _sides(problem: Problem) -> tuple[tuple[str, str, str], ...]:
    """Each position with the two tokens that it is one half of each of; a token is both halves."""
    pairs = {pair.name: pair for pair in problem.snapshot.pairs}
    found = []
    for target in problem.targets:
        name, token = target.position, problem.token(target.position)
        pair = None if token is not None else pairs[name]
        found.append((name, name, name) if pair is None else (name, *_symbols(pair)))
    return tuple(found)


def _symbols(pair: PairState) -> tuple[str, str]:
    return pair.token0.symbol, pair.token1.symbol


def _covers(covariances: Covariances, sides: Sequence[tuple[str, str, str]]) -> bool:
    """Whether every token has a variance: one that came later may not have."""
    known = {a for a, b, _ in covariances if a == b}
    return bool(known) and all(known.issuperset(tokens) for _, *tokens in sides)


@lru_cache(maxsize=64)
def _metric(sides: tuple[tuple[str, str, str], ...], covariances: Covariances) -> Metric:
    """Loads NumPy when it is first asked, as everything else does without."""
    from rebalancer.planner.optimal.covariance import drift_metric

    if not _covers(covariances, sides):
        raise PlanError(
            "a position, or a token of one, has no volatility",
            hint="give each of them one in policy.risk.volatilities",
        )
    known = {frozenset((a, b)): value / COVARIANCE_UNIT for a, b, value in covariances}
    matrix = [
        [
            sum(known.get(frozenset((a, b)), 0.0) for a in one for b in other) / 4
            for _, *other in sides
        ]
        for _, *one in sides
    ]
    weights, factors = drift_metric([name for name, *_ in sides], matrix)
    return Metric(weights, tuple((factor.key, dict(factor.loads)) for factor in factors))
