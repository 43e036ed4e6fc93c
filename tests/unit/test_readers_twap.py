"""Averages from accumulators: the contract's own arithmetic, wraps included."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rebalancer.readers.twap import UQ112, Accumulator, average

T = 1_700_000_000


def mean(old: Accumulator, new: Accumulator) -> Fraction:
    return Fraction(*average(old, new))


def test_a_price_that_stands__is_its_own_average() -> None:
    """Reserves 4 to 12: 3 of the other for one, nobody traded in between."""
    old = Accumulator(10**40, 4, 12, (T - 500) % 2**32, T)
    new = Accumulator(10**40, 4, 12, (T - 500) % 2**32, T + 1_200)
    assert mean(old, new) == 3


def test_a_trade_between__counts_by_its_time() -> None:
    """900 s at 3, then a trade to 5 that is 300 s old."""
    old = Accumulator(77, 1, 3, T % 2**32, T)
    stored = 77 + 3 * UQ112 * 900
    new = Accumulator(stored, 1, 5, (T + 900) % 2**32, T + 1_200)
    assert mean(old, new) == Fraction(3 * 900 + 5 * 300, 1_200)


def test_a_trade_in_the_block_itself__does_not_count() -> None:
    """Whatever it did to the reserves, it stands there for 0 seconds."""
    old = Accumulator(0, 1, 3, T % 2**32, T)
    honest = Accumulator(0, 1, 3, T % 2**32, T + 1_200)
    attacked = Accumulator(honest.now(), 10**6, 1, (T + 1_200) % 2**32, T + 1_200)
    assert mean(old, attacked) == mean(old, honest) == 3


def test_the_quotient_is_rounded_down_as_the_contract_does() -> None:
    old = Accumulator(0, 3, 1, T % 2**32, T)
    new = Accumulator(0, 3, 1, T % 2**32, T + 10)
    assert average(old, new) == (UQ112 // 3 * 10, 10 * UQ112)


def test_the_sum_wraps_at_2_to_the_256() -> None:
    start = 2**256 - 5
    old = Accumulator(start, 1, 2, T % 2**32, T)
    grown = (start + 2 * UQ112 * 600) % 2**256
    new = Accumulator(grown, 1, 2, (T + 600) % 2**32, T + 600)
    assert grown < start
    assert mean(old, new) == 2
    # The same where the wrap is in the part that nobody has written yet.
    assert mean(old, Accumulator(start, 1, 2, T % 2**32, T + 600)) == 2


def test_the_time_of_the_last_trade_wraps_at_2_to_the_32() -> None:
    before, after = 2**32 - 100, 2**32 + 500
    old = Accumulator(9, 1, 7, (before - 50) % 2**32, before)
    new = Accumulator(9, 1, 7, (before - 50) % 2**32, after)
    assert mean(old, new) == 7


def test_a_trade_after_the_wrap__is_as_old_as_it_is() -> None:
    """The pair's clock has begun anew, the block's has not."""
    begin = 2**32 + 10
    old = Accumulator(9, 1, 7, begin % 2**32, begin + 90)
    new = Accumulator(9, 1, 7, begin % 2**32, begin + 690)
    assert new.now() - 9 == 7 * UQ112 * 690
    assert mean(old, new) == 7


@pytest.mark.parametrize("elapsed", [0, -12])
def test_no_time_between__is_no_average(elapsed: int) -> None:
    old = Accumulator(0, 1, 1, 0, T)
    with pytest.raises(ValueError, match=f"there are {elapsed} s between"):
        average(old, Accumulator(0, 1, 1, 0, T + elapsed))
