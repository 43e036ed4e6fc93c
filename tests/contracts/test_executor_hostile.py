"""Hostile pairs, tokens and callers: nobody but the caller of a batch can lose by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ape
import pytest
from executor_world import FEE_PPM, INFINITE, UNIT, Leg, World, execute_data, official

from rebalancer.evm.abi import encode_call

TRANSFER_FROM = "transferFrom(address,address,uint256)"
SWAP = "swap(uint256,uint256,address,bytes)"
NOBODY = "0x0000000000000000000000000000000000000000"


@pytest.fixture(autouse=True)
def _bob_keeps_everything(world: World) -> Iterator[None]:
    """Bob has given the executor infinite allowances, and trades in none of these tests."""
    before = [token.balanceOf(world.bob) for token in world.tokens]
    yield
    assert [token.balanceOf(world.bob) for token in world.tokens] == before
    assert all(token.allowance(world.bob, world.executor) == INFINITE for token in world.tokens)


def hostile_pair(world: World, target: Any = NOBODY, data: bytes = b"") -> Any:
    """A pair that claims deep reserves, keeps what it gets, and makes a call when it should pay."""
    pair = world.mallory.deploy(ape.project.HostilePair)
    pair.plot(10**24, 10**24, target, data, sender=world.mallory)
    return pair


def leg_on(pair: Any, token_in: Any, amount_in: int, minimum: int = 0) -> Leg:
    return Leg(str(pair.address), str(token_in.address), True, FEE_PPM, amount_in, minimum)


# The allowances of others.


def test_execute__caller_without_tokens__cannot_sell_those_of_others(world: World) -> None:
    pool = world.pools[0, 1]
    mallory = {"from": world.mallory.address}

    assert world.refusal(pool.leg(pool.a, UNIT), **mallory) == "ds-math-sub-underflow"


def test_execute__hostile_pair_calls_the_executor__sells_nothing_of_others(world: World) -> None:
    pool = world.pools[0, 1]
    pair = hostile_pair(world, world.executor, execute_data(pool.leg(pool.a, UNIT)))

    world.execute(leg_on(pair, world.tokens[0], UNIT))

    # The nested call's msg.sender is the pair: it sold the pair's own loot, nobody else's.
    assert pair.succeeded() is False
    assert world.tokens[1].balanceOf(pair) == 0


def test_execute__hostile_pair_calls_the_token__has_no_allowance(world: World) -> None:
    token = world.tokens[0]
    data = encode_call(TRANSFER_FROM, world.bob.address, world.mallory.address, UNIT)
    pair = hostile_pair(world, token, data)

    world.execute(leg_on(pair, token, UNIT))

    assert pair.succeeded() is False


def test_execute__token_named_as_pair__reverts(world: World) -> None:
    token, other = world.tokens[:2]

    assert world.refusal(leg_on(token, token, UNIT)) == ""
    assert world.refusal(leg_on(token, other, UNIT)) == ""


def test_execute__weth_named_as_pair__reverts_although_it_has_a_fallback(world: World) -> None:
    weth = world.deployer.deploy(official("WETH9", "v2-periphery"))

    assert world.refusal(leg_on(weth, world.tokens[0], UNIT)) == ""


def test_execute__lp_shares_of_others__stay_where_they_are(world: World) -> None:
    pool = world.pools[0, 1]
    shares = pool.contract
    shares.transfer(world.bob, UNIT, sender=world.deployer)
    shares.approve(world.executor, INFINITE, sender=world.bob)

    leg = leg_on(world.pools[0, 2].contract, shares, UNIT)
    assert world.refusal(leg, **{"from": world.mallory.address}) == "ds-math-sub-underflow"
    assert shares.balanceOf(world.bob) == UNIT


def test_execute__tokens_lost_to_the_executor__cannot_be_taken_out(world: World) -> None:
    token = world.token()
    world.pay(token, world.executor, UNIT)
    world.pay(token, world.alice, UNIT)
    token.approve(world.executor, INFINITE, sender=world.alice)
    pool = world.pool(token, world.tokens[0], 10**24, 10**24)
    theft = encode_call(TRANSFER_FROM, world.executor.address, world.mallory.address, UNIT)

    for target, data in ((world.executor, execute_data(pool.leg(token, UNIT))), (token, theft)):
        pair = hostile_pair(world, target, data)
        world.execute(leg_on(pair, token, 1_000))
        assert pair.succeeded() is False
    world.execute(pool.leg(token, UNIT // 2))

    assert token.balanceOf(world.executor) == UNIT


# The calls that the executor makes.


def test_execute__pair__is_called_without_data_and_told_to_pay_the_caller(world: World) -> None:
    pair = hostile_pair(world)

    world.execute(leg_on(pair, world.tokens[0], UNIT))

    assert pair.last_caller() == world.executor.address
    assert pair.last_to() == world.alice.address
    assert pair.last_data_length() == 0


def test_execute__pair_before_a_chained_leg__is_told_to_pay_the_next_pair(world: World) -> None:
    first, second = hostile_pair(world), hostile_pair(world)

    world.execute(leg_on(first, world.tokens[0], UNIT), leg_on(second, world.tokens[1], 0))

    assert first.last_to() == second.address
    assert second.last_to() == world.alice.address


# What the caller himself can lose.


def test_execute__hostile_pair__takes_no_more_than_the_amount_in(world: World) -> None:
    token = world.tokens[0]
    data = encode_call(TRANSFER_FROM, world.alice.address, world.mallory.address, UNIT)
    pair = hostile_pair(world, token, data)
    before = token.balanceOf(world.alice)

    world.execute(leg_on(pair, token, UNIT))

    assert token.balanceOf(world.alice) == before - UNIT
    assert pair.succeeded() is False


def test_execute__hostile_pair_before_an_honest_one__reverts_the_whole_batch(world: World) -> None:
    pair = hostile_pair(world)
    honest = world.pools[0, 1]

    legs = (leg_on(pair, world.tokens[2], UNIT), honest.leg(honest.a, 0))

    assert world.refusal(*legs) == "UniswapV2: INSUFFICIENT_INPUT_AMOUNT"


def test_execute__reserves_beyond_any_pairs__take_no_more_than_the_amount_in(
    world: World,
) -> None:
    # Answers 2**255 to whatever it is asked: products wrap around, which is a lie like any other.
    pair = world.mallory.deploy(ape.project.HostilePair)
    word = (2**255).to_bytes(32, "big")
    code = b"\x7f" + word + bytes.fromhex("5f527f") + word + bytes.fromhex("6020525f60405260605ff3")
    ape.chain.provider.set_code(pair.address, code)
    before = [token.balanceOf(world.alice) for token in world.tokens]

    world.execute(leg_on(pair, world.tokens[0], UNIT))

    after = [token.balanceOf(world.alice) for token in world.tokens]
    assert after == [before[0] - UNIT, *before[1:]]


# Tokens that call back while they are pulled.


@pytest.fixture
def sly(world: World) -> Any:
    """A token that makes calls while ``transferFrom`` runs, in a pool with token 1."""
    token = world.mock("ReentrantToken")
    token.mint(token, 10**24, sender=world.mallory)
    return token


def test_execute__reentrant_token_calls_execute__trades_for_itself_only(
    world: World, sly: Any
) -> None:
    t1 = world.tokens[1]
    pool = world.pool(sly, t1, 10**24, 10**24)
    world.pay(t1, sly, UNIT)
    honest = world.pools[0, 1]
    nested = execute_data(honest.leg(t1, UNIT))
    allow = encode_call("approve(address,uint256)", world.executor.address, UNIT)
    sly.plot([(t1, allow), (world.executor, nested)], sender=world.mallory)
    before_t0, before_t1 = world.tokens[0].balanceOf(world.alice), t1.balanceOf(world.alice)
    expected_nested = honest.quote(t1, UNIT)
    expected = pool.quote(sly, UNIT)

    world.execute(pool.leg(sly, UNIT, expected))

    assert sly.succeeded() == 2
    assert world.tokens[0].balanceOf(sly) == expected_nested
    assert t1.balanceOf(world.alice) == before_t1 + expected
    assert world.tokens[0].balanceOf(world.alice) == before_t0


def test_execute__reentrant_token_moves_the_price__the_minimum_holds(
    world: World, sly: Any
) -> None:
    t1 = world.tokens[1]
    pool = world.pool(sly, t1, 10**24, 10**24)
    expected = pool.quote(sly, UNIT)
    sly.plot(steal(world, sly, pool, 10**23, 9 * 10**22), sender=world.mallory)

    assert (
        world.refusal(pool.leg(sly, UNIT, expected * 99 // 100))
        == "executor: amount out below minimum"
    )


def test_execute__reentrant_token_swaps_first__swallows_the_input_and_all_reverts(
    world: World, sly: Any
) -> None:
    t1 = world.tokens[1]
    pool = world.pool(sly, t1, 10**24, 10**24)
    out = 9 * 10**22
    sly.plot(steal(world, sly, pool, 10**23, out), sender=world.mallory)
    before = t1.balanceOf(world.alice)

    # The thief's swap swallows what Alice has paid in, so the pair owes her nothing: all reverts.
    assert world.refusal(pool.leg(sly, UNIT, 1)) == "UniswapV2: INSUFFICIENT_INPUT_AMOUNT"
    assert t1.balanceOf(world.alice) == before


def test_execute__reentrant_token_books_the_input_away__reverts(world: World, sly: Any) -> None:
    pool = world.pool(sly, world.tokens[1], 10**24, 10**24)
    sly.plot([(pool.contract, encode_call("sync()"))], sender=world.mallory)

    reason = world.refusal(pool.leg(sly, UNIT))

    assert reason == "UniswapV2: INSUFFICIENT_INPUT_AMOUNT"


def test_execute__reentrant_token_skims_the_pair__reverts(world: World, sly: Any) -> None:
    pool = world.pool(sly, world.tokens[1], 10**24, 10**24)
    skim = encode_call("skim(address)", world.mallory.address)
    sly.plot([(pool.contract, skim)], sender=world.mallory)

    assert world.refusal(pool.leg(sly, UNIT)) == "UniswapV2: INSUFFICIENT_INPUT_AMOUNT"


def test_execute__reentrant_token_in_a_batch__leaves_the_other_legs_alone(
    world: World, sly: Any
) -> None:
    t0, t1 = world.tokens[:2]
    pool = world.pool(sly, t1, 10**24, 10**24)
    honest = world.pools[0, 1]
    theft = encode_call(TRANSFER_FROM, world.alice.address, world.mallory.address, UNIT)
    sly.plot([(t0, theft), (t1, theft)], sender=world.mallory)
    out = honest.quote(t0, UNIT)
    before = t0.balanceOf(world.alice), t1.balanceOf(world.alice)
    expected = pool.quote(sly, UNIT)

    world.execute(pool.leg(sly, UNIT, expected), honest.leg(t0, UNIT, out))

    assert sly.failed() == 2
    assert t0.balanceOf(world.alice) == before[0] - UNIT
    assert t1.balanceOf(world.alice) == before[1] + expected + out


def steal(world: World, sly: Any, pool: Any, paid: int, out: int) -> list[tuple[Any, bytes]]:
    """Calls by which the token sells itself into the pool before its seller does."""
    pay = encode_call("transfer(address,uint256)", pool.address, paid)
    sold_is_token0 = pool.leg(sly, 1)[2]
    amounts = (0, out) if sold_is_token0 else (out, 0)
    return [(sly, pay), (pool.contract, encode_call(SWAP, *amounts, world.mallory.address, b""))]
