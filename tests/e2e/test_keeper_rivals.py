"""Portfolios that want other shares of one wallet: in one keeper, and in processes apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from keeper_kit import WALLET, goes_on, keeping, nonce, open_transactions, rival_of, until

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain


def test_two_portfolios__other_shares_of_one_wallet__never_trade_against_each_other(
    drifted: Workspace, devchain: DevChain
) -> None:
    start, path = nonce(devchain), rival_of(drifted)
    result = drifted.run("keeper", "--once", "--execute", "-p", path)
    assert result.code == 2
    assert "second and treasury want other shares of one wallet's" in result.err
    assert nonce(devchain) == start
    assert drifted.run("keeper", "--once", "-p", path).code == 0, "a dry run may compare them"


def test_two_processes__other_shares_of_one_wallet__one_keeps_it_until_it_is_handed_over(
    drifted: Workspace, devchain: DevChain
) -> None:
    drifted.edit(drifted.portfolio, "schedule: {every: 5m}", "schedule: {every: 1s}")
    path = rival_of(drifted)
    rival = ("-p", path, "--rpc-url", drifted.rpc_url)
    with keeping(drifted) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["decision"] == "rebalance"
        start = nonce(devchain)

        while (refused := drifted.bare("rebalance", "--execute", *rival)).code == 7:
            pass  # the keeper's cycle is at work
        assert refused.code == 2
        assert "is kept by the portfolio treasury" in refused.err
        assert f"rebalancer resume --take-over -p {path}" in refused.err
        claim = next(
            check
            for check in drifted.bare("doctor", "--json", *rival).json["checks"]
            if check["name"] == "claim"
        )
        assert (claim["exit_code"], "kept by the portfolio treasury" in claim["detail"]) == (
            2,
            True,
        )
        dry = drifted.bare("rebalance", *rival)
        assert dry.code == 0, "a dry run may compare them"
        assert "with --execute this is refused: " in dry.err
        assert nonce(devchain) == start

        while (taken := drifted.bare("resume", "--take-over", *rival)).code == 7:
            pass
        assert taken.code == 0
        assert taken.out.endswith(f"{WALLET} is kept by second now, no longer by treasury\n")
        out, _ = process.communicate(timeout=30)
        last = json.loads(out.splitlines()[-1])
        assert last["follow_up"].startswith("halted this portfolio")
        assert "is kept by the portfolio second" in last["error"]["message"]
        assert process.returncode == 2
    assert nonce(devchain) == start
    assert drifted.bare("rebalance", "--execute", *rival).code == 0
    assert nonce(devchain) > start
    assert drifted.run("rebalance", "--execute").code == 2
    assert drifted.run("rebalance").code == 0


def test_two_users__who_share_nothing_but_the_ledger__are_kept_apart_too(
    drifted: Workspace, devchain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = ("--ledger", str(drifted.folder / "shared.sqlite"))
    assert drifted.run("rebalance", "--execute", *shared).code == 0
    start = nonce(devchain)
    monkeypatch.setenv("XDG_STATE_HOME", str(drifted.folder / "of another user"))
    rival = (*shared, "-p", rival_of(drifted), "--rpc-url", drifted.rpc_url)
    refused = drifted.bare("rebalance", "--execute", *rival)
    assert (refused.code, nonce(devchain)) == (2, start)
    assert "is kept by the portfolio treasury" in refused.err
    assert drifted.bare("resume", "--take-over", *rival).code == 0
    assert drifted.bare("rebalance", "--execute", *rival).code == 0
    monkeypatch.setenv("XDG_STATE_HOME", str(drifted.folder / "state"))
    assert drifted.run("rebalance", "--execute", *shared).code == 2
    assert drifted.run("audit", "reconcile", *shared).code == 0


def test_killed_while_its_transaction_is_out__the_wallet_is_still_its_own(
    drifted: Workspace, devchain: DevChain
) -> None:
    """``kill -9`` leaves a claim and no lock: another portfolio waits, its own goes on at once."""
    start, path = nonce(devchain), rival_of(drifted)
    devchain.rpc.call("evm_setAutomine", False)
    with keeping(drifted) as process:
        until(lambda: nonce(devchain) > start)
        process.kill()
    still_open = open_transactions(drifted)
    devchain.rpc.batch([("evm_setAutomine", (True,)), ("anvil_mine", ())])
    sent = nonce(devchain)
    refused = drifted.bare("rebalance", "--execute", "-p", path, "--rpc-url", drifted.rpc_url)
    assert (refused.code, nonce(devchain)) == (2, sent)
    assert "is kept by the portfolio treasury" in refused.err
    then = goes_on(drifted)
    assert [t["tx_hash"] for t in then["recovered"][0]["transactions"]] == still_open


def test_file_edited_while_its_keeper_runs__the_keeper_does_not_undo_it(
    drifted: Workspace, devchain: DevChain
) -> None:
    drifted.edit(drifted.portfolio, "schedule: {every: 5m}", "schedule: {every: 1s}")
    with keeping(drifted) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["decision"] == "rebalance"
        drifted.edit(drifted.portfolio, "WBTC, target: 20%", "WBTC, target: 30%")
        drifted.edit(drifted.portfolio, "USDC, target: 20%", "USDC, target: 10%")
        while (done := drifted.run("rebalance", "--execute")).code == 7:
            pass
        assert done.code == 0
        traded = nonce(devchain)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 2
        message = json.loads(out.splitlines()[-1])["error"]["message"]
        assert "portfolio.yaml was changed, and another run trades by it" in message
    assert nonce(devchain) == traded
