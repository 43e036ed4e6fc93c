"""What the node shows of one nonce, and what that means: ``decide`` is a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rebalancer.bundler.head import Head
from rebalancer.evm.rpc import Rpc
from rebalancer.model import SignedTransaction

Receipt = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the node shows of the versions of one nonce; ``nonce`` is the wallet's next one.

    ``known`` when the node has one of them, ``in_block`` when it says that a block has it.
    ``mined`` is the hash of the version that ``receipt`` is of, ``seen`` are those it has.
    """

    head_timestamp: int
    nonce: int
    known: bool
    in_block: bool
    receipt: Receipt | None
    mined: str = ""
    seen: tuple[str, ...] = ()


class Step(Enum):
    """What to do about a transaction, or what became of it."""

    MINED = "record what became of it"
    WAIT = "look again later"
    SEND = "send the same bytes (again)"
    REPLACED = "another transaction used its nonce: it can never happen"
    EXPIRED = "no node has it and its deadline is past: it can do no harm any more"
    UNSENT = "given up before it was sent: the one before it did not succeed"
    STUCK = "still pending although its deadline is past: its nonce must be freed"
    CANCELLED = "its nonce was used by our cancellation, or by another version of it"
    EARLIER = "an earlier nonce of the bundle is open again"


def decide(sighting: Sighting, nonce: int, deadline_ts: int) -> Step:
    """What a sighting of the transaction with ``nonce`` means; see docs/bundler.md for the table.

    The deadline is past when a block is later than it: every block to come is later still, and the
    executor reverts in all of them.
    """
    past = sighting.head_timestamp > deadline_ts
    if sighting.receipt is not None:
        return Step.MINED
    if sighting.in_block:
        return Step.WAIT  # its receipt is on its way
    if sighting.nonce > nonce:
        return Step.REPLACED
    if sighting.known:
        return Step.STUCK if past else Step.WAIT
    if past:
        return Step.EXPIRED
    # With an earlier nonce open it could not be mined: wait for that one to come back.
    return Step.SEND if sighting.nonce == nonce else Step.WAIT


def look_up(rpc: Rpc, versions: Sequence[SignedTransaction], head: Head) -> Sighting:
    """Look at the chain for the versions of one nonce.

    The nonce is that of the head itself: another node behind the same URL cannot answer for another
    block. The order matters: the receipts are read after the nonce and the head, so that "nonce
    used" or "deadline past" without a receipt cannot be a block that came in between.
    """
    count = rpc.call("eth_getTransactionCount", versions[0].sender, head.at)
    found: dict[str, Any] = {}
    for version in versions:
        transaction: Any = rpc.call("eth_getTransactionByHash", version.tx_hash)
        if transaction is not None:
            found[version.tx_hash] = transaction
    receipt: Any = None
    mined = ""
    for version in versions:
        receipt = rpc.call("eth_getTransactionReceipt", version.tx_hash)
        if receipt is not None:
            mined = version.tx_hash
            break
    return Sighting(
        head_timestamp=head.timestamp,
        nonce=int(count, 16),
        known=bool(found),
        in_block=any(item.get("blockHash") is not None for item in found.values()),
        receipt=receipt,
        mined=mined,
        seen=tuple(found),
    )
