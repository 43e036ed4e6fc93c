"""Tables of the ledger: one log of events, the objects they speak of, and rows for SQL.

``events`` is the ledger. Every event names the digest of the one before it, and at most one object.
The other tables repeat in columns what the objects say, so that SQL can filter and add up; the
audit derives them again and compares (``integrity``).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Named,
    String,
    Table,
    Text,
    TypedColumns,
    TypeDecorator,
)

from rebalancer.errors import LedgerError

SCHEMA_VERSION = 2
#: ``parent`` of the first event.
GENESIS = "0" * 64
#: Kinds of event that change the state of a transaction.
TRANSACTION_KINDS = ("stored", "sent", "replaced", "cancelled", "mined", "reorged", "dropped")
#: States in which a transaction may still be mined; ``mined`` joins them until it is confirmed.
OPEN_KINDS = ("stored", "sent", "replaced", "cancelled", "reorged")
#: Says that the newest ``mined`` of a transaction is final; changes no state.
CONFIRMED = "confirmed"
#: Kinds of event about a plan (its approval by a person) and about a portfolio.
APPROVAL_KINDS = ("approved", "applied")
PAUSE_KINDS = ("paused", "resumed")
#: Kind of event about a wallet on a chain: which portfolios keep which of its positions.
CLAIMED = "claimed"
#: Kinds of event about an order; the newest says where it stands.
ORDER_KINDS = ("opened", "stopped", "continued", "closed")

metadata = MetaData()
_Sequence = BigInteger().with_variant(Integer(), "sqlite")


class Digits(TypeDecorator[int]):
    """Integer of any size as decimal text: SQL's end at 2**63, token amounts at 2**256."""

    impl = String(80)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        if value is None:
            return None
        if isinstance(value, str) and value.removeprefix("-").isdecimal():
            return int(value)
        raise LedgerError(
            "the ledger is damaged: an amount is not a number",
            hint="restore the ledger from a backup",
        )


class _SchemaColumns(TypedColumns):
    version: Named[int] = Column(Integer, primary_key=True, autoincrement=False)
    created_ts: Named[int] = Column(BigInteger)


class _ObjectColumns(TypedColumns):
    digest: Named[str] = Column(String(64), primary_key=True)
    kind: Named[str] = Column(String(16))
    body: Named[str] = Column(Text)


class _EventColumns(TypedColumns):
    seq: Named[int] = Column(_Sequence, primary_key=True, autoincrement=True)
    id: Named[str] = Column(String(64), unique=True)
    parent: Named[str] = Column(String(64), unique=True)
    recorded_ts: Named[int] = Column(BigInteger)
    kind: Named[str] = Column(String(16))
    #: A decision's, a plan's or an order's id, a transaction's hash, a portfolio's name or a chain
    #: and wallet: see ``log.Event``.
    subject: Named[str] = Column(String(66))
    body: Named[str | None] = Column(String(64), ForeignKey("objects.digest"))
    note: Named[str] = Column(Text)


class _DecisionColumns(TypedColumns):
    event: Named[int] = Column(_Sequence, ForeignKey("events.seq"), primary_key=True)
    decision_id: Named[str] = Column(String(64), unique=True)
    portfolio: Named[str] = Column(String(64))
    mode: Named[str] = Column(String(16))
    action: Named[str] = Column(String(16))
    snapshot: Named[str] = Column(String(64), ForeignKey("objects.digest"))
    valuation: Named[str] = Column(String(64), ForeignKey("objects.digest"))
    decision: Named[str] = Column(String(64), ForeignKey("objects.digest"))
    plan_id: Named[str | None] = Column(String(64), ForeignKey("objects.digest"))
    chain_id: Named[int] = Column(BigInteger)
    wallet: Named[str] = Column(String(42))
    block_number: Named[int] = Column(BigInteger)
    block_hash: Named[str] = Column(String(66))
    block_ts: Named[int] = Column(BigInteger)


class _SubmissionColumns(TypedColumns):
    event: Named[int] = Column(_Sequence, ForeignKey("events.seq"), primary_key=True)
    tx_hash: Named[str] = Column(String(66))
    plan_id: Named[str] = Column(String(64), ForeignKey("objects.digest"))
    bundle_id: Named[str] = Column(String(64), ForeignKey("objects.digest"))
    position: Named[int] = Column(Integer)
    chain_id: Named[int] = Column(BigInteger)
    wallet: Named[str] = Column(String(42))
    nonce: Named[int] = Column(BigInteger)
    purpose: Named[str] = Column(String(16))


class _OutcomeColumns(TypedColumns):
    event: Named[int] = Column(_Sequence, ForeignKey("events.seq"), primary_key=True)
    tx_hash: Named[str] = Column(String(66))
    block_number: Named[int] = Column(BigInteger)
    block_hash: Named[str] = Column(String(66))
    status: Named[int] = Column(Integer)
    gas_used: Named[int] = Column(BigInteger)
    effective_gas_price_wei: Named[int] = Column(Digits)


class _FillColumns(TypedColumns):
    event: Named[int] = Column(_Sequence, ForeignKey("events.seq"), primary_key=True)
    position: Named[int] = Column(Integer, primary_key=True, autoincrement=False)
    leg: Named[int] = Column(Integer)
    pair: Named[str] = Column(String(42))
    token_in: Named[str] = Column(String(42))
    token_out: Named[str] = Column(String(42))
    amount_in: Named[int] = Column(Digits)
    amount_out: Named[int] = Column(Digits)


class _GasColumns(TypedColumns):
    event: Named[int] = Column(_Sequence, ForeignKey("events.seq"), primary_key=True)
    position: Named[int] = Column(Integer, primary_key=True, autoincrement=False)
    name: Named[str] = Column(String(64))
    gas: Named[int] = Column(BigInteger)


schema = Table("ledger_schema", metadata, _SchemaColumns)
objects = Table("objects", metadata, _ObjectColumns)
events = Table("events", metadata, _EventColumns)
decisions = Table("decisions", metadata, _DecisionColumns)
submissions = Table("submissions", metadata, _SubmissionColumns)
outcomes = Table("outcomes", metadata, _OutcomeColumns)
fills = Table("fills", metadata, _FillColumns)
gas_components = Table("gas_components", metadata, _GasColumns)

Index("events_by_subject", events.c.subject, events.c.seq)
Index("decisions_by_plan", decisions.c.plan_id)
Index("submissions_by_tx", submissions.c.tx_hash)
