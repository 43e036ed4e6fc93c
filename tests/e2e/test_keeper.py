"""The keeper: dry by default, one cycle at a time, stops in good order, errors do as documented."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rpc_proxy import Exchange, Proxy, hang, honest

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain

WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
COMMAND = str(Path(sys.executable).parent / "rebalancer")


@pytest.fixture
def proxy(devchain: DevChain) -> Iterator[Proxy]:
    """A node in front of the chain, whose answers a test may spoil."""
    found = Proxy(devchain.url)
    yield found
    found.close()


def nonce(chain: DevChain) -> int:
    return int(chain.rpc.call("eth_getTransactionCount", WALLET, "pending"), 16)


def test_once__dry(drifted: Workspace, devchain: DevChain) -> None:
    start = nonce(devchain)
    result = drifted.run("keeper", "--once")
    assert result.code == 0
    assert "would rebalance" in result.out
    assert nonce(devchain) == start


def test_once__execute(drifted: Workspace) -> None:
    document = drifted.run("keeper", "--once", "--execute", "--json").json
    assert document["portfolio"] == "treasury"
    assert document["executed"] is True
    assert drifted.run("audit", "reconcile").code == 0


def test_once__error__worst_exit_code_and_follow_up(drifted: Workspace, devchain: DevChain) -> None:
    devchain.rpc.call("anvil_setBalance", WALLET, "0x1")
    result = drifted.run("keeper", "--once", "--execute", "--json")
    assert result.code == 5
    assert result.json["error"]["type"] == "InsufficientGas"
    assert result.json["follow_up"].startswith("halted this portfolio")


def test_lease__held__skips(drifted: Workspace, devchain: DevChain) -> None:
    from rebalancer.cli.session import Session
    from rebalancer.keeper.lease import hold_lease

    start = nonce(devchain)
    folder = Session.open(drifted.portfolio, rpc_url=drifted.rpc_url).lease_folder()
    with hold_lease(folder, 1, WALLET):
        result = drifted.run("keeper", "--once", "--execute")
    assert result.code == 7
    assert "LeaseHeld" in result.out
    assert nonce(devchain) == start


@contextmanager
def keeping(place: Workspace, rpc_url: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """A keeper that trades, in a process of its own; gone afterwards."""
    url = rpc_url or place.rpc_url
    args = ["-p", str(place.portfolio), "--rpc-url", url, "--execute", "--json"]
    process = subprocess.Popen(
        [COMMAND, "keeper", *args],
        cwd=place.folder,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_runs_by_schedule__stops_on_sigterm(drifted: Workspace, devchain: DevChain) -> None:
    drifted.edit(drifted.portfolio, "schedule: {every: 5m}", "schedule: {every: 1s}")
    with keeping(drifted) as process:
        assert process.stdout is not None
        cycles = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err.endswith("stopped\n")
    assert [cycle["decision"] for cycle in cycles] == ["rebalance", "hold", "hold"]
    assert drifted.run("audit", "reconcile").code == 0


def until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.05)


def open_transactions(place: Workspace) -> list[str]:
    from rebalancer.cli.session import Session

    session = Session.open(place.portfolio, rpc_url=place.rpc_url)
    with session.ledger(create=False) as book:
        bundles = book.open_bundles(1, WALLET)
    return [tx.tx_hash for _, bundle in bundles for tx in bundle.transactions]


def goes_on(place: Workspace) -> Any:
    """The next start: it settles what was left open, and the record is true."""
    result = place.run("keeper", "--once", "--execute", "--json")
    assert result.code == 0, result.out
    assert place.run("audit", "reconcile").code == 0
    assert open_transactions(place) == []
    return result.json


def test_no_block_comes__ctrl_c__leaves_what_was_sent_to_the_next_start(
    drifted: Workspace, devchain: DevChain
) -> None:
    """Without it the keeper waits for the chain for three minutes."""
    start = nonce(devchain)
    devchain.rpc.call("evm_setAutomine", False)
    with keeping(drifted) as process:
        until(lambda: nonce(devchain) > start)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    left = json.loads(out)
    assert (process.returncode, err.splitlines()[-1]) == (0, "stopped")
    assert (left["error"]["type"], left["follow_up"]) == ("Stopped", "left to the next start")
    still_open = open_transactions(drifted)
    assert still_open[0] in left["error"]["message"]

    devchain.rpc.batch([("evm_setAutomine", (True,)), ("anvil_mine", ())])
    then = goes_on(drifted)
    assert [t["tx_hash"] for t in then["recovered"][0]["transactions"]] == still_open
    assert then["decision"] == "hold"


def test_silent_node__second_ctrl_c__leaves_at_once_and_loses_nothing(
    drifted: Workspace, devchain: DevChain, proxy: Proxy
) -> None:
    start = nonce(devchain)
    proxy.misbehave(lambda exchange: (hang if exchange.proxy.sent else honest)(exchange))
    with keeping(drifted, proxy.url) as process:
        until(lambda: bool(proxy.sent))
        process.send_signal(signal.SIGINT)
        time.sleep(1)  # sooner it would be the same press
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("left at once; what was sent is in the ledger")
    still_open = open_transactions(drifted)
    assert len(still_open) == 2

    then = goes_on(drifted)
    assert [t["tx_hash"] for t in then["recovered"][0]["transactions"]] == still_open
    assert nonce(devchain) == start + 2, "nothing was sent twice"


def test_ctrl_c_before_anything_was_signed__nothing_is(
    drifted: Workspace, devchain: DevChain, proxy: Proxy
) -> None:
    """Told to stop while it reads and plans, a keeper sends nothing more."""
    start, begun, told = nonce(devchain), threading.Event(), threading.Event()

    def slow(exchange: Exchange) -> None:
        begun.set()
        told.wait(30)
        honest(exchange)

    proxy.misbehave(slow)
    with keeping(drifted, proxy.url) as process:
        begun.wait(30)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        told.set()
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "before anything was signed" in json.loads(out)["error"]["message"]
    assert (open_transactions(drifted), nonce(devchain)) == ([], start)


def test_two_of_one_name__refused_before_anything_runs(drifted: Workspace) -> None:
    result = drifted.run("keeper", "--once", "-p", str(drifted.portfolio))
    assert result.code == 2
    assert "called 'treasury'" in result.err
    assert result.out == ""


def test_wrong_key__halts_and_ends_the_keeper(
    drifted: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REBALANCER_PRIVATE_KEY", "zz")
    result = drifted.run("keeper", "--execute", "--json")
    assert result.code == 2
    assert result.json["follow_up"].startswith("halted this portfolio")
    assert result.json["error"]["exit_code"] == 2


def test_surprise__halts_its_portfolio_alone(
    drifted: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rebalancer.cli.session import Session

    second = drifted.folder / "second.yaml"
    second.write_text(drifted.portfolio.read_text().replace("name: treasury", "name: second"))
    real = Session.cycle

    def cycle(session: Session, execute: bool, **more: Any) -> object:
        if session.resolved.portfolio.name == "treasury":
            raise ZeroDivisionError
        return real(session, execute, **more)

    monkeypatch.setattr(Session, "cycle", cycle)
    result = drifted.run("keeper", "--once", "-p", str(second))
    assert result.code == 1
    assert "treasury: RebalancerError: this should not have happened: ZeroDivisionError" in (
        result.out
    )
    assert "second: block" in result.out


def second_of(workspace: Workspace) -> str:
    """Another portfolio of the same wallet; its path."""
    path = workspace.folder / "second.yaml"
    path.write_text(workspace.portfolio.read_text().replace("name: treasury", "name: second"))
    return str(path)


def test_two_portfolios__other_shares_of_one_wallet__never_trade_against_each_other(
    drifted: Workspace, devchain: DevChain
) -> None:
    start, path = nonce(devchain), rival_of(drifted)
    result = drifted.run("keeper", "--once", "--execute", "-p", path)
    assert result.code == 2
    assert "second and treasury want other shares of one wallet's" in result.err
    assert nonce(devchain) == start
    assert drifted.run("keeper", "--once", "-p", path).code == 0, "a dry run may compare them"


def rival_of(workspace: Workspace) -> str:
    """Another portfolio that wants other shares of the same wallet; its path."""
    path = second_of(workspace)
    text = Path(path).read_text().replace("WBTC, target: 20%", "WBTC, target: 30%")
    Path(path).write_text(text.replace("USDC, target: 20%", "USDC, target: 10%"))
    return path


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
        assert "portfolio.yaml was changed and traded by another run" in message
    assert nonce(devchain) == traded


def test_two_portfolios__dry__are_of_one_block(drifted: Workspace, devchain: DevChain) -> None:
    """Blocks come while the first cycle works; both are read in one pass all the same."""
    devchain.rpc.call("evm_setIntervalMining", 1)
    try:
        result = drifted.run("keeper", "--once", "--json", "-p", second_of(drifted))
    finally:
        devchain.rpc.call("evm_setIntervalMining", 0)
        devchain.rpc.call("evm_setAutomine", True)
    second, treasury = (json.loads(line) for line in result.out.splitlines())
    assert (second["portfolio"], treasury["portfolio"]) == ("second", "treasury")
    assert second["block"] == treasury["block"]
    assert second["decision"] == treasury["decision"] == "rebalance"


def test_two_portfolios__what_the_first_sends__the_second_has_read(drifted: Workspace) -> None:
    """One wallet: what the second would have traded is done, and it sees that."""
    result = drifted.run("keeper", "--once", "--json", "--execute", "-p", second_of(drifted))
    first, second = (json.loads(line) for line in result.out.splitlines())
    assert first["executed"]
    assert second["block"]["number"] >= max(t["block_number"] for t in first["transactions"])
    assert second["decision"] == "hold"
