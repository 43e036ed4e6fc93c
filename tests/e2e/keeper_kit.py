"""A keeper in a process of its own, and what it left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain

WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
COMMAND = str(Path(sys.executable).parent / "rebalancer")


def nonce(chain: DevChain) -> int:
    return int(chain.rpc.call("eth_getTransactionCount", WALLET, "pending"), 16)


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


def second_of(workspace: Workspace) -> str:
    """Another portfolio of the same wallet; its path."""
    path = workspace.folder / "second.yaml"
    path.write_text(workspace.portfolio.read_text().replace("name: treasury", "name: second"))
    return str(path)


def rival_of(workspace: Workspace) -> str:
    """Another portfolio that wants other shares of the same wallet; its path."""
    path = second_of(workspace)
    text = Path(path).read_text().replace("WBTC, target: 20%", "WBTC, target: 30%")
    Path(path).write_text(text.replace("USDC, target: 20%", "USDC, target: 10%"))
    return path
