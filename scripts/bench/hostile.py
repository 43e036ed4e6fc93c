"""Fifty tokens, one of them hostile, and all nine kinds of them at once: requests and time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import median

from rebalancer.config.load import PROJECT_ROOT, load_networks
from rebalancer.devchain.accounts import TREASURY
from rebalancer.devchain.fork import open_fork
from rebalancer.devchain.hostile import KINDS, open_zoo
from rebalancer.readers.snapshot import read_snapshot
from scripts.bench.figure import Figure
from scripts.bench.snapshot import Counting

#: Seconds that a snapshot may take, whatever a token does.
_LIMIT_S = 2.0


def figures() -> Iterator[Figure]:
    for name, kinds in {**{kind.lower(): [kind] for kind in KINDS}, "all_kinds": KINDS}.items():
        requests, seconds = _measure(list(kinds))
        yield Figure(f"hostile.{name}.requests", requests, "requests", None)
        yield Figure(f"hostile.{name}.time", round(seconds, 4), "s", _LIMIT_S)


def _measure(kinds: Sequence[str]) -> tuple[int, float]:
    """Requests of one snapshot with 49 good tokens, and its time: the median of five."""
    network = load_networks(PROJECT_ROOT / "networks.yaml")["mainnet"]
    with open_fork() as chain:
        zoo = open_zoo(chain.rpc, network.model_copy(update={"amms": {}}), TREASURY, 49, kinds)
        rpc = Counting(chain.rpc)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            snapshot = read_snapshot(rpc, zoo.portfolio)
            times.append(time.perf_counter() - start)
            if len(snapshot.balances) != 49 or len(snapshot.held_out) != len(kinds):
                raise RuntimeError(f"{kinds} spoiled more than their own rows")
    return rpc.requests // len(times), median(times)
