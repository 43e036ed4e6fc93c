"""An order killed in front of and behind every step of its life: no slice twice, none lost.

The real cycle, ledger and chain; the process is killed at its n-th record or send, for every n, as
``kill -9`` would: nothing is cleaned up, and the next one has a new connection to what was on the
disk. Then cycles go on until the order is over.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from direct_rpc import DirectRpc
from test_crash_matrix import Killed, Mortal, Scythe, executions

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.lane import Lane
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.signer import LocalSigner
from rebalancer.config.load import load_portfolio
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.devchain.accounts import TREASURY, dev_key
from rebalancer.devchain.cheats import call_of, mine_block, view
from rebalancer.devchain.fork import DevChain, open_fork
from rebalancer.devchain.mainnet import WETH
from rebalancer.devchain.market import move
from rebalancer.evm.rpc import Rpc
from rebalancer.keeper.cycle import run
from rebalancer.ledger.orders import order_record, orders
from rebalancer.ledger.reconcile import reconcile
from rebalancer.ledger.store import Ledger

if TYPE_CHECKING:
    from rebalancer.config.networks import Network

ROOT = Path(__file__).resolve().parents[2]
SLICES = 2
#: Cycles after which an order that is not over never will be.
LOOKS = 10


class Wire:
    """The node; what is sent passes by the scythe."""

    def __init__(self, rpc: Rpc, scythe: Scythe) -> None:
        self._rpc = rpc
        self._scythe = scythe

    def call(self, method: str, *params: Any) -> Any:
        if method != "eth_sendRawTransaction":
            return self._rpc.call(method, *params)
        return self._scythe.around("send", lambda: self._rpc.call(method, *params))

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return list(self._rpc.batch(calls))


class Shaken(Wire):
    """A node whose chain loses the first slice once, two blocks after it was mined."""

    def __init__(self, rpc: Rpc) -> None:
        super().__init__(rpc, Scythe())
        self._fork = ""
        self._swaps = executions(rpc)
        self.reorgs = 0

    def call(self, method: str, *params: Any) -> Any:
        if method == "eth_sendRawTransaction" and not self._fork:
            self._fork = self._rpc.call("evm_snapshot")
        return super().call(method, *params)

    def tick(self, _seconds: float = 0) -> None:
        if not self._fork or self.reorgs or executions(self._rpc) == self._swaps:
            self._rpc.call("evm_mine")
            return
        assert self._rpc.call("evm_revert", self._fork)
        self._rpc.call("anvil_dropAllTransactions")
        self._rpc.call("anvil_mine", 2, 13)
        self.reorgs += 1


class MortalBook(Mortal):
    """As Mortal, for every record: also those of orders and consent."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)
        if name != "record":
            return super().__getattr__(name)

        def record(event: Any, *args: Any, **more: Any) -> Any:
            return self._scythe.around(event.kind, lambda: method(event, *args, **more))

        return record


@dataclass(frozen=True)
class Stage:
    """A wallet with a large plan to be traded in slices, its executor allowed to take WETH."""

    rpc: Rpc
    resolved: ResolvedPortfolio
    signer: LocalSigner

    def weth(self) -> int:
        (held,) = view(self.rpc, WETH.address, "balanceOf(address)", ("uint256",), TREASURY)
        return int(held)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[DevChain]:
    """A chain of one's own: going back within a snapshot costs Anvil the code of old states."""
    with open_fork(log_dir=tmp_path / "anvil") as fork:
        yield fork


@pytest.fixture
def stage(chain: DevChain, mainnet: Network, tmp_path: Path) -> Stage:
    key = dev_key(TREASURY)
    assert key is not None
    signer, rpc = LocalSigner.from_key(key), DirectRpc(chain.url)
    deploy(rpc, signer, 1, 300 * 10**9, pace(rpc))
    allow = call_of(WETH.address, "approve(address,uint256)", EXECUTOR_ADDRESS, 2**200)
    mine_block(rpc, TREASURY, [allow])
    move(rpc, mainnet, {"WETH": 600_000})
    shutil.copyfile(ROOT / "networks.yaml", tmp_path / "networks.yaml")
    text = (ROOT / "portfolio.example.yaml").read_text()
    text = text.replace("approvals: exact ", "approvals: never ")
    text += f"execution: {{slices: {SLICES}, every_blocks: 1}}\n"
    (tmp_path / "portfolio.yaml").write_text(text)
    return Stage(rpc, load_portfolio(tmp_path / "portfolio.yaml", None), signer)


