"""The chain some time ago: which block it was, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rebalancer.errors import ReadError, RpcUnavailable
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import BlockRef
from rebalancer.readers.call import Call, Result
from rebalancer.readers.chain import Reorganised, batch_on, parse_header
from rebalancer.readers.multicall import multicall
from rebalancer.readers.wire import refused

#: Where the search begins: the time between two blocks of Ethereum. Other chains are found too.
_SPACING_S = 12
_PROBES = 8
_MAX_ROUNDS = 40


@dataclass(frozen=True, slots=True)
class Past:
    """The youngest block at least a window before the one that is read, and its answers.

    With a ``fault`` there is none, and it says why.
    """

    block: BlockRef | None
    answers: Mapping[Call, Result]
    fault: str = ""


def read_past(
    rpc: Rpc, multicall3: str, at: BlockRef, wanted: Mapping[int, Iterable[Call]]
) -> dict[int, Past]:
    """The past of every window in seconds with the answers of its calls.

    Two requests for each window where blocks come every 12 s. A chain that is too young and a node
    that keeps no state that old are a ``fault``, silence is RpcUnavailable; Reorganised where
    ``at`` is not part of the chain.
    """
    return {window: _past(rpc, multicall3, at, window, tuple(wanted[window])) for window in wanted}


def find_block(rpc: Rpc, at: BlockRef, target_ts: int) -> BlockRef | None:
    """The youngest ancestor of ``at`` that is not younger than ``target_ts``; None if none is.

    The answer does not depend on the way it is found: the same chain gives the same block.
    """
    if target_ts >= at.timestamp:
        return at
    low: BlockRef | None = None
    high, floor = at, 0
    for _ in range(_MAX_ROUNDS):
        if (low is not None and low.number + 1 == high.number) or high.number <= floor:
            return low
        for number, header in _headers(rpc, at, _probes(at, low, high, floor, target_ts)):
            if header is None:  # A node that begins at a later block.
                floor = max(floor, number + 1)
                continue
            block = parse_header(header, at.chain_id)
            if block.timestamp <= target_ts:
                low = block if low is None or block.number > low.number else low
            elif block.number < high.number:
                high = block
    raise RpcUnavailable(
        f"the block of {target_ts} is not found: the times of the node's blocks do not ascend",
        hint="the endpoint is faulty: use another one",
    )


def _past(rpc: Rpc, multicall3: str, at: BlockRef, window: int, calls: tuple[Call, ...]) -> Past:
    try:
        block = find_block(rpc, at, at.timestamp - window)
        if block is None:
            return Past(None, {}, f"the chain has no block from {window} s before")
        results = multicall(rpc, multicall3, calls, block.hash)
    except (RpcUnavailable, Reorganised):
        raise
    except ReadError as error:
        return Past(None, {}, str(error))
    return Past(block, {result.call: result for result in results})


def _probes(
    at: BlockRef, low: BlockRef | None, high: BlockRef, floor: int, target_ts: int
) -> Sequence[int]:
    """Numbers to look at next, all below ``high`` and from the lower end on.

    First the numbers where the block should be; then, until a block is old enough, ever further
    back; then evenly between the two ends.
    """
    if low is not None:
        gap = high.number - low.number
        return sorted({low.number + max(1, gap * i // (_PROBES + 1)) for i in range(1, 9)})
    ahead = high.timestamp - target_ts
    if high is at:
        first = max(at.number - -(-ahead // _SPACING_S), floor)
        return range(first, min(first + _PROBES, at.number))
    spacing_ms = max(1, (at.timestamp - high.timestamp) * 1000 // (at.number - high.number))
    back = max(1, ahead * 1000 // spacing_ms)
    return sorted({max(high.number - back * 2**i // 2 - 1, floor) for i in range(_PROBES)})


def _headers(rpc: Rpc, at: BlockRef, numbers: Sequence[int]) -> list[tuple[int, object]]:
    """The headers with these numbers of the chain of ``at``."""
    try:
        calls = [("eth_getBlockByNumber", (hex(n), False)) for n in numbers]
        answers = batch_on(rpc, calls, at)
    except RpcError as error:
        raise refused(error, f"block {numbers[0]}") from error
    return list(zip(numbers, answers, strict=True))
