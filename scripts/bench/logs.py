"""Requests for a wallet's events in a million blocks, beside readers of fixed pages.

The node is one in memory with the limits of hosted ones, so many blocks or so many events in a
query: Anvil has none, and mines for minutes until there is anything to page through. A fixed page
of 1,000 blocks is what most hosted nodes take; the best fixed page is the largest that this node
takes, which nobody knows beforehand.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from rebalancer.devchain.accounts import MARKET_MAKER, TREASURY
from rebalancer.devchain.mainnet import WETH
from rebalancer.evm.rpc import RpcError
from rebalancer.model import BlockRef
from rebalancer.readers.logs import TRANSFER, Filter, Log, LogScan, parse_logs, word
from scripts.bench.figure import Figure

_BLOCKS = 1_000_000
#: One transfer in so many blocks, and in one stretch one in every block.
_EVERY, _DENSE = 5_000, range(600_000, 601_000)
_PAGE = 1_000
_WANTED = Filter((WETH.address,), (TRANSFER, word(TREASURY)))
_ANY = 10**9


class Hosted:
    """A node that refuses a query of more than ``blocks`` blocks or ``events`` events; counts."""

    def __init__(self, blocks: int, events: int) -> None:
        self.blocks, self.events = blocks, events
        self.requests = 0
        self.numbers = sorted({*range(0, _BLOCKS, _EVERY), *_DENSE})

    def call(self, method: str, *params: Any) -> Any:
        return self.batch([(method, params)])[0]

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        self.requests += 1
        return [self._answer(method, *params) for method, params in calls]

    def _answer(self, method: str, wanted: Any, *_: Any) -> Any:
        if method == "eth_getBlockByNumber":
            number = int(wanted, 16)
            return {"number": wanted, "hash": word(hex(number)), "timestamp": hex(12 * number)}
        first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
        found = self.numbers[bisect_left(self.numbers, first) : bisect_right(self.numbers, last)]
        if last - first + 1 > self.blocks or len(found) > self.events:
            raise RpcError(method, -32005, "limit exceeded")
        return [_log(number) for number in found]


def figures() -> Iterator[Figure]:
    for name, blocks, events, best in (
        ("no_limit", _ANY, _ANY, _BLOCKS),
        ("10000_blocks", 10_000, _ANY, 10_000),
        ("100_events", _ANY, 100, 100),
    ):
        ours = Hosted(blocks, events)
        found = list(LogScan((_WANTED,), 0).advance(ours, _head()))
        for page, peer, target in (
            (_PAGE, f"pages of {_PAGE:,} blocks", 0.3334),
            (best, f"pages of {best:,} blocks, the best for this node", None),
        ):
            theirs = Hosted(blocks, events)
            expected = _pages(theirs, page)
            if expected is not None and expected != found:
                raise RuntimeError("the two readers found different events")
            count = None if expected is None else theirs.requests
            yield Figure(f"logs.{name}.requests", ours.requests, "requests", target, peer, count)


def _head() -> BlockRef:
    number = _BLOCKS - 1
    return BlockRef(1, number, word(hex(number)), 12 * number, 0)


def _log(number: int) -> dict[str, Any]:
    return {
        "address": WETH.address,
        "topics": [TRANSFER, word(TREASURY), word(MARKET_MAKER)],
        "data": word(hex(number)),
        "blockNumber": hex(number),
        "blockHash": word(hex(number)),
        "transactionHash": word(hex(number)),
        "logIndex": "0x0",
    }


def _pages(rpc: Hosted, page: int) -> list[Log] | None:
    """Page after page; None where one is refused: a fixed reader has nothing else to ask."""
    found: list[Log] = []
    for start in range(0, _BLOCKS, page):
        end = min(start + page, _BLOCKS) - 1
        try:
            (answer,) = rpc.batch([("eth_getLogs", (_WANTED.params(start, end),))])
        except RpcError:
            return None
        found += parse_logs(answer, (_WANTED,), start, end)
    return found
