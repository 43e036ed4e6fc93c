"""Event logs over any range of blocks: in pages that shrink when a node refuses, and can go on.

Providers limit eth_getLogs by blocks, by results or by time, each in its own words and with its own
code (-32005, -32602, -32000 and others). So no wording is read: a refused page shrinks until it is
taken or is a single block, and what follows grows towards what was refused. A scan keeps its cursor
and what it has found in memory; after a failure the same scan goes on where it stopped.

A range of numbers is of whatever chain the node is on. So every page is asked together with the
block that the scan is to end at, before and after, and with the one that it had come to: all pages
are of the chain that has both, whichever node answers, or the scan fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rebalancer.errors import ReadError, RpcUnavailable
from rebalancer.evm.abi import checksum, topic
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import BlockRef
from rebalancer.readers.chain import Reorganised, batch_on
from rebalancer.readers.wire import as_data, as_hash, as_quantity, refused

TRANSFER = topic("Transfer(address,address,uint256)")
#: Blocks of the first page: what most providers take for a filter by topic.
FIRST_SPAN = 50_000
#: No page is larger, whatever the node would take: an answer has to fit into memory.
MAX_SPAN = 5_000_000
#: Pages for which a refused size is kept in mind.
_REMEMBERED = 16
#: Times in a row that a page may go unanswered before the node counts as gone.
_SILENCES = 3
#: Queries in one batch, two less than some providers take: the block is looked at with them.
_BATCH = 98
#: A node that lacks the method, or refuses the caller, does so for one block as well.
_FINAL = frozenset({-32601, -32004})


@dataclass(frozen=True, slots=True)
class Log:
    """An event; ``address`` is checksummed, ``index`` its place among the block's logs."""

    address: str
    topics: tuple[str, ...]
    data: bytes
    block_number: int
    block_hash: str
    tx_hash: str
    index: int


@dataclass(frozen=True, slots=True)
class Filter:
    """What to look for: contracts (none: any), and topics by place (None: any)."""

    addresses: tuple[str, ...]
    topics: tuple[str | None, ...]

    def params(self, first: int, last: int) -> dict[str, Any]:
        params: dict[str, Any] = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "topics": list(self.topics),
        }
        return {**params, "address": list(self.addresses)} if self.addresses else params

    def fits(self, log: Log) -> bool:
        """Whether a log is what was asked for."""
        if self.addresses and log.address not in self.addresses:
            return False
        if len(log.topics) < len(self.topics):
            return False
        pairs = zip(self.topics, log.topics, strict=False)
        return all(wanted is None or wanted.lower() == got for wanted, got in pairs)


