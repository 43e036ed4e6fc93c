"""What a batch does when it succeeds: routes, fees, amounts, minimums, recipients."""

from __future__ import annotations

import ape
import pytest
from executor_world import UNIT, World, arguments, quote


def test_execute__one_hop__pays_the_exact_quote_to_the_caller(world: World) -> None:
    t0, t1 = world.tokens[:2]
    pool = world.pools[0, 1]
    # x = 10**18, f = 0.3 %, reserves 10**24 and 2 * 10**24.
    expected = 1_993_998_011_983_982_051
    before0, before1 = t0.balanceOf(world.alice), t1.balanceOf(world.alice)

    assert world.amounts_out(pool.leg(t0, UNIT, expected)) == [expected]
    world.execute(pool.leg(t0, UNIT, expected))

    assert t0.balanceOf(world.alice) == before0 - UNIT
    assert t1.balanceOf(world.alice) == before1 + expected


@pytest.mark.parametrize("forwards", [True, False])
def test_execute__either_direction__swaps_the_token_that_is_named(
    world: World, forwards: bool
) -> None:
    pool = world.pools[0, 3]
    token_in, token_out = (pool.a, pool.b) if forwards else (pool.b, pool.a)
    before = token_out.balanceOf(world.alice)
    expected = pool.quote(token_in, 7 * UNIT)

    world.execute(pool.leg(token_in, 7 * UNIT, expected))

    assert token_out.balanceOf(world.alice) == before + expected


def test_execute__one_unit_in__still_pays_what_rounds_to_something(world: World) -> None:
    pool = world.pools[0, 5]  # 1 : 6

    assert world.amounts_out(pool.leg(pool.a, 1)) == [5]
    world.execute(pool.leg(pool.a, 1, 5))


def test_execute__two_hops__takes_nothing_for_the_second(world: World) -> None:
    t0, t1, t2 = world.tokens[:3]
    first, second = world.pools[0, 1], world.pools[1, 2]
    middle = first.quote(t0, UNIT)
    expected = second.quote(t1, middle)
    before = [token.balanceOf(world.alice) for token in (t0, t1, t2)]

    legs = (first.leg(t0, UNIT, middle), second.leg(t1, 0, expected))
    assert world.amounts_out(*legs) == [middle, expected]
    world.execute(*legs)

    after = [token.balanceOf(world.alice) for token in (t0, t1, t2)]
    assert after == [before[0] - UNIT, before[1], before[2] + expected]


def test_execute__three_hops_in_a_circle__come_back_to_the_caller(world: World) -> None:
    t0, t1, t2 = world.tokens[:3]
    first, second, third = world.pools[0, 1], world.pools[1, 2], world.pools[0, 2]
    one = first.quote(t0, UNIT)
    two = second.quote(t1, one)
    three = third.quote(t2, two)
    before = t0.balanceOf(world.alice)

    world.execute(first.leg(t0, UNIT), second.leg(t1, 0), third.leg(t2, 0, three))

    assert t0.balanceOf(world.alice) == before - UNIT + three


def test_execute__independent_legs__each_pay_the_caller(world: World) -> None:
    t0 = world.tokens[0]
    pools = [world.pools[0, j] for j in range(1, 6)]
    expected = [pool.quote(t0, (k + 1) * UNIT) for k, pool in enumerate(pools)]
    before = [pool.b.balanceOf(world.alice) for pool in pools]
    before_t0 = t0.balanceOf(world.alice)

    legs = [pool.leg(t0, (k + 1) * UNIT, expected[k]) for k, pool in enumerate(pools)]
    assert world.amounts_out(*legs) == expected
    world.execute(*legs)

    gained = [pool.b.balanceOf(world.alice) - old for pool, old in zip(pools, before, strict=True)]
    assert gained == expected
    assert t0.balanceOf(world.alice) == before_t0 - 15 * UNIT


