"""Killed at every transition, whatever the network does: no double send, no lost record.

The real bundler, ledger and chain; between them stands an ``Outside`` that decides what arrives
and what is mined. A run is killed in front of or behind its n-th transition (a record, or a send),
for every n, as ``kill -9`` would: nothing is cleaned up, and the next run has a new connection to
what was on the disk. (tests/e2e/test_crash.py kills real processes.)
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from direct_rpc import DirectRpc
from eth_utils.crypto import keccak

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.fills import SWAP
from rebalancer.bundler.lane import Lane
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.propose import prepare_execution, propose
from rebalancer.bundler.recover import recover
from rebalancer.bundler.signer import LocalSigner
from rebalancer.bundler.submit import submit
from rebalancer.config.load import load_portfolio
from rebalancer.devchain.accounts import DEV_ACCOUNTS, TREASURY, dev_key
from rebalancer.devchain.fork import DevChain, open_fork
from rebalancer.devchain.market import move
from rebalancer.devchain.safes import install_safe
from rebalancer.errors import ExecutionError
from rebalancer.evm.abi import from_hex, to_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.keeper.cycle import evaluate
from rebalancer.ledger.queries import transactions
from rebalancer.ledger.reconcile import reconcile
from rebalancer.ledger.store import Ledger
from rebalancer.model import Bundle, Plan, Rebalance

if TYPE_CHECKING:
    from rebalancer.config.networks import Network

ROOT = Path(__file__).resolve().parents[2]
CONFIRMATIONS = 2
REPLACE_AFTER = 2
#: The wallet with its own key, and the wallet as a Safe: whose owner sends, with his nonce.
HOLDERS = {"wallet": TREASURY, "safe": DEV_ACCOUNTS[1]}
#: So many answers about the nonce are one too high, then as many one too low.
LIES = 12

SCENARIOS = (
    "arrives",
    "never arrives",
    "arrives and is replaced",
    "mined late",
    "reorged away",
    "node lies about the nonce",
)


class Killed(BaseException):
    """Nothing catches this: the process is gone."""


@dataclass
class Scythe:
    """Kills in front of (``behind`` False) or behind transition ``at``; 0 never kills."""

    at: int = 0
    behind: bool = False
    passed: list[str] = field(default_factory=list)

    def around(self, name: str, act: Callable[[], Any]) -> Any:
        self.passed.append(name)
        mine = len(self.passed) == self.at
        if mine and not self.behind:
            raise Killed
        result = act()
        if mine:
            raise Killed
        return result


class Mortal:
    """The ledger of a process that can be killed at each of its records."""

    def __init__(self, ledger: Ledger, scythe: Scythe) -> None:
        self._ledger = ledger
        self._scythe = scythe

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)
        if not name.startswith(("store_", "record_")):
            return method
        return lambda *args: self._scythe.around(name, lambda: method(*args))


class Outside:
    """The node as we see it, the pool behind it, and who mines what; outlives us."""

    def __init__(self, rpc: Rpc, scenario: str, execute: int) -> None:
        self.rpc = rpc
        self.scenario = scenario
        self.execute = execute  # the nonce of the plan's execution
        self.scythe = Scythe()
        self.sent: dict[str, int] = {}
        self.pool: dict[int, list[str]] = {}
        self.reorgs = 0
        self.fork = ""
        self.lies = 0
        self.ticks = 0

    # What the bundler sees

    def call(self, method: str, *params: Any) -> Any:
        if method == "eth_sendRawTransaction":
            return self.scythe.around("send", lambda: self._take(params[0]))
        if method == "eth_getTransactionByHash" and params[0] in self._pending():
            return {"hash": params[0], "blockHash": None}
        answer = self.rpc.call(method, *params)
        if method == "eth_getTransactionCount" and self.scenario.startswith("node lies"):
            return self._lie(int(answer, 16))
        return answer

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return [self.call(method, *params) for method, params in calls]

    def _take(self, raw: str) -> str:
        tx_hash = to_hex(keccak(from_hex(raw)))
        nonce = nonce_in(raw)
        self.sent[tx_hash] = nonce
        if self.scenario != "never arrives" and tx_hash not in self._hashes(nonce):
            self.pool.setdefault(nonce, []).append(raw)
        return tx_hash

    def _hashes(self, nonce: int) -> list[str]:
        return [to_hex(keccak(from_hex(raw))) for raw in self.pool.get(nonce, [])]

    def _pending(self) -> list[str]:
        """The newest version of each nonce: it took the place of those before."""
        return [self._hashes(nonce)[-1] for nonce in self.pool]

    def _lie(self, nonce: int) -> str:
        if not self.sent or self.lies >= 2 * LIES:
            return hex(nonce)
        self.lies += 1
        return hex(nonce + 1 if self.lies <= LIES else max(nonce - 1, 0))

    # What happens meanwhile

    def tick(self, _seconds: float = 0) -> None:
        """A block, with what this scenario lets into it."""
        self.ticks += 1
        assert self.ticks < 200, "it never ends"
        if self.scenario == "reorged away" and not self.reorgs and self.execute in self.pool:
            self.fork = self.rpc.call("evm_snapshot")
        elif self.scenario == "reorged away" and not self.reorgs and self._executed():
            self._reorganise()
            return
        if self.scenario == "never arrives":
            now = int(self.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
            self.rpc.call("evm_setNextBlockTimestamp", now + 100)
        for nonce in sorted(self.pool):
            raw = self._included(nonce)
            if raw is not None:
                self.rpc.call("eth_sendRawTransaction", raw)
                del self.pool[nonce]
        self.rpc.call("evm_mine")

    def _reorganise(self) -> None:
        """A longer chain without the execution; anvil_reorg would leave the state as it was."""
        assert self.rpc.call("evm_revert", self.fork)
        self.rpc.call("anvil_dropAllTransactions")
        self.rpc.call("anvil_mine", 2, 13)
        self.reorgs += 1

    def _included(self, nonce: int) -> str | None:
        versions = self.pool[nonce]
        if nonce != self.execute or self.scenario not in ("arrives and is replaced", "mined late"):
            return versions[-1]
        if len(versions) < 2:
            return None
        return versions[-1] if self.scenario == "arrives and is replaced" else versions[0]

    def _executed(self) -> bool:
        return executions(self.rpc) > 0


def nonce_in(raw: str) -> int:
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from hexbytes import HexBytes

    return int(TypedTransaction.from_bytes(HexBytes(raw)).as_dict()["nonce"])


def executions(rpc: Rpc) -> int:
    """Transactions of the treasury in which the executor swapped, on the whole chain."""
    topics = [SWAP, "0x" + EXECUTOR_ADDRESS[2:].lower().rjust(64, "0")]
    logs = rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "topics": topics})
    return len({log["transactionHash"] for log in logs})


@dataclass(frozen=True)
class Stage:
    """A plan that is decided, recorded and signed, and everything to bring it on its way."""

    rpc: Rpc
    ledger: Path
    plan: Plan
    bundle: Bundle
    signer: LocalSigner
    holder: str

    @property
    def name(self) -> str:
        return "Safe: " if self.holder == "safe" else ""

    def lane(self) -> Lane:
        return Lane(signer=self.signer, confirmations=CONFIRMATIONS, replace_after=REPLACE_AFTER)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[DevChain]:
    """A chain of one's own: going back within a snapshot costs Anvil the code of old states."""
    with open_fork(log_dir=tmp_path / "anvil") as fork:
        yield fork


