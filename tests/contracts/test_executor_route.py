"""One route of one to three pairs: what `route` does is what `execute` does, refusals included."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import ape
from executor_world import FEE_PPM, FOREVER, UNIT, World, quote, revert_reason
from hypothesis import given, settings
from hypothesis import strategies as st
from test_executor_fuzz import FUZZ, log_uniform, with_reserves
from test_executor_steps import ANY, NET_FLOOR, Caller, caller, held, refusal, swap, transact

from rebalancer.bundler.executor import WALLET_EXECUTOR, decode_amount_out
from rebalancer.bundler.steps import (
    EXECUTE_SIGNATURE,
    ROUTE_SIGNATURES,
    Batch,
    Swap,
    Watch,
    encode_batch,
    entries_of,
    route_of,
    terms_of,
)
from rebalancer.evm.abi import encode_call, from_hex, selector, to_hex
from rebalancer.evm.rpc import RpcError

__all__ = ["caller"]  # a fixture

BELOW_MINIMUM = "executor: amount out below minimum"
PATHS = ((0, 1), (1, 0), (0, 1, 2), (2, 1, 0), (3, 0, 4), (3, 0, 1, 2), (2, 1, 0, 5), (5, 0, 2, 1))


def swaps(world: World, path: Sequence[int], amount: int, leasts: Sequence[int]) -> list[Swap]:
    hops = list(pairwise(path))
    return [
        swap(
            world,
            i,
            j,
            None if number else amount,
            leasts[number],
            forwarded=number > 0,
            forward=number + 1 < len(hops),
        )
        for number, (i, j) in enumerate(hops)
    ]


def quotes(world: World, path: Sequence[int], amount: int) -> list[int]:
    found = []
    for i, j in pairwise(path):
        amount = world.pools[min(i, j), max(i, j)].quote(world.tokens[i], amount)
        found.append(amount)
    return found


def batch_of(steps: Sequence[Swap], deadline: int = FOREVER, base_fee: int = ANY) -> Batch:
    floor = Watch(steps[-1].token_out, steps[-1].min_amount_out)
    return Batch(deadline, base_fee, (floor,), tuple(steps))


def request(caller: Caller, data: bytes) -> dict[str, str]:
    return {"from": caller.address, "to": caller.to, "data": to_hex(data)}


def both(caller: Caller, batch: Batch) -> tuple[dict[str, str], dict[str, str]]:
    """The batch by `route`, and the same one by `execute`."""
    data = encode_batch(batch)
    assert data[:4] == selector(ROUTE_SIGNATURES[len(batch.steps)])
    general = encode_call(EXECUTE_SIGNATURE, terms_of(batch), entries_of(batch))
    return request(caller, data), request(caller, general)


def outcome(world: World, call: dict[str, str], overrides: dict[str, Any]) -> int | str:
    try:
        return decode_amount_out(from_hex(world.rpc.call("eth_call", call, "latest", overrides)))
    except RpcError as error:
        return revert_reason(error)


def test_route__ends_as_execute_does(world: World, caller: Caller) -> None:
    for path in PATHS:
        expected = quotes(world, path, UNIT)
        ends = []
        for call in both(caller, batch_of(swaps(world, path, UNIT, expected))):
            snapshot = world.rpc.call("evm_snapshot")
            before = held(world, *world.tokens)
            assert outcome(world, call, {}) == expected[-1]
            transact(world, call)
            reserves = [pool.contract.getReserves()[:2] for pool in world.pools.values()]
            after = held(world, *world.tokens)
            ends.append((reserves, [new - old for new, old in zip(after, before, strict=True)]))
            world.rpc.call("evm_revert", snapshot)

        assert ends[0] == ends[1]
        moved = {path[0]: -UNIT, path[-1]: expected[-1]}
        assert ends[0][1] == [moved.get(i, 0) for i in range(6)]


def test_route__one_below_any_minimum__reverts(world: World, caller: Caller) -> None:
    for path in PATHS:
        for number in range(len(path) - 1):
            leasts = quotes(world, path, UNIT)
            leasts[number] += 1
            for call in both(caller, batch_of(swaps(world, path, UNIT, leasts))):
                assert refusal(world, call) == BELOW_MINIMUM


def test_route__terms__hold(world: World, caller: Caller) -> None:
    world.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(10**9))
    world.rpc.call("anvil_mine", "0x1")
    head = world.rpc.call("eth_getBlockByNumber", "latest", False)
    now, base_fee = int(head["timestamp"], 16), int(head["baseFeePerGas"], 16)

    for path in ((0, 1), (0, 1, 2), (3, 0, 1, 2)):
        steps = swaps(world, path, UNIT, [1, 1, 1])
        for call in both(caller, batch_of(steps, deadline=now - 1)):
            assert refusal(world, call) == "executor: deadline has passed"
        for call in both(caller, batch_of(steps, base_fee=base_fee - 1)):
            assert refusal(world, call) == "executor: base fee is too high"
        for call in both(caller, batch_of(steps, deadline=now, base_fee=base_fee)):
            assert isinstance(outcome(world, call, {}), int)


def test_route__token_that_takes_a_fee_when_bought__is_found(world: World, caller: Caller) -> None:
    t0, token = world.tokens[0], world.mock("FeeOnTransferToken")
    pool = world.pool(t0, token, 10**24, 10**24)
    paid = pool.quote(t0, UNIT)
    arrives = paid * 99 // 100

    def step(least: int) -> Swap:
        return Swap(pool.address, str(t0.address), str(token.address), FEE_PPM, UNIT, least)

    for call in both(caller, batch_of([step(arrives + 1)])):
        assert refusal(world, call) == NET_FLOOR
    transact(world, both(caller, batch_of([step(arrives)]))[0])


def test_route__token_that_takes_a_fee_when_sold__reverts_in_the_pair(
    world: World, caller: Caller
) -> None:
    t0, token = world.tokens[0], world.mock("FeeOnTransferToken")
    pool = world.pool(token, t0, 10**24, 10**24)
    steps = [Swap(pool.address, str(token.address), str(t0.address), FEE_PPM, UNIT, 1)]

    for call in both(caller, batch_of(steps)):
        assert refusal(world, call) == "UniswapV2: K"


def test_route__token_without_return_values__is_sold(world: World, caller: Caller) -> None:
    t0, usdt = world.tokens[0], world.mock("UsdtLikeToken")
    pool = world.pool(usdt, t0, 10**12, 10**24)
    expected = pool.quote(usdt, 10**6)
    steps = [Swap(pool.address, str(usdt.address), str(t0.address), FEE_PPM, 10**6, expected)]
    before = held(world, usdt, t0)

    transact(world, both(caller, batch_of(steps))[0])

    assert held(world, usdt, t0) == [before[0] - 10**6, before[1] + expected]


def test_route__pair_that_is_no_pair__reverts(world: World, caller: Caller) -> None:
    no_pairs = (
        world.bob.address,
        world.tokens[2].address,
        world.executor.address,
        "0x0000000000000000000000000000000000000004",
    )
    for place in (2, 4, 6):
        for address in no_pairs:
            words = route_of(batch_of(swaps(world, (3, 0, 1, 2), UNIT, [1, 1, 1])))
            words[place] = words[place] >> 160 << 160 | int(str(address), 16)
            call = request(caller, encode_call(ROUTE_SIGNATURES[3], *words))
            assert refusal(world, call) == "", (place, address)


def test_route__with_ether__reverts(world: World, caller: Caller) -> None:
    for path in ((0, 1), (0, 1, 2), (3, 0, 1, 2)):
        call, _ = both(caller, batch_of(swaps(world, path, UNIT, [1, 1, 1])))
        assert refusal(world, call | {"value": "0x1"}) == ""


# Roles.


def test_route__of_a_wallet_by_anybody_else__is_refused(world: World) -> None:
    wallet = Caller(world, as_wallet=True)
    for path in ((0, 1), (0, 1, 2), (3, 0, 1, 2)):
        call, _ = both(wallet, batch_of(swaps(world, path, UNIT, [1, 1, 1])))
        for who in (world.deployer, world.bob, world.mallory, world.executor):
            sender = {"from": str(who.address)}
            assert refusal(world, call | sender) == "executor: caller is not the wallet"
        at_home = {"to": WALLET_EXECUTOR.address}
        assert refusal(world, call | at_home) == "executor: caller is not the wallet"


def test_route__of_the_executor_by_mallory__spends_nothing_of_others(world: World) -> None:
    executor = Caller(world, as_wallet=False)
    call, _ = both(executor, batch_of(swaps(world, (0, 1), UNIT, [1])))

    assert refusal(world, call | {"from": str(world.mallory.address)}) == "ds-math-sub-underflow"


def test_route__hostile_pair_that_calls_back__gets_nothing_more(
    world: World, caller: Caller
) -> None:
    pair = world.mallory.deploy(ape.project.HostilePair)
    nested = encode_batch(batch_of(swaps(world, (0, 1), UNIT, [1])))
    pair.plot(10**24, 10**24, caller.to, nested, sender=world.mallory)
    tokens = [str(token.address) for token in world.tokens[:2]]
    before = held(world, *world.tokens)

    # Without a floor it keeps what it was paid, and with one it does not get that.
    step = Swap(str(pair.address), *tokens, FEE_PPM, UNIT, 0)
    transact(world, both(caller, batch_of([step]))[0])
    assert pair.succeeded() is False
    assert held(world, *world.tokens) == [before[0] - UNIT, *before[1:]]
    floor = Swap(str(pair.address), *tokens, FEE_PPM, UNIT, 1)
    assert refusal(world, both(caller, batch_of([floor]))[0]) == NET_FLOOR


# Anything.


@settings(FUZZ, max_examples=60)
@given(
    reserves=st.lists(st.tuples(*[log_uniform(2**112 - 1)] * 2), min_size=6, max_size=6),
    amount=log_uniform(2**112 - 1),
    path=st.sampled_from(PATHS),
    share=st.integers(0, 110),
)
def test_route__any_reserves_amount_and_minimum__equals_execute_and_the_formula(
    world: World, reserves: list[tuple[int, int]], amount: int, path: tuple[int, ...], share: int
) -> None:
    executor = Caller(world, as_wallet=False)
    overrides: dict[str, Any] = {}
    booked: dict[tuple[int, int], int] = {}
    for ((i, j), pool), (reserve0, reserve1) in zip(world.pools.items(), reserves, strict=True):
        for address, change in with_reserves(world, pool, reserve0, reserve1).items():
            overrides.setdefault(address, {"stateDiff": {}})["stateDiff"] |= change["stateDiff"]
        i_first = int(world.tokens[i].address, 16) < int(world.tokens[j].address, 16)
        booked[i, j], booked[j, i] = (reserve0, reserve1) if i_first else (reserve1, reserve0)
    expected, fits, paid = [], True, amount
    for i, j in pairwise(path):
        out = quote(paid, booked[i, j], booked[j, i])
        fits &= paid + booked[i, j] < 2**112 and out > 0
        expected.append(out)
        paid = out
    leasts = [out * share // 100 for out in expected]

    results = [
        outcome(world, call, overrides)
        for call in both(executor, batch_of(swaps(world, path, amount, leasts)))
    ]

    assert results[0] == results[1]
    if any(out < least for out, least in zip(expected, leasts, strict=True)):
        assert isinstance(results[0], str)
    elif fits:
        assert results[0] == expected[-1]
    else:
        assert isinstance(results[0], str)
        assert results[0].startswith("UniswapV2: ")


# Calldata that the package does not make.

OTHER_LENGTH = "executor: calldata of another length"


def test_calldata__cut_short__reverts(world: World, caller: Caller) -> None:
    for path in ((0, 1), (0, 1, 2), (3, 0, 1, 2)):
        route, execute = both(caller, batch_of(swaps(world, path, UNIT, [1, 1, 1])))
        for cut in (1, 31, 32, 33, len(route["data"]) // 2 - 36, len(route["data"]) // 2 - 5):
            shorter = request(caller, from_hex(route["data"])[:-cut])
            assert refusal(world, shorter) == ""
        entries = from_hex(execute["data"])[100:]
        for cut in (1, 31, 32, 33, 64, len(entries)):
            shorter = request(caller, from_hex(execute["data"])[:-cut])
            assert refusal(world, shorter) == OTHER_LENGTH


def test_calldata__too_long__reverts_or_means_the_same(world: World, caller: Caller) -> None:
    for path in ((0, 1), (0, 1, 2), (3, 0, 1, 2)):
        expected = quotes(world, path, UNIT)[-1]
        route, execute = both(caller, batch_of(swaps(world, path, UNIT, [1, 1, 1])))
        for more in (1, 31, 32, 64):
            behind = "ff" * more
            assert outcome(world, route | {"data": route["data"] + behind}, {}) == expected
            assert refusal(world, execute | {"data": execute["data"] + behind}) == OTHER_LENGTH


def test_route__pairs_that_are_zero__are_not_there(world: World, caller: Caller) -> None:
    words = route_of(batch_of(swaps(world, (0, 1), UNIT, [1])))
    expected = quotes(world, (0, 1), UNIT)[0]
    for hops, more in ((2, 2), (3, 3)):
        call = request(caller, encode_call(ROUTE_SIGNATURES[hops], *words, *[0] * more))
        assert outcome(world, call, {}) == expected


def test_execute__any_index_or_count_out_of_range__reverts(world: World, caller: Caller) -> None:
    batch = Batch(FOREVER, ANY, (Watch(str(world.tokens[1].address)),), (swap(world, 0, 1, UNIT),))
    terms, entries = terms_of(batch), entries_of(batch)
    assert (terms >> 128 & 0xFF, terms >> 136, len(entries)) == (1, 2, 3)
    what, amounts = entries[2]
    wrong = {
        "token": (terms, [*entries[:2], (what | 0xFF << 184, amounts)]),
        "first step": (terms | 0xFF << 136, entries),
        "first step beyond any": (terms | 1 << 255, entries),
        "watched": (terms | 0xFF << 128, entries),
        "watched beyond the batch": (terms | 0x04 << 128, entries),
        "operand": (terms, [*entries[:2], (what | 0xFFFFFF << 160 | 3 << 200, amounts)]),
    }

    for name, (found, batch_) in wrong.items():
        call = request(caller, encode_call(EXECUTE_SIGNATURE, found, batch_))
        assert refusal(world, call) == "", name
