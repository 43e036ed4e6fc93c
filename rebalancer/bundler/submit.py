"""Stored, sent, awaited, recorded: signed bundles on their way into the chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rebalancer.bundler.calls import EXECUTE
from rebalancer.bundler.follow import Dropped, Pace, Step, follow
from rebalancer.bundler.journal import Journal
from rebalancer.bundler.outcome import read_outcome, revert_reason
from rebalancer.errors import ExecutionError, NonceConflict, TransactionReverted
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Bundle, Plan, SignedTransaction, TransactionOutcome, digest

_NEVER_SENT = "never sent: the transaction before it did not succeed"


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a bundle ended: what was mined, and what can never be mined any more."""

    plan: Plan
    bundle: Bundle
    outcomes: tuple[TransactionOutcome, ...]
    dropped: tuple[Dropped, ...]


def submit(
    rpc: Rpc, journal: Journal, plan: Plan, bundle: Bundle, pace: Pace
) -> tuple[TransactionOutcome, ...]:
    """Store a bundle, then send and await its transactions in nonce order, each after the other.

    Returns one outcome per transaction; all of them succeeded. Raises, after everything was
    recorded, TransactionReverted, NonceConflict (another transaction took the nonce) and
    ExecutionError (not mined in time; mined, but with other swaps than the plan's); and what
    ``follow`` raises while the bundle stays open, for ``recover`` to settle. Refuses with
    NonceConflict, storing nothing, while an earlier bundle of the wallet is open.
    """
    if bundle.plan_id != digest(plan):
        raise ValueError("the bundle was signed for another plan")
    if journal.open_bundles(bundle.chain_id, bundle.wallet):
        raise NonceConflict(
            f"an earlier bundle of {bundle.wallet} is still open",
            hint="it must be settled first: run again, every run starts with that",
            plan_id=bundle.plan_id,
        )
    journal.store_bundle(plan, bundle)
    settlement = settle(rpc, journal, plan, bundle, pace)
    for dropped in settlement.dropped:
        raise_dropped(dropped, bundle)
    for outcome in settlement.outcomes:
        check_outcome(rpc, outcome, bundle)
    return settlement.outcomes


def settle(rpc: Rpc, journal: Journal, plan: Plan, bundle: Bundle, pace: Pace) -> Settlement:
    """Bring a stored bundle to its end and record it; stops at the first that does not succeed.

    What can be sent of a bundle is at all times its first open transaction. Those after one that
    fails are therefore recorded as dropped before that one is: killed in between, the next run
    must not find them alone.
    """
    outcomes: list[TransactionOutcome] = []
    for index, transaction in enumerate(bundle.transactions):
        rest = bundle.transactions[index + 1 :]
        ending = follow(rpc, journal, transaction, bundle.deadline_ts, pace)
        if isinstance(ending, Dropped):
            never_sent = _drop_unsent(journal, rest)
            journal.record_dropped(transaction.tx_hash, ending.reason)
            return Settlement(plan, bundle, tuple(outcomes), (ending, *never_sent))
        outcome = read_outcome(rpc, plan, transaction, ending)
        outcomes.append(outcome)
        if outcome.status != 1:
            never_sent = _drop_unsent(journal, rest)
            journal.record_outcome(outcome)
            return Settlement(plan, bundle, tuple(outcomes), never_sent)
        journal.record_outcome(outcome)
    return Settlement(plan, bundle, tuple(outcomes), ())


def check_outcome(rpc: Rpc, outcome: TransactionOutcome, bundle: Bundle) -> None:
    """Raise unless a recorded transaction did what it was sent for."""
    if outcome.status != 1:
        reason = revert_reason(rpc, outcome.tx_hash)
        raise TransactionReverted(
            f"the {outcome.purpose} transaction {outcome.tx_hash} was mined in block"
            f" {outcome.block_number} and reverted" + (f": {reason}" if reason else ""),
            hint="only its gas was paid; look at the reason, then plan again",
            block=outcome.block_number,
            tx_hash=outcome.tx_hash,
            plan_id=bundle.plan_id,
        )
    if outcome.purpose == EXECUTE and not outcome.fills:
        raise ExecutionError(
            f"transaction {outcome.tx_hash} was mined, but its logs are not the plan's swaps",
            hint="look at the transaction before going on; the ledger holds it without fills",
            block=outcome.block_number,
            tx_hash=outcome.tx_hash,
            plan_id=bundle.plan_id,
        )


def raise_dropped(dropped: Dropped, bundle: Bundle) -> None:
    """Say why a bundle ended without being mined; nothing for those that were never sent."""
    tx_hash = dropped.transaction.tx_hash
    message = f"the {dropped.transaction.purpose} transaction {tx_hash} did not happen"
    if dropped.step is Step.REPLACED:
        raise NonceConflict(
            f"{message}: {dropped.reason}",
            hint="something else uses this wallet's key; stop it, then plan again",
            tx_hash=tx_hash,
            plan_id=bundle.plan_id,
        )
    if dropped.step is Step.EXPIRED:
        raise ExecutionError(
            f"{message}: {dropped.reason}",
            hint="nothing was traded; plan again, with a longer deadline or higher fees",
            tx_hash=tx_hash,
            plan_id=bundle.plan_id,
        )


def _drop_unsent(
    journal: Journal, transactions: Sequence[SignedTransaction]
) -> tuple[Dropped, ...]:
    """Record, last first, that the rest of a bundle will never be sent."""
    for transaction in reversed(transactions):
        journal.record_dropped(transaction.tx_hash, _NEVER_SENT)
    return tuple(Dropped(tx, Step.UNSENT, _NEVER_SENT) for tx in transactions)
