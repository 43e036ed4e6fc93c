"""Requests and time for one snapshot of the demo portfolio, beside reading value by value."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from rebalancer.config.load import PROJECT_ROOT, load_portfolio
from rebalancer.devchain.fork import open_fork
from rebalancer.evm.abi import encode_call, to_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Snapshot
from rebalancer.readers.snapshot import read_snapshot
from scripts.bench.figure import Figure


class Counting:
    """An Rpc that counts HTTP requests."""

    def __init__(self, inner: Rpc) -> None:
        self.inner = inner
        self.requests = 0

    def call(self, method: str, *params: Any) -> Any:
        self.requests += 1
        return self.inner.call(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        self.requests += 1
        return self.inner.batch(calls)


def read_one_by_one(rpc: Rpc, snapshot: Snapshot) -> None:
    """The same state with one eth_call per value, as a plain contract wrapper reads it."""
    at = {"blockHash": snapshot.block.hash}

    def ask(to: str, signature: str, *args: Any) -> None:
        rpc.call("eth_call", {"to": to, "data": to_hex(encode_call(signature, *args))}, at)

    rpc.call("eth_getBlockByHash", snapshot.block.hash, False)
    rpc.call("eth_getBalance", snapshot.wallet, at)
    for balance in snapshot.balances:
        ask(balance.token.address, "balanceOf(address)", snapshot.wallet)
        ask(balance.token.address, "decimals()")
    for pair in snapshot.pairs:
        for signature in ("getReserves()", "totalSupply()", "kLast()"):
            ask(pair.address, signature)
    for holding in snapshot.holdings:
        ask(holding.pair, "balanceOf(address)", snapshot.wallet)


def figures() -> Iterator[Figure]:
    resolved = load_portfolio(PROJECT_ROOT / "portfolio.example.yaml")
    with open_fork() as chain:
        ours, theirs = Counting(chain.rpc), Counting(chain.rpc)
        snapshot = read_snapshot(ours, resolved)
        read_one_by_one(theirs, snapshot)
        requests = ours.requests, theirs.requests
        times = median(_timed(lambda: read_snapshot(ours, resolved)) for _ in range(20))
        peer = median(_timed(lambda: read_one_by_one(theirs, snapshot)) for _ in range(20))
    name = "one eth_call per value (prices not even read)"
    yield Figure("snapshot.requests", requests[0], "requests", 0.2, name, requests[1])
    yield Figure("snapshot.time", round(times, 4), "s", 1.0, name, round(peer, 4))


def _timed(run: Any) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
