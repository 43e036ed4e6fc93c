"""Whatever dies, and whenever: one execution on the chain, one record of it, no second send."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from bundler_kit import (
    GWEI,
    FileJournal,
    Hooked,
    MemoryJournal,
    Trade,
    approve,
    give,
    lost,
    lost_once,
    make_plan,
    nonce_of,
    pace,
    signer_of,
)

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import CREATE2_PROXY, EXECUTOR_ADDRESS
from rebalancer.bundler.fills import SWAP
from rebalancer.bundler.follow import Step
from rebalancer.bundler.lane import Desk, Lane
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.recover import recover
from rebalancer.bundler.settle import settle
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, USDT, WETH
from rebalancer.errors import (
    ChainMismatch,
    ExecutionError,
    ExecutorMissing,
    NonceConflict,
    RpcUnavailable,
    SimulationReverted,
    TransactionReverted,
)
from rebalancer.evm.rpc import HttpRpc, Rpc, RpcError
from rebalancer.model import Bundle, Plan, TransactionOutcome

SELL_WETH = (Trade(WETH, USDC, 10**18),)


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    deploy(devchain.rpc, signer_of(ARBITRAGEUR), 1, 300 * GWEI, pace())
    return devchain.rpc


@pytest.fixture
def plan(rpc: Rpc, mainnet: Network) -> Plan:
    return make_plan(rpc, mainnet, SELL_WETH)


@pytest.fixture
def bundle(rpc: Rpc, plan: Plan) -> Bundle:
    """An approval and an execution, signed."""
    bundle = prepare(rpc, plan, signer_of()).bundle
    assert [tx.purpose for tx in bundle.transactions] == ["approve", "execute"]
    return bundle


def executions(rpc: Rpc) -> int:
    """Swaps of the executor for the treasury that ever happened on this chain."""
    topics = [SWAP, "0x" + EXECUTOR_ADDRESS[2:].lower().rjust(64, "0")]
    logs = rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "topics": topics})
    return sum(int(log["topics"][2], 16) == int(TREASURY, 16) for log in logs)


def assert_executed_once(rpc: Rpc, journal: MemoryJournal, plan: Plan, bundle: Bundle) -> None:
    assert executions(rpc) == 1
    assert nonce_of(rpc) == bundle.transactions[-1].nonce + 1
    assert {h: o.status for h, o in journal.outcomes.items()} == {
        tx.tx_hash: 1 for tx in bundle.transactions
    }
    fill = journal.outcomes[bundle.transactions[-1].tx_hash].fills[0]
    assert (fill.amount_in, fill.amount_out) == (plan.legs[0].amount_in, plan.legs[0].amount_out)
    assert not journal.open_bundles(1, TREASURY)
    assert recover(rpc, journal, 1, TREASURY, pace()) == (), "there was something left to do"


# kill -9


class StallingJournal(FileJournal):
    """Stops for ever in front of one of its records."""

    stall: Callable[[str], None]

    def record_sent(self, tx_hash: str, via: str = "") -> None:
        self.stall("record_sent")
        super().record_sent(tx_hash, via)

    def record_outcome(self, outcome: TransactionOutcome) -> None:
        self.stall(f"record_outcome {outcome.purpose}")
        super().record_outcome(outcome)

    def keep(self) -> None:
        FileJournal(self.bundles, self.events, self.outcomes, self.closed, self.path).keep()


def victim(url: str, path: Path, plan: Plan, bundle: Bundle, point: str, reached: Event) -> None:
    """Submit in a process of its own, and stand still at ``point`` until killed."""

    def stall(where: str) -> None:
        if where == point:
            reached.set()
            time.sleep(3_600)

    rpc = Hooked(
        HttpRpc(url),
        "eth_sendRawTransaction",
        before=lambda count: stall(f"before send {count}"),
        after=lambda count: stall(f"after send {count}"),
    )
    journal = StallingJournal(path=path)
    journal.stall = stall
    submit(rpc, journal, plan, bundle, pace())


def kill_at(url: str, path: Path, plan: Plan, bundle: Bundle, point: str) -> None:
    """Run ``victim`` up to ``point``, then kill -9."""
    context = multiprocessing.get_context("fork")
    reached = context.Event()
    process = context.Process(target=victim, args=(url, path, plan, bundle, point, reached))
    process.start()
    try:
        assert reached.wait(30), f"the process never came to {point!r}"
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize(
    ("point", "executed", "events"),
    [
        ("before send 1", 0, ["stored", "stored"]),
        ("after send 1", 0, ["stored", "stored"]),
        ("record_outcome approve", 0, ["stored", "stored", "sent"]),
        ("before send 2", 0, ["stored", "stored", "sent", "mined"]),
        ("after send 2", 1, ["stored", "stored", "sent", "mined"]),
        ("record_outcome execute", 1, ["stored", "stored", "sent", "mined", "sent"]),
    ],
)
def test_killed_anywhere_it_is_executed_exactly_once(
    devchain: DevChain,
    rpc: Rpc,
    plan: Plan,
    bundle: Bundle,
    tmp_path: Path,
    point: str,
    executed: int,
    events: list[str],
) -> None:
    path = tmp_path / "journal"
    kill_at(devchain.url, path, plan, bundle, point)
    journal = FileJournal.open(path)
    assert journal.kinds() == events, "the process did not die where it should have"
    await_mined(rpc, executed)

    (settlement,) = recover(rpc, journal, 1, TREASURY, pace())

    assert not settlement.dropped
    assert_executed_once(rpc, journal, plan, bundle)


def await_mined(rpc: Rpc, executed: int) -> None:
    """Automine is asynchronous: what was sent may be mined a moment later."""
    for _ in range(200):
        if executions(rpc) == executed:
            return
        time.sleep(0.01)
    pytest.fail(f"{executions(rpc)} executions on the chain, expected {executed}")


@pytest.mark.parametrize("recorded", [False, True])
def test_killed_while_the_execution_is_pending(
    devchain: DevChain, rpc: Rpc, plan: Plan, bundle: Bundle, tmp_path: Path, recorded: bool
) -> None:
    """Sent, not mined, and the process is gone: found pending, awaited, not sent again."""
    approve, execute = bundle.transactions
    path = tmp_path / "journal"
    journal = FileJournal.open(path)
    journal.store_bundle(plan, bundle)
    submit_one(rpc, journal, plan, replace(bundle, transactions=(approve,)))
    rpc.call("evm_setAutomine", False)
    only_execute = replace(bundle, transactions=(execute,))
    point = "record_sent" if not recorded else "never"
    kill_pending(devchain.url, path, plan, only_execute, point, rpc, execute.tx_hash)

    journal = FileJournal.open(path)
    assert ("sent", execute.tx_hash) in journal.events or not recorded
    counted = Hooked(rpc, "eth_sendRawTransaction")
    with pytest.raises(RpcUnavailable, match="no new block"):
        recover(counted, journal, 1, TREASURY, pace(silence_s=0.2))
    assert journal.open_bundles(1, TREASURY), "given up although it is pending"

    rpc.call("evm_mine")
    recover(counted, journal, 1, TREASURY, pace())
    assert counted.count == 0, "sent again although the node has it"
    assert_executed_once(rpc, journal, plan, bundle)


def submit_one(rpc: Rpc, journal: MemoryJournal, plan: Plan, bundle: Bundle) -> None:
    settle(Desk(rpc, journal, pace(), Lane()), plan, bundle)


def kill_pending(
    url: str, path: Path, plan: Plan, bundle: Bundle, point: str, rpc: Rpc, tx_hash: str
) -> None:
    """Kill a process that settles ``bundle`` once its transaction is pending."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=settler, args=(url, path, plan, bundle, point))
    process.start()
    try:
        for _ in range(3_000):
            known = rpc.call("eth_getTransactionByHash", tx_hash) is not None
            noted = ("sent", tx_hash) in FileJournal.open(path).events
            if known and (noted or point == "record_sent"):
                break
            time.sleep(0.01)
        else:
            pytest.fail("the transaction never became pending")
    finally:
        process.kill()
        process.join()


