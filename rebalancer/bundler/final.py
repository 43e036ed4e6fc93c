"""When a mined transaction is final, and when it is not mined after all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rebalancer.bundler.broadcast import SIGHTINGS
from rebalancer.bundler.head import Head, read_head
from rebalancer.bundler.lane import Desk
from rebalancer.bundler.pace import Watch
from rebalancer.errors import RpcUnavailable
from rebalancer.evm.rpc import RpcError
from rebalancer.model import TransactionOutcome


def await_final(desk: Desk, outcomes: Sequence[TransactionOutcome]) -> Head | tuple[str, ...]:
    """Wait until all outcomes are as deep as the lane asks, or one of them is gone.

    Returns the head at which they are final, or the hashes of those that a reorganisation took: no
    longer in a block, which the node must show several times in a row, or in another one. Raises
    RpcUnavailable when node or chain stand still, Stopped when the process is to end.
    """
    watch = Watch(desk.pace, outcomes[-1].tx_hash)
    missed = dict.fromkeys((outcome.tx_hash for outcome in outcomes), 0)
    deepest = max(outcome.block_number for outcome in outcomes)
    while True:
        try:
            head = read_head(desk.rpc)
            watch.saw(head)
            moved = [o.tx_hash for o in outcomes if _is_gone(desk, o, missed)]
            if moved:
                return tuple(moved)
            settled = not any(missed.values())
            if settled and head.number - deepest + 1 >= desk.lane.confirmations:
                return head
        except (RpcUnavailable, RpcError) as error:
            watch.failed(error)
        watch.rest()


def is_gone(desk: Desk, outcome: TransactionOutcome) -> bool:
    """Whether the node shows a recorded outcome no longer, or in another block."""
    receipt: Any = desk.rpc.call("eth_getTransactionReceipt", outcome.tx_hash)
    return receipt is None or receipt["blockHash"] != outcome.block_hash


def _is_gone(desk: Desk, outcome: TransactionOutcome, missed: dict[str, int]) -> bool:
    receipt: Any = desk.rpc.call("eth_getTransactionReceipt", outcome.tx_hash)
    if receipt is None:
        missed[outcome.tx_hash] += 1
        return missed[outcome.tx_hash] >= SIGHTINGS
    missed[outcome.tx_hash] = 0
    return bool(receipt["blockHash"] != outcome.block_hash)
