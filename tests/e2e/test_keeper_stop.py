"""A keeper told to stop: within seconds, whatever chain and node do, and nothing is lost."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from keeper_kit import goes_on, keeping, nonce, open_transactions, until
from rpc_proxy import Exchange, Proxy, hang, honest

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain


@pytest.fixture
def proxy(devchain: DevChain) -> Iterator[Proxy]:
    """A node in front of the chain, whose answers a test may spoil."""
    found = Proxy(devchain.url)
    yield found
    found.close()


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
    assert "once more leaves at once" in err
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

    then = drifted.run("keeper", "--once", "--execute")
    assert f"settled an earlier run, mined: {', '.join(still_open)}; block" in then.out
    assert nonce(devchain) == start + 2, "nothing was sent twice"
    assert drifted.run("audit", "reconcile").code == 0


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
