"""The proposer that is provably near the best: the solver of ``optimal`` behind the usual seam.

NumPy and Numba are loaded when it is first asked, so that everything else starts without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rebalancer.model import PPM, Leg, Reason, Token, mul_div_down
from rebalancer.planner.bands import position_drifts
from rebalancer.planner.binding import binding, dropped, kept_from_trading
from rebalancer.planner.market import open_market
from rebalancer.planner.optimal_parts import (
    Part,
    in_a_batch,
    instead,
    one_pool_each,
    shares,
    solved,
    that_can_start,
    without_gifts,
)
from rebalancer.planner.optimal_problem import stated, without
from rebalancer.planner.problem import Problem, Proposal
from rebalancer.planner.targets import (
    aims,
    held_out,
    movable_pairs,
    out_of_reach,
    stuck_positions,
)
from rebalancer.planner.texts import money
from rebalancer.planner.wallet import net_moves, value_down, value_up

if TYPE_CHECKING:
    from rebalancer.planner.optimal.certificate import Planned
    from rebalancer.planner.optimal.statement import Statement

_NO_POOL = "its pool cannot be used"
#: How often LP positions that break a limit are left alone, and the rest is solved anew.
_MAX_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class OptimalProposer:
    """Whether, how far, what and through which pools as one problem, with a certificate.

    Every limit of the policy is in the problem that is solved, but for those on LP legs and on the
    entries of a batch: where a plan breaks one of these, the best that leaves LP positions alone,
    or has fewer entries, is taken, and the certificate bounds both.
    """

    def propose(self, problem: Problem) -> Proposal:
        """The best plan found with its certificate, and every limit that cut it."""
        made = stated(problem)
        market, excluded = open_market(problem.snapshot, problem.policy)
        drifts = position_drifts(problem.valuation, problem.targets, problem.policy)
        movable = movable_pairs(problem, market)
        stuck = stuck_positions(problem)
        named = held_out(problem, drifts, stuck, movable, _NO_POOL)
        kept = _out_of_reach(problem, stuck)
        best = _best(made)
        for _ in range(_MAX_ROUNDS):
            runs = that_can_start(problem, best)
            fitted = in_a_batch(problem, runs.planned, lambda found: _legs(problem, found))
            legs = _legs(problem, fitted.planned)
            fault, left = _broken_cap(problem, legs), _left_behind(problem, legs)
            alone = _small_stakes(problem, made, legs)
            if fault is None and not left and not alone:
                cuts = (
                    *runs.limits,
                    *fitted.limits,
                    *binding(problem, made, fitted.planned, legs, stuck),
                )
                if not legs:
                    cuts = (*cuts, *kept_from_trading(problem, made, solved))
                limits = (*named, *cuts, *dropped(best), *kept, *excluded)
                less = partial(_smaller, problem, fitted.planned)
                return Proposal(legs, limits, _proof(fitted.planned), smaller=less)
            if fault is None and left:
                alone |= _stakes_in(made, left)
                kept += _left_alone(problem, alone, left)
            everything = {stake.key for stake in made.stakes}
            made = without(made, everything if fault or not alone else alone)
            best = instead(best, _best(made))
        reason = Reason("within_limits", f"No plan keeps every limit: {fault or 'too little'}")
        return Proposal((), (*named, reason, *excluded), _proof(best))


def _smaller(problem: Problem, best: Planned) -> Iterator[Proposal]:
    """What asks for less than the best plan, which breaks a limit, under the same bound.

    With a short proof, for the guards; the whole one is made of what is chosen.
    """
    for part in _parts(problem, best):
        found = in_a_batch(problem, part.planned, lambda found: _legs(problem, found))
        legs = _legs(problem, found.planned)
        if legs and not _broken_cap(problem, legs) and not _left_behind(problem, legs):
            short, limits = _proof(found.planned, whole=False), (*part.limits, *found.limits)
            yield Proposal(legs, limits, short, whole=partial(_proof, found.planned))


def _parts(problem: Problem, best: Planned) -> Iterator[Part]:
    for tighter in (without_gifts, one_pool_each):
        part = tighter(problem, best)
        if part is not None:
            yield part
    yield from shares(best)


def _best(made: Statement) -> Planned:
    from rebalancer.planner.optimal.effort import thorough

    return thorough(made)


def _legs(problem: Problem, planned: Planned) -> tuple[Leg, ...]:
    from rebalancer.planner.optimal.bridge import plan_legs

    return plan_legs(problem, planned.legs)


def _proof(planned: Planned, *, whole: bool = True) -> str:
    from rebalancer.planner.optimal.certificate import certificate
    from rebalancer.planner.optimal.frontier import shortened

    return certificate(shortened(planned)) if whole else certificate(planned, whole=False)


def _net_sold(legs: Sequence[Leg]) -> dict[Token, int]:
    """Smallest units that the wallet gives of each token, all legs together."""
    return {token: -raw for token, raw in net_moves(legs).items() if raw < 0}


def _small_stakes(problem: Problem, made: Statement, legs: Sequence[Leg]) -> set[str]:
    """LP positions of which less than the minimum trade is sold."""
    least, snapshot = problem.policy.min_trade_e8, problem.snapshot
    stakes = {stake.key for stake in made.stakes}
    sold = {t.address.lower(): (t, raw) for t, raw in _net_sold(legs).items()}
    return {k for k in stakes & set(sold) if value_down(snapshot, *sold[k]) < least}


def _broken_cap(problem: Problem, legs: Sequence[Leg]) -> str | None:
    """The cap per trade or per day that ``legs`` break, in words."""
    snapshot, policy = problem.snapshot, problem.policy
    worth = {t: value_up(snapshot, t, raw) for t, raw in _net_sold(legs).items()}
    largest = max(
        (sum(value_up(snapshot, a.token, a.raw) for a in leg.takes) for leg in legs), default=0
    )
    if policy.max_trade_e8 is not None and largest > policy.max_trade_e8:
        return f"it would trade {money(largest, snapshot.numeraire)} at once, more than max_trade"
    if policy.max_turnover_ppm is not None:
        limit = mul_div_down(problem.valuation.nav_e8, policy.max_turnover_ppm, PPM)
        total = problem.circumstances.turnover_e8 + sum(worth.values())
        if total > limit:
            return f"24 hours would sell {money(total, snapshot.numeraire)}, more than max_turnover"
    return None


def _left_behind(problem: Problem, legs: Sequence[Leg]) -> tuple[Token, ...]:
    """Tokens that are no positions and that ``legs`` change: what mints leave of them."""
    owed = problem.owed.token if problem.owed is not None else None
    return tuple(
        token
        for token, raw in net_moves(legs).items()
        if raw and token != owed and not problem.is_position(token)
    )


def _stakes_in(made: Statement, tokens: Sequence[Token]) -> set[str]:
    """The LP positions of pools of these tokens."""
    keys = {token.address.lower() for token in tokens}
    pools = {pool.key for pool in made.pools if {pool.asset0, pool.asset1} & keys}
    return {stake.key for stake in made.stakes if stake.pool in pools}


def _left_alone(problem: Problem, stakes: set[str], tokens: Sequence[Token]) -> tuple[Reason, ...]:
    """Why these LP positions are left alone: no two sides fit a pool to the last unit."""
    symbols = " and ".join(token.symbol for token in tokens)
    return tuple(
        Reason(
            "leaves_no_position",
            f"{pair.name} is left alone: adding to it leaves a few units of {symbols},"
            " which is no position; list it, with a target of 0% for nothing else of it",
        )
        for pair in problem.snapshot.pairs
        if pair.address.lower() in stakes and {pair.token0, pair.token1} & set(tokens)
    )


def _out_of_reach(problem: Problem, stuck: frozenset[Token]) -> tuple[Reason, ...]:
    """What should be sold and lies in watched wallets."""
    return out_of_reach(problem, aims(problem, stuck)) if problem.snapshot.watched else ()
