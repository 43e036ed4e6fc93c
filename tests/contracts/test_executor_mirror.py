"""Random batches of every kind of step do on the chain exactly what their dataclasses say.

The mirror below knows the steps' meaning and Uniswap's formulas, and nothing of the encoding: what
the encoder writes and the contract reads must come out as the same balances, to the wei.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from executor_world import FEE_PPM, FOREVER, UNIT, World, quote
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_executor_steps import ANY, Caller, transact

from rebalancer.bundler.steps import (
    AddLiquidity,
    Batch,
    Check,
    RemoveLiquidity,
    Step,
    Swap,
    Watch,
    encode_batch,
)
from rebalancer.evm.abi import encode_call, selector, to_hex
from rebalancer.evm.rpc import RpcError

POOLS = ((0, 1), (0, 2), (0, 3), (1, 2))
AMOUNT = st.integers(UNIT // 100, 20 * UNIT)
EXECUTE = selector("execute(uint256,(uint256,uint256)[])")
#: A path of one to three pools, as tokens.
PATHS = ((0, 1), (1, 0), (2, 0), (0, 3), (1, 2), (0, 1, 2), (2, 1, 0), (3, 0, 2, 1))


class Reverts(Exception):
    """The mirror's way of saying that the batch would revert."""


@dataclass
class Mirror:
    """Alice's balances, and each pool as address, tokens, reserves and supply of shares."""

    held: dict[str, int]
    pools: dict[str, tuple[str, str]]
    reserves: dict[str, dict[str, int]]
    supply: dict[str, int]

    def run(self, batch: Batch) -> None:
        before = dict(self.held)
        paid = 0
        for number, step in enumerate(batch.steps):
            match step:
                case Swap():
                    paid = self._swap(step, paid, before)
                    if step.forward:
                        follows = batch.steps[number + 1]
                        assert isinstance(follows, Swap)
                    else:
                        self.held[step.token_out] += paid
                case AddLiquidity():
                    self._add(step, before)
                case RemoveLiquidity():
                    self._remove(step, before)
                case Check(token, least):
                    self._require(self.held[token] >= least)
        for watch in batch.watched:
            worst = before[watch.token] + watch.least_gain - watch.most_loss
            self._require(self.held[watch.token] >= worst)

    def _swap(self, step: Swap, paid: int, before: dict[str, int]) -> int:
        if not step.forwarded:
            amount = step.amount_in
            paid = self._gained(step.token_in, before) if amount is None else amount
            self._pay(step.token_in, paid)
        reserves = self.reserves[step.pair]
        out = quote(paid, reserves[step.token_in], reserves[step.token_out])
        self._require(out >= max(step.min_amount_out, 1))
        reserves[step.token_in] += paid
        reserves[step.token_out] -= out
        return out

    def _add(self, step: AddLiquidity, before: dict[str, int]) -> None:
        most0 = self._gained(step.token0, before) if step.most0 is None else step.most0
        most1 = self._gained(step.token1, before) if step.most1 is None else step.most1
        reserves, supply = self.reserves[step.pair], self.supply[step.pair]
        r0, r1 = reserves[step.token0], reserves[step.token1]
        amount0, amount1 = most0, most0 * r1 // r0
        if amount1 > most1:
            amount0, amount1 = most1 * r0 // r1, most1
        self._pay(step.token0, amount0)
        self._pay(step.token1, amount1)
        shares = min(amount0 * supply // r0, amount1 * supply // r1)
        self._require(shares >= max(step.least_shares, 1))
        reserves[step.token0] += amount0
        reserves[step.token1] += amount1
        self.supply[step.pair] += shares
        self.held[step.pair] += shares

    def _remove(self, step: RemoveLiquidity, before: dict[str, int]) -> None:
        shares = self._gained(step.pair, before) if step.shares is None else step.shares
        self._pay(step.pair, shares)
        reserves, supply = self.reserves[step.pair], self.supply[step.pair]
        token0, token1 = self.pools[step.pair]
        for token, least in ((token0, step.least0), (token1, step.least1)):
            amount = shares * reserves[token] // supply
            self._require(amount >= max(least, 1))
            reserves[token] -= amount
            self.held[token] += amount
        self.supply[step.pair] -= shares

    def _gained(self, token: str, before: dict[str, int]) -> int:
        self._require(self.held[token] >= before[token])
        return self.held[token] - before[token]

    def _pay(self, token: str, amount: int) -> None:
        self._require(self.held[token] >= amount)
        self.held[token] -= amount

    @staticmethod
    def _require(holds: bool) -> None:
        if not holds:
            raise Reverts


def mirror_of(world: World, ask: Any) -> Mirror:
    pairs = [world.pools[pool] for pool in POOLS]
    tokens = [str(token.address) for token in world.tokens[:4]] + [p.address for p in pairs]
    held = dict(zip(tokens, ask("balanceOf(address)", tokens, str(world.alice)), strict=True))
    supply = ask("totalSupply()", [pool.address for pool in pairs])
    by_pair: dict[str, tuple[str, str]] = {}
    reserves: dict[str, dict[str, int]] = {}
    for pool in pairs:
        pair_tokens = sorted((str(pool.a.address), str(pool.b.address)), key=lambda t: int(t, 16))
        by_pair[pool.address] = (pair_tokens[0], pair_tokens[1])
        found = ask("balanceOf(address)", pair_tokens, pool.address)
        reserves[pool.address] = dict(zip(pair_tokens, found, strict=True))
    shares = dict(zip((pool.address for pool in pairs), supply, strict=True))
    return Mirror(held, by_pair, reserves, shares)


@st.composite
def steps_of(draw: st.DrawFn, world: World, plain: bool = False) -> list[Step]:
    """One trade over a path, or one step of another kind."""
    tokens = [str(token.address) for token in world.tokens[:4]]
    others = () if plain else ("path", "path", "add", "remove", "check")
    kind = draw(st.sampled_from(("path", *others)))
    if kind == "path":
        path = draw(st.sampled_from(PATHS))
        amount = draw(AMOUNT if plain else AMOUNT | AMOUNT | st.none())
        hops: list[Step] = []
        for number, (i, j) in enumerate(pairwise(path)):
            pair = world.pools[min(i, j), max(i, j)].address
            hops.append(
                Swap(
                    pair,
                    tokens[i],
                    tokens[j],
                    FEE_PPM,
                    None if number else amount,
                    draw(st.sampled_from((0, 1, 1, UNIT // 100))),
                    forwarded=number > 0,
                    forward=number + 2 < len(path),
                    measured=not plain and draw(st.sampled_from((False, False, False, True))),
                )
            )
        return hops
    i, j = draw(st.sampled_from(POOLS))
    pair = world.pools[i, j].address
    token0, token1 = sorted((tokens[i], tokens[j]), key=lambda token: int(token, 16))
    least = draw(st.sampled_from((0, 1, 1, UNIT)))
    if kind == "add":
        most = [draw(AMOUNT | AMOUNT | st.none()) for _ in range(2)]
        return [AddLiquidity(pair, token0, token1, *most, least)]
    if kind == "remove":
        return [RemoveLiquidity(pair, draw(AMOUNT | AMOUNT | st.none()), least, 0)]
    return [Check(draw(st.sampled_from(tokens)), draw(st.sampled_from((0, 0, 0, 10**25))))]


@pytest.mark.parametrize("as_wallet", [False, True], ids=["executor", "wallet"])
def test_random_batches__do_what_their_steps_say(world: World, as_wallet: bool) -> None:
    caller = Caller(world, as_wallet)
    pairs = [world.pools[pool].contract for pool in POOLS]
    for pair in pairs:
        pair.transfer(world.alice, 100 * UNIT, sender=world.deployer)
        pair.approve(world.executor, 2**256 - 1, sender=world.alice)
    seen = {"execute": 0, "route": 0, "reverts": 0}

    def ask(signature: str, of: Sequence[str], *arguments: Any) -> list[int]:
        data = to_hex(encode_call(signature, *arguments))
        requests = [("eth_call", ({"to": to, "data": data}, "latest")) for to in of]
        return [int(answer, 16) for answer in world.rpc.batch(requests)]

    @settings(
        max_examples=120,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def batch(data: st.DataObject) -> None:
        expected = mirror_of(world, ask)
        if data.draw(st.sampled_from((False, False, True))):  # what `route` is for
            steps = data.draw(steps_of(world, plain=True))
            last = steps[-1]
            assert isinstance(last, Swap)
            watched: tuple[Watch, ...] = (Watch(last.token_out, last.min_amount_out),)
        else:
            groups = data.draw(st.lists(steps_of(world), min_size=1, max_size=3))
            steps = [step for group in groups for step in group]
            worst = data.draw(st.sampled_from((10**23, 10**23, 10**23, UNIT)))
            watched = tuple(Watch(token, 0, worst) for token in expected.held)
        made = Batch(FOREVER, ANY, watched, tuple(steps))
        calldata = encode_batch(made)
        request = {"from": caller.address, "to": caller.to, "data": to_hex(calldata)}
        try:
            expected.run(made)
        except Reverts:
            seen["reverts"] += 1
            with pytest.raises(RpcError):
                world.rpc.call("eth_call", request, "latest")
            return
        seen["execute" if calldata[:4] == EXECUTE else "route"] += 1
        transact(world, request)
        found = mirror_of(world, ask)
        assert (found.held, found.reserves) == (expected.held, expected.reserves)
        assert found.supply == expected.supply

    batch()

    assert min(seen.values()) >= 5, seen
