"""The keeper: dry by default, one cycle at a time, errors do as documented."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from keeper_kit import WALLET, nonce, second_of

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain


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
