"""Every verb as a user types it, on the synthetic mainnet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain

WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
COMMAND = str(Path(sys.executable).parent / "rebalancer")


def nonce(chain: DevChain) -> int:
    return int(chain.rpc.call("eth_getTransactionCount", WALLET, "pending"), 16)


def test_help__names_every_verb(workspace: Workspace) -> None:
    result = workspace.bare("--help")
    assert result.code == 0
    for verb in ("init", "doctor", "fork", "status", "plan", "rebalance", "keeper", "audit",
                 "deploy", "demo", "approve", "pause", "resume"):  # fmt: skip
        assert f"  {verb} " in result.out


def test_help__does_not_wait_for_the_heavy_libraries() -> None:
    code = (
        "import sys\n"
        "from rebalancer.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'web3', 'sqlalchemy', 'eth_account', 'pydantic', 'rich', 'apscheduler', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.endswith("[]\n")


def test_status__json_and_table_agree(workspace: Workspace) -> None:
    document = workspace.run("status", "--json").json
    assert sum(p["weight_ppm"] for p in document["positions"]) == 1_000_000
    assert sum(p["value_e8"] for p in document["positions"]) == document["nav_e8"]
    assert sum(e["weight_ppm"] for e in document["exposures"]) == 1_000_000
    table = workspace.run("status").out
    for position in document["positions"]:
        assert position["name"] in table
    assert "…" not in table.replace(document["block"]["hash"][:10] + "…", "")


def test_status__at_a_block_of_the_past(drifted: Workspace, devchain: DevChain) -> None:
    then = drifted.run("status", "--json", "--at", str(devchain.block_number)).json
    now = drifted.run("status", "--json").json
    assert then["block"]["number"] == devchain.block_number
    assert then["nav_e8"] < now["nav_e8"]
    future = drifted.run("status", "--at", "99999999")
    assert future.code == 3
    assert "99999999" in future.err


def test_plan__same_input_same_bytes(drifted: Workspace, devchain: DevChain) -> None:
    start = nonce(devchain)
    first, second = drifted.run("plan", "--json"), drifted.run("plan", "--json")
    assert first.code == 0
    assert first.out == second.out
    assert first.json["decision"] == "rebalance"
    assert nonce(devchain) == start
    assert not list(drifted.folder.glob("*.sqlite"))  # planning leaves nothing behind


def test_plan__holds_with_reasons(workspace: Workspace) -> None:
    document = workspace.run("plan", "--json").json
    assert document["decision"] == "hold"
    assert document["reasons"]
    table = workspace.run("plan").out
    assert "HOLD" in table
    assert document["reasons"][0]["text"][:20] in table


def test_rebalance__is_a_dry_run_by_default(drifted: Workspace, devchain: DevChain) -> None:
    start = nonce(devchain)
    result = drifted.run("rebalance")
    assert result.code == 0
    assert "dry run: nothing was signed or sent" in result.out
    assert nonce(devchain) == start
    document = drifted.run("rebalance", "--json").json
    assert document["executed"] is False
    legs = [(leg["amount_in"], leg["amount_out"]) for leg in document["plan"]["legs"]]
    simulated = [(f["amount_in"], f["amount_out"]) for f in document["simulation"]["fills"]]
    assert simulated == legs


def test_rebalance__dry_run_needs_no_key(
    drifted: Workspace, devchain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = "0x00000000000000000000000000000000DeaDBeef"
    drifted.edit(drifted.portfolio, WALLET, stranger)
    result = drifted.run("rebalance", "--execute")
    assert result.code == 2
    assert "there is no key to sign with" in result.err
    monkeypatch.setenv("REBALANCER_PRIVATE_KEY", "0x" + "11" * 32)
    assert drifted.run("plan").code == 4  # worth nothing, but no key is asked for


def test_rebalance__execute__to_the_wei__audited(drifted: Workspace, devchain: DevChain) -> None:
    document = drifted.run("rebalance", "--execute", "--json").json
    assert document["executed"] is True
    assert [(f["amount_in"], f["amount_out"]) for f in document["fills"]] == [
        (leg["amount_in"], leg["amount_out"]) for leg in document["plan"]["legs"]
    ]
    assert document["nav"]["after_e8"] == document["nav"]["planned_after_e8"]
    reconciled = drifted.run("audit", "reconcile", "--json")
    assert reconciled.code == 0
    assert reconciled.json["ok"] is True
    assert drifted.run("audit", "reconcile").out.startswith(
        "reconciled to the wei, no difference: 2 "
    )
    gas = drifted.run("audit", "gas", "--json").json
    assert gas["totals"][0]["gas_used"] == document["gas_used"]
    table = drifted.run("audit", "gas").out
    assert f"{document['gas_used']:,} gas" in table
    start = nonce(devchain)
    assert drifted.run("rebalance", "--execute", "--json").json["decision"] == "hold"
    assert nonce(devchain) == start


def test_rebalance__leaves_no_allowance(drifted: Workspace, devchain: DevChain) -> None:
    from rebalancer.bundler.executor import EXECUTOR_ADDRESS
    from rebalancer.evm.abi import encode_call, to_hex

    sold = drifted.run("rebalance", "--execute", "--json").json["plan"]["legs"][0]["token_in"]
    data = to_hex(encode_call("allowance(address,address)", WALLET, EXECUTOR_ADDRESS))
    answer = devchain.rpc.call("eth_call", {"to": sold["address"], "data": data}, "latest")
    assert int(answer, 16) == 0


def test_doctor__all_well__and_not(workspace: Workspace, devchain: DevChain) -> None:
    well = workspace.run("doctor", "--json")
    assert well.code == 0
    assert well.json["ok"] is True
    devchain.rpc.call("anvil_setBalance", WALLET, "0x1")
    ill = workspace.run("doctor", "--json")
    assert ill.code == 5
    assert [c["name"] for c in ill.json["checks"] if c["exit_code"]] == ["gas purse"]
    assert "way out: send ETH" in workspace.run("doctor").out


def test_deploy__dry__then_done__then_there(devchain: DevChain, workspace: Workspace) -> None:
    again = workspace.run("deploy", "--execute", "--json").json
    assert again["tx_hash"] is None
    assert again["deployed"] is True


def test_fork__serves_until_told_to_stop(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "MAINNET_RPC_URL"}
    process = subprocess.Popen(
        [COMMAND, "fork", "--json", "--move", "WETH=-10%"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        assert document["chain_id"] == 1
        assert WALLET in [wallet["address"] for wallet in document["wallets"]]
        from rebalancer.errors import RpcUnavailable
        from rebalancer.evm.rpc import HttpRpc

        rpc = HttpRpc(document["rpc_url"])
        assert int(rpc.call("eth_chainId"), 16) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        with pytest.raises(RpcUnavailable):
            rpc.call("eth_chainId")
    finally:
        process.kill()
        process.wait()


def test_rebalance__unreadable_afterwards__is_told_as_done(
    drifted: Workspace, devchain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was mined is reported, also when feeds went stale while it was."""
    from rebalancer.errors import StalePrice
    from rebalancer.keeper import cycle

    def unreadable(*_: object) -> object:
        raise StalePrice("feed ETH/USD is old")

    monkeypatch.setattr(cycle, "_value_at", unreadable)
    result = drifted.run("rebalance", "--execute")
    assert result.code == 0
    assert "equal to the wei" in result.out
    assert "could not be read after it: feed ETH/USD is old" in result.out
    assert drifted.run("audit", "reconcile").code == 0
