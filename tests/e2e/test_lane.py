"""Who sends, as the portfolio file says; what .env lacks is said before anything is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from rebalancer.ledger.schema import events
from rebalancer.ledger.store import Ledger

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain

WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


def nonce(chain: DevChain) -> int:
    return int(chain.rpc.call("eth_getTransactionCount", WALLET, "pending"), 16)


def choose(place: Workspace, way: str) -> None:
    place.edit(place.portfolio, "submission: public", f"submission: {way}")


def ways_in_ledger(place: Workspace) -> set[str]:
    (path,) = place.folder.glob("*.sqlite")
    with Ledger.open(path, clock=lambda: 0, create=False) as ledger, ledger.reading() as connection:
        notes = connection.execute(select(events.c.note).where(events.c.kind == "sent"))
        return set(notes.scalars())


@pytest.mark.parametrize(
    ("way", "given", "missing"),
    [
        ("private", {}, "REBALANCER_PRIVATE_TX_URL"),
        ("flashbots", {}, "REBALANCER_RELAY_URL"),
        ("flashbots", {"REBALANCER_RELAY_URL": "http://127.0.0.1:9"}, "REBALANCER_RELAY_KEY"),
        (
            "flashbots",
            {"REBALANCER_RELAY_URL": "http://127.0.0.1:9", "REBALANCER_RELAY_KEY": "nonsense"},
            "relay key",
        ),
    ],
)
def test_what_a_private_way_needs_is_asked_for_by_name(
    drifted: Workspace,
    devchain: DevChain,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    given: dict[str, str],
    missing: str,
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    choose(drifted, way)
    start = nonce(devchain)
    refused = drifted.run("rebalance", "--execute")
    assert refused.code == 2
    assert missing in refused.err
    assert "nonsense" not in refused.err
    assert drifted.run("rebalance").code == 0, "a dry run sends nothing and needs none of it"
    assert nonce(devchain) == start


def test_the_ledger_says_which_way_it_went(
    drifted: Workspace, devchain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anvil knows no eth_sendPrivateTransaction: it stands for the plainest private endpoint."""
    monkeypatch.setenv("REBALANCER_PRIVATE_TX_URL", devchain.url)
    choose(drifted, "private")
    assert drifted.run("rebalance", "--execute", "--json").json["executed"] is True
    assert ways_in_ledger(drifted) == {"private"}
    assert drifted.run("audit", "reconcile").code == 0


def test_the_public_way_is_the_default(drifted: Workspace, devchain: DevChain) -> None:
    assert drifted.run("rebalance", "--execute", "--json").json["executed"] is True
    assert ways_in_ledger(drifted) == {"public"}


@pytest.mark.parametrize("line", ["submission: secret", "confirmations: -1", "replace_after: 1.5"])
def test_a_value_that_cannot_be_is_refused(drifted: Workspace, line: str) -> None:
    key = line.partition(":")[0]
    old = {"submission": "submission: public", "replace_after": "replace_after: 3"}
    drifted.edit(drifted.portfolio, old.get(key, "approvals: exact"), line)
    refused = drifted.run("status")
    assert refused.code == 2
    assert key in refused.err
