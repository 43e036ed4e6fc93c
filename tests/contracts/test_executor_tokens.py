"""Tokens that are not quite ERC-20: what the executor does with each kind."""

from __future__ import annotations

import pytest
from executor_world import UNIT, World


def test_execute__token_without_return_values__is_sold_and_bought(world: World) -> None:
    t0, usdt = world.tokens[0], world.mock("UsdtLikeToken")
    pool = world.pool(t0, usdt, 10**24, 3 * 10**12)

    bought = pool.quote(t0, UNIT)
    before = usdt.balanceOf(world.alice)
    world.execute(pool.leg(t0, UNIT, bought))
    assert usdt.balanceOf(world.alice) == before + bought

    got = pool.quote(usdt, 10**6)
    before_t0, before = t0.balanceOf(world.alice), usdt.balanceOf(world.alice)
    world.execute(pool.leg(usdt, 10**6, got))
    assert usdt.balanceOf(world.alice) == before - 10**6
    assert t0.balanceOf(world.alice) == before_t0 + got
    assert usdt.balanceOf(world.executor) == 0


def test_execute__token_without_return_values__is_passed_through(world: World) -> None:
    t0, t1, usdt = world.tokens[0], world.tokens[1], world.mock("UsdtLikeToken")
    first = world.pool(t0, usdt, 10**24, 3 * 10**12)
    second = world.pool(usdt, t1, 3 * 10**12, 10**24)
    expected = second.quote(usdt, first.quote(t0, UNIT))
    before, before_usdt = t1.balanceOf(world.alice), usdt.balanceOf(world.alice)

    world.execute(first.leg(t0, UNIT), second.leg(usdt, 0, expected))

    assert t1.balanceOf(world.alice) == before + expected
    assert usdt.balanceOf(world.alice) == before_usdt
    assert usdt.balanceOf(world.executor) == 0


def test_execute__token_without_return_values_or_allowance__reverts(world: World) -> None:
    usdt = world.mock("UsdtLikeToken")
    pool = world.pool(usdt, world.tokens[0], 10**12, 10**24)
    usdt.approve(world.executor, 0, sender=world.alice)

    assert world.refusal(pool.leg(usdt, 10**6)) == ""


@pytest.mark.parametrize("lacking", ["allowance", "balance"])
def test_execute__token_that_returns_false__reverts(world: World, lacking: str) -> None:
    token = world.mock("FalseReturningToken")
    pool = world.pool(token, world.tokens[0], 10**24, 10**24)
    amount = 10**20
    if lacking == "allowance":
        token.approve(world.executor, amount - 1, sender=world.alice)
    else:
        amount = token.balanceOf(world.alice) + 1

    # Nobody reads the false: the pair sees that nothing has come.
    assert world.refusal(pool.leg(token, amount)) == "UniswapV2: INSUFFICIENT_INPUT_AMOUNT"


def test_execute__token_that_returns_false__spends_what_anybody_could_have_taken(
    world: World,
) -> None:
    token, paid = world.mock("FalseReturningToken"), world.tokens[0]
    pool = world.pool(token, paid, 10**24, 10**24)
    token.approve(world.executor, 0, sender=world.alice)
    before = [held.balanceOf(world.alice) for held in (token, paid)]
    expected = pool.quote(token, UNIT)

    # What lies unbooked in a pair is whoever's asks first: the caller gains, and nobody pays.
    world.pay(token, pool.contract, UNIT)
    world.execute(pool.leg(token, UNIT, expected))

    after = [held.balanceOf(world.alice) for held in (token, paid)]
    assert after == [before[0], before[1] + expected]


def test_execute__token_that_could_return_false__works_when_it_does_not(world: World) -> None:
    token = world.mock("FalseReturningToken")
    pool = world.pool(token, world.tokens[0], 10**24, 10**24)
    before = world.tokens[0].balanceOf(world.alice)
    expected = pool.quote(token, UNIT)

    world.execute(pool.leg(token, UNIT, expected))

    assert world.tokens[0].balanceOf(world.alice) == before + expected


def test_execute__fee_on_transfer_token_sold__reverts_in_the_pair(world: World) -> None:
    token = world.mock("FeeOnTransferToken")
    pool = world.pool(token, world.tokens[0], 10**24, 10**24)

    assert world.refusal(pool.leg(token, UNIT)) == "UniswapV2: K"


def test_execute__fee_on_transfer_token_passed_through__reverts_in_the_pair(world: World) -> None:
    t0, t1, token = world.tokens[0], world.tokens[1], world.mock("FeeOnTransferToken")
    first = world.pool(t0, token, 10**24, 10**24)
    second = world.pool(token, t1, 10**24, 10**24)

    assert world.refusal(first.leg(t0, UNIT), second.leg(token, 0)) == "UniswapV2: K"


def test_execute__fee_on_transfer_token_bought__minimum_is_what_the_pair_pays(
    world: World,
) -> None:
    t0, token = world.tokens[0], world.mock("FeeOnTransferToken")
    pool = world.pool(t0, token, 10**24, 10**24)
    paid = pool.quote(t0, UNIT)
    before = token.balanceOf(world.alice)

    assert world.amounts_out(pool.leg(t0, UNIT, paid)) == [paid]
    world.execute(pool.leg(t0, UNIT, paid))

    # The documented limit: the token keeps its 1 % after the pair has paid.
    assert token.balanceOf(world.alice) == before + paid * 99 // 100


def test_execute__rebasing_token_before_and_after__trades_on_what_is_booked(world: World) -> None:
    t0, token = world.tokens[0], world.mock("RebasingToken")
    pool = world.pool(token, t0, 10**24, 10**24)
    up = 11 * 10**17

    token.rebase(up, sender=world.deployer)
    reserve_in, _ = pool.reserves(token)
    assert token.balanceOf(pool.contract) > reserve_in  # grown, not booked yet
    expected = pool.quote(token, UNIT)
    before = t0.balanceOf(world.alice)
    world.execute(pool.leg(token, UNIT, expected))

    assert t0.balanceOf(world.alice) == before + expected
    assert token.balanceOf(world.executor) == 0


def test_execute__rebase_that_shrank_the_pair__reverts_in_the_pair(world: World) -> None:
    t0, token = world.tokens[0], world.mock("RebasingToken")
    pool = world.pool(token, t0, 10**24, 10**24)

    token.rebase(9 * 10**17, sender=world.deployer)

    assert world.refusal(pool.leg(token, UNIT)) == "UniswapV2: INSUFFICIENT_INPUT_AMOUNT"


def test_execute__transfer_that_loses_a_unit_to_rounding__reverts_in_the_pair(
    world: World,
) -> None:
    # As stETH does: a share is worth 0.9, 10**18 tokens are not a whole number of shares.
    token = world.mock("RebasingToken")
    token.rebase(9 * 10**17, sender=world.deployer)
    pool = world.pool(token, world.tokens[0], 9 * 10**23, 10**24)
    whole = 9 * 10**17

    assert world.refusal(pool.leg(token, UNIT)) == "UniswapV2: K"
    assert world.amounts_out(pool.leg(token, whole)) == [pool.quote(token, whole)]
