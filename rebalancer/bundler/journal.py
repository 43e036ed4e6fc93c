"""What the bundler must have written down before and after it acts; the ledger implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rebalancer.model import Bundle, Plan, TransactionOutcome


class Journal(Protocol):
    """Durable, append-only memory of bundles; every method returns after the disk has it.

    A transaction is *open* from ``store_bundle`` until an outcome or a drop is recorded for it.
    """

    def store_bundle(self, plan: Plan, bundle: Bundle) -> None:
        """Remember signed transactions before the first of them is sent."""

    def record_sent(self, tx_hash: str) -> None:
        """A node accepted the transaction (or already knew it); may be said again after a crash."""

    def record_outcome(self, outcome: TransactionOutcome) -> None:
        """The transaction was mined, whether it succeeded or reverted."""

    def record_dropped(self, tx_hash: str, reason: str) -> None:
        """The transaction can never be mined any more, or was never sent and never will be."""

    def open_bundles(self, chain_id: int, wallet: str) -> Sequence[tuple[Plan, Bundle]]:
        """Bundles that hold an open transaction, oldest first; only those transactions in them."""
