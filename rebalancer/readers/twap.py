"""Time-weighted average prices from a V2 pair's accumulators, in the pair's own arithmetic.

``UniswapV2Pair._update`` adds ``reserve1 * 2**112 // reserve0`` (UQ112.112) for every second to
``price0CumulativeLast``, before a block's first trade; the sum wraps at 2**256 and the time of the
last trade at 2**32, both on purpose. So the difference of two sums over the time between is the
average price, and what was traded inside the last block has had no second to count in.
"""

from __future__ import annotations

from dataclasses import dataclass

UQ112 = 2**112
_UINT256 = 2**256
_UINT32 = 2**32


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One price accumulator of a pair as a block left it.

    ``cumulative`` is as stored, ``reserve`` of the priced token, ``other`` of the other one,
    ``last_ts`` the time of the last trade modulo 2**32; ``block_ts`` the block's own time.
    """

    cumulative: int
    reserve: int
    other: int
    last_ts: int
    block_ts: int

    def now(self) -> int:
        """The accumulator as it would be if somebody traded at ``block_ts``: nobody has to."""
        elapsed = (self.block_ts - self.last_ts) % _UINT32
        return (self.cumulative + self.other * UQ112 // self.reserve * elapsed) % _UINT256


def average(old: Accumulator, new: Accumulator) -> tuple[int, int]:
    """Average price between the two blocks as (numerator, denominator), smallest units of the other
    token for one of the priced one.

    Exact for what the contract has summed up, which has rounded down once a trade. Raises
    ValueError when no time lies between the blocks.
    """
    elapsed = new.block_ts - old.block_ts
    if elapsed <= 0:
        raise ValueError(f"there are {elapsed} s between the two blocks of an average")
    return (new.now() - old.now()) % _UINT256, elapsed * UQ112
