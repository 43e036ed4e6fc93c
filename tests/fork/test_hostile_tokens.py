"""Tokens that revert, lie, say nothing or burn gas: each spoils its own row and no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rebalancer.amm.valuation import value
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import TREASURY
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.hostile import GOOD_RAW, KINDS, Zoo, open_zoo
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import E8, UNREADABLE, Hold, Snapshot, digest
from rebalancer.planner.decision import decide
from rebalancer.readers.snapshot import read_snapshot

DIGITS = "0123456789"
BURNERS = ("LOOPS", "INVALID", "BOMB")
WHY = {
    "REVERTS": "balanceOf() reverts",
    "REVERTS_LOUDLY": "balanceOf() reverts",
    "NOTHING": "balanceOf() returns nothing, as an address without code does",
    "NO_CODE": "balanceOf() returns nothing, as an address without code does",
    "GARBAGE": "balanceOf() returns what does not decode",
    "LOOPS": "balanceOf() reverts",
    "INVALID": "balanceOf() reverts",
    "BOMB": "balanceOf() reverts",
}


class Counting:
    """An Rpc that remembers the methods of each request."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc
        self.requests: list[list[str]] = []

    def call(self, method: str, *params: Any) -> Any:
        self.requests.append([method])
        return self._call(method, *params)

    def _call(self, method: str, *params: Any) -> Any:
        return self.rpc.call(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        self.requests.append([method for method, _ in calls])
        return self.rpc.batch(calls)


class Plain(Counting):
    """A node that knows no state override: Multicall3 has to do."""

    def _call(self, method: str, *params: Any) -> Any:
        if len(params) > 2:
            raise RpcError(method, -32602, "too many arguments, want at most 2")
        return self.rpc.call(method, *params)


@pytest.fixture
def network(mainnet: Network) -> Network:
    """No pools: they are of no interest here and fifty tokens could have 1,225 on every AMM."""
    return mainnet.model_copy(update={"amms": {}})


def assert_only_the_bad_are_lost(snapshot: Snapshot, zoo: Zoo, *, starved: bool = False) -> None:
    assert {a.token.symbol: a.raw for a in snapshot.balances} == dict.fromkeys(zoo.good, GOOD_RAW)
    assert {p.token.symbol for p in snapshot.prices} == set(zoo.good)
    assert {item.name for item in snapshot.held_out} == set(zoo.bad)
    for item in snapshot.held_out:
        assert (item.address, item.code) == (zoo.network.tokens[item.name].address, UNREADABLE)
        start = f"token {item.name} at {item.address} "
        if item.name == "FLOOD":  # Through Multicall3 it may have too little gas for its flood.
            reverts = f"{start}cannot be read: balanceOf() reverts"
            says = f"{start}has 0 decimals, networks.yaml says 18"
            assert item.text == (reverts if starved else says)
        else:
            assert item.text == f"{start}cannot be read: {WHY[item.name.rstrip(DIGITS)]}"


@pytest.mark.parametrize("kind", KINDS)
def test_49_good_tokens_and_one_of_a_kind(devchain: DevChain, network: Network, kind: str) -> None:
    zoo = open_zoo(devchain.rpc, network, TREASURY, 49, [kind])
    rpc = Counting(devchain.rpc)
    snapshot = read_snapshot(rpc, zoo.portfolio)
    assert_only_the_bad_are_lost(snapshot, zoo)
    valued = value(snapshot, zoo.portfolio.targets)
    assert (valued.nav_e8, valued.unread) == (49 * E8, (kind,))
    # Whatever it does, it does it with its own gas: no second look is needed.
    assert [len(methods) for methods in rpc.requests] == [2, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_49_good_tokens_and_one_of_a_kind__through_multicall3(
    devchain: DevChain, network: Network, kind: str
) -> None:
    zoo = open_zoo(devchain.rpc, network, TREASURY, 49, [kind])
    rpc = Plain(devchain.rpc)
    assert_only_the_bad_are_lost(read_snapshot(rpc, zoo.portfolio), zoo)
    # Who answers at all makes no second look necessary. Who fails is looked at again, with all that
    # came after; who burns gas brings down the whole eth_call, so what is trusted is asked first.
    quiet = kind in ("NOTHING", "NO_CODE", "GARBAGE", "FLOOD")
    _, *state = [methods for methods in rpc.requests if "eth_call" in methods]
    assert state[0] == ["eth_call"]
    assert len(state) == (1 if quiet else 3 if kind in BURNERS else 2)
    assert len(rpc.requests) == len(state) + 3


def test_49_good_tokens_and_all_kinds_at_once(devchain: DevChain, network: Network) -> None:
    zoo = open_zoo(devchain.rpc, network, TREASURY)
    rpc = Counting(devchain.rpc)
    assert_only_the_bad_are_lost(read_snapshot(rpc, zoo.portfolio), zoo)
    assert [len(methods) for methods in rpc.requests] == [2, 1, 2]


def test_49_good_tokens_and_all_kinds_at_once__through_multicall3(
    devchain: DevChain, network: Network
) -> None:
    zoo = open_zoo(devchain.rpc, network, TREASURY)
    rpc = Plain(devchain.rpc)
    assert_only_the_bad_are_lost(read_snapshot(rpc, zoo.portfolio), zoo, starved=True)
    # Several that burn gas bring down the whole eth_call: what is trusted is asked without them,
    # then each token alone, a hundred calls in a request. The flood fails even so: its two calls
    # are found by halving.
    _, *state = [methods for methods in rpc.requests if "eth_call" in methods]
    assert [len(methods) for methods in state[:3]] == [1, 1, 100]
    assert len(rpc.requests) <= 33


def test_more_that_burn_gas_than_an_eth_call_has__are_asked_again_until_all_are(
    devchain: DevChain, network: Network
) -> None:
    """Forty of them, two calls each with a million gas; the node gives some thirty at a time."""
    zoo = open_zoo(devchain.rpc, network, TREASURY, 40, [f"INVALID{i}" for i in range(40)])
    rpc = Counting(devchain.rpc)
    assert_only_the_bad_are_lost(read_snapshot(rpc, zoo.portfolio), zoo)
    assert [len(methods) for methods in rpc.requests] == [2, 1, 1, 1, 2]


def test_what_the_good_ones_say__is_what_they_say_without_the_bad(
    devchain: DevChain, network: Network
) -> None:
    zoo = open_zoo(devchain.rpc, network, TREASURY, 12, BURNERS)
    alone = open_zoo(devchain.rpc, network, TREASURY, 12, [])
    devchain.rpc.call("evm_mine")
    among, without = (read_snapshot(devchain.rpc, z.portfolio) for z in (zoo, alone))
    assert digest(replace(among, held_out=())) == digest(without)


@pytest.mark.parametrize("order", [BURNERS, BURNERS[::-1]])
def test_a_token_that_burns_gas__starves_nobody_after_it(
    devchain: DevChain, network: Network, order: tuple[str, ...]
) -> None:
    """Wherever they stand: everything after the first one is asked again, each alone."""
    zoo = open_zoo(devchain.rpc, network, TREASURY, 7, order)
    assert_only_the_bad_are_lost(read_snapshot(devchain.rpc, zoo.portfolio), zoo)


def test_nothing_is_traded_while_a_position_is_unreadable(
    devchain: DevChain, network: Network
) -> None:
    zoo = open_zoo(devchain.rpc, network, TREASURY, 9, ["LOOPS"])
    snapshot = read_snapshot(devchain.rpc, zoo.portfolio)
    targets, policy = zoo.portfolio.targets, zoo.portfolio.policy
    decision = decide(snapshot, value(snapshot, targets), targets, policy, None)
    assert isinstance(decision, Hold)
    assert [reason.code for reason in decision.reasons] == [UNREADABLE]
    assert decision.reasons[0].text.startswith("LOOPS cannot be valued")
