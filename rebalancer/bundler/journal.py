"""What the bundler must have written down before and after it acts; the ledger implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rebalancer.model import Bundle, Plan, SignedTransaction, TransactionOutcome


class Journal(Protocol):
    """Durable, append-only memory of bundles; every method returns after the disk has it.

    A transaction is *open* from ``store_bundle`` or ``store_version`` until it is confirmed or
    dropped; saying the same thing again, after a crash, changes nothing.
    """

    def store_bundle(self, plan: Plan, bundle: Bundle) -> None:
        """Remember signed transactions before the first of them is sent.

        Raises NonceConflict when one of their nonces belongs to another plan.
        """

    def store_version(self, bundle: Bundle, replaced: str) -> None:
        """Remember, before it is sent, another version of an open transaction on the same nonce.

        ``bundle`` holds it alone, ``replaced`` is the hash of the version before it: still open.
        """

    def record_sent(self, tx_hash: str, via: str = "") -> None:
        """A node accepted the transaction (or already knew it); ``via`` says on which way."""

    def record_outcome(self, outcome: TransactionOutcome) -> None:
        """The transaction was mined, whether it succeeded or reverted."""

    def record_reorged(self, tx_hash: str, note: str) -> None:
        """The block that it was mined in is no longer of the chain."""

    def record_confirmed(self, tx_hash: str, note: str) -> None:
        """The outcome recorded last is final."""

    def record_dropped(self, tx_hash: str, reason: str) -> None:
        """The transaction can never be mined any more, or was never sent and never will be."""

    def recorded_outcome(self, tx_hash: str) -> TransactionOutcome | None:
        """How it was mined, as far as is recorded now."""

    def was_sent(self, tx_hash: str) -> bool:
        """Whether anybody was ever seen to have it."""

    def find(self, tx_hash: str) -> tuple[Plan, SignedTransaction] | None:
        """A transaction that was ever stored, and the plan it was for."""

    def open_bundles(self, chain_id: int, wallet: str) -> Sequence[tuple[Plan, Bundle]]:
        """Plans with open transactions, oldest first, and those in one bundle in order of nonce.

        Versions of one nonce stand in the order in which they were signed.
        """

    def given_up(self, chain_id: int, wallet: str) -> Sequence[tuple[Plan, SignedTransaction]]:
        """Dropped transactions whose nonce nothing recorded has used: they may be mined yet."""
