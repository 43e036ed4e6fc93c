"""Everything that the executor refuses, and the reason it gives."""

from __future__ import annotations

import ape
import pytest
from executor_world import UNIT, Pool, World
from web3.constants import ADDRESS_ZERO

from rebalancer.bundler.steps import MAX_ENTRIES


@pytest.fixture
def pool(world: World) -> Pool:
    return world.pools[0, 1]


def test_execute__stale_deadline__reverts(world: World, pool: Pool) -> None:
    now = ape.chain.blocks.head.timestamp

    assert (
        world.refusal(pool.leg(pool.a, UNIT), deadline=now - 1) == "executor: deadline has passed"
    )


def test_execute__no_legs__does_nothing(world: World) -> None:
    assert world.rpc.call("eth_call", world.request(), "latest") == "0x" + "00" * 32


def test_execute__one_entry_too_many__reverts(world: World, pool: Pool) -> None:
    legs = [pool.leg(pool.a, UNIT)] * (MAX_ENTRIES - 1)  # beside the token

    world.rpc.call("eth_call", world.request(*legs), "latest")
    assert world.refusal(*legs, legs[0]) == ""


def test_execute__first_leg_without_amount__reverts_in_the_pair(world: World, pool: Pool) -> None:
    world.pay(pool.a, pool.contract, UNIT)

    # It cannot take what lies in the pair either.
    reason = world.refusal(pool.leg(pool.a, 0))
    assert reason == "UniswapV2: INSUFFICIENT_OUTPUT_AMOUNT"


def test_execute__one_unit_below_the_minimum__reverts(world: World, pool: Pool) -> None:
    assert (
        world.refusal(pool.leg(pool.a, UNIT, pool.quote(pool.a, UNIT) + 1))
        == "executor: amount out below minimum"
    )


def test_execute__last_hop_below_its_minimum__reverts(world: World) -> None:
    t0, t1 = world.tokens[:2]
    first, second = world.pools[0, 1], world.pools[1, 2]
    best = second.quote(t1, first.quote(t0, UNIT))

    assert (
        world.refusal(first.leg(t0, UNIT), second.leg(t1, 0, best + 1))
        == "executor: amount out below minimum"
    )


def test_execute__the_last_of_three_legs_fails__undoes_the_others(world: World) -> None:
    t0 = world.tokens[0]
    legs = [world.pools[0, j].leg(t0, UNIT, 1) for j in (1, 2)]
    third = world.pools[0, 3]
    before = [token.balanceOf(world.alice) for token in world.tokens]

    legs.append(third.leg(t0, UNIT, third.quote(t0, UNIT) + 1))

    assert world.refusal(*legs) == "executor: amount out below minimum"
    assert world.fails_on_chain(world.request(*legs))

    assert [token.balanceOf(world.alice) for token in world.tokens] == before


def test_execute__zero_amount_out__reverts(world: World, pool: Pool) -> None:
    # Two units of b are worth one of a.
    assert world.refusal(pool.leg(pool.b, 1)) == "UniswapV2: INSUFFICIENT_OUTPUT_AMOUNT"


def test_execute__empty_pair__reverts(world: World) -> None:
    t1, t3 = world.tokens[1], world.tokens[3]
    empty = world.fee_pool(t1, t3, 0, 0, 3_000)

    assert world.refusal(empty.leg(t1, UNIT)) == "fee_pair: nothing asked for"


def test_execute__fee_of_everything__reverts_in_the_pair(world: World, pool: Pool) -> None:
    leg = pool.leg(pool.a, UNIT)._replace(fee_ppm=1_000_000)

    assert world.refusal(leg) == "UniswapV2: INSUFFICIENT_OUTPUT_AMOUNT"


@pytest.mark.parametrize("fee_ppm", [-1, -(10**6), -(2**24 - 1 - 10**6)])
def test_execute__fee_below_nothing__reverts_in_the_pair(
    world: World, pool: Pool, fee_ppm: int
) -> None:
    assert world.refusal(pool.leg(pool.a, UNIT)._replace(fee_ppm=fee_ppm)) == "UniswapV2: K"


def test_execute__fee_below_the_pairs__reverts_in_the_pair(world: World, pool: Pool) -> None:
    assert world.refusal(pool.leg(pool.a, UNIT)._replace(fee_ppm=2_999)) == "UniswapV2: K"


