"""A wallet that delegates, from the command line: dry run, delegate, trade, revoke."""

from __future__ import annotations

from typing import Any

import pytest

from rebalancer.bundler.executor import WALLET_EXECUTOR
from rebalancer.bundler.pace import Pace
from rebalancer.cli.session import Session
from rebalancer.devchain.accounts import TREASURY

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


@pytest.mark.parametrize("verb", ["delegate", "revoke", "deploy"])
def test_kill_switch__holds_what_is_of_no_plan_too(
    own_wallet: Any, devchain: Any, verb: str
) -> None:
    devchain.rpc.call("anvil_setCode", WALLET_EXECUTOR.address, "0x")
    before = devchain.rpc.call("eth_getTransactionCount", TREASURY, "pending")
    assert own_wallet.bare("pause", "--all", "--reason", "lunch").code == 0

    refused = own_wallet.run(verb, "--execute")

    assert refused.code == 8
    assert "the kill switch is set: lunch" in refused.err
    assert devchain.rpc.call("eth_getTransactionCount", TREASURY, "pending") == before


def test_delegate__while_a_plans_transaction_is_out__waits_for_it(
    drifted: Any, devchain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its nonce would be taken, and the plan would be found replaced."""
    monkeypatch.setenv("REBALANCER_RELAY_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("REBALANCER_RELAY_KEY", "0x" + "7a" * 32)
    monkeypatch.setattr(Session, "pace", lambda *_: impatient())
    drifted.edit(drifted.portfolio, "submission: public", "submission: flashbots")
    elsewhere = ("--ledger", str(drifted.folder / "elsewhere.sqlite"))
    assert drifted.run("rebalance", "--execute", *elsewhere).code == 3

    for verb in ("delegate", "deploy"):
        refused = drifted.run(verb, "--execute", *elsewhere)
        assert refused.code == 5, verb
        assert "not at their end" in refused.err
        assert "rebalancer rebalance --execute" in refused.err
    checks = drifted.run("doctor", "--json", *elsewhere).json["checks"]
    (nonce,) = [check for check in checks if check["name"] == "nonce"]
    assert nonce["warning"]
    assert "1 earlier plan(s) not at their end" in nonce["detail"]


def impatient() -> Pace:
    ticks = iter(range(10**6))
    return Pace(clock=lambda: float(next(ticks)), sleep=lambda _: None, silence_s=30.0)


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
