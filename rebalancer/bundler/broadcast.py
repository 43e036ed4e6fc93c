"""Sends the bytes of one nonce, and remembers what the nodes said to it."""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.bundler.head import Head
from rebalancer.bundler.lane import Desk
from rebalancer.errors import ExecutionError, RpcUnavailable
from rebalancer.evm.rpc import RpcError
from rebalancer.model import SignedTransaction

#: How often in a row a node must show the same end before it is believed: behind one URL there can
#: be several nodes, and one of them may lag.
SIGHTINGS = 3
#: Who is meant by "the node" in a message, by the way that transactions take.
_RECIPIENTS = {"private": "the private endpoint", "flashbots": "the relay"}


class Broadcast:
    """What was sent of one nonce; ``rest`` is what follows it in its bundle."""

    def __init__(self, desk: Desk, rest: Sequence[SignedTransaction]) -> None:
        self._desk = desk
        self._rest = tuple(rest) if desk.submitter.together else ()
        self._noted: set[str] = set()
        self._offered: set[str] = set()
        self._may_be_out = False
        self._refusals = 0
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """What the last send met, in words; empty when it was taken."""
        return self._trouble

    @property
    def out(self) -> bool:
        """Whether one of the versions may lie in somebody's pool."""
        return self._may_be_out

    def note(self, transaction: SignedTransaction) -> None:
        """Record, once, that a node has it."""
        if transaction.tx_hash not in self._noted:
            self._desk.journal.record_sent(transaction.tx_hash, self._desk.submitter.name)
        self._noted.add(transaction.tx_hash)
        self._may_be_out = True

    def offer_once(self, transaction: SignedTransaction, head: Head) -> None:
        """Send a version that the node does not show, unless this was tried before."""
        if transaction.tx_hash not in self._offered:
            self.send(transaction, head)

    def send(self, transaction: SignedTransaction, head: Head) -> None:
        """Send. Whatever the answer, the next look at the chain tells the truth.

        A lost answer may be a transaction that arrived, and a refusal ("already known", "nonce too
        low") one that arrived before. Only when it was refused time and again, and cannot be out,
        is the node's no taken for a no.
        """
        self._desk.lane.guard()
        self._offered.add(transaction.tx_hash)
        try:
            accepted = self._desk.submitter.send((transaction, *self._rest), head)
        except RpcUnavailable as error:
            self._may_be_out = True
            self._trouble = str(error)
        except RpcError as error:
            self._refusals += 1
            self._trouble = f"{self._recipient} refused it: {error}"
            if self._refusals >= SIGHTINGS and not self._may_be_out:
                raise ExecutionError(
                    f"{self._recipient} refuses transaction {transaction.tx_hash}: {error}",
                    hint="it stays open: until its deadline the next run sends the same bytes"
                    " again, afterwards it is recorded as dropped",
                    tx_hash=transaction.tx_hash,
                ) from None
        else:
            self._trouble = ""
            if accepted:
                for sent in (transaction, *self._rest):
                    self.note(sent)

    @property
    def _recipient(self) -> str:
        return _RECIPIENTS.get(self._desk.submitter.name, "the node")
