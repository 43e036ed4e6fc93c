"""The proposer of this version: greedy matching, one route per trade, exact amounts."""

from __future__ import annotations

from dataclasses import dataclass

from rebalancer.model import Leg, Reason, Token
from rebalancer.planner.bands import position_drifts
from rebalancer.planner.costs import Appraisal, appraise, loss_e8
from rebalancer.planner.market import Market, open_market
from rebalancer.planner.problem import Problem, Proposal
from rebalancer.planner.targets import aims, held_out, out_of_reach, stuck_positions
from rebalancer.planner.texts import money
from rebalancer.planner.trades import Matched, match

#: The size for the cost and the cost of the size are brought together to this share of NAV, a
#: thousandth of a ppm; three passes do where trading costs a few per cent at most.
_CLOSE_ENOUGH = 10**9
_MAX_PASSES = 12


@dataclass(frozen=True, slots=True)
class GreedyProposer:
    """Back to target, or part of the way, by the largest matches first.

    Of the trades found it keeps the first so many that gain most, benefit less cost: a last small
    trade that costs more than it mends is left out. It does not split a trade that fits over
    several pools, nor weigh how far to trade; that is an optimal proposer's, behind the same seam.
    """

    def propose(self, problem: Problem) -> Proposal:
        """Trades towards the targets, and every limit that cut them."""
        market, excluded = open_market(problem.snapshot, problem.policy)
        stuck = stuck_positions(problem)
        named = held_out(
            problem, position_drifts(problem.valuation, problem.targets, problem.policy), stuck
        )
        named = (*named, *out_of_reach(problem, aims(problem, stuck)))
        matched = _sized_for_cost(problem, market, stuck)
        if not matched.trades:
            return Proposal((), (*named, *matched.limits, *excluded))
        best, dropped = _most_gain(problem, matched)
        return Proposal(best.legs, (*named, *matched.limits, *dropped, *excluded))


def _sized_for_cost(problem: Problem, market: Market, stuck: frozenset[Token]) -> Matched:
    """Match for targets of the NAV that is left once the trades are paid for.

    Finds by secant steps the cost at which the trades sized for it cost just that: where impact is
    steep, simply repeating would swing between too much and too little. Where there is none,
    because another route becomes the better one just there, it is the one that comes nearest.
    """
    expected, step, last_error = 0, 0, 0
    nearest: tuple[int, Matched] | None = None
    for _ in range(_MAX_PASSES):
        matched = match(problem, market, aims(problem, stuck, expected))
        error = loss_e8(problem, matched.legs) - expected
        if nearest is None or abs(error) < nearest[0]:
            nearest = abs(error), matched
        if abs(error) * _CLOSE_ENOUGH <= problem.valuation.nav_e8:
            return matched
        fall = last_error - error
        step = error * step // fall if step and fall else error
        expected, last_error = expected + step, error
    return matched if nearest is None else nearest[1]


def _most_gain(problem: Problem, matched: Matched) -> tuple[Appraisal, tuple[Reason, ...]]:
    """The first so many trades that gain most, and what was left out for it, if anything.

    What a withdrawal needs is kept whatever it gains.
    """
    least = max(matched.owed_trades, 1)
    prefixes = []
    legs: tuple[Leg, ...] = ()
    for trade in matched.trades:
        legs = (*legs, *trade)
        prefixes.append(appraise(problem, legs))
    best = max(prefixes[least - 1 :], key=lambda a: (a.gain_e8, -len(a.legs)))
    whole = prefixes[-1]
    if best is whole:
        return best, ()
    cost = whole.gate_cost_e8 - best.gate_cost_e8
    benefit = whole.benefit_e8 - best.benefit_e8
    numeraire = problem.snapshot.numeraire
    count = len(prefixes) - 1 - prefixes.index(best)
    text = (
        f"Left out the {'smallest trade' if count == 1 else f'{count} smallest trades'}: "
        f"{money(cost, numeraire)} more cost for {money(benefit, numeraire)} less drift penalty"
    )
    return best, (Reason("not_worth_it_e8", text, cost, benefit),)
