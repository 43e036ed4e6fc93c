"""Killed with -9 at every send: the next run finds out what happened and does not send twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rebalancer.evm.abi import topic

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain

WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
SWAP = topic("Swap(address,uint256,uint256,uint256,uint256,address)")
#: The plan of this market: one approval, then the execution.
SENDS = 2

#: The command line with a node that pulls the plug at its n-th send, before or after it.
KILLED = """
import os, signal, sys
from rebalancer.cli.main import main
from rebalancer.evm.rpc import HttpRpc

when, number, *args = sys.argv[1:]
real, sends = HttpRpc.call, 0

def call(self, method, *params):
    global sends
    if method != "eth_sendRawTransaction":
        return real(self, method, *params)
    sends += 1
    if sends < int(number):
        return real(self, method, *params)
    if when == "after":
        real(self, method, *params)
    os.kill(os.getpid(), signal.SIGKILL)

HttpRpc.call = call
main(args)
"""


def killed_run(place: Workspace, when: str, number: int) -> None:
    args = ["rebalance", "--execute", "-p", str(place.portfolio), "--rpc-url", place.rpc_url]
    process = subprocess.run(
        [sys.executable, "-c", KILLED, when, str(number), *args],
        cwd=place.folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr


def swaps(chain: DevChain, since: int) -> int:
    """How many transactions of the wallet swapped since a block."""
    logs = chain.rpc.call("eth_getLogs", {"fromBlock": hex(since), "topics": [SWAP]})
    senders = {
        log["transactionHash"]: chain.rpc.call("eth_getTransactionByHash", log["transactionHash"])[
            "from"
        ]
        for log in logs
    }
    return sum(sender.lower() == WALLET.lower() for sender in senders.values())


def nonce(chain: DevChain) -> int:
    return int(chain.rpc.call("eth_getTransactionCount", WALLET, "pending"), 16)


def head(chain: DevChain) -> int:
    return int(chain.rpc.call("eth_blockNumber"), 16)


def check_settled(place: Workspace, chain: DevChain, since: int, nonce_before: int) -> None:
    """The next run settles it; then everything happened once, and the ledger is true."""
    settled = place.run("rebalance", "--execute", "--json")
    assert settled.code == 0, settled.err
    assert swaps(chain, since) == 1
    assert nonce(chain) == nonce_before + SENDS
    again = place.run("rebalance", "--execute", "--json")
    assert again.code == 0, again.err
    assert again.json["decision"] == "hold"
    assert nonce(chain) == nonce_before + SENDS
    reconciled = place.run("audit", "reconcile", "--json")
    assert reconciled.code == 0, reconciled.out
    audit = place.run("audit", "gas", "--json").json
    assert audit["totals"][0]["transactions"] == SENDS


@pytest.mark.parametrize("number", range(1, SENDS + 1))
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed__at_a_send__happens_once(
    drifted: Workspace, devchain: DevChain, when: str, number: int
) -> None:
    since, start = head(devchain) + 1, nonce(devchain)
    killed_run(drifted, when, number)
    check_settled(drifted, devchain, since, start)


def test_killed__between_sent_and_mined__is_awaited(drifted: Workspace, devchain: DevChain) -> None:
    since, start = head(devchain) + 1, nonce(devchain)
    devchain.rpc.call("evm_setAutomine", False)
    killed_run(drifted, "after", 1)
    assert nonce(devchain) == start + 1
    assert int(devchain.rpc.call("eth_getTransactionCount", WALLET, "latest"), 16) == start
    devchain.rpc.call("evm_setAutomine", True)
    devchain.rpc.call("anvil_mine", 1)
    check_settled(drifted, devchain, since, start)


def test_killed__and_dry_run_next__sends_nothing(drifted: Workspace, devchain: DevChain) -> None:
    start = nonce(devchain)
    killed_run(drifted, "before", 1)
    assert drifted.run("rebalance").code == 0
    assert nonce(devchain) == start


def test_killed__deadline_passed__is_dropped_and_planned_again(
    drifted: Workspace, devchain: DevChain
) -> None:
    since, start = head(devchain) + 1, nonce(devchain)
    killed_run(drifted, "before", 1)
    now = devchain.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"]
    devchain.rpc.call("evm_setNextBlockTimestamp", int(now, 16) + 400)
    devchain.rpc.call("anvil_mine", 1)
    result = drifted.run("rebalance", "--execute", "--json")
    assert result.code == 0, result.err
    assert result.json["recovered"][0]["transactions"] == []
    assert result.json["executed"] is True
    assert swaps(devchain, since) == 1
    assert nonce(devchain) == start + SENDS
    assert drifted.run("audit", "reconcile").code == 0
