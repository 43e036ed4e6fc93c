"""Which pools are read, and that a hundred positions are one eth_call."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from readers_fake_node import BODY, WALLET, FakeNode, mainnet, network, portfolio, put_feed, word

from rebalancer.config.networks import Network
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.evm.abi import checksum
from rebalancer.model import Token
from rebalancer.readers.pairs import DIRECT_PAIRS_UP_TO, candidates, route_pools
from rebalancer.readers.snapshot import read_snapshot
from rebalancer.readers.tokens import needed_tokens

AMMS = ("sushiswap", "uniswap_v2")


def address(seed: int) -> str:
    return checksum(f"0x{seed:040x}")


def large(count: int, **changes: Any) -> Network:
    """Mainnet with ``count`` more tokens T0, T1, ..., each with a feed of its own."""
    tokens = dict(BODY["tokens"])
    feeds = dict(BODY["feeds"])
    for i in range(count):
        tokens[f"T{i}"] = {"address": address(10**6 + i), "decimals": 18, "feed": f"T{i}/USD"}
        feeds[f"T{i}/USD"] = {"address": address(2 * 10**6 + i), "decimals": 8, "max_age": "1h"}
    return network(tokens=tokens, feeds=feeds, **changes)


def many(net: Network, tokens: int, *lps: str) -> ResolvedPortfolio:
    """Equal targets of ``tokens`` tokens and ``lps``, what is left over in the first."""
    names: list[dict[str, Any]] = [{"token": f"T{i}"} for i in range(tokens)]
    names += [{"lp": lp} for lp in lps]
    share = 10_000 // len(names)
    for name in names:
        name["target"] = f"{share / 100}%"
    names[0]["target"] = f"{(10_000 - share * (len(names) - 1)) / 100}%"
    return portfolio(*names, on=net)


def pairs_of(net: Network, tokens: tuple[Token, ...], resolved: ResolvedPortfolio) -> set[str]:
    pools = route_pools(net, tokens, resolved.lps)
    names = [f"{p.token0.symbol}/{p.token1.symbol}" for p in pools]
    assert [p.amm for p in pools] == sorted(p.amm for p in pools)
    assert all(names.count(name) == len(AMMS) for name in names), "every pair on every AMM"
    return set(names)


def test_few_tokens__every_pair_is_looked_for() -> None:
    net = large(10)
    resolved = many(net, 10)
    tokens = needed_tokens(resolved)
    assert len(tokens) == DIRECT_PAIRS_UP_TO == 12
    assert route_pools(net, tokens, ()) == candidates(net, tokens)
    assert len(candidates(net, tokens)) == 66 * len(AMMS)


def test_many_tokens__pairs_with_an_intermediate_and_those_that_are_held() -> None:
    net = large(20)
    resolved = many(net, 20, "uniswap_v2:T3/T4")
    tokens = needed_tokens(resolved)
    hubs = {"WETH", "USDC"}
    every = {f"{a.symbol}/{b.symbol}" for a, b in combinations(tokens, 2)}
    expected = {name for name in every if hubs & set(name.split("/"))} | {"T3/T4"}
    found = pairs_of(net, tokens, resolved)
    assert found == expected
    assert len(found) == 20 * 2 + 1 + 1, "grows with the tokens, not with their square"


def test_many_tokens_and_no_intermediate__every_pair_is_looked_for() -> None:
    """Without a hub nothing else would be left to trade on."""
    net = large(20, intermediates=())
    tokens = needed_tokens(many(net, 20))
    assert route_pools(net, tokens, ()) == candidates(net, tokens)


def full_node(net: Network) -> FakeNode:
    node = mainnet()
    for symbol, spec in net.tokens.items():
        if symbol.startswith("T") and symbol[1:].isdigit():
            node.put(spec.address, "balanceOf(address)", (WALLET,), word(int(symbol[1:]) + 1))
            node.put(spec.address, "decimals()", (), word(18))
            feed = net.feeds[spec.feed]
            put_feed(node, "ETH/USD", 10**8)
            eth = node.state[net.feeds["ETH/USD"].address.lower()]
            node.state[feed.address.lower()] = dict(eth)
    return node


@pytest.mark.parametrize("lps", [0, 2])
def test_a_hundred_positions__are_one_eth_call(lps: int) -> None:
    net = large(100)
    held = ("uniswap_v2:USDC/WETH", "uniswap_v2:WETH/USDT")[:lps]
    node = full_node(net)
    snapshot = read_snapshot(node, many(net, 100 - lps, *held))
    assert len(snapshot.holdings) == lps
    own = {a.token.symbol: a.raw for a in snapshot.balances if a.token.symbol.startswith("T")}
    assert own == {f"T{i}": i + 1 for i in range(100 - lps)}
    assert node.requests == [
        ["eth_chainId", "eth_getBlockByNumber"],
        ["eth_call"],
        ["eth_maxPriorityFeePerGas", "eth_getBlockByNumber"],
    ]


def test_four_times_the_positions__are_four_times_the_calldata() -> None:
    net = large(400)
    node = full_node(net)
    read_snapshot(node, many(net, 100))
    hundred = sum(len(tx["data"]) for _, tx, *_ in eth_calls(node))
    node.calls.clear()
    read_snapshot(node, many(net, 400))
    assert sum(len(tx["data"]) for _, tx, *_ in eth_calls(node)) < 4.1 * hundred


def eth_calls(node: FakeNode) -> list[tuple[Any, ...]]:
    return [asked for asked in node.calls if asked[0] == "eth_call"]
