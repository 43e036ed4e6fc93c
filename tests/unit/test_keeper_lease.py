"""The lease: one process at a time, free again however its holder ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rebalancer.errors import LeaseHeld, LedgerError
from rebalancer.keeper.lease import hold_lease

WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
HOLDER = """
import sys, time
from pathlib import Path
from rebalancer.keeper.lease import hold_lease
with hold_lease(Path(sys.argv[1]), 1, sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lease__held_by_another_process__refused__free_after_kill_9(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path), WALLET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LeaseHeld, match=WALLET), hold_lease(tmp_path, 1, WALLET):
            pytest.fail("two holders")
        with hold_lease(tmp_path, 10, WALLET):
            pass  # the same wallet on another chain is another lease
        os.kill(holder.pid, signal.SIGKILL)
    with hold_lease(tmp_path, 1, WALLET):
        pass


def test_lease__case_of_the_address__does_not_matter(tmp_path: Path) -> None:
    with (
        hold_lease(tmp_path, 1, WALLET),
        pytest.raises(LeaseHeld),
        hold_lease(tmp_path, 1, WALLET.lower()),
    ):
        pytest.fail("two holders")


def test_lease__folder_that_cannot_be__one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="no lease"), hold_lease(tmp_path / "file", 1, WALLET):
        pytest.fail("no folder, no lease")
