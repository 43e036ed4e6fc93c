"""Snapshots of 10 to 1,000 positions and of 1,000 wallets, beside two packages' same reads.

The peers are installed for this alone, into a folder of their own, and run there as a process. They
read what the snapshot reads: the block, every view, the fee, and the block again. Only ours then
checks, prices and orders what it has read; that is part of its time. Ours is measured right before
and right after each peer: what else the machine does then weighs on both.

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
from pathlib import Path
from statistics import median
from typing import Any

from rebalancer.config.load import PROJECT_ROOT
from rebalancer.config.networks import Network
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.devchain.fork import open_fork
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
_ROUNDS = 5
_PEER_ROUNDS = 5
#: A peer that sends thousands of requests takes half a minute for a pass; here it may be slower.
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
                requests, times = _passes(chain.rpc, portfolios, block)
                yield Figure(f"reads.{name}.requests", requests, "requests", None)
                yield Figure(f"reads.{name}.time", _middle(times), "s", None)
                continue
            expected = _digest(read_many(chain.rpc, portfolios, block), portfolios)
            for peer in PEERS:
                requests, before = _passes(chain.rpc, portfolios, block)
                first = _first(chain.rpc, portfolios, block)
                theirs = _peer(peer, chain.url, portfolios, block, expected)
                seconds = _middle(before + _passes(chain.rpc, portfolios, block)[1])
                count, took = theirs.get("requests"), theirs.get("seconds")
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


def _passes(
    rpc: Rpc, portfolios: Sequence[ResolvedPortfolio], block: int
) -> tuple[int, list[float]]:
    """Requests of one pass, and the times of several."""
    counting = Counting(rpc)
    read_many(counting, portfolios, block)
    times = [_timed(lambda: read_many(counting, portfolios, block)) for _ in range(_ROUNDS)]
    return counting.requests // (_ROUNDS + 1), times


def _middle(times: Sequence[float]) -> float:
    return round(median(times), 4)


def _first(rpc: Rpc, portfolios: Sequence[ResolvedPortfolio], block: int) -> float:
    """The median time of a pass that nothing is prepared for."""
    times = []
    for _ in range(_PEER_ROUNDS):
        forget()
        times.append(_timed(lambda: read_many(rpc, portfolios, block)))
    return _middle(times)


def _timed(run: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


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


def _peer(
    peer: str, url: str, portfolios: Sequence[ResolvedPortfolio], block: int, expected: str
) -> dict[str, Any]:
    """What the peer measured; nothing where it is not installed."""
    if not PEER_PYTHON.exists():
        return {}
    asked = views(portfolios)
    # Thousands of requests take a peer half a minute.
    rounds = _PEER_ROUNDS if len(asked) < 10_000 or peer == "multicall" else 1
    command = [str(PEER_PYTHON), str(_SCRIPT), peer, url, str(block), str(rounds)]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        print(f"{peer} has not read {len(asked)} views in {_PATIENCE_S} s", file=sys.stderr)
        return {}
    if done.returncode:
        print(f"{peer} fails: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return {}
    found: dict[str, Any] = json.loads(done.stdout)
    if found["answers"] != expected:
        raise RuntimeError(f"{peer} reads something else than we do")
    return {**found, "seconds": round(found["seconds"], 4)}


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
