"""The kill switch: a file that stops every process of this user, at its next signature or send."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rebalancer.errors import LedgerError, Paused

_FILE = "STOPPED"


def stop_all(folder: Path, reason: str) -> Path:
    """Stop everything, also what is running now; returns the file that does it."""
    path = folder / _FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(reason + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise LedgerError(
            f"the kill switch {path} cannot be set: {os.strerror(error.errno or 0)}",
            hint="stop the processes themselves",
        ) from None
    return path


def release_all(folder: Path) -> bool:
    """Take the kill switch back; returns whether it was set."""
    try:
        (folder / _FILE).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LedgerError(
            f"the kill switch in {folder} cannot be released: {os.strerror(error.errno or 0)}",
            hint=f"delete the file {_FILE} there yourself",
        ) from None
    return True


def kill_guard(folder: Path) -> Callable[[], None]:
    """What raises Paused while the kill switch is set, or cannot be looked at."""
    path = folder / _FILE

    def check() -> None:
        try:
            reason = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError):
            reason = "its file cannot be read"
        raise Paused(
            f"the kill switch is set: {reason}",
            hint="nothing is signed or sent; `rebalancer resume --all` releases it",
        )

    return check