@pytest.fixture(params=HOLDERS)
def stage(
    chain: DevChain, mainnet: Network, tmp_path: Path, request: pytest.FixtureRequest
) -> Stage:
    holder: str = request.param
    key = dev_key(HOLDERS[holder])
    assert key is not None
    signer = LocalSigner.from_key(key)
    rpc = DirectRpc(chain.url)
    pace = Pace(clock=lambda: 0.0, sleep=lambda _: None, poll_s=0.0)
    deploy(rpc, signer, 1, 300 * 10**9, pace)
    move(rpc, mainnet, {"WETH": 250_000})
    if holder == "safe":
        install_safe(rpc, TREASURY, [signer.address], 1, payer=DEV_ACCOUNTS[2])
    shutil.copyfile(ROOT / "networks.yaml", tmp_path / "networks.yaml")
    shutil.copyfile(ROOT / "portfolio.example.yaml", tmp_path / "portfolio.yaml")
    resolved = load_portfolio(tmp_path / "portfolio.yaml", None)
    seen = evaluate(rpc, resolved, None)
    assert isinstance(seen.decision, Rebalance)
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, clock=lambda: 1) as ledger:
        ledger.record_decision("treasury", "execute", seen.snapshot, seen.valuation, seen.decision)
    plan = seen.decision.plan
    if holder == "safe":
        bundle = prepare_execution(rpc, propose(rpc, plan), [signer], signer).bundle
        assert [tx.purpose for tx in bundle.transactions] == ["execute"]
    else:
        bundle = prepare(rpc, plan, signer).bundle
        assert [tx.purpose for tx in bundle.transactions] == ["approve", "execute"]
    rpc.call("evm_setAutomine", False)
    return Stage(rpc, path, plan, bundle, signer, holder)


