"""Lots at average cost, and the impermanent loss of several of them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.amm import fair_value_e8
from rebalancer.amm.impermanent_loss import against_entry, against_lots
from rebalancer.amm.lots import remove, total_shares
from rebalancer.errors import ReadError
from rebalancer.model import E8, LpEntry, LpLot, PairState, Price, Token

ETHER = 10**18
USDC = Token("0x" + "1" * 40, "USDC", 6)
WETH = Token("0x" + "2" * 40, "WETH", 18)
ONE_DOLLAR = Price(USDC, E8, 10**6, "feed", 0)
SUPPLY = 10**15


def eth_at(dollars: int) -> Price:
    return Price(WETH, dollars * E8, ETHER, "feed", 0)


def pool_at(dollars: int) -> PairState:
    """2,000 USDC a WETH with 1,000 WETH in it, moved along its curve to another price."""
    usdc, weth = 2_000_000 * 10**6, 1_000 * ETHER
    reserve0 = isqrt(usdc**2 * dollars // 2_000)
    reserve1 = isqrt(weth**2 * 2_000 // dollars)
    return PairState("0x", "v2", USDC, WETH, 3_000, reserve0, reserve1, SUPPLY, 0, False)


def entered_at(dollars: int, shares: int) -> LpLot:
    """A lot that was paid in when the pool stood at ``dollars``."""
    pool = pool_at(dollars)
    entry = LpEntry(dollars, pool.reserve0, pool.reserve1, SUPPLY)
    paid = shares * pool.reserve0 // SUPPLY, shares * pool.reserve1 // SUPPLY
    return LpLot("added", entry, shares, shares, *paid)


def lot(shares: int) -> LpLot:
    return LpLot("added", LpEntry(1, 1, 1, 1), shares, shares, 10 * shares, 20 * shares)


@pytest.mark.parametrize(
    ("held", "removed", "left"),
    [
        ((100, 300), 200, (50, 150)),
        ((100, 300), 400, ()),
        ((100, 300), 0, (100, 300)),
        ((1, 1, 1), 1, (1, 1)),  # equal remainders: the earlier lots keep their units
        ((1, 999), 500, (1, 499)),
        ((1, 2), 1, (1, 1)),  # 2/3 and 4/3 are left: the larger remainder gets the unit
        ((2, 1), 1, (1, 1)),
        ((1, 10**6), 10**6, (1,)),
        ((10**6, 1), 10**6, (1,)),
    ],
)
def test_remove__takes_the_same_part_of_every_lot(
    held: tuple[int, ...], removed: int, left: tuple[int, ...]
) -> None:
    lots = tuple(map(lot, held))
    kept = remove(lots, removed)
    assert tuple(item.shares for item in kept) == left
    assert {item.entered for item in kept} <= set(held)


@pytest.mark.parametrize("shares", [-1, 401])
def test_remove__more_than_there_is__is_refused(shares: int) -> None:
    with pytest.raises(ValueError, match="of 400 shares cannot be removed"):
        remove((lot(100), lot(300)), shares)


@given(st.lists(st.integers(1, 10**24), min_size=1, max_size=9), st.data())
def test_remove__always__adds_up_and_is_off_by_less_than_a_share(
    held: list[int], data: st.DataObject
) -> None:
    lots = tuple(map(lot, held))
    before = total_shares(lots)
    removed = data.draw(st.integers(0, before))
    kept = remove(lots, removed)
    assert total_shares(kept) == before - removed
    left = {id(item.entry): item.shares for item in kept}
    for item in lots:
        exact = Fraction(item.shares * (before - removed), before)
        assert abs(left.get(id(item.entry), 0) - exact) < 1


@pytest.mark.parametrize(
    ("dollars", "loss_permille"),
    [(2_000, 0), (2_500, -6), (3_000, -20), (3_500, -38), (4_000, -57), (6_000, -134),
     (8_000, -200), (10_000, -255)],
)  # fmt: skip
def test_one_lot__price_moved__is_the_published_loss(dollars: int, loss_permille: int) -> None:
    price = eth_at(dollars)
    result = against_lots(pool_at(dollars), [entered_at(2_000, 10**14)], ONE_DOLLAR, price)
    assert round(Fraction(result.il_e8 * 1_000, result.held_e8)) == loss_permille
    assert abs(result.fees_e8) <= result.value_e8 // 10**8


def test_one_lot__is_the_single_entry_but_for_the_wei_that_went_in() -> None:
    price, one = eth_at(3_000), entered_at(2_000, 10**14)
    single = against_entry(pool_at(3_000), 10**14, one.entry, ONE_DOLLAR, price)
    several = against_lots(pool_at(3_000), [one], ONE_DOLLAR, price)
    assert several.value_e8 == single.value_e8
    assert several.fees_e8 == single.fees_e8
    assert abs(several.held_e8 - single.held_e8) <= 3_000


def test_several_lots__add_up_to_the_loss_of_each() -> None:
    """One entered at half the price of the other: at 4,000 the first has lost, the second not."""
    price, pool = eth_at(4_000), pool_at(4_000)
    old, new = entered_at(2_000, 10**14), entered_at(4_000, 3 * 10**14)
    both = against_lots(pool, [old, new], ONE_DOLLAR, price)
    parts = [against_lots(pool, [one], ONE_DOLLAR, price) for one in (old, new)]
    assert both.held_e8 == sum(part.held_e8 for part in parts)
    assert both.held_e8 + both.il_e8 == sum(part.held_e8 + part.il_e8 for part in parts)
    assert both.value_e8 == both.held_e8 + both.il_e8 + both.fees_e8
    assert both.value_e8 == fair_value_e8(pool, 4 * 10**14, ONE_DOLLAR, price)
    assert abs(parts[1].il_e8) <= 10_000
    assert parts[0].il_e8 < -10_000 * E8


def test_partial_remove__leaves_the_loss_in_per_cent_as_it_was() -> None:
    price, pool = eth_at(3_000), pool_at(3_000)
    lots = (entered_at(2_000, 10**14), entered_at(5_000, 10**14))
    before = against_lots(pool, lots, ONE_DOLLAR, price)
    after = against_lots(pool, remove(lots, 15 * 10**13), ONE_DOLLAR, price)
    assert abs(after.il_e8 * before.held_e8 - before.il_e8 * after.held_e8) <= before.held_e8 * 10
    assert abs(after.held_e8 * 4 - before.held_e8) <= 8


def test_surplus_that_was_given_away__counts_as_held() -> None:
    """What a lopsided add gave to the pool was had before: it is part of what was lost."""
    price, pool = eth_at(2_000), pool_at(2_000)
    fair, lopsided = entered_at(2_000, 10**14), entered_at(2_000, 10**14)
    lopsided = replace(lopsided, amount1=lopsided.amount1 + ETHER)
    plain = against_lots(pool, [fair], ONE_DOLLAR, price)
    given_away = against_lots(pool, [lopsided], ONE_DOLLAR, price)
    assert given_away.held_e8 == plain.held_e8 + 2_000 * E8
    assert given_away.il_e8 == plain.il_e8 - 2_000 * E8


@pytest.mark.parametrize(
    "change",
    [
        {"shares": 0},
        {"shares": 10**14 + 1},
        {"amount0": -1},
        {"entry": LpEntry(7, 0, 1, 1)},
        {"entry": LpEntry(7, 1, 1, 0)},
    ],
)
def test_lot_that_cannot_be__is_refused(change: dict[str, object]) -> None:
    bad = replace(entered_at(2_000, 10**14), **change)  # type: ignore[arg-type]
    with pytest.raises(ReadError):
        against_lots(pool_at(2_000), [bad], ONE_DOLLAR, eth_at(2_000))
