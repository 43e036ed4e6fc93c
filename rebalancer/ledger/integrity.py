"""Whether the ledger itself is whole: every digest, every link, every row that repeats an object.

Someone who edits the file has to redo every event from there on; someone who cuts its end off
leaves transactions on the chain that the comparison with the chain misses in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from eth_utils.crypto import keccak
from sqlalchemy import Connection, Table, select

from rebalancer.errors import LedgerError
from rebalancer.evm.abi import from_hex, to_hex
from rebalancer.ledger import codec, log, rows, rules
from rebalancer.ledger.codec import Approval, Evaluation
from rebalancer.ledger.findings import Finding
from rebalancer.ledger.log import Event
from rebalancer.ledger.schema import (
    APPROVAL_KINDS,
    CLAIMED,
    CONFIRMED,
    GENESIS,
    ORDER_KINDS,
    PAUSE_KINDS,
    TRANSACTION_KINDS,
    decisions,
    events,
    fills,
    gas_components,
    objects,
    outcomes,
    submissions,
)
from rebalancer.ledger.store import Ledger
from rebalancer.model import (
    Bundle,
    Hold,
    Order,
    Plan,
    Rebalance,
    Snapshot,
    TransactionOutcome,
    Valuation,
    digest,
)

_ROW_TABLES = (decisions, submissions, outcomes, fills, gas_components)


@dataclass(slots=True)
class _Derived:
    """Rows as the objects imply them, by table, and the newest words so far.

    ``words`` are those on each transaction, ``orders`` those on each order.
    """

    by_table: dict[str, list[rows.Row]] = field(
        default_factory=lambda: {table.name: [] for table in _ROW_TABLES}
    )
    words: dict[str, str] = field(default_factory=dict)
    orders: dict[str, str] = field(default_factory=dict)

    def add(self, table: Table[Any], *new: rows.Row) -> None:
        self.by_table[table.name].extend(new)


def check_integrity(ledger: Ledger) -> list[Finding]:
    """Everything in the ledger that contradicts itself; empty when it is whole."""
    with ledger.reading() as connection:
        found = [*_check_objects(connection), *_check_links(connection)]
        derived = _Derived()
        for seq, event in _events(connection):
            try:
                _derive(connection, seq, event, derived)
            except LedgerError as error:
                found.append(Finding("event", f"event {seq} ({event.kind}): {error}"))
        for table in _ROW_TABLES:
            found += _check_rows(connection, table, derived.by_table[table.name])
    return found


def _check_objects(connection: Connection) -> Iterator[Finding]:
    for name, kind, body in connection.execute(select(objects)):
        cls = codec.KINDS.get(kind)
        if cls is None:
            yield Finding("object", f"object {name[:12]} is of no known kind")
            continue
        try:
            codec.load(cls, name, body)
        except LedgerError as error:
            yield Finding("object", str(error))


def _check_links(connection: Connection) -> Iterator[Finding]:
    parent = GENESIS
    statement = select(events).order_by(events.c.seq)
    for row in connection.execute(statement):
        event = Event(row.kind, row.subject, row.body, row.note)
        if row.parent != parent or row.id != log.event_id(parent, row.recorded_ts, event):
            yield Finding("link", f"event {row.seq} does not follow from the one before it")
        parent = row.id


def _events(connection: Connection) -> list[tuple[int, Event]]:
    columns = events.c
    statement = select(columns.seq, columns.kind, columns.subject, columns.body, columns.note)
    found = connection.execute(statement.order_by(columns.seq)).all()
    return [(row.seq, Event(row.kind, row.subject, row.body, row.note)) for row in found]


def _derive(connection: Connection, seq: int, event: Event, derived: _Derived) -> None:
    """Add the rows of one event; raises LedgerError when its objects contradict each other."""
    if event.kind == "decided":
        _derive_decided(connection, seq, event, derived)
    elif event.kind == "stored":
        _derive_stored(connection, seq, event, derived)
    elif event.kind in APPROVAL_KINDS:
        approval = log.get(connection, Approval, event.body or "")
        _require(event.subject == approval.plan_id, "its approval is another plan's")
        kind = log.kind_of(connection, event.subject)
        log.get(connection, Order if kind == "order" else Plan, event.subject)
    elif event.kind in ORDER_KINDS:
        _check_order(connection, event, derived)
    elif event.kind in (*PAUSE_KINDS, CLAIMED):
        _require(event.body is None, "it brings an object that says nothing")
    elif event.subject not in derived.words:
        raise LedgerError("its transaction was never stored")
    elif event.kind == "mined":
        _derive_mined(connection, seq, event, derived)
    elif event.kind == CONFIRMED:
        _require(derived.words[event.subject] == "mined", "what it confirms was not mined")
        _require(event.body is None, "it brings an object that says nothing")
    else:
        _require(event.kind in TRANSACTION_KINDS, "there is no such kind of event")
        _require(event.body is None, "it brings an object that says nothing")
        if event.kind in ("replaced", "cancelled"):
            _require(event.note in derived.words, "the version that follows was never stored")
    if event.kind in TRANSACTION_KINDS:
        derived.words[event.subject] = event.kind


def _check_order(connection: Connection, event: Event, derived: _Derived) -> None:
    """An order is opened once, with its object and its plan, and is not changed once closed."""
    before = derived.orders.get(event.subject)
    if event.kind == "opened":
        _require(before is None, "the order was opened before")
        _require(event.subject == event.body, "it names another order")
        log.get(connection, Plan, log.get(connection, Order, event.subject).plan)
    else:
        _require(before not in (None, "closed"), "its order is not open")
        _require(event.body is None, "it brings an object that says nothing")
    derived.orders[event.subject] = event.kind


def _derive_decided(connection: Connection, seq: int, event: Event, derived: _Derived) -> None:
    evaluation = log.get(connection, Evaluation, event.body or "")
    _require(event.subject == event.body, "it names another decision")
    snapshot = log.get(connection, Snapshot, evaluation.snapshot)
    valuation = log.get(connection, Valuation, evaluation.valuation)
    kind = select(objects.c.kind).where(objects.c.digest == evaluation.decision)
    rebalance = connection.execute(kind).scalar_one_or_none() == "rebalance"
    decision: Hold | Rebalance
    if rebalance:
        decision = log.get(connection, Rebalance, evaluation.decision)
        log.get(connection, Plan, digest(decision.plan))
        if decision.plan.order is not None:
            _require(decision.plan.order in derived.orders, "the order of its slice is not open")
    else:
        decision = log.get(connection, Hold, evaluation.decision)
    rules.check_lineage(snapshot, valuation, decision)
    row = rows.decision_row(seq, event.subject, evaluation, snapshot, decision)
    derived.add(decisions, row)


def _derive_stored(connection: Connection, seq: int, event: Event, derived: _Derived) -> None:
    bundle = log.get(connection, Bundle, event.body or "")
    hashes = [transaction.tx_hash for transaction in bundle.transactions]
    _require(event.subject in hashes, "its bundle does not hold the transaction")
    position = hashes.index(event.subject)
    raw = from_hex(bundle.transactions[position].raw)
    _require(to_hex(keccak(raw)) == event.subject, "the signed bytes are another transaction's")
    _require(rules.is_decided(connection, bundle.plan_id), "nobody decided to execute its plan")
    log.get(connection, Plan, bundle.plan_id)
    derived.add(submissions, rows.submission_row(seq, event.body or "", bundle, position))


def _derive_mined(connection: Connection, seq: int, event: Event, derived: _Derived) -> None:
    outcome = log.get(connection, TransactionOutcome, event.body or "")
    _require(outcome.tx_hash == event.subject, "its outcome is another transaction's")
    derived.add(outcomes, rows.outcome_row(seq, outcome))
    derived.add(fills, *rows.fill_rows(seq, outcome))
    derived.add(gas_components, *rows.gas_rows(seq, outcome))


def _check_rows(
    connection: Connection, table: Table[Any], derived: Iterable[rows.Row]
) -> Iterator[Finding]:
    try:
        found = [dict(row) for row in connection.execute(select(table)).mappings()]
    except LedgerError as error:
        yield Finding("row", f"table {table.name}: {error}")
        return
    keys = [column.name for column in table.primary_key.columns]
    actual = {tuple(row[key] for key in keys): row for row in found}
    expected = {tuple(row[key] for key in keys): row for row in derived}
    for key in sorted(actual.keys() | expected.keys()):
        if actual.get(key) != expected.get(key):
            where = f"table {table.name}, event {key[0]}"
            yield Finding("row", f"{where}: the row is not what its object says")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise LedgerError(otherwise)
