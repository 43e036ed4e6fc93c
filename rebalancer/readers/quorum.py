"""One price from several sources, or none: the median, if enough of them agree with it.

With ``2 f + 1`` sources that answer, ``f`` liars cannot move the median out of the range of the
honest ones. That enough of them must be near it keeps a price from standing on one source alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rebalancer.model import PPM


@dataclass(frozen=True, slots=True)
class Verdict:
    """``taken`` is the index of the source whose price is taken, None where there is no price.

    ``agrees`` says of every source whether it is within the allowed deviation of the median.
    """

    taken: int | None
    agrees: tuple[bool, ...]


def judge(prices: Sequence[Fraction | None], quorum: int, max_deviation_ppm: int) -> Verdict:
    """Find the price that the sources agree on; None stands for a source that does not answer.

    The median of the answers is taken; of two in the middle the one that stands first, so the
    order of the sources is the order of trust. It counts if at least ``quorum`` answers, and more
    than half of them, are within ``max_deviation_ppm`` of it, itself included. All is exact.
    """
    answered = [index for index, price in enumerate(prices) if price is not None]
    if not answered:
        return Verdict(None, (False,) * len(prices))
    median = _median(prices, answered)
    middle = prices[median]
    agrees = tuple(
        price is not None
        and middle is not None
        and abs(price - middle) * PPM <= max_deviation_ppm * middle
        for price in prices
    )
    enough = sum(agrees) >= quorum and 2 * sum(agrees) > len(answered)
    return Verdict(median if enough else None, agrees)


def _median(prices: Sequence[Fraction | None], answered: Sequence[int]) -> int:
    """Index of the middle answer; of two, or of several equal ones, the first in order."""
    ranked = sorted(answered, key=lambda index: (prices[index] or Fraction(0), index))
    upper = len(ranked) // 2
    middles = {prices[i] for i in ranked[upper - (len(ranked) % 2 == 0) : upper + 1]}
    return next(index for index in answered if prices[index] in middles)