def test_execute__chains_beside_single_hops__keep_to_their_own_routes(world: World) -> None:
    t0, t1, t2, t3 = world.tokens[:4]
    legs = (
        world.pools[0, 3].leg(t3, 2 * UNIT),
        world.pools[0, 1].leg(t0, UNIT),
        world.pools[1, 2].leg(t1, 0),
        world.pools[0, 4].leg(t0, 3 * UNIT),
    )
    before = [token.balanceOf(world.alice) for token in world.tokens]
    middle = world.pools[0, 1].quote(t0, UNIT)
    expected = [
        world.pools[0, 3].quote(t3, 2 * UNIT),
        middle,
        world.pools[1, 2].quote(t1, middle),
        world.pools[0, 4].quote(t0, 3 * UNIT),
    ]

    assert world.amounts_out(*legs) == expected
    world.execute(*legs)

    change = [
        token.balanceOf(world.alice) - old for token, old in zip(world.tokens, before, strict=True)
    ]
    assert change == [expected[0] - 4 * UNIT, 0, expected[2], -2 * UNIT, expected[3], 0]
    assert t2.balanceOf(world.alice) == before[2] + expected[2]


def test_execute__the_same_pair_twice__quotes_the_second_leg_after_the_first(world: World) -> None:
    pool = world.pools[0, 1]
    reserve_in, reserve_out = pool.reserves(pool.a)
    amount = 10**21
    first = quote(amount, reserve_in, reserve_out)
    second = quote(amount, reserve_in + amount, reserve_out - first)
    assert second < first

    legs = (pool.leg(pool.a, amount, first), pool.leg(pool.a, amount, second))
    assert world.amounts_out(*legs) == [first, second]
    world.execute(*legs)


@pytest.mark.parametrize("fee_ppm", [0, 1, 2_500, 10_000, 999_999])
def test_execute__any_fee__equals_the_formula(world: World, fee_ppm: int) -> None:
    t0, t1 = world.tokens[:2]
    pool = world.fee_pool(t0, t1, 5 * 10**22, 3 * 10**22, fee_ppm)
    expected = pool.quote(t0, 10**20)
    before = t1.balanceOf(world.alice)

    world.execute(pool.leg(t0, 10**20, expected))

    assert t1.balanceOf(world.alice) == before + expected


def test_execute__thirty_two_legs__are_all_done(world: World) -> None:
    pool = world.pools[0, 1]
    legs = [pool.leg(pool.a, UNIT) if k % 2 else pool.leg(pool.b, UNIT) for k in range(32)]

    amounts = world.amounts_out(*legs)
    before = pool.a.balanceOf(world.alice)
    world.execute(*legs)

    assert len(amounts) == 32
    assert pool.a.balanceOf(world.alice) == before - 16 * UNIT + sum(amounts[0::2])


def test_execute__at_the_deadline__is_in_time(world: World) -> None:
    pool = world.pools[0, 1]
    deadline = ape.chain.blocks.head.timestamp + 100
    ape.chain.provider.set_timestamp(deadline)

    receipt = world.execute(pool.leg(pool.a, UNIT), deadline=deadline)

    assert ape.chain.blocks[receipt.block_number].timestamp == deadline


def test_execute__exact_allowance__is_used_up(world: World) -> None:
    pool = world.pools[0, 1]
    pool.a.approve(world.executor, UNIT, sender=world.alice)

    world.execute(pool.leg(pool.a, UNIT))

    assert pool.a.allowance(world.alice, world.executor) == 0


def test_execute__another_caller__is_paid_himself(world: World) -> None:
    pool = world.pools[0, 1]
    expected = pool.quote(pool.a, UNIT)
    alice, bob = pool.b.balanceOf(world.alice), pool.b.balanceOf(world.bob)

    world.executor.execute(*arguments(pool.leg(pool.a, UNIT, expected)), sender=world.bob)

    assert pool.b.balanceOf(world.alice) == alice
    assert pool.b.balanceOf(world.bob) == bob + expected
