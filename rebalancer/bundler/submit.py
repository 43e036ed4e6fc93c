"""Stored, sent, awaited, recorded: signed bundles on their way into the chain."""

from __future__ import annotations

from rebalancer.bundler.calls import CANCEL, EXECUTE
from rebalancer.bundler.follow import Dropped, Pace, Step
from rebalancer.bundler.journal import Journal
from rebalancer.bundler.lane import Desk, Lane
from rebalancer.bundler.outcome import revert_reason
from rebalancer.bundler.settle import Settlement, settle
from rebalancer.errors import ExecutionError, NonceConflict, TransactionReverted
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Bundle, Plan, TransactionOutcome, digest

__all__ = ["Settlement", "check_outcome", "raise_dropped", "submit"]


def submit(
    rpc: Rpc, journal: Journal, plan: Plan, bundle: Bundle, pace: Pace, lane: Lane | None = None
) -> tuple[TransactionOutcome, ...]:
    """Store a bundle, then send and await its transactions until they are final.

    Returns one outcome per transaction of the bundle; all of them succeeded. Raises, after
    everything was recorded, TransactionReverted, NonceConflict (another transaction took the nonce)
    and ExecutionError (not mined in time, or cancelled; mined, but with other steps than the
    plan's); and what ``follow`` raises while the bundle stays open, for ``recover`` to settle.
    Refuses with NonceConflict, storing nothing, while an earlier bundle of the wallet is open.
    """
    if bundle.plan_id != digest(plan):
        raise ValueError("the bundle was signed for another plan")
    if journal.open_bundles(bundle.chain_id, bundle.wallet):
        raise NonceConflict(
            f"an earlier bundle of {bundle.wallet} is still open",
            hint="it must be settled first: run again, every run starts with that",
            plan_id=bundle.plan_id,
        )
    desk = Desk(rpc, journal, pace, lane or Lane())
    desk.lane.guard()
    journal.store_bundle(plan, bundle)
    settlement = settle(desk, plan, bundle)
    for outcome in settlement.outcomes:
        check_outcome(rpc, outcome, bundle)
    for dropped in settlement.dropped:
        raise_dropped(dropped, bundle)
    for outcome in settlement.outcomes:
        if outcome.purpose == CANCEL:
            raise _cancelled(outcome, bundle)
    return settlement.outcomes


def check_outcome(rpc: Rpc, outcome: TransactionOutcome, bundle: Bundle) -> None:
    """Raise unless a recorded transaction did what it was sent for."""
    if outcome.purpose == CANCEL:
        return  # used up its nonce, which is all that it was for
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
            f"transaction {outcome.tx_hash} was mined, but its logs are not the plan's steps",
            hint="look at the transaction before going on; the ledger holds it without fills",
            block=outcome.block_number,
            tx_hash=outcome.tx_hash,
            plan_id=bundle.plan_id,
        )


def raise_dropped(dropped: Dropped, bundle: Bundle) -> None:
    """Say why a bundle ended without being mined.

    Nothing for those that were never sent, nor for a version whose nonce another version used.
    """
    transaction = dropped.transaction
    message = f"the {transaction.purpose} transaction {transaction.tx_hash} did not happen"
    if dropped.step is Step.REPLACED:
        raise NonceConflict(
            f"{message}: {dropped.reason}",
            hint="something else uses this wallet's key; stop it, then plan again",
            tx_hash=transaction.tx_hash,
            plan_id=bundle.plan_id,
        )
    if dropped.step is Step.EXPIRED:
        raise ExecutionError(
            f"{message}: {dropped.reason}",
            hint="nothing was traded; plan again, with a longer deadline or higher fees",
            tx_hash=transaction.tx_hash,
            plan_id=bundle.plan_id,
        )


def _cancelled(outcome: TransactionOutcome, bundle: Bundle) -> ExecutionError:
    return ExecutionError(
        f"nonce of plan {bundle.plan_id[:12]} was freed by the cancellation {outcome.tx_hash}:"
        " the plan was not mined in time",
        hint="nothing was traded; plan again, with a longer deadline or higher fees",
        block=outcome.block_number,
        tx_hash=outcome.tx_hash,
        plan_id=bundle.plan_id,
    )
