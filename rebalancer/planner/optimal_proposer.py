"""The proposer that is provably near the best: the solver of ``optimal`` behind the usual seam.

NumPy and Numba are loaded when it is first asked, so that everything else starts without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rebalancer.model import PPM, Leg, Reason, Token, mul_div_down
from rebalancer.planner.bands import position_drifts
from rebalancer.planner.greedy import GreedyProposer
from rebalancer.planner.market import open_market
from rebalancer.planner.problem import Problem, Proposal
from rebalancer.planner.targets import held_out, movable_pairs, stuck_positions
from rebalancer.planner.texts import money
from rebalancer.planner.wallet import net_moves, value_down, value_up

if TYPE_CHECKING:
    from rebalancer.planner.optimal.certificate import Planned
    from rebalancer.planner.optimal.statement import Statement

#: Drift of one member of a bucket costs this share of what the bucket's drift costs: enough for
#: there to be one best plan, too little to trade for.
_WITHIN_BUCKET_PPM = 1_000
#: Trees of more nodes are proved by their root alone, which is looser but short.
_WHOLE_TREE_NODES = 200
_NO_POOL = "its pool cannot be used"
#: How often tokens of which too little is sold are kept, and the rest is solved anew.
_MAX_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class OptimalProposer:
    """Whether, how far, what and through which pools as one problem, with a certificate.

    A withdrawal, a cap per trade or per day that its plan would break, sales that stay too small
    and a way over a token that would not be left wholly are the greedy proposer's: it cuts to a
    limit where this one would have to hold.
    """

    def propose(self, problem: Problem) -> Proposal:
        """The best plan found with its certificate, and every limit that cut it."""
        if problem.owed is not None:
            return self._instead(problem, "a withdrawal is raised from what is overweight first")
        made = stated(problem)
        market, excluded = open_market(problem.snapshot, problem.policy)
        drifts = position_drifts(problem.valuation, problem.targets, problem.policy)
        movable = movable_pairs(problem, market)
        named = held_out(problem, drifts, stuck_positions(problem), movable, _NO_POOL)
        for _ in range(_MAX_ROUNDS):
            try:
                planned, legs = _solve(problem, made)
            except ValueError as error:
                return self._instead(problem, f"its legs cannot be carried out ({error})")
            if fault := _broken_cap(problem, legs) or _left_behind(problem, legs):
                return self._instead(problem, fault)
            small = _sold_too_little(problem, legs)
            if not small:
                text = _proof(planned)
                return Proposal(legs, (*named, *_dropped(planned), *excluded), text)
            made = _kept(made, {token.address.lower() for token in small})
        return self._instead(problem, "its sales stay below the minimum trade")

    def _instead(self, problem: Problem, why: str) -> Proposal:
        proposal = GreedyProposer().propose(problem)
        reason = Reason("greedy_instead", f"Planned by the greedy proposer, without proof: {why}")
        return replace(proposal, limits=(*proposal.limits, reason))


def stated(problem: Problem) -> Statement:
    """The problem as the solver and the certificate have it.

    Buckets drift as one: their sum is a factor, the members alone cost next to nothing. The share
    of a pool that may be paid in tightens the pool's limit of impact.
    """
    from rebalancer.planner.optimal.bridge import statement_of
    from rebalancer.planner.optimal.statement import Factor

    made = statement_of(problem)
    members: dict[str, list[tuple[str, int]]] = {}
    pairs = {pair.name: pair.address.lower() for pair in problem.snapshot.pairs}
    for target in problem.targets:
        token = problem.token(target.position)
        key = pairs[target.position] if token is None else token.address.lower()
        if target.bucket is not None:
            members.setdefault(target.bucket, []).append((key, PPM))
    bucketed = {key for loads in members.values() for key, _ in loads}
    known = {asset.key for asset in made.assets} | {stake.key for stake in made.stakes}
    return replace(
        made,
        assets=tuple(
            replace(asset, drift_weight_ppm=_WITHIN_BUCKET_PPM) if asset.key in bucketed else asset
            for asset in made.assets
        ),
        stakes=tuple(
            replace(stake, drift_weight_ppm=_WITHIN_BUCKET_PPM) if stake.key in bucketed else stake
            for stake in made.stakes
        ),
        factors=tuple(
            Factor(name, tuple(sorted(load for load in loads if load[0] in known)))
            for name, loads in sorted(members.items())
        ),
        pools=tuple(
            replace(
                pool,
                max_impact_ppm=min(
                    pool.max_impact_ppm,
                    impact_of_share_ppm(problem.policy.max_pool_share_ppm, pool.fee_ppm),
                ),
            )
            for pool in made.pools
        ),
    )


def impact_of_share_ppm(share_ppm: int | None, fee_ppm: int) -> int:
    """The impact, rounded down, of paying in that share of a reserve: ``a / (1 + a)`` after fee.

    At least 1 ppm, which is no trade worth its gas, where a pool may not be used at all.
    """
    if share_ppm is None:
        return PPM
    after_fee = share_ppm * (PPM - fee_ppm)
    return max(mul_div_down(after_fee, PPM, PPM * PPM + after_fee), 1)


def _solve(problem: Problem, made: Statement) -> tuple[Planned, tuple[Leg, ...]]:
    from rebalancer.planner.optimal.bridge import plan_legs
    from rebalancer.planner.optimal.certificate import plan

    planned = plan(made)
    return planned, plan_legs(problem, planned.legs)


def _proof(planned: Planned) -> str:
    from rebalancer.planner.optimal.certificate import certificate

    return certificate(planned, whole=planned.answer.nodes <= _WHOLE_TREE_NODES)


def _net_sold(legs: Sequence[Leg]) -> dict[Token, int]:
    """Smallest units that the wallet gives of each token, all legs together."""
    return {token: -raw for token, raw in net_moves(legs).items() if raw < 0}


def _sold_too_little(problem: Problem, legs: Sequence[Leg]) -> set[Token]:
    """Tokens and LP shares of which less than the minimum trade is sold."""
    least, snapshot = problem.policy.min_trade_e8, problem.snapshot
    return {t for t, raw in _net_sold(legs).items() if value_down(snapshot, t, raw) < least}


def _kept(made: Statement, keys: set[str]) -> Statement:
    """The statement in which these are passed through, or left, and neither bought nor sold."""
    return replace(
        made,
        assets=tuple(
            replace(asset, target_ppm=None, tax=()) if asset.key in keys else asset
            for asset in made.assets
        ),
        stakes=tuple(stake for stake in made.stakes if stake.key not in keys),
        factors=tuple(
            replace(factor, loads=tuple(x for x in factor.loads if x[0] not in keys))
            for factor in made.factors
        ),
    )


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


def _left_behind(problem: Problem, legs: Sequence[Leg]) -> str | None:
    """A token that is no position and that ``legs`` buy more of than they sell, in words.

    Where kappa is so large that a drift costs more than its own value, the best plan would rather
    turn what is overweight into something that nobody counts.
    """
    net = net_moves(legs)
    left = [token.symbol for token, raw in net.items() if raw and not problem.is_position(token)]
    return f"it would change {left[0]}, which is no position" if left else None


def _dropped(planned: Planned) -> tuple[Reason, ...]:
    """Pools that no order of the legs could use."""
    return tuple(
        Reason("no_order", f"{key} is left out: its leg could not be paid for in any order")
        for key in planned.dropped
    )
