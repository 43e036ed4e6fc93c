"""The gas purse: what of the native token trades, what a plan wraps for it, what it fills up."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from planner_world import USDC, USDC_WETH, WBTC_WETH, WETH, holding, leg

from rebalancer.model import (
    E8,
    Amount,
    GasReserve,
    HeldOut,
    Leg,
    Snapshot,
    SwapLeg,
    UnwrapLeg,
    WrapLeg,
)
from rebalancer.planner.purse import Purse, open_purse, trades_of

ETHER = 10**18
GAS = ETHER // 50
MUCH = 10**6 * E8


def reserved(weth: int, native_wei: int, reserve_wei: int = ETHER // 10) -> Snapshot:
    """A wallet with so many dollars of WETH and so much ether."""
    at = holding(weth=weth)
    return replace(at, native_wei=native_wei, gas_reserve=GasReserve(WETH, reserve_wei))


def opened(at: Snapshot, gas_wei: int = GAS, kept: Amount | None = None) -> tuple[Snapshot, Purse]:
    snapshot, purse = open_purse(at, gas_wei, MUCH, kept)
    assert purse is not None
    return snapshot, purse


def sells(token_in: object, raw: int) -> SwapLeg:
    pair = USDC_WETH if token_in in (WETH, USDC) else WBTC_WETH
    return leg(pair, token_in, raw, 1)  # type: ignore[arg-type]


def test_without_a_reserve__as_it_is() -> None:
    at = holding()
    assert open_purse(at, GAS, MUCH) == (at, None)
    assert trades_of((), None) == ()


def test_surplus__is_wrapped_in_mind_but_for_the_plans_own_gas() -> None:
    at = reserved(0, 2 * ETHER)
    snapshot, purse = opened(at)
    assert purse.free_wei == 2 * ETHER - ETHER // 10 - GAS
    assert snapshot.balance(WETH) == purse.free_wei
    assert snapshot.native_wei == ETHER // 10 + GAS
    # Whatever is free, the same counts.
    assert snapshot.owned(WETH) == at.owned(WETH) == 2 * ETHER - ETHER // 10


def test_surplus_that_pays_no_more_than_gas__stays() -> None:
    snapshot, purse = opened(reserved(0, ETHER // 10 + GAS))
    assert (purse.free_wei, snapshot.balance(WETH)) == (0, 0)


def test_dress__wraps_exactly_what_the_trades_lack() -> None:
    at = reserved(2_000, 2 * ETHER)  # one WETH
    _, purse = opened(at)
    enough, more = sells(WETH, ETHER), sells(WETH, ETHER + 7)
    assert purse.dress((enough,)) == (enough,)
    assert purse.dress((more,)) == (WrapLeg(purse.native, WETH, 7), more)
    assert purse.dress(()) == ()


def test_dress__what_is_bought_first_need_not_be_wrapped() -> None:
    at = reserved(0, 2 * ETHER)
    _, purse = opened(at)
    buys = replace(sells(USDC, 10**9), amount_out=ETHER)
    (sale,) = (sells(WETH, ETHER + 5),)
    assert purse.dress((buys, sale)) == (WrapLeg(purse.native, WETH, 5), buys, sale)
    assert purse.dress((sale, buys))[0] == WrapLeg(purse.native, WETH, ETHER + 5)


def test_dress__what_goes_from_pair_to_pair_is_not_the_wallets() -> None:
    _, purse = opened(reserved(0, 2 * ETHER))
    first = replace(sells(USDC, 10**9), amount_out=ETHER)
    second = replace(leg(WBTC_WETH, WETH, ETHER, 1), chained=True)
    assert purse.dress((first, second)) == (first, second)


def test_dress__what_a_withdrawal_needs_is_wrapped_too() -> None:
    at = reserved(2_000, 2 * ETHER)
    _, purse = opened(at, kept=Amount(WETH, ETHER + ETHER // 2))
    trade = sells(USDC, 10**6)
    wanted = ETHER // 2 - 1  # the trade brings one unit
    assert purse.dress((trade,))[0] == WrapLeg(purse.native, WETH, wanted)


def test_reserve_that_is_short__is_set_aside_and_filled_at_the_end() -> None:
    at = reserved(2_000, ETHER // 25)
    snapshot, purse = opened(at)
    short = ETHER // 10 - ETHER // 25
    assert (purse.free_wei, purse.top_up_wei) == (0, short)
    assert snapshot.balance(WETH) == ETHER - short
    trade = sells(USDC, 10**6)
    assert purse.dress((trade,)) == (trade, UnwrapLeg(purse.native, WETH, short))
    assert trades_of(purse.dress((trade,)), purse) == (trade,)
    (note,) = purse.notes()
    assert (note.code, note.measured, note.limit) == ("gas_reserve_wei", ETHER // 25, ETHER // 10)
    assert note.text == "0.06 WETH are unwrapped to fill up the gas reserve of 0.1 ETH"


def test_reserve_that_is_short__takes_what_is_there_and_says_what_is_missing() -> None:
    at = reserved(100, ETHER // 25)  # a twentieth of an ether
    _, purse = opened(at)
    assert purse.top_up_wei == ETHER // 20
    assert purse.notes()[0].text.endswith("; 0.01 ETH are still missing")
    # It takes not the whole portfolio.
    _, none = open_purse(at, GAS, 100 * E8)
    assert none is not None
    assert (none.top_up_wei, none.notes()) == (0, ())


def test_held_out_wrapped_token__is_left_alone() -> None:
    at = reserved(0, 2 * ETHER)
    at = replace(at, held_out=(HeldOut("WETH", WETH.address, "rebasing", "it is"),))
    assert open_purse(at, GAS, MUCH) == (at, None)


def test_gas__wrapping_never_leaves_less_than_reserve_and_worst_case() -> None:
    _, purse = opened(reserved(0, 2 * ETHER), gas_wei=0)
    legs = purse.dress((sells(WETH, purse.free_wei),))
    assert purse.short_of_gas(legs, 0) is None
    reason = purse.short_of_gas(legs, 1)
    assert reason is not None
    assert (reason.measured, reason.limit) == (ETHER // 10, ETHER // 10 + 1)
    assert purse.short_of_gas((sells(WETH, 1),), 10 * ETHER) is None  # wraps nothing


@settings(max_examples=200)
@given(
    native_wei=st.integers(0, 3 * ETHER),
    reserve_wei=st.integers(1, ETHER),
    weth=st.integers(0, 3 * ETHER),
    gas_wei=st.integers(0, ETHER // 10),
    kept=st.integers(0, ETHER),
    moves=st.lists(st.tuples(st.booleans(), st.integers(1, ETHER)), max_size=6),
)
def test_whatever_is_traded__no_balance_is_overdrawn_and_the_reserve_stands(
    native_wei: int,
    reserve_wei: int,
    weth: int,
    gas_wei: int,
    kept: int,
    moves: list[tuple[bool, int]],
) -> None:
    """Any trades that the opened snapshot can pay for, dressed, are paid for by what was read."""
    at = reserved(0, native_wei, reserve_wei)
    balances = (Amount(WETH, weth), *at.balances[1:])
    at = replace(at, balances=balances)
    snapshot, purse = opened(at, gas_wei, Amount(WETH, kept))
    room = max(snapshot.balance(WETH) - kept, 0)
    trades: list[Leg] = []
    for sell, raw in moves:
        if sell and raw <= room:
            trades.append(sells(WETH, raw))
            room -= raw
        elif not sell:
            trades.append(replace(sells(USDC, 1), amount_out=raw))
            room += raw
    balance, native, wrapped = weth, native_wei, 0
    legs = purse.dress(trades)
    for one in legs:
        for amount in one.takes:
            if amount.token == WETH:
                balance -= amount.raw
            elif amount.token == purse.native:
                native -= amount.raw
                wrapped += amount.raw
        assert balance >= 0
        for amount in one.pays:
            if amount.token == WETH:
                balance += amount.raw
            elif amount.token == purse.native:
                native += amount.raw
    assert trades_of(legs, purse) == tuple(trades)
    assert native >= min(native_wei, reserve_wei + (gas_wei if wrapped else 0))
    if trades:
        assert native == native_wei - wrapped + purse.top_up_wei
        assert balance >= min(kept, snapshot.balance(WETH))
        assert purse.short_of_gas(legs, gas_wei) is None
