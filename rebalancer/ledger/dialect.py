"""Everything that differs between SQLite and PostgreSQL: opening, locking, guards, errors."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from rebalancer.errors import LedgerError
from rebalancer.ledger.schema import metadata

#: Execution option of a connection that will write.
WRITES = "ledger_writes"
#: Key of PostgreSQL's advisory lock: "ledger" in ASCII.
_ADVISORY_KEY = 0x6C6564676572

_SQLITE_TROUBLE = {
    sqlite3.SQLITE_BUSY: (
        "is locked by another process",
        "wait until the other rebalancer has finished, or stop it",
    ),
    sqlite3.SQLITE_LOCKED: ("is locked", "wait until the other user of it has finished"),
    sqlite3.SQLITE_READONLY: (
        "cannot be written",
        "check the permissions of the file and its folder, and that the disk is not read-only",
    ),
    sqlite3.SQLITE_PERM: ("cannot be opened", "check the permissions of the file and its folder"),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened",
        "check that the folder exists and that you may write there",
    ),
    sqlite3.SQLITE_FULL: (
        "cannot grow: the disk is full",
        "free some space and run again; the last step was not recorded",
    ),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "check the disk"),
    sqlite3.SQLITE_NOTADB: (
        "is not a ledger",
        "the file is no SQLite database: name another file, or restore a backup",
    ),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "restore it from a backup"),
    sqlite3.SQLITE_CONSTRAINT: ("refused a change", "the ledger is append-only"),
}


def locate(path_or_url: str | Path, *, create: bool, busy_timeout_ms: int) -> tuple[Engine, str]:
    """Engine of a ledger, and its name in messages; nothing is read yet.

    A new SQLite file is made readable for its owner only. Raises LedgerError.
    """
    url = _parse(path_or_url)
    if url.get_backend_name() == "postgresql":
        where = f"postgresql {url.host or 'local'}/{url.database}"
        return _postgresql(url), where
    if not url.database or url.database == ":memory:":
        raise LedgerError("a ledger needs a file", hint="name a path, for example ledger.db")
    path = Path(url.database)
    _make_file(path, create)
    return _sqlite(path, busy_timeout_ms), str(path)


def use_wal(engine: Engine) -> None:
    """Let readers and one writer work side by side; kept in the file, and done once.

    Only for a file that is known to be ours: it changes the file.
    """
    if engine.dialect.name == "sqlite":
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()


def create_guards(connection: Connection) -> None:
    """Make the database itself refuse to change or delete a row of any table."""
    if connection.dialect.name == "sqlite":
        for table in metadata.sorted_tables:
            for statement in _sqlite_guards(table):
                connection.exec_driver_sql(statement)
        return
    connection.exec_driver_sql(
        "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$"
    )
    for table in metadata.sorted_tables:
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table.name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
            f"ON {table.name} FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()"
        )


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn what the database says into one clear LedgerError."""
    try:
        yield
    except DBAPIError as error:
        raise _trouble(where, error.orig) from error
    except sqlite3.Error as error:
        raise _trouble(where, error) from error
    except OverflowError as error:
        raise LedgerError(f"the ledger {where} was given a number that is too large") from error
    except SQLAlchemyError as error:
        raise LedgerError(
            f"the ledger {where} cannot be used: {type(error).__name__}",
            hint="run again with --debug to see all of it",
        ) from error


def _parse(path_or_url: str | Path) -> URL:
    if isinstance(path_or_url, Path) or "://" not in path_or_url:
        return URL.create("sqlite", database=str(path_or_url))
    try:
        url = make_url(path_or_url)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() not in ("sqlite", "postgresql"):
        raise LedgerError(
            "the ledger's URL is not understood",
            hint="use a file's path, or postgresql://user@host/database",
        )
    return url


def _make_file(path: Path, create: bool) -> None:
    try:
        if not create:
            if not path.is_file():
                raise LedgerError(
                    f"there is no ledger at {path}",
                    hint="check the path; `rebalancer rebalance` makes one, and on each Anvil"
                    " another",
                )
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # One that is there is SQLite's alone to open: closing any file of ours on it would give up
        # the locks of this process's other connections, as POSIX has it.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise LedgerError(
            f"the ledger {path} cannot be opened: {error.strerror}",
            hint="check that the folder exists and that you may write there",
        ) from error


def _sqlite(path: Path, busy_timeout_ms: int) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), hide_parameters=True)

    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        # The driver must not open transactions of its own: ``begin`` below does.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={busy_timeout_ms}",
            "synchronous=FULL",
            "foreign_keys=ON",
            "recursive_triggers=ON",
            "trusted_schema=OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: Connection) -> None:
        # A writer takes its lock before it reads: what it folded cannot change under it.
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
    return engine


def _postgresql(url: URL) -> Engine:
    try:
        engine = create_engine(url, hide_parameters=True)
    except (ImportError, NoSuchModuleError):
        raise LedgerError(
            "the driver for the PostgreSQL ledger is not installed",
            hint="install psycopg beside the rebalancer",
        ) from None

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(WRITES):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_KEY})")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    event.listen(engine, "begin", begin)
    return engine


def _sqlite_guards(table: Table) -> Iterator[str]:
    """No UPDATE, no DELETE, and no INSERT OR REPLACE, which deletes without asking triggers."""
    refuse = "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
    name = table.name
    yield f"CREATE TRIGGER {name}_no_update BEFORE UPDATE ON {name} {refuse}"
    yield f"CREATE TRIGGER {name}_no_delete BEFORE DELETE ON {name} {refuse}"
    keys = [[column.name for column in table.primary_key.columns]]
    keys += [[column.name] for column in table.columns if column.unique]
    for number, key in enumerate(keys):
        same = " AND ".join(f"{column} = NEW.{column}" for column in key)
        there = f"WHEN EXISTS (SELECT 1 FROM {name} WHERE {same})"  # noqa: S608
        yield f"CREATE TRIGGER {name}_no_replace_{number} BEFORE INSERT ON {name} {there} {refuse}"


def _trouble(where: str, error: BaseException | None) -> LedgerError:
    # Extended result codes keep the primary one in their low byte.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _SQLITE_TROUBLE:
        what, hint = _SQLITE_TROUBLE[code]
    elif isinstance(error, sqlite3.Error):
        what, hint = f"cannot be used ({type(error).__name__})", "restore it from a backup"
    else:
        what = f"cannot be used ({type(error).__name__})"
        hint = "check that the database is up, that the user may write, and that it is ours"
    return LedgerError(f"the ledger {where} {what}", hint=hint)