@pytest.mark.parametrize("forwards", [True, False])
def test_execute__wrong_direction__cannot_pass_an_honest_minimum(
    world: World, pool: Pool, forwards: bool
) -> None:
    # The pair would pay the caller's own token back, but never as much of it as the minimum asks.
    token_in = pool.a if forwards else pool.b
    leg = pool.leg(token_in, UNIT, pool.quote(token_in, UNIT) * 99 // 100)
    reason = "executor: amount out below minimum" if forwards else "UniswapV2: K"

    assert world.refusal(leg._replace(zero_for_one=not leg[2])) == reason


def test_execute__token_that_is_not_the_pairs__reverts_in_the_pair(
    world: World, pool: Pool
) -> None:
    assert (
        world.refusal(pool.leg(pool.a, UNIT)._replace(token_in=world.tokens[4].address))
        == "UniswapV2: INSUFFICIENT_INPUT_AMOUNT"
    )


@pytest.mark.parametrize("amount_in", [2**112, 2**127, 2**128 - 1])
def test_execute__amount_beyond_any_reserve__reverts_in_the_pair(
    world: World, amount_in: int
) -> None:
    token = world.mock("ReentrantToken")
    token.mint(world.alice, 2**256 - 1 - token.balanceOf(world.alice), sender=world.alice)
    pool = world.fee_pool(token, world.tokens[0], 10**20, 10**20, 3_000)
    token.approve(world.executor, 2**256 - 1, sender=world.alice)

    assert world.refusal(pool.leg(token, amount_in)) == ""


def test_execute__no_allowance__reverts_in_the_token(world: World, pool: Pool) -> None:
    pool.a.approve(world.executor, UNIT - 1, sender=world.alice)

    assert world.refusal(pool.leg(pool.a, UNIT)) == "ds-math-sub-underflow"


def test_execute__more_than_the_balance__reverts_in_the_token(world: World, pool: Pool) -> None:
    assert (
        world.refusal(pool.leg(pool.a, pool.a.balanceOf(world.alice) + 1))
        == "ds-math-sub-underflow"
    )


def test_execute__chained_leg_whose_pair_was_not_paid__reverts_in_the_pair(world: World) -> None:
    t0, t2 = world.tokens[0], world.tokens[2]
    # Pool (0, 1) pays token 1 into pool (0, 2), which has no use for it.
    legs = (world.pools[0, 1].leg(t0, UNIT), world.pools[0, 2].leg(t2, 0))

    assert world.refusal(*legs) == "UniswapV2: INSUFFICIENT_INPUT_AMOUNT"


def test_execute__pair_chained_to_itself__reverts_in_the_pair(world: World, pool: Pool) -> None:
    assert (
        world.refusal(pool.leg(pool.a, UNIT), pool.leg(pool.b, 0))
        == "UniswapV2: INSUFFICIENT_INPUT_AMOUNT"
    )


@pytest.mark.parametrize("what", ["nobody", "a person", "a token", "the executor", "a precompile"])
def test_execute__pair_that_is_no_pair__reverts(world: World, pool: Pool, what: str) -> None:
    address = {
        "nobody": ADDRESS_ZERO,
        "a person": world.bob.address,
        "a token": world.tokens[2].address,
        "the executor": world.executor.address,
        "a precompile": "0x0000000000000000000000000000000000000004",
    }[what]
    legs = (
        [pool.leg(pool.a, UNIT)._replace(pair=address)],
        [pool.leg(pool.a, UNIT), pool.leg(pool.b, 0)._replace(pair=address)],
    )

    for batch in legs:
        assert world.refusal(*batch) == ""


@pytest.mark.parametrize("what", ["nobody", "a person"])
def test_execute__token_without_code__reverts(world: World, pool: Pool, what: str) -> None:
    address = {"nobody": ADDRESS_ZERO, "a person": world.bob.address}[what]
    reason = world.refusal(pool.leg(pool.a, UNIT)._replace(token_in=address))

    # Nothing is paid by it, which the pair sees.
    assert reason == "UniswapV2: INSUFFICIENT_INPUT_AMOUNT"


def test_execute__with_ether__reverts(world: World, pool: Pool) -> None:
    reason = world.refusal(pool.leg(pool.a, UNIT), value="0x1")
    assert reason == "executor: ether is not wrapped"


def test_ether__sent_to_the_executor__reverts(world: World) -> None:
    assert world.refusal(data="0x", value="0x1") == "executor: ether refused"
    assert world.refusal(data="0x") == "executor: ether refused"
    assert world.refusal(data="0x12345678") == ""
