"""The lots of an LP position through adds and partial removes, at average cost.

Shares of one pair are all alike, so a removal takes the same part of every lot: what it leaves has
the entry, and the impermanent loss in per cent, that the whole had before. (First in, first out
would change the loss of the rest by the mere act of removing; which lots the tax office sees sold
is a question of its own.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rebalancer.model import LpLot


def total_shares(lots: Sequence[LpLot]) -> int:
    """Shares that are left of all lots."""
    return sum(lot.shares for lot in lots)


def remove(lots: Sequence[LpLot], shares: int) -> tuple[LpLot, ...]:
    """The lots after ``shares`` were taken from all of them in proportion.

    Whole shares by largest remainder, of equal ones the earlier lot keeps the unit, so that what is
    left adds up exactly; a lot that keeps nothing is gone. Raises ValueError for more than there
    are.
    """
    before = total_shares(lots)
    after = before - shares
    if shares < 0 or after < 0:
        raise ValueError(f"{shares} of {before} shares cannot be removed")
    if after == 0:
        return ()
    parts = [divmod(lot.shares * after, before) for lot in lots]
    kept = [whole for whole, _ in parts]
    by_remainder = sorted(range(len(lots)), key=lambda i: -parts[i][1])
    for index in by_remainder[: after - sum(kept)]:
        kept[index] += 1
    return tuple(
        replace(lot, shares=left) for lot, left in zip(lots, kept, strict=True) if left > 0
    )
