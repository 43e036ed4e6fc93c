"""Random batches of random steps, in both modes: whatever they do, the invariants hold.

The executor holds nothing and gives no allowance; nobody but the caller loses anything, and he not
more than his steps say; what is refused changes nothing at all.
"""

from __future__ import annotations

from typing import Any

import pytest
from executor_world import UNIT, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_executor_steps import Caller, refusal, swap, transact

from rebalancer.bundler.steps import (
    AddLiquidity,
    Check,
    RemoveLiquidity,
    Step,
    Watch,
    Wrap,
)
from rebalancer.evm.abi import encode_call, to_hex
from rebalancer.evm.rpc import RpcError

POOLS = ((0, 1), (0, 2), (0, 3), (1, 2))
AMOUNTS = st.integers(1, 50 * UNIT)
KINDS = ("swap", "swap", "swap", "add", "add", "remove", "remove", "check", "all")
STEPS = st.tuples(st.sampled_from(KINDS), st.sampled_from(POOLS), st.booleans(), AMOUNTS)


def step_of(world: World, drawn: tuple[str, tuple[int, int], bool, int]) -> Step:
    kind, (i, j), forwards, amount = drawn
    a, b = (i, j) if forwards else (j, i)
    pool = world.pools[i, j].address
    tokens = sorted((str(world.tokens[k].address) for k in (i, j)), key=lambda t: int(t, 16))
    if kind == "swap":
        return swap(world, a, b, amount)
    if kind == "all":
        return swap(world, a, b, None)
    if kind == "add":
        return AddLiquidity(pool, *tokens, amount, 3 * amount, 1)
    if kind == "remove":
        return RemoveLiquidity(pool, amount, 1, 1)
    return Check(str(world.tokens[a].address), amount)


@pytest.mark.parametrize("as_wallet", [False, True], ids=["executor", "wallet"])
def test_random_batches__keep_the_invariants(world: World, as_wallet: bool) -> None:
    caller = Caller(world, as_wallet)
    pairs = [world.pools[pool].contract for pool in POOLS]
    tokens = [*world.tokens[:4], *pairs]
    for pair in pairs:
        for owner in (world.alice, world.bob):
            pair.transfer(owner, 100 * UNIT, sender=world.deployer)
            pair.approve(world.executor, 2**256 - 1, sender=owner)
    watched = tuple(Watch(str(token.address), 0, 10**24) for token in tokens)
    seen = {"done": 0, "refused": 0}

    def ask(signature: str, *arguments: Any) -> list[int]:
        """One answer per token, in one request."""
        data = to_hex(encode_call(signature, *arguments))
        calls = [
            ("eth_call", ({"to": str(token.address), "data": data}, "latest")) for token in tokens
        ]
        return [int(answer, 16) for answer in world.rpc.batch(calls)]

    def balances(*owners: Any) -> list[int]:
        return [raw for owner in owners for raw in ask("balanceOf(address)", str(owner.address))]

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(STEPS, min_size=1, max_size=4))
    def batch(drawn: list[tuple[str, tuple[int, int], bool, int]]) -> None:
        steps = [step_of(world, one) for one in drawn]
        before = balances(world.alice), balances(world.bob, world.executor)
        request = caller.request(*steps, watched=watched)
        try:
            world.rpc.call("eth_call", request, "latest")
        except RpcError:
            seen["refused"] += 1
            assert world.fails_on_chain(request)
            assert balances(world.alice) == before[0]
        else:
            seen["done"] += 1
            transact(world, request)
            most = sum(amount for _, _, _, amount in drawn) * 3
            changes = zip(balances(world.alice), before[0], strict=True)
            assert all(new >= old - most for new, old in changes)
        assert balances(world.bob, world.executor) == before[1]
        executor = str(world.executor.address)
        for pair in pairs:
            assert not any(ask("allowance(address,address)", executor, str(pair.address)))

    batch()

    assert seen["done"] >= 10, seen
    assert seen["refused"] >= 5, seen


def test_watch__of_any_token_that_would_lose_more__stops_the_whole_batch(world: World) -> None:
    caller = Caller(world, as_wallet=False)
    steps = [swap(world, 0, 1, UNIT), swap(world, 0, 2, UNIT), swap(world, 1, 2, UNIT)]
    for index, most_loss in ((0, 2 * UNIT - 1), (1, 0)):
        token = str(world.tokens[index].address)
        bought = world.pools[0, 1].quote(world.tokens[0], UNIT)
        least_gain = bought if index == 1 else 0
        reason = refusal(
            world, caller.request(*steps, watched=(Watch(token, least_gain, most_loss),))
        )
        assert reason == "executor: net change below its floor"


def test_wrap__ether_sent_along__never_stays(world: World) -> None:
    """A contract that takes the ether and gives nothing: the batch fails as a whole."""
    caller = Caller(world, as_wallet=False)
    request = caller.request(Wrap(str(world.tokens[0].address), UNIT), value=UNIT)

    assert refusal(world, request) == ""
    assert world.fails_on_chain(request)
    assert world.executor.balance == 0