def pace(rpc: Rpc) -> Pace:
    return Pace(clock=lambda: 0.0, sleep=lambda _: rpc.call("evm_mine"), poll_s=0.0)


def cycles(stage: Stage, path: Path, scythe: Scythe) -> None:
    """Processes, a cycle each, until the order is over; the one at the scythe's turn is killed."""
    for _ in range(LOOKS):
        with Ledger.open(path, clock=lambda: 1) as ledger:
            book: Any = MortalBook(ledger, scythe)
            lane = Lane(signer=stage.signer)
            try:
                wire = Wire(stage.rpc, scythe)
                run(wire, stage.resolved, book, stage.signer, pace(stage.rpc), lane)
            except Killed:
                scythe.at = 0
            found = orders(ledger, "treasury")
            if found and found[-1].state == "closed":
                return
        stage.rpc.call("evm_mine")
    pytest.fail("the order was never over")


def check_end(stage: Stage, path: Path, weth_before: int, swaps_before: int) -> None:
    """One order, all of it sold within its limits; the chain, the ledger and the order agree."""
    with Ledger.open(path, clock=lambda: 1) as ledger:
        (found,) = orders(ledger, "treasury")
        record = order_record(ledger, found.order_id)
        done = [item for item in record.slices if item.state == "executed"]
        assert not record.so_far.pending
        assert len(done) == SLICES
        assert executions(stage.rpc) - swaps_before == len(done)
        (most,) = record.order.sells
        sold = record.so_far.of(most.token)
        assert weth_before - stage.weth() == sold <= most.raw
        assert sold * 100 >= most.raw * 99
        assert record.so_far.cost_e8 <= record.order.max_cost_e8
        assert ledger.open_bundles(1, TREASURY) == []
        reconciled = reconcile(ledger, stage.rpc)
        assert reconciled.ok, [finding.text for finding in reconciled.findings]


def play(stage: Stage, folder: Path, at: int, behind: bool) -> list[str]:
    """One cell of the matrix; returns the steps that were passed."""
    snapshot = stage.rpc.call("evm_snapshot")
    stage.rpc.call("evm_mine")
    path, scythe = folder / f"{at}-{behind}.sqlite", Scythe(at, behind)
    before, swaps = stage.weth(), executions(stage.rpc)
    cycles(stage, path, scythe)
    check_end(stage, path, before, swaps)
    stage.rpc.call("anvil_dropAllTransactions")
    assert stage.rpc.call("evm_revert", snapshot)
    return scythe.passed


def test_killed_at_every_step__no_slice_twice__none_lost(
    stage: Stage, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "cells"
    folder.mkdir()
    passed = play(stage, folder, 0, behind=False)
    assert passed.count("opened") == passed.count("closed") == 1
    assert passed.count("store_bundle") == SLICES
    kills = 0
    for at in range(1, len(passed) + 1):
        for behind in (False, True):
            play(stage, folder, at, behind)
            kills += 1
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stdout.write(
            f"\norder killed at {len(passed)} steps of its life, before and after each: {kills} "
            "kills, no slice twice, none lost, all reconciled\n"
        )


def test_a_slice_that_is_reorganised_away__is_traded_once(stage: Stage, tmp_path: Path) -> None:
    path, wire = tmp_path / "ledger.sqlite", Shaken(stage.rpc)
    before, swaps = stage.weth(), executions(stage.rpc)
    clock = Pace(clock=lambda: 0.0, sleep=wire.tick, poll_s=0.0)
    lane = Lane(signer=stage.signer, confirmations=2)
    with Ledger.open(path, clock=lambda: 1) as ledger:
        for _ in range(LOOKS):
            run(wire, stage.resolved, ledger, stage.signer, clock, lane)
            if orders(ledger, "treasury")[-1].state == "closed":
                break
    assert wire.reorgs == 1
    check_end(stage, path, before, swaps)
