"""What the ledger refuses to record, because it would break the trail or send twice."""

from __future__ import annotations

from sqlalchemy import Connection, select

from rebalancer.errors import LedgerError, NonceConflict
from rebalancer.ledger import log
from rebalancer.ledger.schema import OPEN_KINDS, decisions, events, submissions
from rebalancer.model import (
    Bundle,
    Decision,
    Rebalance,
    SignedTransaction,
    Snapshot,
    Valuation,
    digest,
)


def check_lineage(snapshot: Snapshot, valuation: Valuation, decision: Decision) -> None:
    """Raise LedgerError unless each object names the one before it, and all name one block."""
    block = (snapshot.block.number, snapshot.block.hash)
    links = [
        ("valuation", valuation.parent == digest(snapshot)),
        ("valuation's block", (valuation.block_number, valuation.block_hash) == block),
        ("decision", decision.parent == digest(valuation)),
        ("decision's block", (decision.block_number, decision.block_hash) == block),
    ]
    if isinstance(decision, Rebalance):
        plan = decision.plan
        links += [
            ("plan", plan.parent == decision.parent),
            ("plan's block", (plan.block_number, plan.block_hash) == block),
            ("plan's chain", plan.chain_id == snapshot.block.chain_id),
            ("plan's wallet", plan.wallet == snapshot.wallet),
        ]
    for name, holds in links:
        if not holds:
            raise LedgerError(
                f"the {name} is not of the snapshot that it is recorded with",
                block=snapshot.block.number,
            )


def is_decided(connection: Connection, plan_id: str) -> bool:
    """Whether a recorded decision says to execute this plan."""
    statement = select(decisions.c.event).where(
        decisions.c.plan_id == plan_id, decisions.c.mode == "execute"
    )
    return connection.execute(statement.limit(1)).one_or_none() is not None


def is_open_for(connection: Connection, tx_hash: str, plan_id: str) -> bool:
    """Whether the transaction is open for this plan; raises LedgerError when it must not be."""
    last = log.last_event(connection, tx_hash)
    if last is None or last.kind == "dropped":
        return False
    if last.kind == "mined":
        raise LedgerError(
            f"transaction {tx_hash[:12]} is mined: it cannot be stored to be sent",
            hint="plan again on the newest block",
            tx_hash=tx_hash,
            plan_id=plan_id,
        )
    statement = (
        select(submissions.c.plan_id)
        .where(submissions.c.tx_hash == tx_hash)
        .order_by(submissions.c.event.desc())
        .limit(1)
    )
    if connection.execute(statement).scalar_one() != plan_id:
        raise LedgerError(
            f"transaction {tx_hash[:12]} is still open for another plan",
            hint="settle the open transactions first",
            tx_hash=tx_hash,
            plan_id=plan_id,
        )
    return True


def check_nonce(connection: Connection, bundle: Bundle, transaction: SignedTransaction) -> None:
    """Raise NonceConflict when another plan's transaction of the same sender has this nonce.

    Mined or still open; the sender is the wallet itself, unless that is a Safe. The lease keeps a
    second process of this machine out; this keeps out one that shares nothing but the ledger.
    """
    statement = (
        select(submissions.c.plan_id, submissions.c.bundle_id, submissions.c.position)
        .join(events, events.c.subject == submissions.c.tx_hash)
        .where(
            submissions.c.chain_id == bundle.chain_id,
            submissions.c.nonce == transaction.nonce,
            submissions.c.plan_id != bundle.plan_id,
            submissions.c.event.in_(log.latest_submissions()),
            events.c.seq.in_(log.latest_transaction_events()),
            events.c.kind.in_((*OPEN_KINDS, "mined")),
        )
    )
    for other, bundle_id, position in connection.execute(statement).all():
        stored = log.get(connection, Bundle, bundle_id).transactions[position]
        if stored.sender.lower() == transaction.sender.lower():
            raise NonceConflict(
                f"nonce {transaction.nonce} of {transaction.sender} belongs to plan"
                f" {other[:12]} already",
                hint="run again: every run settles what is open first, and reads the nonce anew",
                tx_hash=transaction.tx_hash,
                plan_id=bundle.plan_id,
            )


def check_version(connection: Connection, bundle: Bundle, replaced: str) -> None:
    """Raise LedgerError unless ``bundle`` is one transaction on the nonce of an open one."""
    (version,) = bundle.transactions
    statement = select(submissions.c.nonce, submissions.c.plan_id).where(
        submissions.c.tx_hash == replaced,
        submissions.c.event.in_(log.latest_submissions()),
    )
    row = connection.execute(statement).one_or_none()
    last = log.last_event(connection, replaced)
    is_open = last is not None and last.kind in OPEN_KINDS
    if row is None or tuple(row) != (version.nonce, bundle.plan_id) or not is_open:
        raise LedgerError(
            f"transaction {version.tx_hash[:12]} replaces nothing that is open on its nonce",
            tx_hash=version.tx_hash,
            plan_id=bundle.plan_id,
        )
