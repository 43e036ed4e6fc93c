"""The file: append-only, private, whole after a crash, and clear about what is wrong with it."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import ledger_world as world
import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from rebalancer.errors import LedgerError
from rebalancer.ledger.integrity import check_integrity
from rebalancer.ledger.log import Event
from rebalancer.ledger.queries import transactions
from rebalancer.ledger.schema import SCHEMA_VERSION, events, metadata, schema
from rebalancer.ledger.store import Ledger

HERE = Path(__file__).parent
TABLES = [table.name for table in metadata.sorted_tables]


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A ledger with rows in every table."""
    with world.open_ledger(tmp_path) as ledger:
        world.execute(ledger)
    return tmp_path / "ledger.db"


# Append-only


def test_every_table_has_rows_to_protect(full: Path) -> None:
    with closing(sqlite3.connect(full)) as raw:
        for table in TABLES:
            assert raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 0, table  # noqa: S608


@pytest.mark.parametrize("table", TABLES)
def test_nobody_can_change_delete_or_replace_a_row(full: Path, table: str) -> None:
    with closing(sqlite3.connect(full)) as raw:
        before = raw.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
        columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
        marks = ", ".join("?" for _ in columns)
        attacks: list[tuple[str, tuple[object, ...]]] = [
            (f"UPDATE {table} SET {columns[-1]} = {columns[-1]}", ()),  # noqa: S608
            (f"DELETE FROM {table}", ()),  # noqa: S608
            (f"INSERT OR REPLACE INTO {table} VALUES ({marks})", before[0]),  # noqa: S608
        ]
        for statement, values in attacks:
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(statement, values)
        assert raw.execute(f"SELECT * FROM {table}").fetchall() == before  # noqa: S608


def test_replacing_by_a_unique_column_is_refused_too(full: Path) -> None:
    with closing(sqlite3.connect(full)) as raw:
        row = raw.execute("SELECT * FROM events WHERE seq = 1").fetchone()
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute("INSERT OR REPLACE INTO events VALUES (?,?,?,?,?,?,?,?)", (99, *row[1:]))


def test_the_ledger_itself_meets_the_guards_as_a_ledger_error(tmp_path: Path) -> None:
    with world.open_ledger(tmp_path) as ledger:
        world.execute(ledger)
        with pytest.raises(LedgerError, match="refused a change") as raised:  # noqa: SIM117
            with ledger._writing() as connection:
                connection.execute(update(events).values(note="x"))
        assert raised.value.hint == "the ledger is append-only"


# Files


def test_a_new_ledger_is_for_its_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with world.open_ledger(tmp_path / "new" / "folder") as ledger:
            world.execute(ledger)
            files = sorted((tmp_path / "new" / "folder").iterdir())
            names = [file.name for file in files]
            assert names == ["ledger.db", "ledger.db-shm", "ledger.db-wal"]
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(old)


def test_reopening_finds_everything_and_keeps_the_clock_out_of_it(full: Path) -> None:
    with Ledger.open(str(full), world.Clock()) as by_text:
        first = list(transactions(by_text))
    with Ledger.open(f"sqlite:///{full}", world.Clock(), create=False) as by_url:
        assert list(transactions(by_url)) == first
        assert len(first) == 2


def test_an_audit_of_a_mistyped_path_does_not_make_an_empty_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger at"):
        world.open_ledger(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "ledger.db").touch()
    with pytest.raises(LedgerError, match="there is no ledger at"):
        world.open_ledger(tmp_path, create=False)


def test_an_empty_file_left_by_a_crash_becomes_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    with world.open_ledger(tmp_path) as ledger:
        world.execute(ledger)
        assert check_integrity(ledger) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("targets:\n  WETH: 40%\n" * 100)
    with pytest.raises(LedgerError, match="is not a ledger") as raised:
        world.open_ledger(tmp_path)
    assert "no SQLite database" in raised.value.hint


def test_somebody_elses_database_is_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as raw:
        raw.execute("CREATE TABLE contacts (name TEXT)")
    before = (tmp_path / "ledger.db").read_bytes()
    with pytest.raises(LedgerError, match="other tables"):
        world.open_ledger(tmp_path)
    assert (tmp_path / "ledger.db").read_bytes() == before


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99])
def test_another_version(full: Path, version: int) -> None:
    with Ledger.open(full, world.Clock()) as ledger, ledger._writing() as connection:
        connection.execute(insert(schema).values(version=version, created_ts=1))
    with pytest.raises(LedgerError, match=f"has version {version}, this program writes") as raised:
        Ledger.open(full, world.Clock())
    assert "release" in raised.value.hint


