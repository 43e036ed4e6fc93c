"""What goes to the screen: tables for people on stdout, JSON for programs, errors on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rebalancer.errors import (
    ConfigError,
    ExecutionError,
    LedgerError,
    PlanError,
    ReadError,
    RebalancerError,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


_TABLE_WIDTH = 118


def console(stderr: bool = False) -> Console:
    """A console that is never narrower than the tables: a cut number would be a wrong number."""
    from rich.console import Console

    out = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    out.width = max(out.width, _TABLE_WIDTH) if out.is_terminal else _TABLE_WIDTH
    return out


def show(*parts: RenderableType) -> None:
    """Print tables and text."""
    from rich.text import Text

    out = console()
    for part in parts:
        # Prose is wrapped by the terminal: a hash that is broken in two cannot be copied.
        out.print(part, soft_wrap=isinstance(part, (str, Text)))
    sys.stdout.flush()


def show_line(text: str) -> None:
    """Print one line as it is, however long: a log line is for grep."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show_json(value: Any) -> None:
    """Print canonical JSON: the same value gives the same bytes."""
    from rebalancer.model import to_json

    sys.stdout.write(to_json(value) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Progress, on stderr, so that it never mixes with what was asked for."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


#: The way out where an error does not bring one: what to do about its class.
_WAYS_OUT = (
    (LedgerError, "trade no further before `rebalancer audit reconcile` says what is wrong"),
    (ExecutionError, "look at `rebalancer doctor`, and at the transaction, before going on"),
    (PlanError, "nothing was signed; plan again, and report it if it stays (--debug)"),
    (ReadError, "try again, or through another RPC endpoint; `rebalancer doctor` shows each"),
    (ConfigError, "correct it as it says; the README explains every key, flag and variable"),
)


def way_out(error: RebalancerError) -> str:
    """What to do about it, never empty: the error's own hint, or that of its class."""
    ways = (text for kind, text in _WAYS_OUT if isinstance(error, kind))
    return error.hint or next(ways, "run it again with --debug, and report what it prints")


def error_document(error: RebalancerError) -> dict[str, Any]:
    """An error as plain data."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "hint": way_out(error),
        "exit_code": error.exit_code,
    }


def show_error(error: RebalancerError, as_json: bool) -> None:
    """One line that says what is wrong, and one with the way out."""
    if as_json:
        show_json({"error": error_document(error)})
    sys.stderr.write(f"error: {error}\n")
    sys.stderr.write(f"  way out: {way_out(error)}\n")
    for line in getattr(error, "__notes__", ()):
        sys.stderr.write(f"  note: {line}\n")
