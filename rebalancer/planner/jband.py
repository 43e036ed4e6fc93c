"""How wide the band and how far back: the cheapest rule for a drift that wanders.

A drift ``x`` (share of NAV) wanders as ``dx = s dW``, costs ``(A/2) x^2`` a year while it lasts and
``F + eps * |d|`` to trade back by ``d``. Of all rules "at ``+-l`` trade back to ``+-b``", which one
costs least? Source: docs/planner.md, "The J-band". Floats, because nothing here is an amount: what
is made of it are bands and a weight of drift, rounded to parts per million.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

#: Halvings of an interval until two neighbouring floats are left.
_HALVINGS = 200


@dataclass(frozen=True, slots=True)
class Band:
    """Trigger ``l``, reset ``b`` and the yearly cost ``J``, all as shares of NAV."""

    trigger: float
    reset: float
    cost: float


def yearly_cost(
    trigger: float, reset: float, variance: float, aversion: float, fixed: float, rate: float
) -> float:
    """``J(l, b) = s^2 (F + eps (l - b)) / (l^2 - b^2) + A (l^2 + b^2) / 12``, in shares of NAV.

    ``variance`` is ``s^2`` a year, ``aversion`` ``A``, ``fixed`` ``F``, ``rate`` ``eps``;
    ``0 <= b < l``. For ``b = l``, which is right only without a fixed cost, its limit.
    """
    tracking = aversion * (trigger**2 + reset**2) / 12
    if trigger == reset:
        return variance * rate / (2 * trigger) + tracking
    traded = fixed + rate * (trigger - reset)
    return variance * traded / (trigger**2 - reset**2) + tracking


def best_band(variance: float, aversion: float, fixed: float, rate: float) -> Band:
    """The ``l`` and ``b`` that minimise ``yearly_cost``, and that cost.

    Both derivatives vanish just where, with ``d = l - b`` and ``m = l + b``,

        A m d^3 = 12 s^2 F      and      m = d sqrt(1 + eps d / F)

    which leaves one rising function of ``d``; without a fixed cost ``d = 0`` and
    ``A m^3 = 12 s^2 eps``. Raises ValueError unless variance, aversion and one of the costs are
    positive: otherwise there is no band.
    """
    if min(variance, aversion, max(fixed, rate)) <= 0 or min(fixed, rate) < 0:
        raise ValueError("a band needs a drift that moves, hurts, and costs something to mend")
    if fixed > 0:
        scaled = 12 * variance * fixed / aversion
        width = _root(lambda d: d**4 * sqrt(1 + rate * d / fixed), scaled)
        total = width * sqrt(1 + rate * width / fixed)
    else:
        width = 0.0
        total = _root(lambda m: m**3, 12 * variance * rate / aversion)
    trigger, reset = (total + width) / 2, (total - width) / 2
    return Band(trigger, reset, yearly_cost(trigger, reset, variance, aversion, fixed, rate))


def calendar_cost(
    period: float, variance: float, aversion: float, fixed: float, rate: float
) -> float:
    """Yearly cost of trading all the way back every ``period`` years, in shares of NAV.

    ``(F + eps s sqrt(2 T / pi)) / T + A s^2 T / 4``: the mean absolute value of a normal drift, and
    the mean of its variance while it grows.
    """
    traded = fixed + rate * sqrt(2 * variance * period / pi)
    return traded / period + aversion * variance * period / 4


def kappa(band: Band, variance: float) -> float:
    """The static planner's price of a squared drift that trades as the band does: ``2 J / s^2``.

    It is the curvature at 0 of what a drift will cost from now on, docs/planner.md.
    """
    return 2 * band.cost / variance


def _root(rising: Callable[[float], float], value: float) -> float:
    """Where a function that rises from 0 reaches ``value``, to the last bit."""
    low, high = 0.0, 1.0
    while rising(high) < value:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if rising(middle) < value:
            low = middle
        else:
            high = middle
    return high
