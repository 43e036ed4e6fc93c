"""An approval that was given up with its plan, and mined when nobody waited for it any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from bundler_kit import GWEI, allowance, pace, signer_of
from legs_kit import Draft, decided
from sqlalchemy import select

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.lane import Lane
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.recover import recover
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, WETH
from rebalancer.errors import ExecutionError
from rebalancer.evm.rpc import Rpc
from rebalancer.ledger.gas_audit import gas_audit
from rebalancer.ledger.queries import transactions
from rebalancer.ledger.reconcile import reconcile
from rebalancer.ledger.schema import events
from rebalancer.ledger.store import Ledger
from rebalancer.model import Bundle

UNIT = 10**18
LANE = Lane(confirmations=2)


class Deaf:
    """A node that says it took a transaction, and has never heard of it."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc

    def call(self, method: str, *params: Any) -> Any:
        if method == "eth_sendRawTransaction":
            return "0x" + "00" * 32
        return self.rpc.call(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return self.rpc.batch(calls)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db", lambda: 1_750_000_000) as opened:
        yield opened


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    deploy(devchain.rpc, signer_of(), 1, 300 * GWEI, pace())
    return devchain.rpc


@pytest.fixture
def given_up(rpc: Rpc, mainnet: Network, ledger: Ledger) -> Bundle:
    """An approval and an execution, both dropped past the deadline; the node never had them."""
    draft = Draft(rpc, mainnet)
    draft.swap(WETH, USDC, 2 * UNIT)
    head = rpc.call("eth_getBlockByNumber", "latest", False)
    plan = decided(rpc, ledger, draft, deadline_ts=int(head["timestamp"], 16) + 30)
    bundle = prepare(rpc, plan, signer_of()).bundle
    assert [tx.purpose for tx in bundle.transactions] == ["approve", "execute"]
    with pytest.raises(ExecutionError):
        submit(Deaf(rpc), ledger, plan, bundle, mining(rpc), LANE)
    assert states(ledger) == ["dropped", "dropped"]
    assert reconcile(ledger, rpc).ok
    return bundle


def mining(rpc: Rpc) -> Pace:
    """Time passes by blocks."""
    return Pace(clock=lambda: 0.0, sleep=lambda _: rpc.call("evm_mine"), poll_s=0.0, silence_s=1e9)


def states(ledger: Ledger) -> list[str]:
    return [record.state for record in transactions(ledger)]


def kinds_of(ledger: Ledger, tx_hash: str) -> list[str]:
    """What the ledger says of a transaction, one word after the other."""
    statement = select(events.c.kind).where(events.c.subject == tx_hash).order_by(events.c.seq)
    with ledger.reading() as connection:
        return list(connection.execute(statement).scalars())


def test_late_approval__is_recorded_by_the_next_run_and_reconciles(
    rpc: Rpc, ledger: Ledger, given_up: Bundle
) -> None:
    approve, _ = given_up.transactions
    assert recover(rpc, ledger, 1, TREASURY, mining(rpc), LANE) == ()
    rpc.call("eth_sendRawTransaction", approve.raw)
    rpc.call("evm_mine")
    assert allowance(rpc, WETH, EXECUTOR_ADDRESS) == 2 * UNIT
    (finding,) = reconcile(ledger, rpc).findings
    assert finding.code == "mined-unrecorded"
    assert "keeper, records it" in finding.text

    (settled,) = recover(rpc, ledger, 1, TREASURY, mining(rpc), LANE)

    assert [outcome.tx_hash for outcome in settled.outcomes] == [approve.tx_hash]
    assert states(ledger) == ["mined", "dropped"]
    assert transactions(ledger)[0].confirmed
    assert reconcile(ledger, rpc).ok
    (total,) = gas_audit(ledger).totals
    assert (total.transactions, total.traded_e8) == (1, 0)
    assert recover(rpc, ledger, 1, TREASURY, mining(rpc), LANE) == (), "it is said once"


def test_late_approval__taken_out_of_its_block_again__is_given_up_again(
    rpc: Rpc, ledger: Ledger, given_up: Bundle
) -> None:
    approve, _ = given_up.transactions
    rpc.call("eth_sendRawTransaction", approve.raw)
    rpc.call("evm_mine")
    reorged: list[Any] = []

    def reorganise(_seconds: float) -> None:
        if not reorged:
            reorged.append(rpc.call("anvil_reorg", 2, []))
        rpc.call("evm_mine")

    pace = Pace(clock=lambda: 0.0, sleep=reorganise, poll_s=0.0, silence_s=1e9)
    recover(rpc, ledger, 1, TREASURY, pace, Lane(confirmations=5))

    assert reorged, "it was in its block first"
    assert kinds_of(ledger, approve.tx_hash)[-3:] == ["mined", "reorged", "dropped"]
    assert states(ledger) == ["dropped", "dropped"]
    assert reconcile(ledger, rpc).ok


def test_nonce_that_was_used_by_something_else__is_looked_at_in_vain(
    rpc: Rpc, ledger: Ledger, given_up: Bundle
) -> None:
    pay = call_of(WETH.address, "transfer(address,uint256)", ARBITRAGEUR, 1)
    mine_block(rpc, TREASURY, [pay])
    assert len(ledger.given_up(1, TREASURY)) == 2, "the ledger does not know what used it"

    assert recover(rpc, ledger, 1, TREASURY, mining(rpc), LANE) == ()

    assert states(ledger) == ["dropped", "dropped"]
    assert reconcile(ledger, rpc).ok
    assert ledger.given_up(1, ARBITRAGEUR) == []
    assert ledger.given_up(5, TREASURY) == []
