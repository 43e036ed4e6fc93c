"""The proposer that is provably near the best: the solver of ``optimal`` behind the usual seam.

NumPy and Numba are loaded when it is first asked, so that everything else starts without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rebalancer.model import PPM, Leg, Reason, Token, mul_div_down
from rebalancer.planner.bands import position_drifts
from rebalancer.planner.market import open_market
from rebalancer.planner.optimal_problem import stated, without
from rebalancer.planner.problem import Problem, Proposal
from rebalancer.planner.targets import (
    aims,
    held_out,
    movable_pairs,
    out_of_reach,
    stuck_positions,
)
from rebalancer.planner.texts import money, percent
from rebalancer.planner.wallet import net_moves, value_down, value_up

if TYPE_CHECKING:
    from rebalancer.planner.optimal.certificate import Planned
    from rebalancer.planner.optimal.statement import Statement

#: Trees of more nodes are proved by their root alone, which is looser but short.
_WHOLE_TREE_NODES = 200
_NO_POOL = "its pool cannot be used"
#: How often LP positions that break a limit are left alone, and the rest is solved anew.
_MAX_ROUNDS = 4
#: A limit binds that is reached but for this part.
_NEARLY = 10_000


@dataclass(frozen=True, slots=True)
class OptimalProposer:
    """Whether, how far, what and through which pools as one problem, with a certificate.

    Every limit of the policy is in the problem that is solved, but for those on LP legs: where a
    plan breaks one of these, the best that leaves LP positions alone is taken, and the certificate
    bounds both.
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
        best = _solve(made)
        for _ in range(_MAX_ROUNDS):
            legs = _legs(problem, best)
            fault, left = _broken_cap(problem, legs), _left_behind(problem, legs)
            alone = _small_stakes(problem, made, legs)
            if fault is None and not left and not alone:
                cuts = (*_binding(problem, made, best), *_dropped(best), *kept)
                return Proposal(legs, (*named, *cuts, *excluded), _proof(best))
            if fault is None and left:
                alone |= _stakes_in(made, left)
                kept += _left_alone(problem, alone, left)
            everything = {stake.key for stake in made.stakes}
            made = without(made, everything if fault or not alone else alone)
            best = _instead(best, _solve(made))
        reason = Reason("within_limits", f"No plan keeps every limit: {fault or 'too little'}")
        return Proposal((), (*named, reason, *excluded))


@dataclass(frozen=True, slots=True)
class CappedProposer:
    """The best plan that sells no more than a share of what the best of all would sell.

    For where that one breaks a limit on what a plan costs or seems to be given: the certificate
    still bounds all plans.
    """

    share_ppm: int

    def propose(self, problem: Problem) -> Proposal:
        """The legs of the capped problem, certified for the whole one."""
        made = stated(problem)
        best = _solve(made)
        most = mul_div_down(_sold_e8(best), self.share_ppm, PPM)
        if made.max_sold_e8 is not None:
            most = min(most, made.max_sold_e8)
        capped = _solve(replace(without(made, {s.key for s in made.stakes}), max_sold_e8=most))
        found = _instead(best, capped)
        legs = _legs(problem, found)
        if _broken_cap(problem, legs) or _left_behind(problem, legs):
            return Proposal((), ())
        share = percent(self.share_ppm)
        text = f"Cut to {share} of what the best plan sells, which would break a limit"
        return Proposal(legs, (Reason("cut_to_limits", text),), _proof(found))


def _solve(made: Statement) -> Planned:
    from rebalancer.planner.optimal.certificate import plan

    return plan(made)


def _instead(best: Planned, other: Planned) -> Planned:
    """The legs of a plan of a tighter problem, judged by the problem of the first."""
    from rebalancer.planner.optimal.certificate import judged

    return judged(best, other.legs)


def _legs(problem: Problem, planned: Planned) -> tuple[Leg, ...]:
    from rebalancer.planner.optimal.bridge import plan_legs

    return plan_legs(problem, planned.legs)


def _sold_e8(planned: Planned) -> int:
    """Oracle value of what the plan's swaps take from the wallet."""
    assets = {asset.key: asset for asset in planned.statement.assets}
    return sum(
        leg.amount_in * assets[leg.sold].price_numerator // assets[leg.sold].price_denominator
        for leg in planned.legs
        if leg.kind == "swap" and not leg.chained
    )


def _proof(planned: Planned) -> str:
    from rebalancer.planner.optimal.certificate import certificate

    return certificate(planned, whole=planned.answer.nodes <= _WHOLE_TREE_NODES)


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


def _binding(problem: Problem, made: Statement, planned: Planned) -> tuple[Reason, ...]:
    """The caps per trade and per day that the plan goes to."""
    assets, numeraire = {asset.key: asset for asset in made.assets}, problem.snapshot.numeraire
    reasons = []
    if made.max_leg_e8 is not None:
        largest = max(
            (
                leg.amount_in
                * assets[leg.sold].price_numerator
                // assets[leg.sold].price_denominator
                for leg in planned.legs
                if leg.kind == "swap"
            ),
            default=0,
        )
        if _near(largest, made.max_leg_e8):
            text = f"One trade is cut to {money(made.max_leg_e8, numeraire)}, the most it may be"
            reasons.append(Reason("max_trade_e8", text, largest, made.max_leg_e8))
    if made.max_sold_e8 is not None:
        sold = sum(
            -raw * assets[key].price_numerator // assets[key].price_denominator
            for key, raw in _net(planned).items()
            if raw < 0
        )
        if _near(sold, made.max_sold_e8):
            text = f"What is sold is cut to {money(made.max_sold_e8, numeraire)}, left of 24 hours"
            reasons.append(Reason("max_turnover_e8", text, sold, made.max_sold_e8))
    return tuple(reasons)


def _near(value: int, limit: int) -> bool:
    """Whether a limit binds, but for what roundings leave."""
    return value * _NEARLY >= limit * (_NEARLY - 1)


def _net(planned: Planned) -> dict[str, int]:
    """What swaps change of each asset, smallest units."""
    net: dict[str, int] = {}
    for leg in planned.legs:
        if leg.kind == "swap":
            net[leg.sold] = net.get(leg.sold, 0) - leg.amount_in
            net[leg.bought] = net.get(leg.bought, 0) + leg.amount_out
    return net


def _out_of_reach(problem: Problem, stuck: frozenset[Token]) -> tuple[Reason, ...]:
    """What should be sold and lies in watched wallets."""
    return out_of_reach(problem, aims(problem, stuck)) if problem.snapshot.watched else ()


def _dropped(planned: Planned) -> tuple[Reason, ...]:
    """Pools that no order of the legs could use."""
    return tuple(
        Reason("no_order", f"{key} is left out: its leg could not be paid for in any order")
        for key in planned.dropped
    )
