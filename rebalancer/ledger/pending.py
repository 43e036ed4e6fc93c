"""Where transactions stand: what is open, how it was mined, what was the last to succeed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, select

from rebalancer.ledger import log
from rebalancer.ledger.schema import OPEN_KINDS, decisions, events, submissions
from rebalancer.model import Bundle, Plan, SignedTransaction, TransactionOutcome


def open_bundles(connection: Connection, chain_id: int, wallet: str) -> list[tuple[Plan, Bundle]]:
    """Plans with a transaction that is not final, oldest first, and those transactions.

    One bundle per plan: in order of nonce, the versions of one nonce in the order in which they
    were signed.
    """
    statement = (
        select(submissions.c.plan_id, submissions.c.bundle_id, submissions.c.tx_hash)
        .join(events, events.c.subject == submissions.c.tx_hash)
        .where(
            submissions.c.chain_id == chain_id,
            func.lower(submissions.c.wallet) == wallet.lower(),
            submissions.c.event.in_(log.latest_submissions()),
            events.c.seq.in_(log.latest_transaction_events()),
            events.c.kind.in_(OPEN_KINDS)
            | ((events.c.kind == "mined") & submissions.c.tx_hash.not_in(log.confirmed())),
        )
        .order_by(submissions.c.event)
    )
    found: dict[str, Bundle] = {}
    for plan_id, bundle_id, tx_hash in connection.execute(statement):
        bundle = log.get(connection, Bundle, bundle_id)
        before = found[plan_id].transactions if plan_id in found else ()
        found[plan_id] = replace(bundle, transactions=(*before, _named(bundle, tx_hash)))
    return [
        (log.get(connection, Plan, plan_id), _by_nonce(bundle)) for plan_id, bundle in found.items()
    ]


def given_up(
    connection: Connection, chain_id: int, wallet: str
) -> list[tuple[Plan, SignedTransaction]]:
    """Dropped transactions whose nonce nothing that is mined has used, in the order of storing."""
    columns = submissions.c
    by_kind = (
        select(columns.tx_hash, columns.plan_id, columns.bundle_id, columns.nonce)
        .join(events, events.c.subject == columns.tx_hash)
        .where(
            columns.chain_id == chain_id,
            columns.event.in_(log.latest_submissions()),
            events.c.seq.in_(log.latest_transaction_events()),
        )
        .order_by(columns.event)
    )
    dropped = connection.execute(
        by_kind.where(events.c.kind == "dropped", func.lower(columns.wallet) == wallet.lower())
    ).all()
    nonces = {row.nonce for row in dropped}
    mined = connection.execute(
        by_kind.where(events.c.kind == "mined", columns.nonce.in_(nonces))
    ).all()
    used = {(_transaction(connection, row).sender.lower(), row.nonce) for row in mined}
    found = []
    for row in dropped:
        transaction = _transaction(connection, row)
        if (transaction.sender.lower(), row.nonce) not in used:
            found.append((log.get(connection, Plan, row.plan_id), transaction))
    return found


def outcome_of(connection: Connection, tx_hash: str) -> TransactionOutcome | None:
    """How a transaction was mined, as far as the ledger knows now."""
    last = log.last_event(connection, tx_hash)
    if last is None or last.kind != "mined" or last.body is None:
        return None
    return log.get(connection, TransactionOutcome, last.body)


def find(connection: Connection, tx_hash: str) -> tuple[Plan, SignedTransaction] | None:
    """A transaction that was ever stored, and the plan that it was stored for last."""
    bundle_id = log.bundle_of(connection, tx_hash)
    if bundle_id is None:
        return None
    bundle = log.get(connection, Bundle, bundle_id)
    return log.get(connection, Plan, bundle.plan_id), _named(bundle, tx_hash)


def last_rebalance_ts(
    connection: Connection, portfolio: str, up_to_block: int | None = None
) -> int | None:
    """Timestamp of the block on which the newest executed plan was decided, or None.

    With ``up_to_block`` the newest that was executed by the end of that block.
    """
    executed = log.executed(portfolio, up_to_block)
    statement = select(func.max(decisions.c.block_ts)).where(decisions.c.event.in_(executed))
    return connection.execute(statement).scalar_one()


def _transaction(connection: Connection, row: Any) -> SignedTransaction:
    return _named(log.get(connection, Bundle, row.bundle_id), row.tx_hash)


def _named(bundle: Bundle, tx_hash: str) -> SignedTransaction:
    (found,) = (tx for tx in bundle.transactions if tx.tx_hash == tx_hash)
    return found


def _by_nonce(bundle: Bundle) -> Bundle:
    """Sorted by nonce; the sort is stable, so that versions stay in the order they were signed."""
    return replace(bundle, transactions=tuple(sorted(bundle.transactions, key=lambda tx: tx.nonce)))