def settler(url: str, path: Path, plan: Plan, bundle: Bundle, point: str) -> None:
    def stall(where: str) -> None:
        if where == point:
            time.sleep(3_600)

    on_disk = FileJournal.open(path)
    journal = StallingJournal(
        on_disk.bundles, on_disk.events, on_disk.outcomes, on_disk.closed, path
    )
    journal.stall = stall
    submit_one(HttpRpc(url), journal, plan, bundle)


# Answers that get lost


def test_a_lost_answer_to_send_is_looked_up(rpc: Rpc, plan: Plan, bundle: Bundle) -> None:
    flaky = Hooked(rpc, "eth_sendRawTransaction", after=lost)
    journal = MemoryJournal()
    submit(flaky, journal, plan, bundle, pace())
    assert_executed_once(rpc, journal, plan, bundle)


def test_a_send_that_never_arrived_is_repeated_as_the_same_bytes(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    flaky = Hooked(rpc, "eth_sendRawTransaction", before=lost_once)
    journal = MemoryJournal()
    submit(flaky, journal, plan, bundle, pace())
    assert flaky.count == 3
    assert_executed_once(rpc, journal, plan, bundle)


def test_an_unsteady_node_is_waited_for(rpc: Rpc, plan: Plan, bundle: Bundle) -> None:
    flaky = Hooked(rpc, "eth_getTransactionReceipt", before=lost_once)
    journal = MemoryJournal()
    submit(flaky, journal, plan, bundle, pace())
    assert_executed_once(rpc, journal, plan, bundle)


def test_a_node_that_falls_silent_leaves_the_bundle_open(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    dead = Hooked(rpc, "eth_getTransactionReceipt", before=lost)
    journal = MemoryJournal()
    with pytest.raises(RpcUnavailable, match="connection was lost"):
        submit(dead, journal, plan, bundle, pace(silence_s=0.2))
    assert journal.open_bundles(1, TREASURY)
    recover(rpc, journal, 1, TREASURY, pace())
    assert_executed_once(rpc, journal, plan, bundle)


def test_a_refusal_leaves_the_bundle_open_and_says_why(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    balance = rpc.call("eth_getBalance", TREASURY, "latest")
    rpc.call("anvil_setBalance", TREASURY, "0x1")
    journal = MemoryJournal()
    with pytest.raises(
        ExecutionError, match=r"the node refuses transaction .*[Ii]nsufficient funds"
    ):
        submit(rpc, journal, plan, bundle, pace())
    assert journal.kinds() == ["stored", "stored"]
    assert len(journal.open_bundles(1, TREASURY)[0][1].transactions) == 2

    with pytest.raises(NonceConflict, match=r"an earlier bundle .* still open"):
        submit(rpc, journal, plan, bundle, pace())

    rpc.call("anvil_setBalance", TREASURY, balance)
    recover(rpc, journal, 1, TREASURY, pace())
    assert_executed_once(rpc, journal, plan, bundle)


def test_a_transaction_that_the_node_forgot_is_sent_again(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    """Evicted from the pool while we wait; the chain goes on meanwhile."""
    rpc.call("evm_setAutomine", False)
    looks = 0

    def forget(count: int) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            rpc.call("anvil_dropAllTransactions")
        elif looks > 5:
            rpc.call("evm_setAutomine", True)

    counted = Hooked(rpc, "eth_sendRawTransaction")
    journal = MemoryJournal()
    submit(
        Hooked(counted, "eth_getTransactionReceipt", after=forget), journal, plan, bundle, pace()
    )
    assert counted.count >= 3, "it was not sent again"
    assert_executed_once(rpc, journal, plan, bundle)


# What recovery concludes


def stored(plan: Plan, bundle: Bundle) -> MemoryJournal:
    journal = MemoryJournal()
    journal.store_bundle(plan, bundle)
    return journal


def pass_deadline(rpc: Rpc, plan: Plan) -> None:
    rpc.call("evm_setNextBlockTimestamp", plan.deadline_ts + 1)
    rpc.call("evm_mine")


def use_nonce(rpc: Rpc, plan: Plan) -> None:
    """The person at the wallet sends 0 ETH to himself, as our hint says."""
    transaction = {
        "type": 2,
        "chainId": 1,
        "nonce": nonce_of(rpc),
        "to": TREASURY,
        "value": 0,
        "data": b"",
        "gas": 21_000,
        "maxFeePerGas": 2 * plan.max_fee_wei,
        "maxPriorityFeePerGas": 50 * GWEI,
    }
    raw, tx_hash = signer_of().sign(transaction)
    rpc.call("eth_sendRawTransaction", raw)
    for _ in range(200):
        if rpc.call("eth_getTransactionReceipt", tx_hash):
            return
        time.sleep(0.01)


def test_past_its_deadline_an_unsent_bundle_is_dropped_and_nothing_is_sent(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    journal, nonce = stored(plan, bundle), nonce_of(rpc)
    pass_deadline(rpc, plan)
    counted = Hooked(rpc, "eth_sendRawTransaction")
    (settlement,) = recover(counted, journal, 1, TREASURY, pace())
    assert [d.step for d in settlement.dropped] == [Step.EXPIRED, Step.UNSENT]
    assert (counted.count, executions(rpc), nonce_of(rpc)) == (0, 0, nonce)
    assert journal.kinds() == ["stored", "stored", "dropped", "dropped"]
    last, first = (tx.tx_hash for tx in reversed(bundle.transactions))
    assert [tx_hash for _, tx_hash in journal.events[2:]] == [last, first], "wrong order for a kill"


def test_of_three_transactions_the_last_is_given_up_first(rpc: Rpc, mainnet: Network) -> None:
    """Killed in between, what stays open must begin with the transaction that failed."""
    approve(rpc, USDT, EXECUTOR_ADDRESS, 1)
    give(rpc, USDT, 10**9)
    plan = make_plan(rpc, mainnet, [Trade(USDT, WETH, 10**9)])
    bundle = prepare(rpc, plan, signer_of()).bundle
    journal = stored(plan, bundle)
    pass_deadline(rpc, plan)
    recover(rpc, journal, 1, TREASURY, pace())
    hashes = [tx.tx_hash for tx in bundle.transactions]
    assert len(hashes) == 3
    assert journal.events[3:] == [("dropped", tx_hash) for tx_hash in reversed(hashes)]


def test_at_its_deadline_it_is_still_sent(rpc: Rpc, plan: Plan, bundle: Bundle) -> None:
    """The executor takes ``block.timestamp == deadline``."""
    rpc.call("anvil_setBlockTimestampInterval", 0)
    rpc.call("evm_setNextBlockTimestamp", plan.deadline_ts)
    rpc.call("evm_mine")
    journal = stored(plan, bundle)
    try:
        recover(rpc, journal, 1, TREASURY, pace())
    finally:
        rpc.call("anvil_setBlockTimestampInterval", 12)
    assert_executed_once(rpc, journal, plan, bundle)


def test_a_nonce_used_by_another_transaction_stops_the_bundle(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    journal = stored(plan, bundle)
    use_nonce(rpc, plan)
    counted = Hooked(rpc, "eth_sendRawTransaction")
    (settlement,) = recover(counted, journal, 1, TREASURY, pace())
    assert [d.step for d in settlement.dropped] == [Step.REPLACED, Step.UNSENT]
    assert (counted.count, executions(rpc)) == (0, 0)
    assert not journal.open_bundles(1, TREASURY)


def test_a_nonce_taken_while_submitting_is_a_conflict(rpc: Rpc, plan: Plan, bundle: Bundle) -> None:
    use_nonce(rpc, plan)
    journal = MemoryJournal()
    with pytest.raises(NonceConflict, match="was used by another transaction"):
        submit(rpc, journal, plan, bundle, pace())
    assert executions(rpc) == 0
    assert not journal.open_bundles(1, TREASURY)


def test_pending_past_the_deadline_needs_a_person_and_the_hint_works(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    rpc.call("evm_setAutomine", False)
    rpc.call("eth_sendRawTransaction", bundle.transactions[0].raw)
    rpc.call("anvil_setBlockGasLimit", hex(30_000))  # too little for any of ours: it sticks
    journal = stored(plan, bundle)
    pass_deadline(rpc, plan)
    try:
        with pytest.raises(NonceConflict, match="still pending past its deadline") as caught:
            recover(rpc, journal, 1, TREASURY, pace())
        assert f"nonce {bundle.transactions[0].nonce}" in caught.value.hint
        assert len(journal.open_bundles(1, TREASURY)[0][1].transactions) == 2

        rpc.call("evm_setAutomine", True)
        use_nonce(rpc, plan)
        (settlement,) = recover(rpc, journal, 1, TREASURY, pace())
    finally:
        rpc.call("anvil_setBlockGasLimit", hex(36_000_000))
    assert [d.step for d in settlement.dropped] == [Step.REPLACED, Step.UNSENT]
    assert executions(rpc) == 0


def test_an_approval_that_reverted_ends_the_bundle(rpc: Rpc, plan: Plan, bundle: Bundle) -> None:
    code = rpc.call("eth_getCode", WETH.address, "latest")
    rpc.call("anvil_setCode", WETH.address, "0x5f5ffd")  # reverts, whatever it is asked
    journal = stored(plan, bundle)
    try:
        with pytest.raises(TransactionReverted, match="the approve transaction"):
            recover(rpc, journal, 1, TREASURY, pace())
    finally:
        rpc.call("anvil_setCode", WETH.address, code)
    assert journal.kinds() == ["stored", "stored", "sent", "mined", "dropped", "confirmed"]
    assert journal.outcomes[bundle.transactions[0].tx_hash].status == 0
    assert executions(rpc) == 0
    assert recover(rpc, journal, 1, TREASURY, pace()) == ()


def test_mined_without_the_planned_swaps_is_recorded_and_alarming(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    """Status 1 is not proof: an address without code succeeds at everything."""
    journal = stored(plan, bundle)
    code = rpc.call("eth_getCode", EXECUTOR_ADDRESS, "latest")
    rpc.call("anvil_setCode", EXECUTOR_ADDRESS, "0x00")
    try:
        with pytest.raises(ExecutionError, match="logs are not the plan's steps"):
            recover(rpc, journal, 1, TREASURY, pace())
    finally:
        rpc.call("anvil_setCode", EXECUTOR_ADDRESS, code)
    outcome = journal.outcomes[bundle.transactions[-1].tx_hash]
    assert (outcome.status, outcome.fills) == (1, ())


def test_recovery_on_another_chain_touches_nothing(rpc: Rpc, plan: Plan, bundle: Bundle) -> None:
    journal = MemoryJournal()
    other = replace(bundle, chain_id=10)
    journal.store_bundle(plan, other)
    with pytest.raises(ChainMismatch):
        recover(rpc, journal, 10, TREASURY, pace())
    assert journal.kinds() == ["stored", "stored"]
    assert recover(rpc, journal, 1, TREASURY, pace()) == ()


def test_a_bundle_of_another_plan_is_not_submitted(rpc: Rpc, plan: Plan, bundle: Bundle) -> None:
    journal = MemoryJournal()
    with pytest.raises(ValueError, match="another plan"):
        submit(rpc, journal, replace(plan, max_age_blocks=9), bundle, pace())
    assert not journal.events


def test_what_was_given_up_and_mined_late_is_recognised_by_who_finds_its_nonce_used(
    rpc: Rpc, mainnet: Network, plan: Plan, bundle: Bundle
) -> None:
    """Somebody had the bytes after all: not sent by us any more, and still in the record."""
    journal = stored(plan, bundle)
    pass_deadline(rpc, plan)
    recover(rpc, journal, 1, TREASURY, pace())
    first, _ = bundle.transactions
    assert journal.kinds() == ["stored", "stored", "dropped", "dropped"]

    later = make_plan(rpc, mainnet, [Trade(WETH, USDC, 2 * 10**18)])
    signed = prepare(rpc, later, signer_of()).bundle
    assert signed.transactions[0].nonce == first.nonce, "only one of the two can ever be mined"
    rpc.call("eth_sendRawTransaction", first.raw)
    await_receipt(rpc, first.tx_hash)
    with pytest.raises(NonceConflict, match=first.tx_hash):
        submit(rpc, journal, later, signed, pace())

    outcome = journal.recorded_outcome(first.tx_hash)
    assert outcome is not None
    assert (outcome.status, outcome.purpose) == (1, "approve")
    assert ("confirmed", first.tx_hash) in journal.events
    assert executions(rpc) == 0
    assert not journal.open_bundles(1, TREASURY)


def test_a_node_that_only_claims_that_a_nonce_was_used_is_not_believed(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    """Dropping the bundle would let the next plan trade beside it."""
    journal = stored(plan, bundle)
    rpc.call("evm_setAutomine", False)
    liar = Liar(rpc)
    with pytest.raises(RpcUnavailable, match="no new block"):
        recover(liar, journal, 1, TREASURY, pace(silence_s=0.2))
    assert "dropped" not in journal.kinds()
    pass_deadline(rpc, plan)
    with pytest.raises(NonceConflict, match="no block shows by what"):
        recover(liar, journal, 1, TREASURY, pace())
    assert "dropped" not in journal.kinds()
    assert len(journal.open_bundles(1, TREASURY)[0][1].transactions) == 2


class Liar:
    """Says that one nonce more was used than there was, for whatever block it is asked."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def call(self, method: str, *params: object) -> object:
        answer = self._rpc.call(method, *params)
        return hex(int(answer, 16) + 1) if method == "eth_getTransactionCount" else answer

    def batch(self, calls: object) -> list[object]:
        raise AssertionError("not asked in batches")


def await_receipt(rpc: Rpc, tx_hash: str) -> None:
    for _ in range(200):
        if rpc.call("eth_getTransactionReceipt", tx_hash):
            return
        time.sleep(0.01)
    pytest.fail("it was never mined")


# Deployment


def test_deploying_is_idempotent(devchain: DevChain) -> None:
    first = deploy(devchain.rpc, signer_of(), 1, 300 * GWEI, pace())
    assert first.address == EXECUTOR_ADDRESS
    assert first.gas_used is not None
    nonce = nonce_of(devchain.rpc)
    again = deploy(devchain.rpc, signer_of(), 1, 300 * GWEI, pace())
    assert (again.tx_hash, again.gas_used, nonce_of(devchain.rpc)) == (None, None, nonce)


def test_a_deployment_whose_answer_got_lost_is_found(devchain: DevChain) -> None:
    flaky = Hooked(devchain.rpc, "eth_sendRawTransaction", after=lost)
    nonce = nonce_of(devchain.rpc)
    assert deploy(flaky, signer_of(), 1, 300 * GWEI, pace()).tx_hash
    assert nonce_of(devchain.rpc) == nonce + 1


@pytest.mark.parametrize(
    ("code", "error", "match"),
    [
        ("0x", ExecutorMissing, "no deployment proxy"),
        ("0x00", SimulationReverted, "would not deploy to"),
        ("0x5f5ffd", SimulationReverted, "would revert"),
    ],
)
def test_another_deployment_proxy_is_not_used(
    devchain: DevChain, code: str, error: type[Exception], match: str
) -> None:
    nonce = nonce_of(devchain.rpc)
    devchain.rpc.call("anvil_setCode", CREATE2_PROXY, code)
    with pytest.raises(error, match=match):
        deploy(devchain.rpc, signer_of(), 1, 300 * GWEI, pace())
    assert nonce_of(devchain.rpc) == nonce


def test_other_code_in_the_executors_place_is_not_taken_for_it(devchain: DevChain) -> None:
    devchain.rpc.call("anvil_setCode", EXECUTOR_ADDRESS, "0x00")
    with pytest.raises(ExecutorMissing, match="is not that of the executor"):
        deploy(devchain.rpc, signer_of(), 1, 300 * GWEI, pace())


def test_a_refused_deployment_says_why(devchain: DevChain) -> None:
    def refuse(count: int) -> None:
        raise RpcError("eth_sendRawTransaction", -32000, "not today")

    picky = Hooked(devchain.rpc, "eth_sendRawTransaction", before=refuse)
    with pytest.raises(ExecutionError, match=r"refuses the deploy.*: .*not today"):
        deploy(picky, signer_of(), 1, 300 * GWEI, pace())
