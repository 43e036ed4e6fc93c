"""``rebalancer propose``: a Safe's portfolio from the command line, or why it is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.devchain.accounts import DEV_ACCOUNTS, TREASURY
from rebalancer.devchain.safes import install_safe
from rebalancer.keeper.lease import hold_lease

STRANGER = "0x00000000000000000000000000000000000000A1"


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


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_propose__executor_missing__shows_the_plan_and_how_to_get_one(
    safe: Any, devchain: Any, flags: list[str]
) -> None:
    devchain.rpc.call("anvil_setCode", EXECUTOR_ADDRESS, "0x")

    shown = safe.run("propose", *flags)

    assert shown.code == 5
    assert "way out: run `rebalancer deploy --execute`" in shown.err
    if flags:
        assert shown.json["error"]["type"] == "ExecutorMissing"
        assert shown.json["plan"]["legs"]
    else:
        assert shown.out.startswith("REBALANCE")


def test_rebalance__too_few_keys__proposes_and_says_so(devchain: Any, drifted: Any) -> None:
    owners = [DEV_ACCOUNTS[1], STRANGER]
    install_safe(devchain.rpc, TREASURY, owners, 2, payer=DEV_ACCOUNTS[2])
    drifted.edit(drifted.portfolio, "approvals: exact", "mode: safe\napprovals: exact")
    before = nonces(devchain.rpc)
    assert drifted.run("rebalance").code == 0

    shown = drifted.run("rebalance", "--execute")
    document = drifted.run("rebalance", "--execute", "--json").json
    kept = drifted.run("keeper", "--once", "--execute")
    refused = drifted.run("propose", "--execute")

    assert shown.code == 0, shown.err
    assert "proposed, not sent: 2 of 2 owners sign 0x" in shown.out
    assert "call(s) of the Safe" in shown.out
    assert "propose --out FILE" in shown.out
    assert (document["executed"], document["proposal"]["nonce"]) == (False, 0)
    assert kept.code == 0
    assert "proposed, not sent" in kept.out
    assert refused.code == 2
    assert "asks for 2 of its 2 owners, keys of 1 are at hand" in refused.err
    assert "REBALANCER_OWNER_KEYSTORES" in refused.err
    assert nonces(devchain.rpc) == before
    assert drifted.run("audit", "reconcile").code == 0


@pytest.mark.parametrize("verb", ["propose", "rebalance"])
def test_execute__enough_keys__trades_and_the_audit_agrees(
    devchain: Any, safe: Any, verb: str
) -> None:
    before = nonces(devchain.rpc)

    done = safe.run(verb, "--execute", "--json")

    assert done.code == 0, done.err
    assert done.json["executed"] is True
    assert len(done.json["fills"]) == len(done.json["plan"]["legs"])
    # One transaction, of the owner whose key is at hand: nobody else's nonce was used.
    sent = {address: now - before[address] for address, now in nonces(devchain.rpc).items()}
    assert {address: n for address, n in sent.items() if n} == {DEV_ACCOUNTS[1]: 1}
    audit = safe.run("audit", "reconcile", "--json")
    assert audit.code == 0, audit.out
    assert audit.json["ok"] is True
    assert audit.json["transactions"] == 1
    assert safe.run("rebalance", "--execute").out.startswith("HOLD")


def test_execute__with_an_out_file__is_refused(safe: Any) -> None:
    refused = safe.run("propose", "--execute", "--out", "proposal.json")

    assert refused.code == 2
    assert "leave one of them away" in refused.err


def test_execute__keystores_of_the_owners__two_of_three(
    devchain: Any, drifted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounts that nobody knows sign by their keystores; a third one sends and pays."""
    first, second, sender = (Account.from_key("0x" + digit * 64) for digit in "123")
    owners = [first.address, second.address, STRANGER]
    install_safe(devchain.rpc, TREASURY, owners, 2, payer=DEV_ACCOUNTS[2])
    drifted.edit(drifted.portfolio, "approvals: exact", "mode: safe\napprovals: exact")
    devchain.rpc.call("anvil_setBalance", sender.address, hex(10**18))
    for name, account in (("first", first), ("second", second)):
        store = account.encrypt("secret", iterations=2)
        (tmp_path / f"{name}.json").write_text(json.dumps(store))
    (tmp_path / "password").write_text("secret\n")
    files = f"{tmp_path / 'first.json'}, {tmp_path / 'second.json'}"
    monkeypatch.setenv("REBALANCER_OWNER_KEYSTORES", files)
    monkeypatch.setenv("REBALANCER_OWNER_PASSWORD_FILES", str(tmp_path / "password"))
    monkeypatch.setenv("REBALANCER_PRIVATE_KEY", sender.key.to_0x_hex())

    done = drifted.run("propose", "--execute", "--json")

    assert done.code == 0, done.err
    assert done.json["executed"] is True
    count = devchain.rpc.call("eth_getTransactionCount", sender.address, "latest")
    assert int(count, 16) == 1
    assert drifted.run("audit", "reconcile").code == 0


def test_execute__key_of_a_stranger_among_the_owners__is_named(
    safe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Account.from_key("0x" + "4" * 64)
    monkeypatch.setenv("REBALANCER_OWNER_KEYS", stranger.key.to_0x_hex())

    refused = safe.run("rebalance", "--execute")

    assert refused.code == 2
    assert f"the key of {stranger.address} is no owner's" in refused.err
    assert DEV_ACCOUNTS[1] in refused.err


def test_execute__sender_acts_for_another_wallet_now__waits(safe: Any, tmp_path: Path) -> None:
    """The sender's nonce has one owner, too."""
    (folder,) = (tmp_path / "state" / "rebalancer").glob("anvil-*")

    with hold_lease(folder, 1, DEV_ACCOUNTS[1]):
        refused = safe.run("rebalance", "--execute")

    assert refused.code == 7
    assert DEV_ACCOUNTS[1] in refused.err


def nonces(rpc: Any) -> dict[str, int]:
    return {
        address: int(rpc.call("eth_getTransactionCount", address, "latest"), 16)
        for address in DEV_ACCOUNTS
    }


def test_propose__in_another_mode__is_refused(workspace: Any) -> None:
    refused = workspace.run("propose")

    assert refused.code == 2
    assert "mode: safe" in refused.err


def test_doctor__wallet_that_is_no_safe__says_so(workspace: Any) -> None:
    workspace.edit(workspace.portfolio, "approvals: exact", "mode: safe\napprovals: exact")

    (mode,) = [c for c in workspace.run("doctor", "--json").json["checks"] if c["name"] == "mode"]

    assert "is no Safe" in mode["detail"]
