"""Blocks that vanish: what was in them is followed until it is final, or can never be mined."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from bundler_kit import (
    GWEI,
    MemoryJournal,
    Trade,
    make_plan,
    nonce_of,
    pace,
    signer_of,
)

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.fills import SWAP
from rebalancer.bundler.follow import Step
from rebalancer.bundler.lane import Lane
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.recover import recover
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.fork import DevChain, open_fork
from rebalancer.devchain.mainnet import USDC, WETH
from rebalancer.errors import NonceConflict
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Bundle, Plan

DEPTH = 3


@pytest.fixture(scope="module")
def own_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevChain]:
    """A chain of one's own: going back within a snapshot costs Anvil the code of old states."""
    with open_fork(log_dir=tmp_path_factory.mktemp("anvil")) as chain:
        deploy(chain.rpc, signer_of(ARBITRAGEUR), 1, 300 * GWEI, pace())
        yield chain


@pytest.fixture
def rpc(own_chain: DevChain) -> Iterator[Rpc]:
    rpc = own_chain.rpc
    snapshot = rpc.call("evm_snapshot")
    rpc.call("evm_setAutomine", False)
    yield rpc
    rpc.call("evm_setAutomine", True)
    rpc.call("anvil_dropAllTransactions")
    assert rpc.call("evm_revert", snapshot)


@pytest.fixture
def plan(rpc: Rpc, mainnet: Network) -> Plan:
    return make_plan(rpc, mainnet, [Trade(WETH, USDC, 10**18)])


@pytest.fixture
def bundle(rpc: Rpc, plan: Plan) -> Bundle:
    return prepare(rpc, plan, signer_of()).bundle


@dataclass
class Fate:
    """Mines a block at each look; when ``due``, goes back to the start and does ``instead``."""

    rpc: Rpc
    due: Callable[[], bool]
    instead: Callable[[], None] = lambda: None
    start: str = field(init=False)
    happened: bool = False

    def __post_init__(self) -> None:
        self.start = self.rpc.call("evm_snapshot")

    def tick(self, _seconds: float = 0) -> None:
        if not self.happened and self.due():
            self.reorganise()
        self.rpc.call("evm_mine")

    def reorganise(self) -> None:
        """Another branch, with nothing of ours in it."""
        self.happened = True
        assert self.rpc.call("evm_revert", self.start)
        self.rpc.call("anvil_dropAllTransactions")
        self.instead()
        self.rpc.call("anvil_mine", 2, 13)

    def pace(self) -> Pace:
        return Pace(clock=time.monotonic, sleep=self.tick, poll_s=0.0, silence_s=20.0)


def executions(rpc: Rpc) -> int:
    topics = [SWAP, "0x" + EXECUTOR_ADDRESS[2:].lower().rjust(64, "0")]
    logs = rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "topics": topics})
    return len({log["transactionHash"] for log in logs})


def pass_deadline(rpc: Rpc, plan: Plan) -> Callable[[], None]:
    def act() -> None:
        rpc.call("evm_setNextBlockTimestamp", plan.deadline_ts + 1)

    return act


def lane() -> Lane:
    return Lane(signer=signer_of(), confirmations=DEPTH)


def test_both_transactions_vanish_and_both_come_back(rpc: Rpc, plan: Plan, bundle: Bundle) -> None:
    first = nonce_of(rpc)
    fate = Fate(rpc, due=lambda: executions(rpc) == 1)
    journal = MemoryJournal()
    outcomes = submit(rpc, journal, plan, bundle, fate.pace(), lane())
    assert fate.happened
    assert [outcome.status for outcome in outcomes] == [1, 1]
    assert (executions(rpc), nonce_of(rpc)) == (1, first + 2)
    assert journal.kinds().count("reorged") == 2
    for outcome in outcomes:
        receipt = rpc.call("eth_getTransactionReceipt", outcome.tx_hash)
        assert receipt["blockHash"] == outcome.block_hash
    head = int(rpc.call("eth_blockNumber"), 16)
    assert head - outcomes[-1].block_number + 1 >= DEPTH, "believed before it was deep enough"


def test_the_approval_vanishes_while_the_execution_waits(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    """The execution can only be mined after it: the way back leads to the earlier nonce."""
    approve, execute = bundle.transactions
    journal = MemoryJournal()
    fate = Fate(rpc, due=lambda: ("sent", execute.tx_hash) in journal.events)
    submit(rpc, journal, plan, bundle, fate.pace(), lane())
    assert fate.happened
    assert ("reorged", approve.tx_hash) in journal.events
    assert executions(rpc) == 1


def test_reorganised_while_nobody_looked__the_record_says_so(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    journal = MemoryJournal()
    fate = Fate(rpc, due=lambda: False)

    class Gone(BaseException):
        pass

    def until_mined(seconds: float) -> None:
        if executions(rpc) and ("mined", bundle.transactions[1].tx_hash) in journal.events:
            raise Gone
        fate.tick()

    with pytest.raises(Gone):
        submit(rpc, journal, plan, bundle, Pace(time.monotonic, until_mined, 0.0), lane())
    fate.reorganise()
    assert executions(rpc) == 0
    (settlement,) = recover(rpc, journal, 1, TREASURY, fate.pace(), lane())
    assert [outcome.status for outcome in settlement.outcomes] == [1, 1]
    assert executions(rpc) == 1
    assert journal.kinds().count("reorged") == 2


def test_what_vanishes_and_is_too_late_does_not_trade(rpc: Rpc, plan: Plan, bundle: Bundle) -> None:
    """The other branch is past the deadline: neither of the two is sent again."""
    first = nonce_of(rpc)
    journal = MemoryJournal()
    fate = Fate(rpc, due=lambda: executions(rpc) == 1, instead=pass_deadline(rpc, plan))
    (settlement,) = _settled(rpc, journal, plan, bundle, fate)
    assert settlement == (Step.EXPIRED, Step.UNSENT)
    assert (executions(rpc), nonce_of(rpc)) == (0, first)
    assert not journal.open_bundles(1, TREASURY)


def test_what_vanishes_for_another_transaction_of_the_wallet_is_given_up(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    first = nonce_of(rpc)

    def by_hand() -> None:
        transaction = {
            "type": 2,
            "chainId": 1,
            "nonce": first,
            "to": TREASURY,
            "value": 0,
            "data": b"",
            "gas": 21_000,
            "maxFeePerGas": 200 * GWEI,
            "maxPriorityFeePerGas": GWEI,
        }
        rpc.call("eth_sendRawTransaction", signer_of().sign(transaction)[0])

    journal = MemoryJournal()
    fate = Fate(rpc, due=lambda: executions(rpc) == 1, instead=by_hand)
    with pytest.raises(NonceConflict, match="was used by another transaction: 0x"):
        submit(rpc, journal, plan, bundle, fate.pace(), lane())
    assert (executions(rpc), nonce_of(rpc)) == (0, first + 1)
    assert not journal.open_bundles(1, TREASURY)


def _settled(
    rpc: Rpc, journal: MemoryJournal, plan: Plan, bundle: Bundle, fate: Fate
) -> list[tuple[Step, ...]]:
    """How a stored bundle ends, by the steps of what was dropped."""
    journal.store_bundle(plan, bundle)
    settlements = recover(rpc, journal, 1, TREASURY, fate.pace(), lane())
    return [tuple(item.step for item in settlement.dropped) for settlement in settlements]
