"""``rebalancer propose``: a Safe's portfolio from the command line, or why it is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.safe import NOBODY
from rebalancer.devchain.accounts import DEV_ACCOUNTS, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block
from scripts.compile_contracts import CONTRACTS, compile_contract

SINGLETON = "0xd9Db270c1B5E3Bd161E8c8503c55cEABeE709552"


@pytest.fixture
def safe(devchain: Any, drifted: Any, real_data: Path) -> Any:
    """The treasury's portfolio, its wallet now a Safe; the doctor's key is an owner's."""
    from rebalancer.bundler.safe import MULTI_SEND

    codes = real_data / "mainnet" / "runtime_by_name.json"
    if not codes.is_file():
        pytest.skip(f"no bytecode of a Safe in {real_data}: set REBALANCER_DATA to run this test")
    runtime = json.loads(codes.read_text())["SafeSingleton13"]["runtime"]
    multi_send = compile_contract(CONTRACTS / "mocks" / "MultiSendStandIn.vy")["runtime"]
    proxy = "0x363d3d373d3d3d363d73" + SINGLETON[2:].lower() + "5af43d82803e903d91602b57fd5bf3"
    for address, code in ((SINGLETON, runtime), (MULTI_SEND, multi_send), (TREASURY, proxy)):
        devchain.rpc.call("anvil_setCode", address, code)
    setup = "setup(address[],uint256,address,bytes,address,address,uint256,address)"
    arguments = ([DEV_ACCOUNTS[1]], 1, NOBODY, b"", NOBODY, NOBODY, 0, NOBODY)
    mine_block(devchain.rpc, DEV_ACCOUNTS[2], [call_of(TREASURY, setup, *arguments)])
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