@dataclass(slots=True)
class LogScan:
    """A scan of ``filters`` from ``next_block`` on; ``advance`` until it is where you want it.

    ``found`` has every log once. ``next_block`` and ``span`` are the cursor: a scan made with those
    of another goes on from there. ``through`` is the block that everything found is of the chain
    of; with one that is given, what is found will be too.
    """

    filters: tuple[Filter, ...]
    next_block: int
    span: int = FIRST_SPAN
    through: BlockRef | None = None
    found: dict[tuple[int, int], Log] = field(default_factory=dict)
    _taken: int = 0
    _refused: int | None = None
    _since: int = 0

    def advance(self, rpc: Rpc, block: BlockRef) -> tuple[Log, ...]:
        """All logs found up to and with ``block``, in the chain's order.

        Raises Reorganised where ``block`` or what was found before is not part of the chain,
        ReadError where the node refuses a single block, RpcUnavailable where it answers nonsense or
        does not answer; what was found so far stays.
        """
        through = self.through or block
        standing = (block,) if through == block else (block, through)
        if self.next_block > block.number and len(standing) > 1:
            self._look(rpc, standing)
        self._read(rpc, block.number, standing)
        if block.number >= through.number:
            self.through = block
        logs = (self.found[key] for key in sorted(self.found) if key[0] <= block.number)
        return tuple(logs)

    def _look(self, rpc: Rpc, standing: Sequence[BlockRef]) -> None:
        try:
            batch_on(rpc, (), *standing)
        except RpcError as error:
            raise refused(error, f"block {standing[0].number}") from None

    def _read(self, rpc: Rpc, last: int, standing: Sequence[BlockRef]) -> None:
        silences = 0
        while self.next_block <= last:
            end = min(self.next_block + self.span - 1, last)
            try:
                logs = _page(rpc, self.filters, self.next_block, end, standing)
            except RpcError as error:
                if end == self.next_block or error.code in _FINAL:
                    raise refused(error, f"the logs of blocks {self.next_block} to {end}") from None
                self._shrink(end)
                continue
            except RpcUnavailable:
                # Some nodes cut the line instead of saying that it is too much.
                silences += 1
                if end == self.next_block or silences == _SILENCES:
                    raise
                self._shrink(end)
                continue
            silences = 0
            self.found.update(((log.block_number, log.index), log) for log in logs)
            whole_page = end - self.next_block + 1 == self.span
            self.next_block = end + 1
            if whole_page:  # The last one says nothing about what the node takes.
                self._grow()

    def _shrink(self, end: int) -> None:
        """After a refusal: to what was taken last if that is more than half, or to the half."""
        size = end - self.next_block + 1
        half = max(size // 2, 1)
        self.span = self._taken if half < self._taken < size else half
        self._refused, self._since = size, 0

    def _grow(self) -> None:
        """After a page that was taken: on towards what was refused, as long as that is worth it.

        Most limits are of blocks, and stay; those of events are others a stretch later, so what was
        refused is forgotten after some pages.
        """
        self._taken, self._since = self.span, self._since + 1
        if self._refused is None:
            self.span = min(self.span * 2, MAX_SPAN)
            return
        grown = self.span + self.span // 4 + 1
        if self._since < _REMEMBERED and self._refused > self.span:
            near = self._refused - self.span <= self.span // 16
            grown = self.span if near else min(grown, (self.span + self._refused) // 2)
        self.span = min(grown, MAX_SPAN)


def transfers_of(owner: str, addresses: Sequence[str] = ()) -> tuple[Filter, Filter]:
    """ERC-20 transfers from ``owner``, and those to it."""
    who = word(owner)
    return (
        Filter(tuple(addresses), (TRANSFER, who)),
        Filter(tuple(addresses), (TRANSFER, None, who)),
    )


def logs_of_block(
    rpc: Rpc, address: str, numbers: Sequence[int], block: BlockRef
) -> dict[int, list[Log]]:
    """Every log of one contract in each of these ancestors of ``block``, in order.

    Raises RpcError for the node's no, Reorganised where ``block`` does not stand.
    """
    wanted, asked = Filter((address,), ()), list(dict.fromkeys(numbers))
    found: dict[int, list[Log]] = {}
    for start in range(0, len(asked), _BATCH):
        chunk = asked[start : start + _BATCH]
        queries = [("eth_getLogs", (wanted.params(n, n),)) for n in chunk]
        answers = batch_on(rpc, queries, block)
        for number, answer in zip(chunk, answers, strict=True):
            logs = parse_logs(answer, (wanted,), number, number)
            found[number] = sorted(logs, key=lambda log: log.index)
    return found


def uints(log: Log, count: int) -> tuple[int, ...]:
    """The ``count`` integers that a log's data consists of; raises RpcUnavailable if not."""
    if len(log.data) != 32 * count:
        raise _nonsense(f"an event of {log.address} with {len(log.data)} bytes of data")
    words = (log.data[32 * i : 32 * i + 32] for i in range(count))
    return tuple(int.from_bytes(item, "big") for item in words)


def parse_logs(answer: Any, filters: Sequence[Filter], first: int, last: int) -> list[Log]:
    """The logs of an answer; raises RpcUnavailable for one that is not what was asked for."""
    if not isinstance(answer, list):
        raise _nonsense("no list")
    logs = [_log(raw) for raw in answer]
    for log in logs:
        if not first <= log.block_number <= last:
            raise _nonsense(f"an event of block {log.block_number}")
        if not any(wanted.fits(log) for wanted in filters):
            raise _nonsense(f"an event of {log.address} that was not asked for")
    return logs


def word(address: str) -> str:
    """An address as an indexed event argument."""
    return f"0x{int(address, 16):064x}"


def address_of(topic_word: str) -> str:
    """The address in an indexed event argument, checksummed."""
    return checksum(f"0x{int(topic_word, 16):040x}")


def _page(
    rpc: Rpc, filters: Sequence[Filter], first: int, last: int, standing: Sequence[BlockRef]
) -> list[Log]:
    queries = [("eth_getLogs", (wanted.params(first, last),)) for wanted in filters]
    answers = batch_on(rpc, queries, *standing)
    logs = [
        log
        for wanted, answer in zip(filters, answers, strict=True)
        for log in parse_logs(answer, (wanted,), first, last)
    ]
    hashes = {block.number: block.hash for block in standing}
    for log in logs:
        if hashes.setdefault(log.block_number, log.block_hash) != log.block_hash:
            raise Reorganised(
                f"the node has events of two blocks {log.block_number}",
                hint="the chain was reorganised during the read: try again",
                block=log.block_number,
            )
    return logs


def _log(raw: Any) -> Log:
    if not isinstance(raw, dict) or not isinstance(raw.get("topics"), list):
        raise _nonsense("something that is no event")
    if raw.get("removed"):
        raise ReadError(
            "the node reports an event of a block that was reorganised away",
            hint="the chain was reorganised during the read: try again",
        )
    address = raw.get("address")
    if not isinstance(address, str) or len(as_data(address, "an event's address")) != 20:
        raise _nonsense("an event without an address")
    return Log(
        address=checksum(address),
        topics=tuple(as_hash(item, "an event's topic") for item in raw["topics"]),
        data=as_data(raw.get("data"), "an event's data"),
        block_number=as_quantity(raw.get("blockNumber"), "an event's block"),
        block_hash=as_hash(raw.get("blockHash"), "an event's block hash"),
        tx_hash=as_hash(raw.get("transactionHash"), "an event's transaction"),
        index=as_quantity(raw.get("logIndex"), "an event's index"),
    )


def _nonsense(what: str) -> RpcUnavailable:
    return RpcUnavailable(
        f"the node's answer to eth_getLogs holds {what}",
        hint="the endpoint is faulty or is no Ethereum node: use another one",
    )
