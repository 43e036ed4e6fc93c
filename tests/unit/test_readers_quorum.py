"""Which price stands: the median, when enough agree with it."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.readers.quorum import judge

ONE_PERCENT = 10_000


def F(*values: int | None) -> list[Fraction | None]:
    return [None if v is None else Fraction(v) for v in values]


@pytest.mark.parametrize("lie", [1, 50, 5_000, 10**30])
@pytest.mark.parametrize("liar", [0, 1, 2])
def test_one_liar_of_three__the_price_stands(liar: int, lie: int) -> None:
    honest = [3_000, 3_010]
    prices = [*honest[:liar], lie, *honest[liar:]]
    verdict = judge(F(*prices), 2, ONE_PERCENT)
    assert verdict.taken is not None
    assert prices[verdict.taken] in honest
    assert verdict.agrees == tuple(price in honest for price in prices)


@pytest.mark.parametrize("prices", list(permutations((3_000, 3_031, 2_969))))
def test_no_two_of_three_agree__there_is_no_price(prices: tuple[int, ...]) -> None:
    verdict = judge(F(*prices), 2, ONE_PERCENT)
    assert verdict.taken is None
    assert sum(verdict.agrees) == 1


def test_the_edge_of_the_deviation__agrees__and_one_more_does_not() -> None:
    assert judge(F(10_000, 10_100), 2, ONE_PERCENT).taken == 0
    assert judge(F(10_000, 9_900), 2, ONE_PERCENT).taken == 0
    assert judge(F(10_000, 10_101), 2, ONE_PERCENT).taken is None
    assert judge(F(10_000, 9_899), 2, ONE_PERCENT).taken is None


def test_two_that_agree__the_first_in_order_is_taken() -> None:
    assert judge(F(3_000, 3_010), 2, ONE_PERCENT).taken == 0
    assert judge(F(3_010, 3_000), 2, ONE_PERCENT).taken == 0
    assert judge(F(None, 3_010, 3_000), 2, ONE_PERCENT).taken == 1


def test_who_does_not_answer__does_not_agree() -> None:
    assert judge(F(3_000, None, None), 2, ONE_PERCENT).taken is None
    assert judge(F(3_000, None, None), 1, ONE_PERCENT).taken == 0
    assert judge(F(None, None), 1, ONE_PERCENT).taken is None
    assert judge(F(3_000, None, 3_000), 2, ONE_PERCENT).agrees == (True, False, True)


def test_two_camps_of_two__are_no_majority() -> None:
    assert judge(F(100, 200, 100, 200), 2, ONE_PERCENT).taken is None
    assert judge(F(200, 100, 200, 100), 2, ONE_PERCENT).taken is None


def test_a_quorum_of_one__still_needs_those_that_answer_to_agree() -> None:
    assert judge(F(100, 200), 1, ONE_PERCENT).taken is None
    assert judge(F(100, 100), 1, ONE_PERCENT).taken == 0


def test_a_quorum_beyond_the_majority__is_asked_for() -> None:
    assert judge(F(100, 100, 100, 200), 4, ONE_PERCENT).taken is None
    assert judge(F(100, 100, 100, 200), 3, ONE_PERCENT).taken == 0


honest_prices = st.lists(st.integers(10**6, 10**6 + 5_000), min_size=2, max_size=6)


@given(honest=honest_prices, lies=st.data())
def test_fewer_liars_than_honest__the_price_is_between_the_honest_ones(
    honest: list[int], lies: st.DataObject
) -> None:
    """Whatever the liars say, wherever they stand, the price is one of the honest range."""
    count = lies.draw(st.integers(0, len(honest) - 1))
    false = lies.draw(st.lists(st.integers(1, 10**9), min_size=count, max_size=count))
    order = lies.draw(st.permutations([*honest, *false]))
    verdict = judge(F(*order), 2, ONE_PERCENT)
    assert verdict.taken is not None
    assert min(honest) <= order[verdict.taken] <= max(honest)
