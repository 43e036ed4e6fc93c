"""A ledger that was edited behind its back: every single cell counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import ledger_world as world
import pytest

from rebalancer.ledger.integrity import check_integrity
from rebalancer.ledger.orders import close_order, open_order, resume_order, stop_order
from rebalancer.ledger.schema import metadata
from rebalancer.ledger.store import Ledger

#: The version row is read when the ledger is opened, and refused there.
TABLES = [table.name for table in metadata.sorted_tables if table.name != "ledger_schema"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rebalance, a hold, a transaction that was dropped and then reverted after all, an order."""
    folder = tmp_path_factory.mktemp("ledger")
    with world.open_ledger(folder) as ledger:
        world.execute(ledger, at=100, nonce=7)
        seen = world.snapshot(150)
        ledger.record_decision("main", "dry-run", seen, world.valuation(seen), world.hold(seen))
        plan = world.decide(ledger, at=200)
        ledger.store_bundle(plan, world.bundle(plan, world.signed("execute", 9)))
        ledger.record_dropped(world.signed("execute", 9).tx_hash, "the deadline has passed")
        order_id = open_order(ledger, world.order(plan))
        stop_order(ledger, order_id, "a person said so")
        resume_order(ledger, order_id)
        world.decide(ledger, at=300, order=order_id)
        close_order(ledger, order_id, "sold")
        ledger.record_outcome(world.outcome(world.signed("execute", 9), 201, status=0))
    return folder / "ledger.db"


@pytest.fixture
def copy(template: Path, tmp_path: Path) -> Path:
    target = tmp_path / "ledger.db"
    target.write_bytes(template.read_bytes())
    with closing(sqlite3.connect(target)) as raw:
        for (name,) in raw.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.commit()
    return target


@pytest.fixture
def ledger(copy: Path) -> Iterator[Ledger]:
    with Ledger.open(copy, world.Clock(), create=False) as opened:
        yield opened


def damaged(ledger: Ledger) -> bool:
    return bool(check_integrity(ledger))


def test_an_untouched_ledger_is_whole(ledger: Ledger) -> None:
    assert not damaged(ledger)


@pytest.mark.parametrize("table", TABLES)
def test_no_cell_can_be_changed_unseen(copy: Path, ledger: Ledger, table: str) -> None:
    unseen = []
    with closing(sqlite3.connect(copy, isolation_level=None)) as raw:
        columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
        rows = raw.execute(f"SELECT rowid, * FROM {table}").fetchall()  # noqa: S608
        for rowid, *cells in rows:
            for column, cell in zip(columns, cells, strict=True):
                change = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"  # noqa: S608
                # A primary key is the row's id itself: follow it.
                moved = (
                    rowid + 1_000
                    if column in ("seq", "event") and _is_rowid(raw, table, column)
                    else rowid
                )
                raw.execute(change, (_other(cell), rowid))
                if not damaged(ledger):
                    unseen.append((rowid, column, cell))
                raw.execute(change, (cell, moved))
        assert len(rows) > 0
    assert unseen == []
    assert not damaged(ledger)


@pytest.mark.parametrize("table", TABLES)
def test_no_row_can_be_taken_away_unseen(copy: Path, ledger: Ledger, table: str) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as raw:
        rows = raw.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()  # noqa: S608
        marks = ", ".join("?" for _ in rows[0])
        unseen = []
        for row in rows:
            where = [
                column[1] for column in raw.execute(f"PRAGMA table_info({table})") if column[5]
            ]
            same = " AND ".join(f"{name} = ?" for name in where)
            values = row[: len(where)]
            assert where
            raw.execute(f"DELETE FROM {table} WHERE {same}", values)  # noqa: S608
            if not damaged(ledger):
                unseen.append(row)
            raw.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608
    assert unseen == []


def test_a_row_too_many_is_seen(copy: Path, ledger: Ledger) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as raw:
        raw.execute("INSERT INTO gas_components VALUES (4, 99, 'tip', 1)")
    assert damaged(ledger)


def test_an_amount_that_is_no_number_is_a_finding_not_a_crash(copy: Path, ledger: Ledger) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as raw:
        raw.execute("UPDATE fills SET amount_out = 'plenty'")
    (finding,) = check_integrity(ledger)
    assert finding.code == "row"
    assert "not a number" in finding.text


def test_signed_bytes_of_another_transaction_are_seen(tmp_path: Path) -> None:
    with world.open_ledger(tmp_path) as ledger:
        plan = world.decide(ledger)
        wrong = replace(world.signed("execute", 8), raw="0x02")
        ledger.store_bundle(plan, world.bundle(plan, wrong))
        findings = check_integrity(ledger)
    assert any("another transaction's" in finding.text for finding in findings)


def _other(cell: object) -> object:
    if cell is None:
        return "x"
    if isinstance(cell, int):
        return cell + 1_000
    text = str(cell)
    return ("1" if text[:1] != "1" else "2") + text[1:]


def _is_rowid(raw: sqlite3.Connection, table: str, column: str) -> bool:
    """Whether ``column`` is an INTEGER PRIMARY KEY, which is the rowid under another name."""
    keys = [row for row in raw.execute(f"PRAGMA table_info({table})") if row[5]]
    return len(keys) == 1 and keys[0][1] == column and keys[0][2] == "INTEGER"
