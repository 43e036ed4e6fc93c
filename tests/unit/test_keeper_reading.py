"""Portfolios that are due together are read together; whoever sends makes the rest read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from readers_fake_node import WALLET, FakeNode, mainnet, network, portfolio

from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.errors import ReadError, RebalancerError
from rebalancer.keeper.reading import Due, SharedReads, Turn
from rebalancer.model import digest
from rebalancer.readers.snapshot import read_snapshot

NET = network()


def named(name: str, symbol: str = "WETH", on: Any = NET) -> ResolvedPortfolio:
    positions = [{"token": symbol, "target": "100%"}]
    spec = {"name": name, "network": "mainnet", "wallet": WALLET, "positions": positions}
    return resolve(Portfolio.model_validate(spec), on)


def due(node: FakeNode, *portfolios: ResolvedPortfolio, nodes: str = "n") -> list[Due]:
    return [Due(p, nodes, lambda: node) for p in portfolios]


def blocks_read(node: FakeNode) -> int:
    """Passes: each begins by asking for the head."""
    return node.requests.count(["eth_chainId", "eth_getBlockByNumber"])


def in_turn(reads: SharedReads, items: Sequence[Due]) -> list[str]:
    return [digest(Turn(reads, item).snapshot()) for item in items]


def test_due_together__one_pass__each_as_it_would_be_alone() -> None:
    node, portfolios = mainnet(), (named("a"), named("b", "USDC"), portfolio())
    reads, items = SharedReads(), due(node, *portfolios)
    reads.begin(items)
    assert in_turn(reads, items) == [digest(read_snapshot(mainnet(), p)) for p in portfolios]
    assert blocks_read(node) == 1
    node.head += 1  # the next time they are due it is another block
    reads.begin(items)
    assert {Turn(reads, item).snapshot().block.number for item in items} == {101}
    assert blocks_read(node) == 2


def test_after_something_was_sent__the_rest_is_read_anew_and_together() -> None:
    node = mainnet()
    reads, items = SharedReads(), due(node, named("a"), named("b"), named("c"))
    reads.begin(items)
    turns = [Turn(reads, item) for item in items]
    assert turns[0].snapshot().block.number == 100
    turns[0].forget()
    node.head += 1
    assert [turn.snapshot().block.number for turn in turns[1:]] == [101, 101]
    assert blocks_read(node) == 2


def test_a_portfolio_that_is_not_due__reads_alone() -> None:
    node = mainnet()
    reads, (a, b) = SharedReads(), due(node, named("a"), named("b"))
    reads.begin([b])
    in_turn(reads, [a])
    assert blocks_read(node) == 1
    in_turn(reads, [b])
    assert blocks_read(node) == 2


def test_a_second_turn__is_read_again() -> None:
    """An order's slices are looked after between: never on what was read for another time."""
    node = mainnet()
    reads, items = SharedReads(), due(node, named("a"), named("b"))
    reads.begin(items)
    in_turn(reads, items)
    node.head += 1
    assert Turn(reads, items[0]).snapshot().block.number == 101


def test_other_nodes_or_another_network__are_not_shared() -> None:
    mine, theirs = mainnet(), mainnet()
    other = network(chain_id=2)
    reads = SharedReads()
    items = [
        *due(mine, named("a"), named("b", on=other)),
        *due(theirs, named("c"), nodes="others"),
    ]
    reads.begin(items)
    in_turn(reads, items[:1])
    assert (blocks_read(mine), blocks_read(theirs)) == (1, 0)
    in_turn(reads, items[2:])
    assert (blocks_read(mine), blocks_read(theirs)) == (1, 1)


def test_one_that_cannot_be_read__is_its_own_failure_and_no_others() -> None:
    node = mainnet()
    feed = NET.feeds["BTC/USD"].address
    node.state[feed.lower()].clear()
    reads, items = SharedReads(), due(node, named("a"), named("b", "WBTC"), named("c"))
    reads.begin(items)
    assert Turn(reads, items[0]).snapshot().wallet == WALLET
    with pytest.raises(ReadError):
        Turn(reads, items[1]).snapshot()
    assert Turn(reads, items[2]).snapshot().wallet == WALLET
    assert blocks_read(node) == 1 + 3  # together, in vain, then each by itself


def test_nodes_that_cannot_be_used__fail_in_their_own_turn() -> None:
    node = mainnet()

    def gone() -> FakeNode:
        raise RebalancerError("no such node")

    reads = SharedReads()
    items = [*due(node, named("a")), Due(named("b"), "n", gone)]
    reads.begin(items)
    # The first one's nodes serve both: they are the same by their addresses.
    assert len(in_turn(reads, items)) == 2
    reads.begin([items[1]])
    with pytest.raises(RebalancerError, match="no such node"):
        in_turn(reads, items[1:])
