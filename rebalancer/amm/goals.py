"""From what a portfolio file asks for to a target for every position, at one snapshot.

Goals on single positions are the targets. A bucket's share goes to its tokens in proportion to what
each is worth now, so that the mix of a bucket stays what it is and one of its tokens is never sold
for another; a bucket that holds none of them fills with the first. LP positions are not traded:
they keep what they are worth, and their bucket's tokens share what remains of it.

Goals on exposures are shares of the notional exposure ``X``: every token counts its value times
its multiplier, held directly or as half of an LP position's fair value. With ``t`` a goal's share,
``e`` what it has through LP positions and rewards, and ``M`` the mean multiplier of its tokens, its
tokens should be worth

    C = max(0, t * X - e) / M,      sum of all C = NAV - LP positions

which has one solution ``X``, found exactly in fractions. Where an ``e`` alone is more than its
share, that goal's tokens go to nothing and the others share the rest in proportion to what they
lack. Fair values, so no push of a pool moves a target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from rebalancer.amm.valuation import shares_ppm, value
from rebalancer.errors import PlanError
from rebalancer.model import PPM, Goal, PositionValue, Scheme, Snapshot, Target, Valuation

_Shares = dict[str, Fraction]


def position_targets(snapshot: Snapshot, scheme: Scheme) -> tuple[Target, ...]:
    """A target for each of the scheme's positions, in its order; they add up to 1_000_000 ppm.

    Rounded to ppm by largest remainder, so a goal on a single position is met exactly. Raises what
    ``value`` raises, but for a portfolio worth nothing, which has targets as well.
    """
    worth = _worth(snapshot, scheme)
    shares = (_of_positions if scheme.on == "positions" else _of_exposures)(scheme, worth)
    weights = _to_ppm([shares[name] for name in scheme.positions])
    goals = {member: goal for goal in scheme.goals for member in goal.members}
    return tuple(
        _target(name, weight, goals.get(name), scheme)
        for name, weight in zip(scheme.positions, weights, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Exposed:
    """A goal on exposures beside what there is: ``weight_ppm`` of the notional exposure."""

    name: str
    notional_e8: int
    weight_ppm: int
    target_ppm: int

    @property
    def drift_ppm(self) -> int:
        return self.weight_ppm - self.target_ppm


def exposed(valuation: Valuation, scheme: Scheme) -> tuple[Exposed, ...]:
    """Every goal of a scheme on exposures, in its order; the weights add up to 1_000_000 ppm."""
    notional = {
        exposure.symbol: exposure.value_e8 if exposure.notional_e8 is None else exposure.notional_e8
        for exposure in valuation.exposures
    }
    sums = [sum(notional.get(name, 0) for name in goal.members) for goal in scheme.goals]
    return tuple(
        Exposed(goal.name, total, weight, goal.weight_ppm)
        for goal, total, weight in zip(scheme.goals, sums, shares_ppm(sums), strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Worth:
    """What the positions are worth in 1e-8 of the numeraire, and what LP positions hold.

    ``through`` is the value per token symbol that is held through LP positions and rewards.
    """

    nav_e8: int
    values: Mapping[str, int]
    lps: frozenset[str]
    through: Mapping[str, int]


def _worth(snapshot: Snapshot, scheme: Scheme) -> _Worth:
    lps = frozenset(pair.name for pair in snapshot.pairs) & set(scheme.positions)
    try:
        valuation = value(snapshot, [Target(name, 0) for name in scheme.positions])
    except PlanError:
        return _Worth(0, dict.fromkeys(scheme.positions, 0), lps, {})
    values = {position.name: position.value_e8 for position in valuation.positions}
    through = {
        exposure.symbol: exposure.value_e8 - _direct(valuation.positions, exposure.symbol)
        for exposure in valuation.exposures
    }
    return _Worth(valuation.nav_e8, values, lps, through)


def _direct(positions: Sequence[PositionValue], symbol: str) -> int:
    return sum(position.value_e8 for position in positions if position.name == symbol)


def _of_positions(scheme: Scheme, worth: _Worth) -> _Shares:
    """Shares of NAV: each goal's, split over its members."""
    shares: _Shares = {}
    for goal in scheme.goals:
        wanted = Fraction(goal.weight_ppm, PPM)
        held = {name: Fraction(worth.values[name], worth.nav_e8 or 1) for name in goal.members}
        fixed = {name: held[name] for name in goal.members if name in worth.lps}
        tokens = [name for name in goal.members if name not in fixed]
        bound = sum(fixed.values(), Fraction(0))
        if goal.bucket is None:
            shares[goal.name] = wanted
        elif tokens and bound <= wanted:
            shares |= fixed | _split(tokens, held, wanted - bound)
        else:
            # More LP than the bucket should hold: nothing can be done about it but by the LPs.
            shares |= dict.fromkeys(tokens, Fraction(0))
            shares |= _split(list(fixed), held, wanted)
    return shares


