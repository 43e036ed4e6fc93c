"""``rebalancer propose``: a Safe's portfolio from the command line, or why it is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.devchain.accounts import DEV_ACCOUNTS, TREASURY
from rebalancer.devchain.safes import install_safe


@pytest.fixture
def safe(devchain: Any, drifted: Any) -> Any:
    """The treasury's portfolio, its wallet now a Safe with one owner."""
    install_safe(devchain.rpc, TREASURY, [DEV_ACCOUNTS[1]], 1, payer=DEV_ACCOUNTS[2])
    drifted.edit(drifted.portfolio, "approvals: exact", "mode: safe\napprovals: exact")
    return drifted


def test_propose__writes_what_the_transaction_builder_loads(safe: Any, tmp_path: Path) -> None:
    target = tmp_path / "proposal.json"

    shown = safe.run("propose", "--out", str(target), "--json")

    assert shown.code == 0, shown.err
    proposal = shown.json["proposal"]
    assert proposal["safe"] == TREASURY
    assert proposal["contractTransactionHash"].startswith("0x")
    written = json.loads(target.read_text())
    assert written == shown.json["transaction_builder"]
    assert written["transactions"][-1]["to"] == EXECUTOR_ADDRESS
    text = safe.run("propose")
    assert proposal["contractTransactionHash"] not in text.err
    assert "1 of 1 owners sign" in text.out


def test_rebalance__of_a_safe__says_who_signs(safe: Any) -> None:
    assert safe.run("rebalance").code == 0

    refused = safe.run("rebalance", "--execute")

    assert refused.code == 2
    assert "rebalancer propose" in refused.err


def test_propose__in_another_mode__is_refused(workspace: Any) -> None:
    refused = workspace.run("propose")

    assert refused.code == 2
    assert "mode: safe" in refused.err


def test_doctor__wallet_that_is_no_safe__says_so(workspace: Any) -> None:
    workspace.edit(workspace.portfolio, "approvals: exact", "mode: safe\napprovals: exact")

    (mode,) = [c for c in workspace.run("doctor", "--json").json["checks"] if c["name"] == "mode"]

    assert "is no Safe" in mode["detail"]
