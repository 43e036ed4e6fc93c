"""Mints, burns and the protocol's share: published numbers and refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rebalancer.amm import (
    UINT112_MAX,
    added_amounts,
    apply_burn,
    apply_mint,
    apply_swap,
    effective_total_supply,
    mint_shares,
    protocol_fee_shares,
    redeemable,
    whole_amounts,
)
from rebalancer.errors import Infeasible
from rebalancer.model import PairState, Token

ETHER = 10**18
T0, T1 = Token("0x" + "0" * 40, "T0", 18), Token("0x" + "1" * 40, "T1", 18)
EMPTY = PairState("0xpair", "v2", T0, T1, 3_000, 0, 0, 0, 0, False)


def after_a_swap(protocol_fee_on: bool) -> PairState:
    """v2-core's own scenario: 1000 of each token, then 1 of token1 for 0.996 of token0."""
    empty = replace(EMPTY, protocol_fee_on=protocol_fee_on)
    pair, shares = apply_mint(empty, 1_000 * ETHER, 1_000 * ETHER)
    assert shares == 1_000 * ETHER - 1_000
    pair, amount_out = apply_swap(pair, T1, ETHER)
    assert amount_out == 996006981039903216
    return pair


def test_mint__first__is_the_root_less_the_locked_minimum() -> None:
    pair, shares = apply_mint(EMPTY, ETHER, 4 * ETHER)
    assert shares == 2 * ETHER - 1_000
    assert pair == replace(EMPTY, reserve0=ETHER, reserve1=4 * ETHER, total_supply=2 * ETHER)


def test_burn__all_but_the_minimum__leaves_one_thousandth_of_a_thousand_wei() -> None:
    pair, shares = apply_mint(EMPTY, 3 * ETHER, 3 * ETHER)
    after, amount0, amount1 = apply_burn(pair, shares)
    assert (amount0, amount1) == (3 * ETHER - 1_000, 3 * ETHER - 1_000)
    assert after == replace(EMPTY, reserve0=1_000, reserve1=1_000, total_supply=1_000)


def test_protocol_fee_on__burn_of_all__leaves_the_published_remainder() -> None:
    pair = after_a_swap(protocol_fee_on=True)
    assert protocol_fee_shares(pair) == 249750499251388
    after, _, _ = apply_burn(pair, 1_000 * ETHER - 1_000)
    assert after.total_supply == 1_000 + 249750499251388
    assert (after.reserve0, after.reserve1) == (1_000 + 249501683697445, 1_000 + 250000187312969)
    assert after.k_last == after.reserve0 * after.reserve1
    assert protocol_fee_shares(after) == 0


def test_protocol_fee_off__burn_of_all__leaves_the_minimum() -> None:
    pair = after_a_swap(protocol_fee_on=False)
    after, _, _ = apply_burn(pair, 1_000 * ETHER - 1_000)
    assert (after.total_supply, after.k_last) == (1_000, 0)


def test_protocol_fee__switched_off__mints_nothing_and_forgets_k_last() -> None:
    pair = replace(after_a_swap(protocol_fee_on=True), protocol_fee_on=False)
    assert effective_total_supply(pair) == pair.total_supply
    assert apply_mint(pair, ETHER, ETHER)[0].k_last == 0


def test_protocol_fee__just_switched_on__takes_nothing_of_the_past() -> None:
    pair = replace(after_a_swap(protocol_fee_on=False), protocol_fee_on=True)
    assert protocol_fee_shares(pair) == 0


def test_protocol_fee__shrunken_pool__mints_nothing() -> None:
    pair = after_a_swap(protocol_fee_on=True)
    assert protocol_fee_shares(replace(pair, k_last=4 * pair.k_last)) == 0


def test_redeemable__counts_the_shares_that_the_burn_will_mint() -> None:
    pair = after_a_swap(protocol_fee_on=True)
    half = pair.total_supply // 2
    amount0, amount1 = redeemable(pair, half)
    assert (amount0, amount1) == apply_burn(pair, half)[1:]
    assert amount0 == half * pair.reserve0 // (pair.total_supply + 249750499251388)
    assert amount1 < half * pair.reserve1 // pair.total_supply


