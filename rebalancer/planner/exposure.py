"""Targets on exposures for a planner that moves LP positions: what drifts is the exposure.

Each goal is a share of NAV that its tokens fill, held directly or as half of an LP position. The
targets of the positions themselves are one way to get there (``amm.goals``): LP positions as they
are, the tokens making up for them. Where LP positions can be moved any other way is as good, and
there may be none that leaves them: more of a token is in them than its goal allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

from rebalancer.model import PPM, PairState, Target
from rebalancer.planner.bands import goals_of, group_of
from rebalancer.planner.market import open_market
from rebalancer.planner.problem import Problem
from rebalancer.planner.targets import movable_pairs
from rebalancer.planner.wallet import liquid_shares, share_of, value_down


@dataclass(frozen=True, slots=True)
class Exposures:
    """A problem whose LP positions may be moved, and of each goal how its positions count in it.

    The targets of ``problem`` meet every goal. ``loads`` are parts of a position's value, in ppm.
    """

    problem: Problem
    loads: Mapping[str, Mapping[str, int]]


def exposures(problem: Problem) -> Exposures | None:
    """The same problem with LP positions to be moved; None where there are none.

    They stay as they are with the greedy planner, with multipliers (how much they should be moved
    depends on all of the exposure), and where what cannot be moved of them, because it is staked or
    its pool cannot be used, is more than a goal allows.
    """
    goals = goals_of(problem.targets, problem.policy)
    lps = [target for target in problem.targets if target.kept]
    if not goals or not lps:
        return None
    free = tuple(replace(target, kept=False) for target in problem.targets)
    pairs = {pair.name: pair for pair in problem.snapshot.pairs}
    market, _ = open_market(problem.snapshot, problem.policy)
    movable = movable_pairs(replace(problem, targets=free), market)
    names = {t.position: group_of(t) for t in problem.targets if not t.kept}
    moved = [t for t in lps if t.position in movable]
    still = [t for t in lps if t.position not in movable]
    if not moved or any(len(_goals_in(pairs[t.position], names)) < 2 for t in lps):
        return None
    weights = _weights(problem, goals, names, pairs, moved, still)
    if weights is None:
        return None
    loads: dict[str, dict[str, int]] = {name: {} for name in goals}
    for position, name in names.items():
        loads[name][position] = PPM
    for target in moved:
        for name in _goals_in(pairs[target.position], names):
            loads[name][target.position] = loads[name].get(target.position, 0) + PPM // 2
    targets = tuple(
        replace(t, weight_ppm=weights[t.position], kept=t in still) for t in problem.targets
    )
    return Exposures(replace(problem, targets=targets), loads)


def _weights(
    problem: Problem,
    goals: Mapping[str, int],
    names: Mapping[str, str],
    pairs: Mapping[str, PairState],
    moved: list[Target],
    still: list[Target],
) -> dict[str, int] | None:
    """Weights that meet every goal: LP positions as they are, or all less by one factor.

    None where a goal cannot be met so. Rounded to ppm of NAV, down.
    """
    room = {name: Fraction(goal) for name, goal in goals.items()}
    through = dict.fromkeys(goals, Fraction(0))
    for target in (*moved, *still):
        for name in _goals_in(pairs[target.position], names):
            part = Fraction(target.weight_ppm, 2)
            if target in still:
                room[name] -= part
            else:
                through[name] += part
    if min(room.values()) < 0:
        return None
    scale = min([Fraction(1), *(room[n] / part for n, part in through.items() if part)])
    weights = {target.position: target.weight_ppm for target in problem.targets}
    if scale == 1:
        return weights
    for target in moved:
        weights[target.position] = floor(scale * target.weight_ppm)
        if weights[target.position] < _stuck_ppm(problem, target, pairs[target.position]):
            return None
    for name, space in room.items():
        members = [position for position, goal in names.items() if goal == name]
        held = {m: problem.valuation.position(m).value_e8 for m in members}
        capital, together = space - scale * through[name], sum(held.values())
        for i, member in enumerate(members):
            part = Fraction(held[member], together) if together else Fraction(i == 0)
            weights[member] = floor(capital * part)
    return weights


def _stuck_ppm(problem: Problem, target: Target, pair: PairState) -> int:
    """The part of NAV that is in the position and not in shares that the wallet itself has."""
    shares = liquid_shares(problem.snapshot, pair.address)
    own = value_down(problem.snapshot, share_of(pair), shares)
    beside = problem.valuation.position(target.position).value_e8 - own
    return -(-beside * PPM // problem.valuation.nav_e8)


def _goals_in(pair: PairState, names: Mapping[str, str]) -> list[str]:
    """The goals of the pair's two tokens; fewer than two where one has none."""
    both = (pair.token0.symbol, pair.token1.symbol)
    return [names[symbol] for symbol in both if symbol in names]
