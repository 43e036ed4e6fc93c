"""What it is worth to be nearer the targets, in the same currency as the costs."""

from __future__ import annotations

from rebalancer.model import PPM, Valuation, mul_div_down, mul_div_up


def penalty_down_e8(valuation: Valuation, drift_aversion_ppm: int) -> int:
    """Drift penalty ``kappa / 2 * NAV * sum(d_i^2)`` in 1e-8 of the numeraire, rounded down.

    ``d_i = value_i / NAV - target_i`` from the values themselves, not from rounded weights;
    ``kappa = drift_aversion_ppm / 1_000_000``. Source: docs/planner.md, "What drift costs".
    """
    return mul_div_down(drift_aversion_ppm, *_ratio(valuation))


def penalty_up_e8(valuation: Valuation, drift_aversion_ppm: int) -> int:
    """As ``penalty_down_e8``, rounded up."""
    return mul_div_up(drift_aversion_ppm, *_ratio(valuation))


def benefit_e8(before: Valuation, after: Valuation, drift_aversion_ppm: int) -> int:
    """Penalty that going from ``before`` to ``after`` removes, rounded down; negative if it adds.

    Each penalty is taken at its own NAV.
    """
    return penalty_down_e8(before, drift_aversion_ppm) - penalty_up_e8(after, drift_aversion_ppm)


def _ratio(valuation: Valuation) -> tuple[int, int]:
    """Numerator and denominator of the penalty per ppm of kappa."""
    nav = valuation.nav_e8
    squares = sum((p.value_e8 * PPM - p.target_ppm * nav) ** 2 for p in valuation.positions)
    return squares, 2 * PPM**3 * nav
