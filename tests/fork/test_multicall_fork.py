"""Large reads on a real node: how many requests, how much gas, and the same values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from rpc_proxy import Proxy

from rebalancer.config.networks import Network
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.devchain.accounts import TREASURY
from rebalancer.devchain.fork import DevChain
from rebalancer.evm.abi import checksum, decode_output, encode_call, from_hex, to_hex
from rebalancer.evm.endpoints import Endpoints
from rebalancer.evm.rpc import HttpRpc, Rpc
from rebalancer.readers.call import Call
from rebalancer.readers.chain import read_block
from rebalancer.readers.multicall import MAX_GAS, by_multicall3, multicall
from rebalancer.readers.snapshot import read_snapshot

TOKENS = 100
#: Uses a million gas in a loop, then returns the word 7:
#: PUSH3 40000; JUMPDEST PUSH1 1 SWAP1 SUB DUP1 PUSH1 4 JUMPI; MSTORE(0, 7); RETURN(0, 32).
MILLION_GAS = "0x62009c405b6001900380600457600760005260206000f3"


class Recording:
    """An Rpc that keeps the parameters of every eth_call, and counts the rest."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc
        self.eth_calls: list[Sequence[Any]] = []
        self.requests = 0

    def call(self, method: str, *params: Any) -> Any:
        self.requests += 1
        if method == "eth_call":
            self.eth_calls.append(params)
        return self.rpc.call(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        self.requests += 1
        return self.rpc.batch(calls)


def token_address(i: int) -> str:
    return checksum(f"0x{0xA0000000 + i:040x}")


@pytest.fixture
def hundred(devchain: DevChain, networks_yaml: Path) -> ResolvedPortfolio:
    """A hundred tokens with LINK's code, each with a feed of its own that has ETH/USD's state."""
    rpc, body = devchain.rpc, yaml.safe_load(networks_yaml.read_text())["mainnet"]
    link, feed = body["tokens"]["LINK"]["address"], body["feeds"]["ETH/USD"]["address"]
    slots = [rpc.call("eth_getStorageAt", feed, hex(i), "latest") for i in range(8)]
    codes = {name: rpc.call("eth_getCode", name, "latest") for name in (link, feed)}
    cheats: list[tuple[str, tuple[Any, ...]]] = []
    for i in range(TOKENS):
        token, source = token_address(i), checksum(f"0x{0xB0000000 + i:040x}")
        body["tokens"][f"T{i}"] = {"address": token, "decimals": 18, "feed": f"T{i}/USD"}
        body["feeds"][f"T{i}/USD"] = {**body["feeds"]["ETH/USD"], "address": source}
        cheats += [
            ("anvil_setCode", (token, codes[link])),
            ("anvil_setCode", (source, codes[feed])),
        ]
        cheats += [("anvil_setStorageAt", (source, hex(k), s)) for k, s in enumerate(slots)]
    for start in range(0, len(cheats), 200):
        rpc.batch(cheats[start : start + 200])
    for i in range(TOKENS):
        rpc.call("anvil_dealERC20", TREASURY, token_address(i), hex(10**18 + i))
    rpc.call("evm_mine")
    positions = [{"token": f"T{i}", "target": "1%"} for i in range(TOKENS)]
    spec = {"name": "p", "network": "mainnet", "wallet": TREASURY, "positions": positions}
    return resolve(Portfolio.model_validate(spec), Network(name="mainnet", **body))


def test_a_hundred_positions__one_eth_call_within_its_limits__every_balance(
    devchain: DevChain, hundred: ResolvedPortfolio
) -> None:
    rpc = Recording(devchain.rpc)
    snapshot = read_snapshot(rpc, hundred)
    assert rpc.requests == 3
    ((transaction, at, override),) = rpc.eth_calls
    assert at == {"blockHash": snapshot.block.hash}
    # A hundred tokens, as many feeds and four hundred pools: 20 bytes for each of 1,600 calls.
    assert len(from_hex(transaction["data"])) < 33_000
    gas = int(devchain.rpc.call("eth_estimateGas", transaction, "latest", override), 16)
    assert gas < MAX_GAS / 2
    data = to_hex(encode_call("balanceOf(address)", TREASURY))
    for i in range(TOKENS):
        token = hundred.network.token(f"T{i}")
        answer = devchain.rpc.call("eth_call", {"to": token.address, "data": data}, "latest")
        (direct,) = decode_output(("uint256",), from_hex(answer))
        assert snapshot.balance(token) == direct == 10**18 + i
    assert not snapshot.held_out


def test_multicall3__chunk_that_needs_more_gas_than_the_node_gives__is_halved(
    devchain: DevChain, mainnet: Network
) -> None:
    """Sixty calls of a million gas on a node that gives 36 million."""
    targets = [checksum(f"0x{0xC0000000 + i:040x}") for i in range(60)]
    for target in targets:
        devchain.rpc.call("anvil_setCode", target, MILLION_GAS)
    devchain.rpc.call("evm_mine")
    block = read_block(devchain.rpc)
    limit = devchain.rpc.call("eth_getBlockByNumber", "latest", False)["gasLimit"]
    assert int(limit, 16) < 60 * 10**6
    rpc = Recording(devchain.rpc)
    calls = [Call(target, "totalSupply()") for target in targets]
    results = by_multicall3(rpc, mainnet.multicall3, calls, block.hash)
    assert [result.values() for result in results] == [(7,)] * 60
    assert rpc.requests == 3, "the whole, and its halves"


@pytest.fixture
def two_ways(synthetic_fork: DevChain) -> Iterator[Callable[[], tuple[Proxy, Proxy]]]:
    made: list[Proxy] = []

    def make() -> tuple[Proxy, Proxy]:
        made.extend(Proxy(synthetic_fork.url) for _ in range(2))
        return made[0], made[1]

    yield make
    for proxy in made:
        proxy.close()


def test_chunks__go_to_several_endpoints__and_come_back_in_order(
    devchain: DevChain, mainnet: Network, two_ways: Callable[[], tuple[Proxy, Proxy]]
) -> None:
    first, second = two_ways()
    rpc = Endpoints([HttpRpc(first.url), HttpRpc(second.url)], 1)
    block = read_block(rpc)
    before = first.requests, second.requests
    usdc = mainnet.tokens["USDC"].address
    owners = [checksum(f"0x{0xD0000000 + i:040x}") for i in range(8_000)]
    for i in range(0, 8_000, 400):
        devchain.rpc.call("anvil_dealERC20", owners[i], usdc, hex(i + 1))
    devchain.rpc.call("evm_mine")
    block = read_block(rpc)
    calls = [Call(usdc, "balanceOf(address)", (owner,)) for owner in owners]
    results = multicall(rpc, mainnet.multicall3, calls, block.hash)
    assert [r.values() for r in results] == [(i + 1 if i % 400 == 0 else 0,) for i in range(8_000)]
    assert first.requests > before[0]
    assert second.requests > before[1]
