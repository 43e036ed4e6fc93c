"""The log itself: put an object, append an event, find the last word on a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, func, select

from rebalancer.errors import LedgerError
from rebalancer.ledger import codec
from rebalancer.ledger.schema import (
    CONFIRMED,
    GENESIS,
    TRANSACTION_KINDS,
    decisions,
    events,
    objects,
    outcomes,
    submissions,
)
from rebalancer.model import digest, to_json

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log; ``body`` is the digest of the object it brings, if any.

    ``decided``: subject is a decision id, body its evaluation. About a transaction, whose hash is
    the subject: ``stored``: body is its bundle. ``sent``: ``note`` says by which way. ``replaced``
    and ``cancelled``: ``note`` is the version of its nonce that follows. ``mined``: body is the
    outcome. ``reorged``, ``confirmed``, ``dropped``: ``note`` says why. About a plan, whose id is
    the subject: ``approved`` and ``applied``: body is the approval, ``note`` of the latter the plan
    that goes by it. About a portfolio, by name: ``paused`` and ``resumed``, ``note`` says why.
    About a wallet, by chain and address: ``claimed``, ``note`` lists whose its positions are.
    About an order, whose id is the subject: ``opened``, body is the order; ``stopped``,
    ``continued`` and ``closed``, ``note`` says why; ``approved`` and ``applied`` as of a plan.
    """

    kind: str
    subject: str
    body: str | None = None
    note: str = ""


def event_id(parent: str, recorded_ts: int, event: Event) -> str:
    """Digest by which the next event names this one."""
    return digest(
        {
            "parent": parent,
            "recorded_ts": recorded_ts,
            "kind": event.kind,
            "subject": event.subject,
            "body": event.body,
            "note": event.note,
        }
    )


def append(connection: Connection, event: Event, recorded_ts: int) -> int:
    """Add ``event`` after the newest one; returns its number. The caller holds the write lock."""
    newest = select(events.c.id).order_by(events.c.seq.desc()).limit(1)
    parent = connection.execute(newest).scalar_one_or_none() or GENESIS
    statement = events.insert().values(
        id=event_id(parent, recorded_ts, event),
        parent=parent,
        recorded_ts=recorded_ts,
        kind=event.kind,
        subject=event.subject,
        body=event.body,
        note=event.note,
    )
    return int(connection.execute(statement.returning(events.c.seq)).scalar_one())


def last_event(
    connection: Connection, subject: str, kinds: Sequence[str] = TRANSACTION_KINDS
) -> Event | None:
    """The newest event of these kinds about a subject."""
    statement = (
        select(events.c.kind, events.c.subject, events.c.body, events.c.note)
        .where(events.c.subject == subject, events.c.kind.in_(kinds))
        .order_by(events.c.seq.desc())
        .limit(1)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else Event(*row)


def put(connection: Connection, value: Any) -> str:
    """Store ``value`` under its digest, unless it is there; returns the digest."""
    name = digest(value)
    if not has(connection, name):
        row = {"digest": name, "kind": codec.kind_of(value), "body": to_json(value)}
        connection.execute(objects.insert().values(row))
    return name


def has(connection: Connection, name: str) -> bool:
    """Whether an object of this digest is stored."""
    statement = select(objects.c.digest).where(objects.c.digest == name)
    return connection.execute(statement).one_or_none() is not None


def kind_of(connection: Connection, name: str) -> str | None:
    """What kind of object is stored under this digest; None when there is none."""
    statement = select(objects.c.kind).where(objects.c.digest == name)
    return connection.execute(statement).scalar_one_or_none()


def get(connection: Connection, cls: type[T], name: str) -> T:
    """The stored object of this digest; raises LedgerError when it is missing or damaged."""
    statement = select(objects.c.body).where(objects.c.digest == name)
    body = connection.execute(statement).scalar_one_or_none()
    if body is None:
        raise LedgerError(
            f"the ledger is damaged: object {name[:12]} is missing",
            hint="restore the ledger from a backup",
        )
    return codec.load(cls, name, body)


def latest_transaction_events() -> Select[int]:
    """Numbers of the events that say what state each transaction is in: the last word wins."""
    return (
        select(func.max(events.c.seq))
        .where(events.c.kind.in_(TRANSACTION_KINDS))
        .group_by(events.c.subject)
    )


def confirmed() -> Select[str]:
    """Hashes of the transactions whose newest word is ``mined``, and confirmed after it."""
    final, word = events.alias("final"), events.alias("word")
    newest = (
        select(func.max(word.c.seq))
        .where(word.c.kind.in_(TRANSACTION_KINDS), word.c.subject == final.c.subject)
        .correlate(final)
        .scalar_subquery()
    )
    return select(final.c.subject).where(final.c.kind == CONFIRMED, final.c.seq > newest)


def is_confirmed(connection: Connection, tx_hash: str) -> bool:
    """Whether the newest word on a transaction was confirmed."""
    last = last_event(connection, tx_hash, (*TRANSACTION_KINDS, CONFIRMED))
    return last is not None and last.kind == CONFIRMED


def bundle_of(connection: Connection, tx_hash: str) -> str | None:
    """Digest of the bundle with which a transaction was stored last."""
    statement = (
        select(submissions.c.bundle_id)
        .where(submissions.c.tx_hash == tx_hash)
        .order_by(submissions.c.event.desc())
        .limit(1)
    )
    return connection.execute(statement).scalar_one_or_none()


def latest_submissions() -> Select[int]:
    """Numbers of the events by which each transaction was stored last."""
    return select(func.max(submissions.c.event)).group_by(submissions.c.tx_hash)


def executed(portfolio: str, up_to_block: int | None = None) -> Select[int]:
    """Numbers of the events of decisions whose ``execute`` transaction succeeded.

    With ``up_to_block`` by the end of that block.
    """
    statement = (
        select(decisions.c.event)
        .join(submissions, submissions.c.plan_id == decisions.c.plan_id)
        .join(outcomes, outcomes.c.tx_hash == submissions.c.tx_hash)
        .where(
            decisions.c.portfolio == portfolio,
            decisions.c.mode == "execute",
            submissions.c.purpose == "execute",
            submissions.c.event.in_(latest_submissions()),
            outcomes.c.event.in_(latest_transaction_events()),
            outcomes.c.status == 1,
        )
    )
    if up_to_block is None:
        return statement
    return statement.where(outcomes.c.block_number <= up_to_block)
