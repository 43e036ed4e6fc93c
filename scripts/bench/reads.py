"""Snapshots of 10 to 1,000 positions and of 1,000 wallets, beside two packages' same reads.

The peers are installed for this alone, into a folder of their own, and run there as a process. They
read what the snapshot reads: the block, every view, the fee, and the block again. Only ours then
checks, prices and orders what it has read; that is part of its time. Ours and a peer's passes
alternate: what else the machine does meanwhile weighs on both.

``time`` is that of a pass like the one before it, as a keeper makes them; ``first`` that of one
which has to find out what to ask. A peer's is its fastest way in either case.
"""

from __future__ import annotations

import gc
import hashlib
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Any

from rebalancer.config.load import PROJECT_ROOT
from rebalancer.config.networks import Network
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.devchain.fork import DevChain, open_fork
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Snapshot
from rebalancer.readers.snapshot import read_many
from rebalancer.readers.task import forget
from scripts.bench.field import TOKENS_PER_WALLET, WALLETS, plant, portfolio, views, wallet
from scripts.bench.figure import Figure
from scripts.bench.snapshot import Counting

PEERS = ("multicall", "web3-ethereum-defi")
PEER_PYTHON = PROJECT_ROOT / ".cache" / "bench-venv" / "bin" / "python"
_SCRIPT = Path(__file__).with_name("peer_reads.py")
#: Passes of each, in turn; fewer where a peer's take longer than so many seconds together.
_ROUNDS, _LONG_S = 25, 5.0
#: A peer that sends thousands of requests takes half a minute for a pass, more on a busy machine.
_PATIENCE_S = 150
#: Three times faster; fewer requests.
_THIRD, _FEWER = 0.3334, 0.9999


def figures() -> Iterator[Figure]:
    if not PEER_PYTHON.exists():
        print("the peers of reads.* are not installed (make bench-peers)", file=sys.stderr)
    with open_fork() as chain:
        network = plant(chain.rpc)
        block = int(chain.rpc.call("eth_blockNumber"), 16)
        shares = {}
        for name, case in CASES.items():
            portfolios = case(network)
            peak, kept = _memory(chain.rpc, portfolios, block)
            shares[name] = peak / kept
            yield Figure(f"reads.{name}.peak_memory", peak, "bytes", None)
            yield Figure(f"reads.{name}.result", kept, "bytes", None)
            if name == "portfolios_1000x20":  # the same views for the peers, who know no portfolio
                alone = _Ours(chain.rpc, portfolios, block)
                for _ in range(_ROUNDS):
                    alone.run()
                yield Figure(f"reads.{name}.requests", alone.requests, "requests", None)
                yield Figure(f"reads.{name}.time", alone.seconds, "s", None)
                continue
            expected = _digest(read_many(chain.rpc, portfolios, block), portfolios)
            for peer in PEERS:
                ours, theirs = _race(peer, chain, portfolios, block, expected)
                requests, seconds, first = ours.requests, ours.seconds, ours.first
                count, took = (theirs.requests, theirs.seconds) if theirs else (None, None)
                yield Figure(f"reads.{name}.requests", requests, "requests", _FEWER, peer, count)
                yield Figure(f"reads.{name}.time", seconds, "s", _THIRD, peer, took)
                yield Figure(f"reads.{name}.first", first, "s", None, peer, took)
        # Peak over result: what a snapshot takes grows no faster than what comes of it. Of ten
        # positions most is what any snapshot takes.
        for larger in ("positions_1000", "wallets_1000x20"):
            growth = round(shares[larger] / shares["positions_100"], 2)
            yield Figure(f"reads.memory_growth.positions_100_to_{larger}", growth, "ratio", 1.0)


def _many_wallets(network: Network) -> tuple[ResolvedPortfolio, ...]:
    watched = (wallet(i) for i in range(1, WALLETS))
    return (portfolio(network, TOKENS_PER_WALLET, *watched),)


def _many_portfolios(network: Network) -> tuple[ResolvedPortfolio, ...]:
    return tuple(portfolio(network, TOKENS_PER_WALLET, owner=i) for i in range(WALLETS))


#: Portfolios by the name of the figure. Made one after the other: what is not read should not lie
#: in memory, where collecting garbage has to look at it.
CASES: Mapping[str, Callable[[Network], tuple[ResolvedPortfolio, ...]]] = {
    "positions_10": lambda network: (portfolio(network, 10),),
    "positions_100": lambda network: (portfolio(network, 100),),
    "positions_1000": lambda network: (portfolio(network, 1_000),),
    "wallets_1000x20": _many_wallets,
    "portfolios_1000x20": _many_portfolios,
}


