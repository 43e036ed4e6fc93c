"""One signed transaction from "stored" to its end, by looking at the chain and nothing else.

``decide`` is the whole state machine: a pure function of what the node shows. ``follow`` looks,
decides and acts until there is an end. It starts the same way for a transaction that was never
sent, one whose send got no answer, and one that another process sent before it was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rebalancer.bundler.head import Head, read_head
from rebalancer.bundler.journal import Journal
from rebalancer.errors import ExecutionError, NonceConflict, RpcUnavailable
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import SignedTransaction

#: How often in a row a node must show the same end before it is believed: behind one URL there can
#: be several nodes, and one of them may lag.
SIGHTINGS = 3

Receipt = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pace:
    """How to wait. ``clock`` and ``sleep`` are in seconds; only the chain's time ends a bundle.

    ``silence_s`` is how long the chain may show no new block before ``follow`` gives up waiting;
    the bundle stays open then.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    poll_s: float = 1.0
    silence_s: float = 180.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the node shows of a transaction; ``nonce`` is the wallet's next one.

    ``known`` when the node has the transaction, ``in_block`` when it says that a block has it.
    """

    head_timestamp: int
    nonce: int
    known: bool
    in_block: bool
    receipt: Receipt | None


class Step(Enum):
    """What to do about a transaction."""

    MINED = "record what became of it"
    WAIT = "look again later"
    SEND = "send the same bytes (again)"
    REPLACED = "another transaction used its nonce: it can never happen"
    EXPIRED = "no node has it and its deadline is past: it can do no harm any more"
    UNSENT = "given up before it was sent: the one before it did not succeed"
    STUCK = "still pending although its deadline is past: a person must free the nonce"


_ENDS = (Step.REPLACED, Step.EXPIRED, Step.STUCK)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A transaction that never happened; ``step`` is REPLACED, EXPIRED or UNSENT."""

    transaction: SignedTransaction
    step: Step
    reason: str


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


def follow(
    rpc: Rpc, journal: Journal, transaction: SignedTransaction, deadline_ts: int, pace: Pace
) -> Receipt | Dropped:
    """Bring one transaction to its end; returns its receipt, or that and why it never happened.

    Never makes a second transaction: the only thing it can send is ``transaction.raw``. Records
    nothing but that a node has accepted it. Raises NonceConflict when it is stuck, ExecutionError
    when the node refuses it, RpcUnavailable when node or chain stand still; the transaction stays
    open in all three.
    """
    watch = _Watch(pace)
    broadcast = _Broadcast(rpc, journal, transaction)
    last, times = Step.WAIT, 0
    while True:
        try:
            head = read_head(rpc)
            sighting = look_up(rpc, transaction, head)
        except (RpcUnavailable, RpcError) as error:
            watch.check(error)
        else:
            watch.saw(head, transaction)
            step = decide(sighting, transaction.nonce, deadline_ts)
            last, times = step, times + 1 if step is last else 1
            if sighting.receipt is not None:
                return sighting.receipt
            if sighting.known:
                broadcast.note()
            if step is Step.SEND:
                broadcast.send()
            elif step in _ENDS and times >= SIGHTINGS:
                return _ended(transaction, step)
        pace.sleep(pace.poll_s)


def look_up(rpc: Rpc, transaction: SignedTransaction, head: Head) -> Sighting:
    """Look at the chain for a transaction.

    The order matters: the receipt is read after the nonce and the head, so that "nonce used" or
    "deadline past" without a receipt cannot be a block that came in between.
    """
    nonce = int(rpc.call("eth_getTransactionCount", transaction.sender, "latest"), 16)
    found: Any = rpc.call("eth_getTransactionByHash", transaction.tx_hash)
    receipt: Any = rpc.call("eth_getTransactionReceipt", transaction.tx_hash)
    return Sighting(
        head_timestamp=head.timestamp,
        nonce=nonce,
        known=found is not None,
        in_block=found is not None and found.get("blockHash") is not None,
        receipt=receipt,
    )


def _ended(transaction: SignedTransaction, step: Step) -> Dropped:
    if step is Step.STUCK:
        raise NonceConflict(
            f"transaction {transaction.tx_hash} (nonce {transaction.nonce}) is still pending past"
            " its deadline",
            hint="it can only revert now: wait until it is mined, or replace it by sending 0 ETH"
            f" from the wallet to itself with nonce {transaction.nonce} and both fees at least"
            " 10 % higher, then run again",
            tx_hash=transaction.tx_hash,
        )
    if step is Step.REPLACED:
        reason = f"nonce {transaction.nonce} was used by another transaction"
    else:
        reason = "not mined before its deadline, and the node does not know it"
    return Dropped(transaction, step, reason)


class _Broadcast:
    """Sends one transaction's bytes, and remembers what the node said to it."""

    def __init__(self, rpc: Rpc, journal: Journal, transaction: SignedTransaction) -> None:
        self._rpc = rpc
        self._journal = journal
        self._transaction = transaction
        self._noted = False
        self._may_be_out = False
        self._refusals = 0

    def note(self) -> None:
        """Record, once, that a node has it."""
        if not self._noted:
            self._journal.record_sent(self._transaction.tx_hash)
        self._noted = self._may_be_out = True

    def send(self) -> None:
        """Send. Whatever the answer, the next look at the chain tells the truth.

        A lost answer may be a transaction that arrived, and a refusal ("already known", "nonce too
        low") one that arrived before. Only when it was refused time and again, and cannot be out,
        is the node's no taken for a no.
        """
        try:
            self._rpc.call("eth_sendRawTransaction", self._transaction.raw)
        except RpcUnavailable:
            self._may_be_out = True
        except RpcError as error:
            self._refusals += 1
            if self._refusals >= SIGHTINGS and not self._may_be_out:
                raise ExecutionError(
                    f"the node refuses transaction {self._transaction.tx_hash}: {error}",
                    hint="it stays open: until its deadline the next run sends the same bytes"
                    " again, afterwards it is recorded as dropped",
                    tx_hash=self._transaction.tx_hash,
                ) from None
        else:
            self.note()


class _Watch:
    """Gives up when nothing new was heard of the chain for too long."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._head = ""
        self._since = pace.clock()

    def saw(self, head: Head, transaction: SignedTransaction) -> None:
        if head.hash != self._head:
            self._head, self._since = head.hash, self._pace.clock()
        self.check(
            RpcUnavailable(
                f"the chain shows no new block; transaction {transaction.tx_hash} stays open",
                hint="run again when the node follows the chain: it is looked up first",
                tx_hash=transaction.tx_hash,
            )
        )

    def check(self, error: RpcUnavailable | RpcError) -> None:
        if self._pace.clock() - self._since > self._pace.silence_s:
            raise error
