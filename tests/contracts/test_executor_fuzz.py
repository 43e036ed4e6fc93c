"""Random reserves, amounts, fees and batches: the executor equals rebalancer.amm to the wei."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from eth_utils.crypto import keccak
from executor_world import (
    FEE_PPM,
    Leg,
    Pool,
    World,
    quote,
    revert_reason,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rebalancer.amm.swap import get_amount_out
from rebalancer.bundler.executor import decode_amount_out
from rebalancer.evm.abi import from_hex, to_hex
from rebalancer.evm.rpc import RpcError

MAX_RESERVE = 2**112 - 1
#: Storage of the official pair and of its ERC-20, and of contracts/mocks/FeePair.vy.
PAIR_RESERVES, ERC20_BALANCES, FEE_PAIR_RESERVES = 8, 1, (0, 1)

FUZZ = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def log_uniform(most: int) -> st.SearchStrategy[int]:
    """Positive integers up to ``most``, of every order of magnitude alike."""
    return st.integers(1, most.bit_length()).flatmap(
        lambda bits: st.integers(1, min(most, 2**bits - 1))
    )


def word(value: int) -> str:
    return to_hex(value.to_bytes(32, "big"))


def balance_slot(owner: str) -> str:
    return to_hex(keccak(from_hex(owner).rjust(32, b"\0") + ERC20_BALANCES.to_bytes(32, "big")))


def with_reserves(world: World, pool: Pool, reserve0: int, reserve1: int) -> dict[str, Any]:
    """State overrides: the pool holds and has booked these reserves, Alice is rich."""
    tokens = sorted((pool.a, pool.b), key=lambda token: int(token.address, 16))
    overrides: dict[str, Any] = {}
    for token, reserve in zip(tokens, (reserve0, reserve1), strict=True):
        slots = {balance_slot(pool.address): reserve, balance_slot(world.alice.address): 2**250}
        overrides[token.address] = {"stateDiff": {k: word(v) for k, v in slots.items()}}
    if pool.contract.contract_type.name == "FeePair":
        booked = dict(zip(FEE_PAIR_RESERVES, (reserve0, reserve1), strict=True))
    else:
        booked = {PAIR_RESERVES: reserve0 | reserve1 << 112 | 1 << 224}
    diff = {word(slot): word(value) for slot, value in booked.items()}
    overrides[pool.address] = {"stateDiff": diff}
    return overrides


def outcome(world: World, overrides: dict[str, Any], *legs: Leg) -> int | str:
    """The amount out of the last leg, or the reason of the revert."""
    try:
        data = world.rpc.call("eth_call", world.request(*legs), "latest", overrides)
    except RpcError as error:
        return revert_reason(error)
    return decode_amount_out(from_hex(data))


@FUZZ
@given(
    reserve0=log_uniform(MAX_RESERVE),
    reserve1=log_uniform(MAX_RESERVE),
    amount_in=log_uniform(MAX_RESERVE),
    forwards=st.booleans(),
)
@example(reserve0=MAX_RESERVE, reserve1=MAX_RESERVE, amount_in=MAX_RESERVE, forwards=True)
@example(reserve0=1, reserve1=MAX_RESERVE, amount_in=MAX_RESERVE - 1, forwards=True)
@example(reserve0=MAX_RESERVE - 1, reserve1=MAX_RESERVE, amount_in=1, forwards=True)
@example(reserve0=1, reserve1=1, amount_in=1, forwards=False)
def test_execute__any_reserves_and_amount__equals_the_formula_or_says_why_not(
    world: World, reserve0: int, reserve1: int, amount_in: int, forwards: bool
) -> None:
    pool = world.pools[0, 1]
    a_is_token0 = pool.leg(pool.a, 1)[2]
    token_in = pool.a if forwards == a_is_token0 else pool.b
    reserve_in, reserve_out = (reserve0, reserve1) if forwards else (reserve1, reserve0)
    expected = get_amount_out(amount_in, reserve_in, reserve_out, FEE_PPM)
    overrides = with_reserves(world, pool, reserve0, reserve1)

    result = outcome(world, overrides, pool.leg(token_in, amount_in, expected))

    if expected == 0:
        assert result == "UniswapV2: INSUFFICIENT_OUTPUT_AMOUNT"
    elif reserve_in + amount_in > MAX_RESERVE:
        assert result == "UniswapV2: OVERFLOW"
    else:
        assert result == expected
        one_more = pool.leg(token_in, amount_in, expected + 1)
        assert outcome(world, overrides, one_more) == "executor: amount out below minimum"


@pytest.mark.parametrize("fee_ppm", [0, 1, 2_500, 10_000, 999_999])
def test_execute__any_fee_reserves_and_amount__equals_the_formula(
    world: World, fee_ppm: int
) -> None:
    pool = world.fee_pool(world.tokens[0], world.tokens[1], 1, 1, fee_ppm)
    token_in = pool.a if pool.leg(pool.a, 1)[2] else pool.b

    # The mock multiplies without care: below 2**106 its check cannot overflow.
    @settings(FUZZ, max_examples=30)
    @given(*[log_uniform(2**106)] * 3)
    def equals_the_formula(reserve_in: int, reserve_out: int, amount_in: int) -> None:
        expected = get_amount_out(amount_in, reserve_in, reserve_out, fee_ppm)
        overrides = with_reserves(world, pool, reserve_in, reserve_out)

        result = outcome(world, overrides, pool.leg(token_in, amount_in, expected))

        assert result == (expected if expected else "fee_pair: nothing asked for")

    equals_the_formula()


#: Routes through the pools of the world, as indices of tokens; up to three hops.
ROUTES = st.sampled_from(
    [(0, j) for j in range(1, 6)]
    + [(j, 0) for j in range(1, 6)]
    + [(0, 1, 2), (2, 1, 0), (3, 0, 5), (5, 0, 1, 2), (1, 2, 0, 4), (0, 1, 2, 0)]
)


@settings(FUZZ, max_examples=50)
@given(batch=st.lists(st.tuples(ROUTES, log_uniform(10**21)), min_size=1, max_size=8))
def test_execute__any_batch_of_routes__equals_the_mirror(
    world: World, batch: list[tuple[tuple[int, ...], int]]
) -> None:
    reserves: dict[tuple[int, int], int] = {}
    for i, j in world.pools:
        reserves[i, j], reserves[j, i] = 10**24, (j + 1) * 10**24
    legs: list[Leg] = []
    expected: list[int] = []
    for route, amount_in in batch:
        amount, in_leg = amount_in, amount_in
        for i, j in pairwise(route):
            pool = world.pools[min(i, j), max(i, j)]
            legs.append(pool.leg(world.tokens[i], in_leg))
            out = quote(amount, reserves[i, j], reserves[j, i])
            reserves[i, j] += amount
            reserves[j, i] -= out
            expected.append(out)
            amount, in_leg = out, 0

    result = outcome(world, {}, *legs)

    if 0 in expected:
        assert result == "UniswapV2: INSUFFICIENT_OUTPUT_AMOUNT"
    else:
        assert result == expected[-1]
