"""The ledger: written before and after money moves, never changed, folded when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, Engine, func, inspect, select

from rebalancer.errors import LedgerError
from rebalancer.ledger import dialect, log, pending, rows, rules
from rebalancer.ledger.codec import Evaluation
from rebalancer.ledger.log import Event
from rebalancer.ledger.schema import (
    CONFIRMED,
    SCHEMA_VERSION,
    decisions,
    fills,
    gas_components,
    metadata,
    outcomes,
    schema,
    submissions,
)
from rebalancer.ledger.slices import check_slice, opened_order
from rebalancer.model import (
    Bundle,
    Decision,
    Plan,
    Rebalance,
    SignedTransaction,
    Snapshot,
    TransactionOutcome,
    Valuation,
    digest,
)

MODES = ("dry-run", "execute")


def _always(_: Connection) -> None:
    """Nothing stands against it."""


class Ledger:
    """Append-only record of decisions and transactions, on SQLite or PostgreSQL.

    A context manager. Every writing method is one database transaction and returns after the disk
    has it; calling one again with the same arguments changes nothing. All of them raise LedgerError
    with a hint. Implements the bundler's ``Journal``.
    """

    def __init__(self, engine: Engine, where: str, clock: Callable[[], int]) -> None:
        self._reader = engine
        self._writer = engine.execution_options(**{dialect.WRITES: True})
        self._clock = clock
        self.where = where

    @classmethod
    def open(
        cls,
        path_or_url: str | Path,
        clock: Callable[[], int],
        *,
        create: bool = True,
        busy_timeout_ms: int = 10_000,
    ) -> Ledger:
        """Open the ledger at a path (SQLite) or URL (``postgresql://...``), making it if new.

        ``clock`` gives unix seconds. ``create=False`` is for audits: a mistyped path must not
        reconcile an empty ledger. Raises LedgerError for another version's ledger and for what
        is none.
        """
        engine, where = dialect.locate(path_or_url, create=create, busy_timeout_ms=busy_timeout_ms)
        ledger = cls(engine, where, clock)
        try:
            ledger._prepare(create)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        self._reader.dispose()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the ledger."""
        with dialect.translated(self.where), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with dialect.translated(self.where), self._writer.begin() as connection:
            yield connection

    # Decisions

    def record_decision(
        self,
        portfolio: str,
        mode: str,
        snapshot: Snapshot,
        valuation: Valuation,
        decision: Decision,
    ) -> str:
        """Remember what was decided, also a hold, and on what; returns the decision id.

        The id is a digest: the same decision recorded twice is one decision. Refuses a chain of
        objects in which one does not name the one before it.
        """
        if mode not in MODES:
            raise LedgerError(f"a decision's mode is {' or '.join(MODES)}, not {mode!r}")
        rules.check_lineage(snapshot, valuation, decision)
        order_id = decision.plan.order if isinstance(decision, Rebalance) else None
        with self._writing() as connection:
            if order_id is not None:
                opened_order(connection, order_id)
            evaluation = Evaluation(
                portfolio=portfolio,
                mode=mode,
                snapshot=log.put(connection, snapshot),
                valuation=log.put(connection, valuation),
                decision=log.put(connection, decision),
            )
            decision_id = digest(evaluation)
            if log.has(connection, decision_id):
                return decision_id
            log.put(connection, evaluation)
            if isinstance(decision, Rebalance):
                log.put(connection, decision.plan)
            event = self._append(connection, Event("decided", decision_id, decision_id))
            row = rows.decision_row(event, decision_id, evaluation, snapshot, decision)
            connection.execute(decisions.insert().values(row))
            return decision_id

    def last_rebalance_ts(self, portfolio: str, up_to_block: int | None = None) -> int | None:
        """Timestamp of the block on which the newest executed plan was decided, or None.

        Executed is a plan whose ``execute`` transaction succeeded, as far as is known now; with
        ``up_to_block`` in that block or before it.
        """
        with self.reading() as connection:
            return pending.last_rebalance_ts(connection, portfolio, up_to_block)

    # The bundler's journal

    def store_bundle(self, plan: Plan, bundle: Bundle) -> None:
        """Remember signed transactions before the first of them is sent.

        Refuses a plan that no recorded ``execute`` decision holds, and a transaction that is mined
        already or still open for another plan: each would be a way to send something twice.
        """
        plan_id = digest(plan)
        if bundle.plan_id != plan_id:
            raise LedgerError("the bundle belongs to another plan", plan_id=plan_id)
        with self._writing() as connection:
            check_slice(connection, plan)
            self._store(connection, bundle)

    def store_version(self, bundle: Bundle, replaced: str) -> None:
        """Remember another version of an open transaction, on the same nonce, before it is sent.

        ``bundle`` holds the new version alone, ``replaced`` is the hash of the one before it, which
        stays open: only the chain decides which of them happens.
        """
        (version,) = bundle.transactions
        kind = "cancelled" if version.purpose == "cancel" else "replaced"
        with self._writing() as connection:
            rules.check_version(connection, bundle, replaced)
            self._store(connection, bundle)
            self._append_news(connection, Event(kind, replaced, note=version.tx_hash))

    def record_sent(self, tx_hash: str, via: str = "") -> None:
        """A node accepted the transaction (or already knew it); ``via`` says on which way."""
        with self._writing() as connection:
            last = log.last_event(connection, tx_hash)
            if last is None or last.kind in ("stored", "reorged", "dropped"):
                self._append_news(connection, Event("sent", tx_hash, note=via))

    def record_outcome(self, outcome: TransactionOutcome) -> None:
        """The transaction was mined; a later, different outcome (a reorg) replaces this one."""
        with self._writing() as connection:
            body = log.put(connection, outcome)
            event = self._append_news(connection, Event("mined", outcome.tx_hash, body))
            if event is None:
                return
            connection.execute(outcomes.insert().values(rows.outcome_row(event, outcome)))
            for fill in rows.fill_rows(event, outcome):
                connection.execute(fills.insert().values(fill))
            for component in rows.gas_rows(event, outcome):
                connection.execute(gas_components.insert().values(component))

    def record_dropped(self, tx_hash: str, reason: str) -> None:
        """The transaction can never be mined any more, or was never sent and never will be."""
        with self._writing() as connection:
            self._append_news(connection, Event("dropped", tx_hash, note=reason))

    def record_reorged(self, tx_hash: str, note: str) -> None:
        """The block that the transaction was mined in is no longer of the chain; it is open."""
        with self._writing() as connection:
            self._append_news(connection, Event("reorged", tx_hash, note=note))

    def record_confirmed(self, tx_hash: str, note: str) -> None:
        """The recorded outcome is final; said of what is not mined, it raises LedgerError."""
        with self._writing() as connection:
            last = log.last_event(connection, tx_hash)
            if last is None or last.kind != "mined":
                raise LedgerError(
                    f"transaction {tx_hash[:12]} is not mined: it cannot be confirmed",
                    tx_hash=tx_hash,
                )
            if not log.is_confirmed(connection, tx_hash):
                self._append(connection, Event(CONFIRMED, tx_hash, note=note))

    def recorded_outcome(self, tx_hash: str) -> TransactionOutcome | None:
        """How the transaction was mined, as far as the ledger knows now."""
        with self.reading() as connection:
            return pending.outcome_of(connection, tx_hash)

    def was_sent(self, tx_hash: str) -> bool:
        """Whether any node was ever seen to have the transaction."""
        with self.reading() as connection:
            return log.last_event(connection, tx_hash, ("sent",)) is not None

    def find(self, tx_hash: str) -> tuple[Plan, SignedTransaction] | None:
        """A transaction that was ever stored, and the plan it was for."""
        with self.reading() as connection:
            return pending.find(connection, tx_hash)

    def open_bundles(self, chain_id: int, wallet: str) -> Sequence[tuple[Plan, Bundle]]:
        """Plans with a transaction that is not final, oldest first, and those transactions.

        One bundle per plan: in order of nonce, the versions of one nonce in the order in which they
        were signed. What is mined is in it until it is confirmed.
        """
        with self.reading() as connection:
            return pending.open_bundles(connection, chain_id, wallet)

    def given_up(self, chain_id: int, wallet: str) -> Sequence[tuple[Plan, SignedTransaction]]:
        """Dropped transactions whose nonce nothing recorded has used: they may be mined yet."""
        with self.reading() as connection:
            return pending.given_up(connection, chain_id, wallet)

    def record(
        self, event: Event, body: Any = None, check: Callable[[Connection], bool | None] = _always
    ) -> None:
        """Append an event that is about no transaction, and the object that it brings.

        ``check`` looks at the ledger as it will be appended to: it raises, or returns False where
        there is nothing to say.
        """
        with self._writing() as connection:
            if check(connection) is False:
                return
            name = None if body is None else log.put(connection, body)
            self._append(connection, replace(event, body=name))

    def _store(self, connection: Connection, bundle: Bundle) -> None:
        plan_id = bundle.plan_id
        if not rules.is_decided(connection, plan_id):
            raise LedgerError(
                f"plan {plan_id[:12]} has no recorded decision to execute it",
                hint="record the decision before its bundle",
                plan_id=plan_id,
            )
        bundle_id = log.put(connection, bundle)
        for position, transaction in enumerate(bundle.transactions):
            if rules.is_open_for(connection, transaction.tx_hash, plan_id):
                continue
            rules.check_nonce(connection, bundle, transaction)
            event = self._append(connection, Event("stored", transaction.tx_hash, bundle_id))
            row = rows.submission_row(event, bundle_id, bundle, position)
            connection.execute(submissions.insert().values(row))

    def _append(self, connection: Connection, event: Event) -> int:
        return log.append(connection, event, self._clock())

    def _append_news(self, connection: Connection, event: Event) -> int | None:
        """Append unless it is what was said last; the transaction must have been stored."""
        last = log.last_event(connection, event.subject)
        if last is None:
            raise LedgerError(
                f"transaction {event.subject[:12]} is not in the ledger",
                hint="its bundle must be stored before it is sent",
                tx_hash=event.subject,
            )
        return None if last == event else self._append(connection, event)

    def _prepare(self, create: bool) -> None:
        if not self._is_ledger():
            if not create:
                raise LedgerError(
                    f"there is no ledger at {self.where}",
                    hint="check the path; `rebalancer rebalance` makes one, and on each Anvil"
                    " another",
                )
            with dialect.translated(self.where):
                dialect.use_wal(self._reader)
            self._create()
        with self.reading() as connection:
            version = connection.execute(select(func.max(schema.c.version))).scalar_one()
        if version != SCHEMA_VERSION:
            raise LedgerError(
                f"the ledger {self.where} has version {version}, this program writes version "
                f"{SCHEMA_VERSION}",
                hint="use the release that wrote it, or start a new ledger beside it",
            )
        with dialect.translated(self.where):
            dialect.use_wal(self._reader)

    def _is_ledger(self) -> bool:
        with self.reading() as connection:
            return self._has_schema(connection)

    def _has_schema(self, connection: Connection) -> bool:
        names = inspect(connection).get_table_names()
        if schema.name in names:
            return True
        if names:
            raise LedgerError(
                f"the database {self.where} is not a ledger: it has other tables",
                hint="name another file or database",
            )
        return False

    def _create(self) -> None:
        with self._writing() as connection:
            if self._has_schema(connection):
                return  # another process was faster
            metadata.create_all(connection)
            dialect.create_guards(connection)
            row = {"version": SCHEMA_VERSION, "created_ts": self._clock()}
            connection.execute(schema.insert().values(row))
