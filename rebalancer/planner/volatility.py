"""How much positions move against each other, from past prices alone.

Floats, as in ``jband``: a volatility is an estimate, rounded to parts per million a year.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise
from math import log, sqrt

from rebalancer.model import PPM

YEAR_S = 31_556_952  # 365.2425 days
#: Fewer changes of price say nothing about volatility.
MIN_RETURNS = 20


@dataclass(frozen=True, slots=True)
class Observation:
    """Prices by name, in any unit that stays the same, as they were known at ``ts`` (unix s)."""

    ts: int
    prices: Mapping[str, float]


def relative_volatilities(
    history: Sequence[Observation],
    groups: Mapping[str, Mapping[str, float]],
    now_ts: int,
    half_life_s: int,
) -> dict[str, int]:
    """Yearly volatility of each group against the rest of the portfolio, in ppm.

    ``groups`` are positions or buckets with the target weight of each of their prices; all weights
    together are the portfolio. Each return is ``r_g - r_rest``, of the group's and of the rest's
    logarithmic returns at target weights; the estimate is

        sigma_g^2 = sum(u (r_g - r_rest)^2) / sum(u dt),      u = 2^(-age / half_life)

    so observations may be any time apart. Only those up to ``now_ts`` count: what comes later
    changes nothing. A group without target, without a rest, or with fewer than MIN_RETURNS returns
    within eight half-lives is left out, as is a return in which a price is missing.
    """
    known = sorted((o for o in history if o.ts <= now_ts), key=lambda o: o.ts)
    found = {}
    for name, members in groups.items():
        rest = {
            key: weight
            for other, weights in groups.items()
            if other != name
            for key, weight in weights.items()
        }
        variance = _ewma(known, members, rest, now_ts, half_life_s)
        if variance is not None:
            found[name] = round(sqrt(variance) * PPM)
    return found


def covariances(
    history: Sequence[Observation], names: Sequence[str], now_ts: int, half_life_s: int
) -> dict[tuple[str, str], float]:
    """Yearly covariances of the logarithmic returns of ``names``, each of two names once.

    The estimate is that of ``relative_volatilities`` for each pair, over the same observations: the
    matrix is a covariance (it has no negative variance), and nothing later than ``now_ts`` counts.
    Empty with fewer than MIN_RETURNS returns of all of them, or where nothing has moved.
    """
    ordered = sorted(set(names))
    sums = dict.fromkeys(combinations_with_replacement(ordered, 2), 0.0)
    years, count = 0.0, 0
    known = sorted((o for o in history if o.ts <= now_ts), key=lambda o: o.ts)
    for before, after in pairwise(known):
        age_s = now_ts - after.ts
        if after.ts == before.ts or age_s > 8 * half_life_s:
            continue
        moved = {name: _return(before, after, {name: 1.0}) for name in ordered}
        returns = {name: move for name, move in moved.items() if move is not None}
        if len(returns) < len(ordered):
            continue
        weight = 0.5 ** (age_s / half_life_s)
        for one, other in sums:
            sums[one, other] += weight * returns[one] * returns[other]
        years += weight * (after.ts - before.ts) / YEAR_S
        count += 1
    if count < MIN_RETURNS or not any(sums[name, name] for name in ordered):
        return {}
    return {names: total / years for names, total in sums.items()}


def _ewma(
    known: Sequence[Observation],
    members: Mapping[str, float],
    rest: Mapping[str, float],
    now_ts: int,
    half_life_s: int,
) -> float | None:
    """Yearly variance of the members' return less the rest's; None where too little is known."""
    if sum(members.values()) <= 0 or sum(rest.values()) <= 0:
        return None
    squares = years = 0.0
    count = 0
    for before, after in pairwise(known):
        age_s = now_ts - after.ts
        if after.ts == before.ts or age_s > 8 * half_life_s:
            continue
        moved = _return(before, after, members), _return(before, after, rest)
        if moved[0] is None or moved[1] is None:
            continue
        weight = 0.5 ** (age_s / half_life_s)
        squares += weight * (moved[0] - moved[1]) ** 2
        years += weight * (after.ts - before.ts) / YEAR_S
        count += 1
    return squares / years if count >= MIN_RETURNS else None


def _return(before: Observation, after: Observation, weights: Mapping[str, float]) -> float | None:
    """Logarithmic return at ``weights``, scaled to 1; None where a price is not known."""
    total = sum(weights.values())
    moved = 0.0
    for name, weight in weights.items():
        if not weight:
            continue
        first, second = before.prices.get(name, 0.0), after.prices.get(name, 0.0)
        if first <= 0 or second <= 0:
            return None
        moved += weight / total * log(second / first)
    return moved