def test_a_ledger_of_no_version(full: Path) -> None:
    with closing(sqlite3.connect(full)) as raw:
        raw.execute("DROP TRIGGER ledger_schema_no_delete")
        raw.execute("DELETE FROM ledger_schema")
        raw.commit()
    with pytest.raises(LedgerError, match="has version None"):
        Ledger.open(full, world.Clock())


def test_a_damaged_file(full: Path) -> None:
    content = bytearray(full.read_bytes())
    content[4096:12288] = b"\xff" * 8192  # the pages after the first
    full.write_bytes(content)
    with pytest.raises(LedgerError, match="damaged") as raised, _opened(full) as ledger:
        transactions(ledger)
    assert "backup" in raised.value.hint


def test_a_folder_and_a_folder_under_a_file_are_no_ledgers(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(LedgerError, match="cannot be opened: Is a directory") as raised:
        world.open_ledger(tmp_path)
    assert raised.value.hint
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="cannot be opened"):
        world.open_ledger(tmp_path / "file")


@pytest.mark.parametrize(
    "url", ["mysql://root:secret@db/ledger", "sqlite://", "sqlite:///:memory:", "://"]
)
def test_urls_that_are_no_ledgers(url: str) -> None:
    with pytest.raises(LedgerError) as raised:
        Ledger.open(url, world.Clock())
    assert raised.value.hint
    assert "secret" not in str(raised.value)


def test_postgresql_without_its_driver_or_server_is_one_clear_error() -> None:
    with pytest.raises(LedgerError) as raised:
        Ledger.open("postgresql://user:secret@127.0.0.1:1/ledger", world.Clock())
    assert raised.value.hint
    assert "secret" not in f"{raised.value} {raised.value.hint}"


def test_the_tables_can_be_made_on_postgresql() -> None:
    for table in metadata.sorted_tables:
        text = str(CreateTable(table).compile(dialect=postgresql.dialect()))
        assert "BIGSERIAL" in text if table is events else "SERIAL" not in text


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    with world.open_ledger(tmp_path) as ledger:
        plan = world.decide(ledger)
        _pragma(ledger, "query_only=ON")
        with pytest.raises(LedgerError, match="cannot be written") as raised:
            ledger.store_bundle(plan, world.bundle(plan))
        assert "read-only" in raised.value.hint
        _pragma(ledger, "query_only=OFF")
        assert transactions(ledger) == []


def test_a_full_disk_records_nothing_and_says_so(tmp_path: Path) -> None:
    with world.open_ledger(tmp_path) as ledger:
        world.execute(ledger)
        kept = list(transactions(ledger))
        pages = _pragma(ledger, "page_count")
        _pragma(ledger, f"max_page_count={pages}")
        with pytest.raises(LedgerError, match="disk is full") as raised:  # noqa: PT012
            for number in range(200, 300):
                world.decide(ledger, at=number)
        assert "not recorded" in raised.value.hint
        _pragma(ledger, "max_page_count=1000000")
        assert list(transactions(ledger)) == kept
        assert check_integrity(ledger) == []
        world.execute(ledger, at=300, nonce=9)
        assert len(transactions(ledger)) == 4


# Two at once, and crashes


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    with world.open_ledger(tmp_path) as one, world.open_ledger(tmp_path) as two:
        plan = world.decide(one)
        bundle = world.bundle(plan)
        one.store_bundle(plan, bundle)
        approve, run = bundle.transactions
        began = threading.Event()

        def send() -> None:
            began.set()
            two.record_sent(approve.tx_hash)

        thread = threading.Thread(target=send)
        with one._writing() as connection:
            connection.execute(select(events.c.seq))
            thread.start()
            began.wait()
            thread.join(0.2)
            assert thread.is_alive(), "the second writer did not wait"
            one._append_news(connection, _sent(run.tx_hash))
        thread.join(10)
        assert not thread.is_alive()
        assert {tx.state for tx in transactions(two)} == {"sent"}
        # The chain of events has no fork: the second one saw the first one's.
        assert check_integrity(one) == []


