"""The way that signed transactions take: who sends, who may sign again, when it is final."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rebalancer.bundler.head import Head
from rebalancer.bundler.journal import Journal
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.signer import Signer
from rebalancer.errors import RpcUnavailable
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import SignedTransaction


class Submitter(Protocol):
    """Where signed transactions go. It may be asked again, for the same bytes, at every look."""

    @property
    def name(self) -> str:
        """For the records: ``public``, ``private``, ``flashbots``."""

    @property
    def replaceable(self) -> bool:
        """Whether what was sent lies in a pool, where another version can take its place."""

    @property
    def together(self) -> bool:
        """Whether all that is left of a bundle is offered at once, to be included as a whole."""

    def send(self, transactions: Sequence[SignedTransaction], head: Head) -> bool:
        """Offer transactions in nonce order; ``head`` is the newest block.

        Returns whether it was accepted now; False says that there was nothing to do. Raises
        RpcError when it was refused, RpcUnavailable when that is not known.
        """


@dataclass(frozen=True, slots=True)
class PublicSubmitter:
    """Sends to several nodes at once: one that has it is enough, and one that fails no harm."""

    nodes: tuple[Rpc, ...]
    name: str = "public"
    replaceable: bool = True
    together: bool = False

    def send(self, transactions: Sequence[SignedTransaction], head: Head) -> bool:
        for transaction in transactions:
            self._send(transaction)
        return True

    def _send(self, transaction: SignedTransaction) -> None:
        """Every node gets it; raises only if none took it, and then what leaves most open."""
        silence: RpcUnavailable | None = None
        refusal: RpcError | None = None
        taken = False
        for node in self.nodes:
            try:
                node.call("eth_sendRawTransaction", transaction.raw)
                taken = True
            except RpcUnavailable as error:
                silence = error
            except RpcError as error:
                refusal = error
        failure = silence or refusal
        if not taken and failure is not None:
            raise failure


@dataclass(frozen=True, slots=True)
class Lane:
    """How a bundle travels.

    ``submitter`` None sends through the node that is read from. Without a ``signer`` nothing is
    replaced or cancelled. An outcome is final ``confirmations`` blocks deep (1: in the newest
    block). After ``replace_after`` blocks without inclusion the fees are raised; 0 never does.
    ``guard`` raises when nothing may be signed or sent any more; it is asked before each.
    """

    submitter: Submitter | None = None
    signer: Signer | None = None
    confirmations: int = 1
    replace_after: int = 3
    guard: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that bringing a bundle to its end needs."""

    rpc: Rpc
    journal: Journal
    pace: Pace
    lane: Lane

    @property
    def submitter(self) -> Submitter:
        return self.lane.submitter or PublicSubmitter((self.rpc,))
