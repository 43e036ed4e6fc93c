"""What reports ask the ledger: decisions, transactions and rebalances, as frozen records."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from rebalancer.errors import LedgerError
from rebalancer.ledger import log
from rebalancer.ledger.pending import find
from rebalancer.ledger.schema import OPEN_KINDS, events, submissions
from rebalancer.ledger.schema import decisions as decision_table
from rebalancer.ledger.store import Ledger
from rebalancer.model import (
    Fill,
    Hold,
    Leg,
    Plan,
    Price,
    Reason,
    Rebalance,
    SignedTransaction,
    Snapshot,
    TransactionOutcome,
    Valuation,
    digest,
)

_DECISIONS: dict[str, type[Hold] | type[Rebalance]] = {"hold": Hold, "rebalance": Rebalance}


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One recorded decision; ``action`` is ``hold`` or ``rebalance``, values in 1e-8 numeraire.

    ``snapshot_id``, ``valuation_id`` and ``plan_id`` are digests; ``block_ts`` is the block's time,
    ``recorded_ts`` ours.
    """

    decision_id: str
    portfolio: str
    mode: str
    action: str
    chain_id: int
    wallet: str
    block_number: int
    block_hash: str
    block_ts: int
    recorded_ts: int
    numeraire: str
    nav_e8: int
    reasons: tuple[Reason, ...]
    snapshot_id: str
    valuation_id: str
    plan_id: str | None


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A transaction and its state, see docs/ledger.md; ``mined`` means that it succeeded.

    ``note`` is what the newest event says besides; ``outcome`` is there when mined or reverted, and
    ``confirmed`` when that is final.
    """

    tx_hash: str
    plan_id: str
    chain_id: int
    wallet: str
    nonce: int
    purpose: str
    state: str
    note: str
    stored_ts: int
    changed_ts: int
    outcome: TransactionOutcome | None
    confirmed: bool = False

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_KINDS


@dataclass(frozen=True, slots=True)
class LegResult:
    """One leg of a plan, as it was planned and as it was filled; ``fill`` is None until then."""

    index: int
    leg: Leg
    fill: Fill | None


@dataclass(frozen=True, slots=True)
class RebalanceRecord:
    """One plan that got as far as signed transactions, in nonce order.

    ``state``: ``executed`` (its execute transaction succeeded), ``open``, ``reverted`` or
    ``dropped``. ``native`` is the gas token's price in the deciding snapshot. Gas is that of all
    mined transactions of the plan, reverted ones too.
    """

    portfolio: str
    decision_id: str
    plan_id: str
    block_ts: int
    plan: Plan
    native: Price
    state: str
    transactions: tuple[TransactionRecord, ...]
    fills: tuple[Fill, ...]
    legs: tuple[LegResult, ...]
    gas_used: int
    gas_cost_wei: int


def decisions(ledger: Ledger, portfolio: str | None = None) -> Sequence[DecisionRecord]:
    """All decisions, oldest first."""
    table = decision_table.c
    statement = (
        select(
            table.decision_id,
            table.portfolio,
            table.mode,
            table.action,
            table.chain_id,
            table.wallet,
            table.block_number,
            table.block_hash,
            table.block_ts,
            events.c.recorded_ts,
            table.snapshot,
            table.valuation,
            table.decision,
            table.plan_id,
        )
        .join(events, events.c.seq == table.event)
        .order_by(table.event)
    )
    if portfolio is not None:
        statement = statement.where(table.portfolio == portfolio)
    records = []
    with ledger.reading() as connection:
        for row in connection.execute(statement):
            valuation = log.get(connection, Valuation, row.valuation)
            decided = log.get(connection, _DECISIONS[row.action], row.decision)
            records.append(
                DecisionRecord(
                    decision_id=row.decision_id,
                    portfolio=row.portfolio,
                    mode=row.mode,
                    action=row.action,
                    chain_id=row.chain_id,
                    wallet=row.wallet,
                    block_number=row.block_number,
                    block_hash=row.block_hash,
                    block_ts=row.block_ts,
                    recorded_ts=row.recorded_ts,
                    numeraire=valuation.numeraire,
                    nav_e8=valuation.nav_e8,
                    reasons=decided.reasons,
                    snapshot_id=row.snapshot,
                    valuation_id=row.valuation,
                    plan_id=row.plan_id,
                )
            )
    return records


def transactions(ledger: Ledger, portfolio: str | None = None) -> Sequence[TransactionRecord]:
    """All transactions that were ever stored, in the order in which they were."""
    with ledger.reading() as connection:
        return _transactions(connection, portfolio)


def rebalances(
    ledger: Ledger, portfolio: str | None = None, plan_ids: Collection[str] | None = None
) -> Sequence[RebalanceRecord]:
    """All plans with signed transactions, oldest first, or those of ``plan_ids``; each belongs to
    the portfolio that it was decided for."""
    with ledger.reading() as connection:
        by_plan: dict[str, list[TransactionRecord]] = {}
        for record in _transactions(connection, portfolio, plan_ids):
            by_plan.setdefault(record.plan_id, []).append(record)
        return [_rebalance(connection, plan_id, txs) for plan_id, txs in by_plan.items()]


def plans(ledger: Ledger, plan_ids: Iterable[str]) -> dict[str, Plan]:
    """Plans by their ids."""
    with ledger.reading() as connection:
        return {plan_id: log.get(connection, Plan, plan_id) for plan_id in plan_ids}


def snapshot_of_plan(ledger: Ledger, plan_id: str) -> Snapshot:
    """The snapshot that a plan was decided on."""
    with ledger.reading() as connection:
        statement = select(decision_table.c.snapshot).where(decision_table.c.plan_id == plan_id)
        return log.get(connection, Snapshot, connection.execute(statement.limit(1)).scalar_one())


def signed(ledger: Ledger, records: Iterable[TransactionRecord]) -> dict[str, SignedTransaction]:
    """The transactions as they were signed, by hash."""
    with ledger.reading() as connection:
        found = {record.tx_hash: find(connection, record.tx_hash) for record in records}
    return {tx_hash: item[1] for tx_hash, item in found.items() if item is not None}


def _transactions(
    connection: Connection, portfolio: str | None, plan_ids: Collection[str] | None = None
) -> list[TransactionRecord]:
    stored = events.alias("stored")
    latest = events.alias("latest")
    columns = submissions.c
    statement = (
        select(
            columns.tx_hash,
            columns.plan_id,
            columns.chain_id,
            columns.wallet,
            columns.nonce,
            columns.purpose,
            stored.c.recorded_ts.label("stored_ts"),
            latest.c.kind,
            latest.c.body,
            latest.c.note,
            latest.c.recorded_ts.label("changed_ts"),
        )
        .join(stored, stored.c.seq == columns.event)
        .join(latest, latest.c.subject == columns.tx_hash)
        .where(
            columns.event.in_(log.latest_submissions()),
            latest.c.seq.in_(log.latest_transaction_events()),
        )
        .order_by(columns.event)
    )
    if portfolio is not None:
        plans = select(decision_table.c.plan_id).where(
            decision_table.c.portfolio == portfolio, decision_table.c.mode == "execute"
        )
        statement = statement.where(columns.plan_id.in_(plans))
    if plan_ids is not None:
        statement = statement.where(columns.plan_id.in_(list(plan_ids)))
    final = set(connection.execute(log.confirmed()).scalars())
    records = []
    for row in connection.execute(statement):
        outcome = None
        if row.kind == "mined":
            outcome = log.get(connection, TransactionOutcome, row.body)
        records.append(
            TransactionRecord(
                tx_hash=row.tx_hash,
                plan_id=row.plan_id,
                chain_id=row.chain_id,
                wallet=row.wallet,
                nonce=row.nonce,
                purpose=row.purpose,
                state="reverted" if outcome is not None and outcome.status != 1 else row.kind,
                note=row.note,
                stored_ts=row.stored_ts,
                changed_ts=row.changed_ts,
                outcome=outcome,
                confirmed=outcome is not None and row.tx_hash in final,
            )
        )
    return records


def _rebalance(
    connection: Connection, plan_id: str, txs: list[TransactionRecord]
) -> RebalanceRecord:
    statement = (
        select(
            decision_table.c.portfolio,
            decision_table.c.decision_id,
            decision_table.c.block_ts,
            decision_table.c.snapshot,
        )
        .where(decision_table.c.plan_id == plan_id, decision_table.c.mode == "execute")
        .order_by(decision_table.c.event)
        .limit(1)
    )
    decided = connection.execute(statement).one()
    plan = log.get(connection, Plan, plan_id)
    mined = [tx.outcome for tx in txs if tx.outcome is not None]
    fills = tuple(fill for outcome in mined if outcome.status == 1 for fill in outcome.fills)
    return RebalanceRecord(
        portfolio=decided.portfolio,
        decision_id=decided.decision_id,
        plan_id=plan_id,
        block_ts=decided.block_ts,
        plan=plan,
        native=log.get(connection, Snapshot, decided.snapshot).native,
        state=_plan_state([tx.state for tx in txs if tx.purpose == "execute"]),
        transactions=tuple(sorted(txs, key=lambda tx: tx.nonce)),
        fills=fills,
        legs=_legs(plan, fills),
        gas_used=sum(outcome.gas_used for outcome in mined),
        gas_cost_wei=sum(outcome.gas_cost_wei for outcome in mined),
    )


def _plan_state(states: list[str]) -> str:
    """State of a plan from those of its execute transactions (replacements share a nonce)."""
    if "mined" in states:
        return "executed"
    if any(state in OPEN_KINDS for state in states):
        return "open"
    return "reverted" if "reverted" in states else "dropped"


def _legs(plan: Plan, fills: tuple[Fill, ...]) -> tuple[LegResult, ...]:
    by_index = {fill.index: fill for fill in fills}
    if not by_index.keys() <= set(range(len(plan.legs))):
        raise LedgerError(
            "the ledger holds a fill of a leg that its plan does not have",
            hint="run `rebalancer audit reconcile`",
            plan_id=digest(plan),
        )
    return tuple(LegResult(index, leg, by_index.get(index)) for index, leg in enumerate(plan.legs))
