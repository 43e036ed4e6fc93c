"""Replay: exact where the legs are right, a clear refusal for every way they can be wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import (
    UNI,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_USDC,
    WBTC_WETH,
    WETH,
    holding,
    leg,
    snapshot,
    worth,
)

from rebalancer.amm.swap import apply_swap
from rebalancer.errors import PlanError
from rebalancer.planner import replay

SOLD = 10**18
PAIR_AFTER, BOUGHT = apply_swap(USDC_WETH, WETH, SOLD)
GOOD = leg(USDC_WETH, WETH, SOLD, BOUGHT)


def test_balances_and_reserves_move_and_nothing_else():
    at = holding()
    done = replay(at, [GOOD])
    assert done.balance(WETH) == at.balance(WETH) - SOLD
    assert done.balance(USDC) == at.balance(USDC) + BOUGHT
    assert done.pair(USDC_WETH.address) == PAIR_AFTER
    undone = replace(done, balances=at.balances, pairs=at.pairs)
    assert undone == at


def test_a_chained_leg_passes_the_wallet_by():
    at = holding()
    middle = apply_swap(WBTC_WETH, WBTC, 10**6)[1]
    last = apply_swap(USDC_WETH, WETH, middle)[1]
    route = [leg(WBTC_WETH, WBTC, 10**6, middle), leg(USDC_WETH, WETH, middle, last, chained=True)]
    done = replay(at, route)
    assert done.balance(WETH) == at.balance(WETH)
    assert done.balance(WBTC) == at.balance(WBTC) - 10**6
    assert done.balance(USDC) == at.balance(USDC) + last


def test_a_later_leg_meets_the_moved_pool():
    second = leg(USDC_WETH, WETH, SOLD, apply_swap(PAIR_AFTER, WETH, SOLD)[1])
    assert replay(holding(), [GOOD, second]).balance(USDC) > 0
    with pytest.raises(PlanError, match="leg 1 expects"):
        replay(holding(), [GOOD, GOOD])


def test_nothing_replays_to_the_same():
    assert replay(holding(), []) == holding()


MIDDLE = apply_swap(WBTC_WETH, WBTC, 10**6)[1]
FIRST = leg(WBTC_WETH, WBTC, 10**6, MIDDLE)
NEXT = leg(USDC_WETH, WETH, MIDDLE, apply_swap(USDC_WETH, WETH, MIDDLE)[1], chained=True)


@pytest.mark.parametrize(
    ("legs", "message"),
    [
        ([replace(GOOD, pair="0x" + "9" * 40)], "leg 0 swaps on 0x9+, which is no such pair"),
        ([replace(GOOD, token_out=WBTC)], "which is no such pair"),
        ([replace(GOOD, token_out=WETH)], "which is no such pair"),
        ([replace(GOOD, fee_ppm=2_500)], "another amm or fee than uni:USDC/WETH has"),
        ([replace(GOOD, amm="sushi")], "another amm or fee"),
        ([replace(GOOD, amount_in=0)], "sells 0 smallest units"),
        ([replace(GOOD, amount_in=-1)], "sells -1 smallest units"),
        ([replace(GOOD, amount_in=301 * 10**18)], "and 300000000000000000000 are there"),
        ([replace(GOOD, amount_out=BOUGHT + 1)], f"and uni:USDC/WETH pays {BOUGHT}"),
        ([replace(GOOD, amount_out=BOUGHT - 1)], f"and uni:USDC/WETH pays {BOUGHT}"),
        ([replace(GOOD, chained=True)], "leg 0 is chained, but the leg before does not feed it"),
        ([FIRST, replace(NEXT, amount_in=MIDDLE - 1)], "does not feed it"),
        ([FIRST, replace(NEXT, token_in=USDC, token_out=WETH)], "does not feed it"),
        ([GOOD, NEXT], "does not feed it"),
        (
            [FIRST, leg(WBTC_WETH, WETH, MIDDLE, 1, chained=True)],
            "does not feed it",  # a pair cannot pay itself
        ),
        ([leg(WBTC_WETH, WETH, 1, 0)], "leg 0 cannot be executed: 1 smallest units"),
    ],
)
def test_what_cannot_happen_is_refused(legs, message):
    with pytest.raises(PlanError, match=message):
        replay(holding(), legs)


def test_a_bought_token_whose_balance_was_not_read_is_refused():
    at = snapshot(worth(WETH, 600_000))
    with pytest.raises(PlanError, match="buys USDC, whose balance was not read"):
        replay(at, [GOOD])
    with pytest.raises(PlanError, match="sells 1 smallest units of WBTC, and 0 are there"):
        replay(at, [leg(WBTC_USDC, WBTC, 1, 1)])
    assert UNI not in {amount.token for amount in at.balances}
