"""Brings a stored bundle to its end, whatever the chain does meanwhile, and records it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rebalancer.bundler.calls import CANCEL
from rebalancer.bundler.final import await_final, is_gone
from rebalancer.bundler.follow import Dropped, Mined, Step, follow
from rebalancer.bundler.head import Head
from rebalancer.bundler.lane import Desk
from rebalancer.bundler.outcome import read_outcome
from rebalancer.bundler.versions import by_nonce
from rebalancer.model import Bundle, Plan, SignedTransaction, TransactionOutcome

_NEVER_SENT = "never sent: the transaction before it did not succeed"
_USELESS = "given up: the transaction before it did not happen"


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a bundle ended: what was mined for good, and what can never be mined any more."""

    plan: Plan
    bundle: Bundle
    outcomes: tuple[TransactionOutcome, ...]
    dropped: tuple[Dropped, ...]


@dataclass(slots=True)
class _Slot:
    """One nonce: its versions, oldest first, and the outcome of the one that a block has."""

    versions: list[SignedTransaction]
    outcome: TransactionOutcome | None = None

    @property
    def newest(self) -> SignedTransaction:
        return self.versions[-1]

    @property
    def succeeded(self) -> bool:
        outcome = self.outcome
        return outcome is None or (outcome.status == 1 and outcome.purpose != CANCEL)


def settle(desk: Desk, plan: Plan, bundle: Bundle) -> Settlement:
    """Bring a stored bundle to its end and record it; stops at the first that does not succeed.

    Nonce by nonce, each when the one before it is in a block, and back again when a reorganisation
    takes one out of its block. Nothing is final before everything is; killed at any moment, the
    next run finds all that is not final in the journal and starts here again.
    """
    return _Settling(desk, plan, bundle).run()


class _Settling:
    """A bundle's nonces, from the first that is open to the last that is to be done."""

    def __init__(self, desk: Desk, plan: Plan, bundle: Bundle) -> None:
        self._desk = desk
        self._plan = plan
        self._bundle = bundle
        self._slots = [_Slot(versions) for versions in by_nonce(bundle.transactions)]
        self._dropped: list[Dropped] = []
        for slot in self._slots:
            recorded = [desk.journal.recorded_outcome(tx.tx_hash) for tx in slot.versions]
            slot.outcome = next((outcome for outcome in recorded if outcome is not None), None)

    def run(self) -> Settlement:
        while True:
            self._cut_after_failure()
            index = next((i for i, slot in enumerate(self._slots) if slot.outcome is None), None)
            if index is None:
                end = self._await_end()
                if end is None:
                    continue
                return self._finish(end)
            self._follow(index)
            if not self._slots:
                return self._settlement(())

    def _follow(self, index: int) -> None:
        """Bring the first nonce that no block has to an end, or find an earlier one open again."""
        slot = self._slots[index]
        rest = [later.newest for later in self._slots[index + 1 :]]
        ending = follow(self._desk, self._plan, self._bundle, slot.versions, rest, first=index == 0)
        if isinstance(ending, Mined):
            slot.outcome = read_outcome(
                self._desk.rpc, self._plan, ending.transaction, ending.receipt
            )
            self._desk.journal.record_outcome(slot.outcome)
        elif isinstance(ending, Dropped):
            self._record_other(ending)
            self._drop_from(index, ending)
        else:
            self._look_back(self._slots[:index])

    def _look_back(self, earlier: Sequence[_Slot]) -> None:
        for slot in earlier:
            if slot.outcome is not None and is_gone(self._desk, slot.outcome):
                self._reorged(slot)

    def _await_end(self) -> Head | None:
        """The head at which everything is final; None when a reorganisation reopened something."""
        outcomes = [slot.outcome for slot in self._slots if slot.outcome is not None]
        end = await_final(self._desk, outcomes)
        if isinstance(end, Head):
            return end
        for slot in self._slots:
            if slot.outcome is not None and slot.outcome.tx_hash in end:
                self._reorged(slot)
        return None

    def _reorged(self, slot: _Slot) -> None:
        if slot.outcome is None:
            return
        number, block_hash = slot.outcome.block_number, slot.outcome.block_hash
        note = f"block {number} ({block_hash}) no longer holds it"
        self._desk.journal.record_reorged(slot.outcome.tx_hash, note)
        slot.outcome = None

    def _cut_after_failure(self) -> None:
        """After one that failed, drop what was never sent; what was sent is seen to its end."""
        failed = next((i for i, slot in enumerate(self._slots) if not slot.succeeded), None)
        if failed is None:
            return
        while len(self._slots) > failed + 1 and not self._was_sent(self._slots[-1]):
            slot = self._slots.pop()
            for version in reversed(slot.versions):
                self._drop(Dropped(version, Step.UNSENT, _NEVER_SENT))

    def _was_sent(self, slot: _Slot) -> bool:
        return any(self._desk.journal.was_sent(version.tx_hash) for version in slot.versions)

    def _drop_from(self, index: int, ending: Dropped) -> None:
        """Record the end of a nonce; what comes after it first, last one first.

        Killed in between, the next run must not find an execution without its approval.
        """
        for later in reversed(self._slots[index + 1 :]):
            reason = _USELESS if self._was_sent(later) else _NEVER_SENT
            for version in reversed(later.versions):
                self._drop(Dropped(version, Step.UNSENT, reason))
        for version in self._slots[index].versions:
            self._drop(Dropped(version, ending.step, ending.reason, ending.by))
        del self._slots[index:]

    def _finish(self, end: Head) -> Settlement:
        """Nothing changes any more: drop the versions that were not mined, confirm the others."""
        journal = self._desk.journal
        outcomes = [slot.outcome for slot in self._slots if slot.outcome is not None]
        for slot, outcome in zip(self._slots, outcomes, strict=True):
            for version in slot.versions:
                if version.tx_hash != outcome.tx_hash:
                    reason = f"nonce {version.nonce} was used by {outcome.tx_hash}, ours too"
                    self._drop(Dropped(version, Step.CANCELLED, reason, outcome.tx_hash))
            depth = end.number - outcome.block_number + 1
            journal.record_confirmed(outcome.tx_hash, f"{depth} deep at block {end.number}")
        return self._settlement(tuple(outcomes))

    def _settlement(self, outcomes: tuple[TransactionOutcome, ...]) -> Settlement:
        dropped = sorted(self._dropped, key=lambda item: item.transaction.nonce)
        return Settlement(self._plan, self._bundle, outcomes, tuple(dropped))

    def _drop(self, dropped: Dropped) -> None:
        self._desk.journal.record_dropped(dropped.transaction.tx_hash, dropped.reason)
        self._dropped.append(dropped)

    def _record_other(self, ending: Dropped) -> None:
        """What used the nonce may be one of ours that was given up long ago, and mined late."""
        journal = self._desk.journal
        found = None if ending.by is None else journal.find(ending.by)
        if found is None:
            return
        plan, transaction = found
        receipt = self._desk.rpc.call("eth_getTransactionReceipt", transaction.tx_hash)
        if receipt is not None and journal.recorded_outcome(transaction.tx_hash) is None:
            journal.record_outcome(read_outcome(self._desk.rpc, plan, transaction, receipt))
            journal.record_confirmed(transaction.tx_hash, "mined after it had been given up")