def test_redeemable__dust__is_nothing_and_cannot_be_burned() -> None:
    pair = replace(EMPTY, reserve0=10**6, reserve1=10**18, total_supply=10**12)
    assert redeemable(pair, 0) == (0, 0)
    assert redeemable(pair, 999_999) == (0, 999_999_000_000)
    with pytest.raises(Infeasible, match="too few"):
        apply_burn(pair, 999_999)
    assert apply_burn(pair, 1_000_000)[1:] == (1, 10**12)


def test_redeemable__more_shares_than_there_are__is_refused() -> None:
    with pytest.raises(Infeasible, match="more than the 5 there are"):
        redeemable(replace(EMPTY, reserve0=9, reserve1=9, total_supply=5), 6)
    with pytest.raises(ValueError, match="negative"):
        redeemable(replace(EMPTY, reserve0=9, reserve1=9, total_supply=5), -1)


def test_redeemable__of_an_empty_pair__is_nothing() -> None:
    assert redeemable(EMPTY, 0) == (0, 0)


def test_mint__scarcer_side_counts() -> None:
    pair, _ = apply_mint(EMPTY, 10 * ETHER, 40 * ETHER)
    assert mint_shares(pair, ETHER, 4 * ETHER) == 2 * ETHER
    assert mint_shares(pair, ETHER, 400 * ETHER) == 2 * ETHER
    assert mint_shares(pair, 100 * ETHER, 4 * ETHER) == 2 * ETHER


@pytest.mark.parametrize(("amount0", "amount1"), [(1_000, 1_000), (10, 10), (0, ETHER)])
def test_mint__first_of_too_little__is_refused(amount0: int, amount1: int) -> None:
    with pytest.raises(Infeasible, match="too little"):
        apply_mint(EMPTY, amount0, amount1)


def test_mint__one_sided__is_refused() -> None:
    pair, _ = apply_mint(EMPTY, 10 * ETHER, 40 * ETHER)
    with pytest.raises(Infeasible, match="too little"):
        apply_mint(pair, ETHER, 0)
    with pytest.raises(ValueError, match="negative"):
        apply_mint(pair, ETHER, -1)


def test_mint__reserve_at_uint112__is_the_last_that_fits() -> None:
    pair, _ = apply_mint(EMPTY, UINT112_MAX // 2, UINT112_MAX // 2)
    room = UINT112_MAX - pair.reserve0
    assert apply_mint(pair, room, room)[0].reserve0 == UINT112_MAX
    with pytest.raises(Infeasible, match="cannot hold"):
        apply_mint(pair, room, room + 1)


def test_mint__shares_without_reserves__is_refused() -> None:
    with pytest.raises(Infeasible, match="no reserves"):
        apply_mint(replace(EMPTY, total_supply=1_000), ETHER, ETHER)


def test_added__all_of_one_and_of_the_other_what_the_ratio_asks_rounded_down() -> None:
    pair = replace(EMPTY, reserve0=10 * ETHER, reserve1=3 * ETHER, total_supply=5 * ETHER)
    assert added_amounts(pair, 100, ETHER) == (100, 30)
    assert added_amounts(pair, ETHER, 100) == (333, 100)
    assert added_amounts(pair, 101, 30) == (101, 30)
    # 333 of the first ask for 99 of the second: what is left of the 100 would stay in the wallet.
    assert added_amounts(pair, 333, 100) == (333, 99)
    assert whole_amounts(10 * ETHER, 3 * ETHER, ETHER, 100) == (334, 100)
    assert added_amounts(pair, 334, 100) == (334, 100)
    assert whole_amounts(3 * ETHER, 10 * ETHER, 100, ETHER) == (100, 333)
    assert whole_amounts(3 * ETHER, 10 * ETHER, 100, 332) == (99, 330)


def test_added__to_an_empty_pair__both_whole() -> None:
    assert added_amounts(EMPTY, 5, 7) == whole_amounts(0, 0, 5, 7) == (5, 7)
