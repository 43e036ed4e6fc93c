"""What it is worth to be nearer the targets, in the same currency as the costs."""

from __future__ import annotations

from rebalancer.model import PPM, Valuation, mul_div_down, mul_div_up
from rebalancer.planner.metric import Metric


def penalty_down_e8(
    valuation: Valuation, drift_aversion_ppm: int, metric: Metric | None = None
) -> int:
    """Drift penalty ``kappa / 2 * NAV * sum(d_i^2)`` in 1e-8 of the numeraire, rounded down.

    ``d_i = value_i / NAV - target_i`` from the values themselves, not from rounded weights, and
    summed over the members of a bucket: trading within one gains nothing;
    ``kappa = drift_aversion_ppm / 1_000_000``. With a ``metric`` the sum is the metric's instead.
    Source: docs/planner.md, "What drift costs".
    """
    return mul_div_down(drift_aversion_ppm, *_ratio(valuation, metric))


def penalty_up_e8(
    valuation: Valuation, drift_aversion_ppm: int, metric: Metric | None = None
) -> int:
    """As ``penalty_down_e8``, rounded up."""
    return mul_div_up(drift_aversion_ppm, *_ratio(valuation, metric))


def benefit_e8(
    before: Valuation, after: Valuation, drift_aversion_ppm: int, metric: Metric | None = None
) -> int:
    """Penalty that going from ``before`` to ``after`` removes, rounded down; negative if it adds.

    Each penalty is taken at its own NAV.
    """
    least = penalty_down_e8(before, drift_aversion_ppm, metric)
    return least - penalty_up_e8(after, drift_aversion_ppm, metric)


def _ratio(valuation: Valuation, metric: Metric | None) -> tuple[int, int]:
    """Numerator and denominator of the penalty per ppm of kappa."""
    nav = valuation.nav_e8
    if metric is not None:
        targets = metric.targets_ppm or {p.name: p.target_ppm for p in valuation.positions}
        alone = {p.name: p.value_e8 * PPM - targets[p.name] * nav for p in valuation.positions}
        return metric.squares(alone), 2 * PPM**5 * nav
    deviations: dict[tuple[str, bool], int] = {}
    for p in valuation.positions:
        key = (p.name, False) if p.bucket is None else (p.bucket, True)
        deviations[key] = deviations.get(key, 0) + p.value_e8 * PPM - p.target_ppm * nav
    return sum(deviation**2 for deviation in deviations.values()), 2 * PPM**3 * nav