@dataclass
class Tally:
    """What the matrix came to, by scenario."""

    rows: list[tuple[str, int, int]] = field(default_factory=list)


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    found = Tally()
    yield found
    cases = sum(kills for _, _, kills in found.rows)
    lines = ["", "crash matrix: scenario, transitions, kills (before and after each)"]
    lines += [f"  {name:32}{passed:4}{kills:5}" for name, passed, kills in found.rows]
    lines.append(f"  {cases} kills: 0 double sends, 0 lost records, all reconciled")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stdout.write("\n".join(lines) + "\n")


def one_life(stage: Stage, outside: Outside, path: Path, first: bool) -> None:
    """A process: submits, or recovers what it finds; ends by itself or is killed."""
    pace = Pace(clock=lambda: 0.0, sleep=outside.tick, poll_s=0.0)
    with Ledger.open(path, clock=lambda: 1) as ledger:
        journal: Any = Mortal(ledger, outside.scythe)
        try:
            if first:
                submit(outside, journal, stage.plan, stage.bundle, pace, stage.lane())
            else:
                recover(outside, journal, 1, TREASURY, pace, stage.lane())
        except ExecutionError:
            if outside.scenario != "never arrives":
                raise


def check_end(stage: Stage, outside: Outside, path: Path, stored: bool) -> None:
    """Executed exactly once (or never), every record there and final, the chain agrees."""
    happens = stored and outside.scenario != "never arrives"
    first = stage.bundle.transactions[0].nonce
    assert executions(stage.rpc) == int(happens)
    count = len(stage.bundle.transactions)
    used = int(stage.rpc.call("eth_getTransactionCount", stage.signer.address, "latest"), 16)
    assert used == first + (count if happens else 0)
    with Ledger.open(path, clock=lambda: 1) as ledger:
        records = {record.tx_hash: record for record in transactions(ledger)}
        assert outside.sent.keys() <= records.keys(), "sent without a record"
        assert not ledger.open_bundles(1, TREASURY)
        mined = [record for record in records.values() if record.outcome is not None]
        assert all(record.confirmed for record in mined)
        assert all(record.state == "dropped" for record in records.values() if not record.outcome)
        assert sorted(record.nonce for record in mined) == (
            list(range(first, first + count)) if happens else []
        )
        if records:
            reconciled = reconcile(ledger, stage.rpc)
            assert reconciled.ok, [finding.text for finding in reconciled.findings]


def play(stage: Stage, scenario: str, folder: Path, at: int, behind: bool) -> Scythe:
    """One cell of the matrix; returns the scythe, with the transitions that were passed."""
    snapshot = stage.rpc.call("evm_snapshot")
    stage.rpc.call("evm_mine")
    path = folder / f"{at}-{behind}.sqlite"
    shutil.copyfile(stage.ledger, path)
    outside = Outside(stage.rpc, scenario, stage.bundle.transactions[-1].nonce)
    scythe = outside.scythe = Scythe(at, behind)
    stored = True
    try:
        one_life(stage, outside, path, first=True)
    except Killed:
        stored = bool(at > 1 or behind)
        outside.scythe = Scythe()
        one_life(stage, outside, path, first=False)
    else:
        assert at == 0, f"transition {at} was never reached"
    check_end(stage, outside, path, stored)
    stage.rpc.call("anvil_dropAllTransactions")
    assert stage.rpc.call("evm_revert", snapshot)
    return scythe


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_every_transition__executed_at_most_once_and_reconciled(
    stage: Stage, scenario: str, tmp_path: Path, tally: Tally
) -> None:
    folder = tmp_path / "cells"
    folder.mkdir()
    passed = play(stage, scenario, folder, 0, behind=False).passed
    expected = {
        "arrives and is replaced": "store_version",
        "mined late": "store_version",
        "reorged away": "record_reorged",
        "never arrives": "record_dropped",
    }
    assert expected.get(scenario, "record_confirmed") in passed, passed
    kills = 0
    for at in range(1, len(passed) + 1):
        for behind in (False, True):
            play(stage, scenario, folder, at, behind)
            kills += 1
    tally.rows.append((stage.name + scenario, len(passed), kills))
