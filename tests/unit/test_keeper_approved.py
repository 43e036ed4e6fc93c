"""Approved trades on a later block: never more than was approved, never for less."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import (
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_USDC,
    WETH,
    snapshot,
    worth,
)

from rebalancer.amm.liquidity import apply_burn, apply_mint, whole_amounts
from rebalancer.amm.swap import apply_swap
from rebalancer.errors import LimitBreached, PlanError
from rebalancer.keeper.approved import repriced
from rebalancer.model import AddLeg, Amount, LpHolding, RemoveLeg, Snapshot, SwapLeg, Token
from rebalancer.planner.replay import replay

SHARES = USDC_WETH.total_supply // 1_000
HELD = LpHolding(USDC_WETH.address, SHARES, None)
WETH_HELD = worth(WETH, 1_000_000)


Trades = tuple[RemoveLeg, SwapLeg, AddLeg]


def least(raw: int) -> int:
    return raw * 99 // 100


@pytest.fixture
def trades() -> Trades:
    """Leaves a pool, sells a part of its USDC for WBTC, adds the WBTC and the other USDC."""
    _, usdc, weth = apply_burn(USDC_WETH, SHARES)
    out = RemoveLeg(
        USDC_WETH.address, "uni", USDC, WETH, SHARES, usdc, weth, least(usdc), least(weth)
    )
    half = usdc // 2
    after, wbtc = apply_swap(WBTC_USDC, USDC, half)
    sold = SwapLeg(WBTC_USDC.address, "uni", USDC, WBTC, 3_000, half, wbtc, least(wbtc), False)
    both = whole_amounts(after.reserve0, after.reserve1, wbtc, usdc - half)
    _, shares = apply_mint(after, *both)
    added = AddLeg(WBTC_USDC.address, "uni", WBTC, USDC, *both, shares, shares * 95 // 100)
    return out, sold, added


def market(sold: Token | None = None, dollars: int = 0) -> Snapshot:
    """A wallet with shares and WETH alone, after somebody sold ``sold`` for the other token."""
    pair = USDC_WETH if sold is None else apply_swap(USDC_WETH, sold, worth(sold, dollars).raw)[0]
    nothing = (Amount(USDC, 0), Amount(WBTC, 0))
    return snapshot(WETH_HELD, *nothing, pairs=(pair, WBTC_USDC), holdings=(HELD,))


def test_on_the_block_of_the_plan__nothing_changes(trades: Trades) -> None:
    assert repriced(trades, market()) == trades


def test_a_removal_that_brings_less__feeds_less(trades: Trades) -> None:
    """There is no other USDC: the approved amounts could not all be paid."""
    now = market(WETH, 100_000)

    out, sold, added = repriced(trades, now)

    assert isinstance(out, RemoveLeg)
    assert isinstance(sold, SwapLeg)
    assert isinstance(added, AddLeg)
    assert out.shares == SHARES
    assert out.amount0 < trades[0].pays[0].raw
    assert sold == trades[1], "it is paid for before the rest"
    assert added.amount1 <= out.amount0 - sold.amount_in < trades[2].takes[1].raw
    done = replay(now, (out, sold, added))
    assert done.balance(USDC) == out.amount0 - sold.amount_in - added.amount1


def test_a_removal_that_brings_more__changes_no_approved_amount(trades: Trades) -> None:
    now = market(USDC, 100_000)

    out, sold, added = repriced(trades, now)

    assert out.pays[0].raw > trades[0].pays[0].raw
    assert (sold, added) == trades[1:]


def test_all_that_was_brought__is_what_is_brought_now(trades: Trades) -> None:
    out = trades[0]
    _, wbtc = apply_swap(WBTC_USDC, USDC, out.amount0)
    everything = replace(
        trades[1], amount_in=out.amount0, amount_out=wbtc, min_amount_out=least(wbtc)
    )
    now = market(WETH, 10_000)

    left, sold = repriced((out, everything), now)

    assert sold.takes == left.pays[:1]
    assert replay(now, (left, sold)).balance(USDC) == 0


def test_below_an_approved_minimum__nothing_is_traded(trades: Trades) -> None:
    with pytest.raises(LimitBreached, match=r"leg 1 of the approved plan would bring \d+ smallest"):
        repriced(trades, market(WETH, 1_000_000))
    greedy = replace(trades[2], min_shares=trades[2].pays[0].raw)
    with pytest.raises(LimitBreached, match="leg 3 of the approved plan would bring"):
        repriced((*trades[:2], greedy), market(WETH, 100_000))


def test_what_cannot_be_done__is_said(trades: Trades) -> None:
    with pytest.raises(PlanError, match="leg 1 of the approved plan trades on a pair that is not"):
        repriced(trades, snapshot(WETH_HELD, pairs=()))
    dust = replace(trades[0], shares=1)
    with pytest.raises(PlanError, match="leg 1 of the approved plan cannot be done"):
        repriced((dust,), market())


def test_own_money__is_sold_as_it_was_approved() -> None:
    held = worth(WETH, 1_000).raw
    _, usdc = apply_swap(USDC_WETH, WETH, held)
    sold = SwapLeg(USDC_WETH.address, "uni", WETH, USDC, 3_000, held, usdc, least(usdc), False)
    (now,) = repriced((sold,), market(USDC, 10_000))
    assert isinstance(now, SwapLeg)
    assert (now.amount_in, now.min_amount_out) == (held, sold.min_amount_out)
    assert now.amount_out > usdc
