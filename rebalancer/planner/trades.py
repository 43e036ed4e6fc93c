"""Matching what is overweight with what is underweight, the largest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rebalancer.model import Reason, SwapLeg
from rebalancer.planner.book import Book, Stage, Trade
from rebalancer.planner.market import Market
from rebalancer.planner.problem import Problem
from rebalancer.planner.targets import Aim
from rebalancer.planner.texts import money

#: What the executor takes in one batch: legs, entries of all kinds, watched tokens.
MAX_LEGS, MAX_ENTRIES, MAX_WATCHED = 32, 50, 16
_MAX_HOPS = 2
#: How much more than his excess a seller may give for a withdrawal: what rounding leaves it short.
_SLACK_PPM = 10_000


@dataclass(frozen=True, slots=True)
class Matched:
    """Trades in order of execution, each the legs of one route, and the limits that cut them.

    The first ``owed_trades`` of them pay for a withdrawal.
    """

    trades: tuple[Trade, ...]
    limits: tuple[Reason, ...]
    owed_trades: int = 0

    @property
    def legs(self) -> tuple[SwapLeg, ...]:
        return tuple(leg for trade in self.trades for leg in trade)


def match(problem: Problem, market: Market, aims: Sequence[Aim]) -> Matched:
    """Trade towards ``aims``: each round sells the largest excess for the largest deficit.

    First what a withdrawal needs is bought, then deposits buy what is underweight, and only if that
    leaves a position outside its band anything else is sold. A round that a limit cuts trades what
    fits; the rest is tried again, over other pools, until nothing of at least the minimum trade
    fits any more.
    """
    book = Book.of(problem, market, aims)
    owed_trades = 0
    if problem.owed is not None:
        owed = {problem.owed.token: problem.owed_e8}
        _trade(book, Stage(buyers_e8=owed, slack_ppm=_SLACK_PPM))
        owed_trades = len(book.trades)
        if problem.only_raise:
            return Matched(tuple(book.trades), book.limits(), owed_trades)
    if deposits := book.deposits():
        _trade(book, Stage(sellers=deposits, least_e8=book.least_e8))
        if len(book.trades) > owed_trades and book.within_bands():
            return Matched(tuple(book.trades), (_deposits_suffice(book),), owed_trades)
    _trade(book, Stage(least_e8=book.least_e8))
    return Matched(tuple(book.trades), book.limits(), owed_trades)


def _trade(book: Book, stage: Stage) -> None:
    """Trade what the stage allows, or until the batch is full."""
    while (pair := book.next_pair(stage)) is not None:
        if len(book.legs) + _MAX_HOPS > MAX_LEGS:
            book.batch_is_full = _leg_limit(len(book.legs))
            return
        sized = book.size(*pair, stage)
        if sized is None:
            book.give_up(*pair, stage)
        else:
            book.trade(*pair, sized)


def _leg_limit(legs: int) -> Reason:
    text = f"The plan has {legs} legs, a batch takes {MAX_LEGS}; the rest waits for the next one"
    return Reason("max_legs", text, legs, MAX_LEGS)


def _deposits_suffice(book: Book) -> Reason:
    came = ", ".join(
        f"{money(book.worth(a.token, a.raw), book.problem.snapshot.numeraire)} of {a.token.symbol}"
        for a in book.problem.circumstances.deposits
    )
    text = f"What came in ({came}) buys what is underweight; nothing else needs to be sold"
    return Reason("deposits_first", text)