def test_a_writer_that_waits_in_vain_says_who_holds_the_lock(tmp_path: Path) -> None:
    with world.open_ledger(tmp_path) as one, world.open_ledger(tmp_path, busy_timeout_ms=1) as two:
        with one._writing(), pytest.raises(LedgerError, match="locked by another") as raised:
            world.decide(two)
        assert raised.value.hint
        world.decide(two)


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    with world.open_ledger(tmp_path) as one, world.open_ledger(tmp_path, busy_timeout_ms=1) as two:
        world.execute(one)
        with one._writing() as connection:
            one._append_news(connection, _sent(world.signed("execute", 8).tx_hash))
            assert {tx.state for tx in transactions(two)} == {"mined"}


def test_many_processes_may_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    script = (
        "import sys, ledger_world as w; from pathlib import Path\n"
        "sys.stdin.readline()\n"
        "with w.open_ledger(Path(sys.argv[1])) as l: w.decide(l, at=int(sys.argv[2]))"
    )
    running = [_python(script, tmp_path, str(number)) for number in range(100, 103)]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    with world.open_ledger(tmp_path) as ledger:
        assert check_integrity(ledger) == []


def test_kill_9_in_the_middle_of_an_outcome_leaves_none_of_it(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, ledger_world as w; from pathlib import Path\n"
        "from rebalancer.ledger import rows\n"
        "ledger = w.open_ledger(Path(sys.argv[1]))\n"
        "plan = w.decide(ledger)\n"
        "ledger.store_bundle(plan, w.bundle(plan))\n"
        "ledger.record_sent(w.signed('execute', 8).tx_hash)\n"
        "rows.gas_rows = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "ledger.record_outcome(w.executed(plan, w.signed('execute', 8)))\n"
    )
    process = _python(script, tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors.decode()
    with world.open_ledger(tmp_path) as ledger:
        assert check_integrity(ledger) == []
        assert [tx.state for tx in transactions(ledger)] == ["stored", "sent"]
        ((plan, bundle),) = ledger.open_bundles(1, world.WALLET)
        ledger.record_outcome(world.executed(plan, bundle.transactions[1]))
        assert [tx.state for tx in transactions(ledger)] == ["stored", "mined"]
        assert check_integrity(ledger) == []


def test_kill_9_after_a_method_returned_loses_nothing(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, ledger_world as w; from pathlib import Path\n"
        "w.execute(w.open_ledger(Path(sys.argv[1])))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = _python(script, tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors.decode()
    with world.open_ledger(tmp_path) as ledger:
        assert [tx.state for tx in transactions(ledger)] == ["mined", "mined"]
        assert check_integrity(ledger) == []


def test_every_commit_reaches_the_disk(tmp_path: Path) -> None:
    with world.open_ledger(tmp_path) as ledger:
        settings = [
            _pragma(ledger, name) for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert settings == ["wal", 2, 1]  # 2 is FULL


def test_no_private_key_has_a_place_in_the_ledger() -> None:
    columns = {column.name for table in metadata.sorted_tables for column in table.columns}
    assert not [name for name in columns if re.search("key|secret|password|mnemonic", name)]


def _opened(path: Path) -> Ledger:
    return Ledger.open(path, world.Clock())


def _sent(tx_hash: str) -> Event:
    return Event("sent", tx_hash)


def _pragma(ledger: Ledger, text: str) -> object:
    """Run a pragma on the connection that the pool hands out next."""
    raw = ledger._reader.raw_connection()
    try:
        row = raw.cursor().execute(f"PRAGMA {text}").fetchone()
    finally:
        raw.close()
    return None if row is None else row[0]


def _python(script: str, *arguments: Path | str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parents[1])))},
    )


REWRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
print(connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0])
"""


def test_opened_twice_in_one_process__its_locks_stay(tmp_path: Path) -> None:
    """POSIX gives all locks of a process on a file up when it closes any descriptor of it."""
    path = tmp_path / "ledger.db"
    with Ledger.open(path, clock=lambda: 1) as ledger, ledger.reading() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM events").all()
        Ledger.open(path, clock=lambda: 1).close()
        command = [sys.executable, "-c", REWRITE, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "database is locked" in done.stderr
