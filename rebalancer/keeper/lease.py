"""The lease that keeps a second keeper out: one process at a time acts for a wallet on a chain."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rebalancer.errors import LeaseHeld, LedgerError


@contextmanager
def hold_lease(folder: Path, chain_id: int, wallet: str) -> Iterator[None]:
    """Hold the wallet's lease; the system frees it when the process ends, however it ends.

    Raises LeaseHeld at once when another process has it: waiting would act on old prices.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{chain_id}-{wallet.lower()}.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise LeaseHeld(
            f"another rebalancer acts for {wallet} on chain {chain_id} right now",
            hint="wait until it is done, or stop it",
        ) from None
    except OSError as error:
        raise LedgerError(
            f"no lease can be taken in {folder}: {os.strerror(error.errno or 0)}",
            hint="make the folder writable, or name another with XDG_STATE_HOME",
        ) from None
    try:
        yield
    finally:
        lock.release()