def _of_exposures(scheme: Scheme, worth: _Worth) -> _Shares:
    """Shares of NAV that bring the exposures, looked through, to their goals."""
    nav = worth.nav_e8 or 1
    shares = {name: Fraction(worth.values[name], nav) for name in scheme.positions}
    free = 1 - sum((shares[name] for name in worth.lps), Fraction(0))
    needs = [_need(goal, scheme, worth) for goal in scheme.goals]
    for goal, capital in zip(scheme.goals, _fill(needs, free), strict=True):
        shares |= _split(goal.members, shares, capital)
    return shares


@dataclass(frozen=True, slots=True)
class _Need:
    """A goal: its share, the exposure it has already and the multiplier of what it would add."""

    share: Fraction
    through: Fraction
    multiplier: Fraction

    def capital(self, total: Fraction) -> Fraction:
        """What its tokens should be worth when the notional exposure is ``total``."""
        return max(self.share * total - self.through, Fraction(0)) / self.multiplier


def _need(goal: Goal, scheme: Scheme, worth: _Worth) -> _Need:
    times = {name: Fraction(scheme.multiplier_ppm(name), PPM) for name in goal.members}
    held = {name: Fraction(worth.values[name]) for name in goal.members}
    parts = _split(goal.members, held, Fraction(1))
    through = sum((worth.through.get(name, 0) * times[name] for name in goal.members), Fraction(0))
    return _Need(
        share=Fraction(goal.weight_ppm, PPM),
        through=through / (worth.nav_e8 or 1),
        multiplier=sum((parts[name] * times[name] for name in goal.members), Fraction(0)),
    )


def _fill(needs: Sequence[_Need], free: Fraction) -> list[Fraction]:
    """Capital of every goal, all of it together ``free``: water-filling by where each one starts.

    The sum of the capitals grows with the total exposure, in straight pieces; the first piece
    that reaches ``free`` before the next goal joins is the one.
    """
    joining = sorted((n for n in needs if n.share), key=lambda n: n.through / n.share)
    slope = base = total = Fraction(0)
    for index, need in enumerate(joining):
        slope += need.share / need.multiplier
        base += need.through / need.multiplier
        total = (free + base) / slope
        following = joining[index + 1] if index + 1 < len(joining) else None
        if following is None or total <= following.through / following.share:
            break
    return [need.capital(total) for need in needs]


def _split(members: Sequence[str], held: Mapping[str, Fraction], wanted: Fraction) -> _Shares:
    """``wanted`` in proportion to what is held; where nothing is, to the first."""
    together = sum((held[name] for name in members), Fraction(0))
    if together == 0:
        return {name: wanted if name == members[0] else Fraction(0) for name in members}
    return {name: wanted * held[name] / together for name in members}


def _to_ppm(shares: Sequence[Fraction]) -> list[int]:
    """Shares that add up to 1 in ppm that add up to 1_000_000, by largest remainder."""
    scaled = [share * PPM for share in shares]
    weights = [floor(share) for share in scaled]
    by_remainder = sorted(range(len(scaled)), key=lambda i: weights[i] - scaled[i])
    for index in by_remainder[: PPM - sum(weights)]:
        weights[index] += 1
    return weights


def _target(name: str, weight_ppm: int, goal: Goal | None, scheme: Scheme) -> Target:
    return Target(
        position=name,
        weight_ppm=weight_ppm,
        band_abs_ppm=goal.band_abs_ppm if goal else None,
        band_rel_ppm=goal.band_rel_ppm if goal else None,
        bucket=goal.bucket if goal else None,
        multiplier_ppm=scheme.multiplier_ppm(name),
        kept=goal is None,
        goal_ppm=goal.weight_ppm if goal and scheme.on == "exposures" else None,
    )
