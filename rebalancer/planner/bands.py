"""Each position's, or bucket's, drift beside the band that it may drift within."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rebalancer.model import PPM, Policy, Target, Valuation, mul_div_down


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift of one position or bucket and its band, both in parts per million of NAV."""

    position: str
    weight_ppm: int
    target_ppm: int
    band_ppm: int

    @property
    def drift_ppm(self) -> int:
        """Weight less target; positive is overweight."""
        return self.weight_ppm - self.target_ppm

    @property
    def outside(self) -> bool:
        """Whether the drift is larger than the band; on its edge is inside."""
        return abs(self.drift_ppm) > self.band_ppm


def band_ppm(target: Target, policy: Policy) -> int:
    """Widest drift that leaves the position alone, in ppm of NAV, rounded down.

    The position's own bands stand in for the policy's, each for its own kind. Where an absolute and
    a relative band are both set, ``policy.band_rule`` picks the tighter or the wider. The relative
    band of a zero target would be nothing at all, so such a position has its absolute band.
    """
    absolute = policy.band_abs_ppm if target.band_abs_ppm is None else target.band_abs_ppm
    ratio = policy.band_rel_ppm if target.band_rel_ppm is None else target.band_rel_ppm
    if ratio is None or target.weight_ppm == 0:
        return absolute
    relative = mul_div_down(target.weight_ppm, ratio, PPM)
    return min(absolute, relative) if policy.band_rule == "tighter" else max(absolute, relative)


def group_of(target: Target) -> str:
    """The position, or the bucket that drifts as one."""
    return target.bucket or target.position


def grouped(targets: Sequence[Target]) -> dict[str, Target]:
    """One target for each position or bucket, by its name; a bucket's is the sum of its members'.

    The bands are those of the first member, which has the bucket's.
    """
    found: dict[str, Target] = {}
    for target in targets:
        name = group_of(target)
        weight = found[name].weight_ppm if name in found else 0
        found[name] = replace(found.get(name, target), weight_ppm=weight + target.weight_ppm)
    return found


def goals_of(targets: Sequence[Target], policy: Policy) -> dict[str, int]:
    """Goals on exposures by name, in ppm of NAV; none where LP positions are left as they are.

    The greedy planner leaves them, and nobody moves them for leveraged tokens.
    """
    if policy.planner != "optimal" or any(t.multiplier_ppm != PPM for t in targets):
        return {}
    return {group_of(t): t.goal_ppm for t in targets if t.goal_ppm is not None}


def drifts(valuation: Valuation, targets: Sequence[Target], policy: Policy) -> tuple[Drift, ...]:
    """Drift and band of every position, or whole bucket, the largest drift first, then by name.

    What drifts is a bucket's sum: how it is shared among its members is nobody's target. Where LP
    positions may be moved for goals on exposures, it is the exposure, looked through.
    """
    weights: dict[str, int] = {}
    goals = goals_of(targets, policy)
    through = {e.symbol: e.weight_ppm for e in valuation.exposures} if goals else {}
    for target in targets:
        name = group_of(target)
        own = valuation.position(target.position).weight_ppm
        weights[name] = weights.get(name, 0)
        weights[name] += through.get(target.position, 0) if name in goals else own
    whole = {
        name: replace(together, weight_ppm=goals.get(name, together.weight_ppm))
        for name, together in grouped(targets).items()
    }
    return _ordered(
        [
            Drift(name, weights[name], together.weight_ppm, band_ppm(together, policy))
            for name, together in whole.items()
        ]
    )


def position_drifts(
    valuation: Valuation, targets: Sequence[Target], policy: Policy
) -> tuple[Drift, ...]:
    """As ``drifts``, but of each member of a bucket by itself, against its part of the target."""
    found = [
        Drift(
            position=target.position,
            weight_ppm=valuation.position(target.position).weight_ppm,
            target_ppm=target.weight_ppm,
            band_ppm=band_ppm(target, policy),
        )
        for target in targets
    ]
    return _ordered(found)


def _ordered(found: Sequence[Drift]) -> tuple[Drift, ...]:
    return tuple(sorted(found, key=lambda d: (-abs(d.drift_ppm), d.position)))