class _Ours:
    """Our passes: prepared as a keeper's are, and unprepared."""

    def __init__(self, rpc: Rpc, portfolios: Sequence[ResolvedPortfolio], block: int) -> None:
        self._rpc, self._portfolios, self._block = Counting(rpc), portfolios, block
        self._times: list[float] = []
        self._first: list[float] = []
        self._requests: set[int] = set()

    def run(self) -> None:
        """One unprepared pass, and one like it."""
        forget()
        self._first.append(self._pass())
        self._times.append(self._pass())

    @property
    def requests(self) -> int:
        (requests,) = self._requests  # every pass takes as many
        return requests

    @property
    def seconds(self) -> float:
        return round(median(self._times), 4)

    @property
    def first(self) -> float:
        return round(median(self._first), 4)

    def _pass(self) -> float:
        gc.collect()
        self._rpc.requests = 0
        start = time.perf_counter()
        read_many(self._rpc, self._portfolios, self._block)
        took = time.perf_counter() - start
        self._requests.add(self._rpc.requests)
        return took


@dataclass(frozen=True, slots=True)
class _Theirs:
    requests: int
    seconds: float


def _memory(rpc: Rpc, portfolios: Sequence[ResolvedPortfolio], block: int) -> tuple[int, int]:
    """Bytes at the peak of a pass, with finding out what to ask, and those of its result alone."""
    read_many(rpc, portfolios, block)  # connections and the like are nobody's result
    forget()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = read_many(rpc, portfolios, block)
        peak = tracemalloc.get_traced_memory()[1]
        forget()
        gc.collect()
        now = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    if len(result) != len(portfolios):
        raise RuntimeError("a portfolio was not read")
    return peak - before, now - before


def _race(
    peer: str,
    chain: DevChain,
    portfolios: Sequence[ResolvedPortfolio],
    block: int,
    expected: str,
) -> tuple[_Ours, _Theirs | None]:
    """Our passes and the peer's in turn; nothing of one that is not installed or takes too long."""
    ours = _Ours(chain.rpc, portfolios, block)
    passes: list[dict[str, Any]] = []
    if PEER_PYTHON.exists():
        asked = views(portfolios)
        for answer in _peer(peer, chain.url, block, asked):
            passes.append(answer)
            ours.run()
            if sum(found["seconds"] for found in passes) > _LONG_S:
                break
    if not passes:
        for _ in range(_ROUNDS):
            ours.run()
        return ours, None
    if any(found["answers"] != expected for found in passes):
        raise RuntimeError(f"{peer} reads something else than we do")
    seconds = round(median(found["seconds"] for found in passes), 4)
    return ours, _Theirs(passes[-1]["requests"], seconds)


def _peer(peer: str, url: str, block: int, asked: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The peer's passes, each begun when it is asked for, until it fails or takes too long."""
    command = [str(PEER_PYTHON), str(_SCRIPT), peer, url, str(block)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:  # noqa: S603
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise RuntimeError("the peer has no pipes")
        watch = Timer(_PATIENCE_S, process.kill)
        watch.start()
        try:
            lines = [json.dumps(asked), *["go"] * _ROUNDS]
            for line in lines:
                process.stdin.write(f"{line}\n")
                process.stdin.flush()
                answer = process.stdout.readline()
                if not answer:
                    why = process.stderr.read().strip().splitlines()
                    late = f"has not read {len(asked)} views in {_PATIENCE_S} s"
                    print(f"{peer}: {why[-1] if why else late}", file=sys.stderr)
                    return
                if line == "go":
                    yield json.loads(answer)
        finally:
            watch.cancel()
            process.kill()


def _digest(snapshots: Sequence[Snapshot], portfolios: Sequence[ResolvedPortfolio]) -> str:
    """The answers as the peers hash theirs."""
    balances = {
        (amount.token.address, owner): amount.raw
        for snapshot in snapshots
        for owner, held in (
            (snapshot.wallet, snapshot.balances),
            *((w.wallet, w.balances) for w in snapshot.watched),
        )
        for amount in held
    }
    purses = {snapshot.wallet: snapshot.native_wei for snapshot in snapshots}
    prices = {p.token: p.quotes[0] for snapshot in snapshots for p in snapshot.prices}
    answers: dict[tuple[str, str, str], int] = {}
    feeds = {
        portfolios[0].network.feeds[f"{token.symbol}/USD"].address: (token, quote)
        for token, quote in prices.items()
    }
    decimals = {token.address: token.decimals for token in prices} | dict.fromkeys(feeds, 8)
    for address, signature, owner in views(portfolios):
        if signature.startswith("balanceOf"):
            value = balances[address, owner]
        elif signature.startswith("getEthBalance"):
            value = purses[owner]
        elif signature.startswith("decimals"):
            value = decimals[address]
        else:
            token, quote = feeds[address]
            value = quote.numerator * 10**token.decimals // quote.denominator
        answers[address, signature, owner] = value
    rows = sorted((*view, value) for view, value in answers.items())
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
