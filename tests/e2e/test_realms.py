"""What happens on a fork stays there: ledger, leases and keys of the real chain are not touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Workspace


def test_named_ledger__each_anvil_has_its_own_beside_it(
    drifted: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REBALANCER_LEDGER", str(drifted.folder / "shared.sqlite"))
    assert drifted.run("rebalance", "--execute").code == 0
    files = {path.name for path in drifted.folder.glob("*.sqlite")}
    assert "shared.sqlite" not in files
    assert len(files) == 1
    assert next(iter(files)).startswith("shared.anvil-")
    assert drifted.run("audit", "reconcile").code == 0


def test_shared_database__refused_on_a_fork(drifted: Workspace) -> None:
    result = drifted.run("rebalance", "--execute", "--ledger", "postgresql://db.example/ledger")
    assert result.code == 2
    assert "shared database" in result.err


def test_demo__touches_nothing_of_the_users(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "REBALANCER_LEDGER": str(tmp_path / "real.sqlite"),
        "REBALANCER_PRIVATE_KEY": "0x" + "11" * 32,
        "REBALANCER_RPC_URL": "http://127.0.0.1:9",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    done = subprocess.run(
        [str(Path(sys.executable).parent / "rebalancer"), "demo", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("*.sqlite"))
    assert "11" * 32 not in done.stdout + done.stderr


def test_deploy__takes_the_wallets_lease(workspace: Workspace) -> None:
    from rebalancer.cli.session import Session
    from rebalancer.keeper.lease import hold_lease

    session = Session.open(workspace.portfolio, rpc_url=workspace.rpc_url)
    with hold_lease(session.lease_folder(), 1, session.resolved.portfolio.wallet):
        assert workspace.run("deploy", "--execute").code == 7
    assert workspace.run("deploy", "--execute").code == 0
