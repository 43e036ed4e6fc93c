"""A wallet that delegates, from the command line: dry run, delegate, trade, revoke."""

from __future__ import annotations

from typing import Any

import pytest

WALLET_MODE = ("approvals: exact", "mode: eip7702\napprovals: exact")


@pytest.fixture
def own_wallet(drifted: Any) -> Any:
    """The drifted portfolio in the mode eip7702, its contract deployed."""
    drifted.edit(drifted.portfolio, *WALLET_MODE)
    assert drifted.run("deploy", "--execute").code == 0
    return drifted


def test_delegate__without_execute__changes_nothing(own_wallet: Any) -> None:
    shown = own_wallet.run("delegate")

    assert shown.code == 0
    assert "add --execute to do it" in shown.out
    assert own_wallet.run("delegation", "--json").json["delegate"] is None


def test_rebalance__before_delegating__says_what_is_missing(own_wallet: Any) -> None:
    refused = own_wallet.run("rebalance", "--execute")

    assert refused.code == 5
    assert "rebalancer delegate --execute" in refused.err
    doctor = own_wallet.run("doctor", "--json")
    assert doctor.code == 5
    (mode,) = [check for check in doctor.json["checks"] if check["name"] == "mode"]
    assert "delegates to nothing" in mode["detail"]


def test_delegate__rebalance__revoke__all_from_the_command_line(own_wallet: Any) -> None:
    delegated = own_wallet.run("delegate", "--execute", "--json").json
    assert delegated["before"] is None
    assert own_wallet.run("delegation", "--json").json["executor"] is True
    doctor = own_wallet.run("doctor", "--json")
    (mode,) = [check for check in doctor.json["checks"] if check["name"] == "mode"]
    assert mode["detail"].startswith("eip7702 works")
    assert "allowance" in mode["detail"]

    done = own_wallet.run("rebalance", "--execute", "--json")

    assert done.code == 0, done.err
    assert done.json["executed"] is True
    assert own_wallet.run("audit", "reconcile").code == 0
    assert own_wallet.run("revoke", "--json").json["tx_hash"] is None
    revoked = own_wallet.run("revoke", "--execute", "--json").json
    assert revoked["before"] == delegated["delegate"]
    assert revoked["delegate"] is None
    assert "already" in own_wallet.run("revoke", "--execute").out
