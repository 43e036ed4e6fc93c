"""A Safe as the wallet, on the real Safe 1.3.0: proposed, signed by its owners, executed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from bundler_kit import (
    GWEI,
    MemoryJournal,
    Trade,
    allowance,
    balances,
    give,
    make_plan,
    pace,
    signer_of,
    trade_against,
)

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.lane import Lane
from rebalancer.bundler.outcome import read_outcome
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.prepare import dry_run, prepare, sign
from rebalancer.bundler.propose import Proposed, prepare_execution, propose
from rebalancer.bundler.recover import recover
from rebalancer.bundler.safe import EXECUTION_SUCCESS, MULTI_SEND, read_safe
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, DEV_ACCOUNTS, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, USDT, WETH
from rebalancer.devchain.safes import install_safe
from rebalancer.errors import (
    ConfigError,
    ExecutionError,
    NonceConflict,
    ReadError,
    SimulationReverted,
    TransactionReverted,
)
from rebalancer.evm.abi import checksum, from_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import Bundle, TransactionOutcome

SAFE = checksum("0x5afe000000000000000000000000000000000001")
OWNERS = [account for account in DEV_ACCOUNTS if account != ARBITRAGEUR][:3]
UNIT = 10**18
TRADES = (Trade(WETH, USDC, 2 * UNIT), Trade(USDC, USDT), Trade(WETH, USDC, UNIT))
TOKENS = (WETH, USDC, USDT)


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    """A Safe of three owners, two of whom must sign, with 10 WETH."""
    rpc = devchain.rpc
    deploy(rpc, signer_of(), 1, 300 * GWEI, pace())
    install_safe(rpc, SAFE, OWNERS, 2, payer=TREASURY)
    give(rpc, WETH, 10 * UNIT, SAFE)
    return rpc


@pytest.fixture
def proposed(rpc: Rpc, mainnet: Network) -> Proposed:
    return propose(rpc, make_plan(rpc, mainnet, TRADES, wallet=SAFE))


def test_read_safe__tells_owners_threshold_and_nonce(rpc: Rpc) -> None:
    safe = read_safe(rpc, SAFE)

    assert set(safe.owners) == set(OWNERS)
    assert (safe.threshold, safe.nonce) == (2, 0)
    for nobody in (TREASURY, WETH.address):
        with pytest.raises(ConfigError, match="is no Safe"):
            read_safe(rpc, nobody)


def test_propose__hash_is_the_safes_own_and_the_documents_are_whole(proposed: Proposed) -> None:
    proposal = proposed.proposal

    service = proposal.service_document()
    assert service["contractTransactionHash"] == proposal.hash
    assert (service["to"], service["operation"], service["nonce"]) == (MULTI_SEND, 1, 0)
    builder = proposal.builder_document(1_700_000_000_000)
    assert json.loads(json.dumps(builder)) == builder
    assert [entry["to"] for entry in builder["transactions"]] == [WETH.address, EXECUTOR_ADDRESS]
    assert len(proposed.simulation.fills) == 3


def test_propose__node_that_shows_another_hash__is_not_believed(rpc: Rpc, mainnet: Network) -> None:
    class Liar:
        def call(self, method: str, *params: Any) -> Any:
            answer = rpc.call(method, *params)
            asked = params[0].get("data", "") if method == "eth_call" else ""
            return "0x" + "11" * 32 if asked.startswith("0xd8d11f78") else answer

        def batch(self, calls: Any) -> Any:
            return rpc.batch(calls)

    plan = make_plan(rpc, mainnet, TRADES, wallet=SAFE)
    with pytest.raises(ExecutionError, match="another hash"):
        propose(Liar(), plan)


def execute(
    rpc: Rpc, proposed: Proposed, owners: Sequence[str], journal: MemoryJournal | None = None
) -> tuple[TransactionOutcome, ...]:
    """Signed by these owners, sent by the arbitrageur, brought to its end."""
    sender = signer_of(ARBITRAGEUR)
    prepared = prepare_execution(rpc, proposed, [signer_of(a) for a in owners], sender)
    plan = proposed.plan
    return submit(rpc, journal or MemoryJournal(), plan, prepared.bundle, pace())


def test_execute__two_of_three_owners__trades_to_the_wei_and_leaves_nothing(
    rpc: Rpc, proposed: Proposed
) -> None:
    before = balances(rpc, TOKENS, SAFE)
    journal = MemoryJournal()

    (done,) = execute(rpc, proposed, OWNERS[1:], journal)

    plan = proposed.plan
    assert [fill.amount_out for fill in done.fills] == [leg.amount_out for leg in plan.legs]
    after = balances(rpc, TOKENS, SAFE)
    assert {a.token: a.raw for a in plan.net} == {
        token: after[token] - before[token] for token in TOKENS if after[token] != before[token]
    }
    assert allowance(rpc, WETH, EXECUTOR_ADDRESS, SAFE) == 0
    assert read_safe(rpc, SAFE).nonce == 1
    assert journal.kinds() == ["stored", "sent", "mined", "confirmed"]
    assert not journal.open_bundles(1, SAFE)
    assert sum(component.gas for component in done.components) == done.gas_used


class OnlyGeth:
    """A node without ``trace_transaction``."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc

    def call(self, method: str, *params: Any) -> Any:
        if method == "trace_transaction":
            raise RpcError(method, -32601, "method not found")
        return self.rpc.call(method, *params)

    def batch(self, calls: Any) -> Any:
        return self.rpc.batch(calls)


def test_execute__gas_is_told_apart__the_safes_own_too(rpc: Rpc, proposed: Proposed) -> None:
    journal = MemoryJournal()
    (done,) = execute(rpc, proposed, OWNERS[:2], journal)
    ((plan, bundle),) = journal.bundles
    gas = {component.name: component.gas for component in done.components}

    assert min(gas["approval"], gas["transfers"], gas["swaps"], gas["executor"]) > 4_000
    # Two signatures, the Safe's nonce, MultiSend: neither nothing nor most of it.
    assert 10_000 < gas["safe"] < 60_000
    receipt = rpc.call("eth_getTransactionReceipt", done.tx_hash)
    other = read_outcome(OnlyGeth(rpc), plan, bundle.transactions[0], receipt)
    told = {component.name: component.gas for component in other.components}
    assert sum(told.values()) == done.gas_used
    same = ("approval", "transfers", "swaps", "quotes", "executor")
    assert {name: told[name] for name in same} == {name: gas[name] for name in same}
    assert told["safe_less_refund"] == gas["safe"] + gas["refund"]


def test_execute__what_is_simulated_is_what_happens(rpc: Rpc, proposed: Proposed) -> None:
    owners = [signer_of(a) for a in OWNERS[:2]]
    prepared = prepare_execution(rpc, proposed, owners, signer_of(ARBITRAGEUR))

    (done,) = submit(rpc, MemoryJournal(), proposed.plan, prepared.bundle, pace())

    assert prepared.dry_run.simulation.fills == done.fills
    # The pairs' accumulators differ by the second in which it is mined, not in gas.
    assert prepared.dry_run.simulation.gas_used == (done.gas_used,)


def test_execute__the_same_proposal_twice__the_safe_has_moved_on(
    rpc: Rpc, proposed: Proposed
) -> None:
    execute(rpc, proposed, OWNERS[:2])

    with pytest.raises(NonceConflict, match="at nonce 1 now, the proposal is for nonce 0"):
        execute(rpc, proposed, OWNERS[:2])


def test_execute__another_proposal_wins_while_ours_is_out__reverts_and_is_recorded(
    rpc: Rpc, mainnet: Network, proposed: Proposed
) -> None:
    """Two transactions of one Safe nonce: the second does nothing, and is no trade in the books."""
    other = propose(rpc, make_plan(rpc, mainnet, TRADES[:1], wallet=SAFE))
    owners = [signer_of(a) for a in OWNERS[:2]]
    prepared = prepare_execution(rpc, proposed, owners, signer_of(ARBITRAGEUR))
    execute(rpc, other, OWNERS[1:])
    journal = MemoryJournal()
    bundle = moved_on(prepared.bundle, rpc)

    with pytest.raises(TransactionReverted, match=r"GS026: .* executed something else"):
        submit(rpc, journal, proposed.plan, bundle, pace())

    (outcome,) = journal.outcomes.values()
    assert (outcome.status, outcome.fills) == (0, ())
    assert journal.kinds()[-1] == "confirmed"


def moved_on(bundle: Bundle, rpc: Rpc) -> Bundle:
    """The same call of the same sender with his next nonce: ``other`` used the one before."""
    from rebalancer.bundler.calls import Call, UnsignedTransaction

    (before,) = bundle.transactions
    again = UnsignedTransaction(
        call=Call(before.purpose, "again", before.to, from_hex(before.data)),
        chain_id=bundle.chain_id,
        sender=before.sender,
        nonce=before.nonce + 1,
        gas_limit=before.gas_limit,
        max_fee_wei=before.max_fee_wei,
        max_priority_fee_wei=before.max_priority_fee_wei,
    )
    return replace(bundle, transactions=(sign(signer_of(ARBITRAGEUR), again),))


def test_execute__killed_before_it_was_sent__the_next_run_sends_the_same_bytes(
    rpc: Rpc, proposed: Proposed
) -> None:
    owners = [signer_of(a) for a in OWNERS[:2]]
    prepared = prepare_execution(rpc, proposed, owners, signer_of(ARBITRAGEUR))
    journal = MemoryJournal()
    journal.store_bundle(proposed.plan, prepared.bundle)

    # The key at hand now is another one: it must not sign for the sender of then.
    lane = Lane(signer=signer_of(OWNERS[0]), replace_after=1)
    (settled,) = recover(rpc, journal, 1, SAFE, pace(), lane)

    (outcome,) = settled.outcomes
    assert outcome.tx_hash == prepared.bundle.transactions[0].tx_hash
    assert len(outcome.fills) == 3


def test_execute__stuck_past_its_deadline__is_cancelled_by_its_sender_alone(
    rpc: Rpc, mainnet: Network
) -> None:
    proposed = propose(rpc, make_plan(rpc, mainnet, TRADES, wallet=SAFE, deadline_s=30))
    sender = signer_of(ARBITRAGEUR)
    prepared = prepare_execution(rpc, proposed, [signer_of(a) for a in OWNERS[:2]], sender)
    journal = MemoryJournal()
    journal.store_bundle(proposed.plan, prepared.bundle)
    rpc.call("evm_setAutomine", False)
    (transaction,) = prepared.bundle.transactions
    rpc.call("eth_sendRawTransaction", transaction.raw)
    rpc.call("anvil_setBlockGasLimit", hex(60_000))  # room for a cancellation, not for the batch
    rpc.call("anvil_mine", 4, 13)

    def blocks(_seconds: float) -> None:
        rpc.call("evm_mine")

    walking = Pace(clock=lambda: 0.0, sleep=blocks, poll_s=0.0)
    with pytest.raises(NonceConflict, match="still pending past its deadline"):
        recover(rpc, journal, 1, SAFE, walking, Lane(signer=signer_of(OWNERS[0])))
    (settled,) = recover(rpc, journal, 1, SAFE, walking, Lane(signer=sender))

    (outcome,) = settled.outcomes
    assert (outcome.purpose, outcome.status) == ("cancel", 1)
    assert read_safe(rpc, SAFE).nonce == 0
    assert not journal.open_bundles(1, SAFE)


def test_execute__too_few_owners_or_a_stranger__is_refused_unsent(
    rpc: Rpc, proposed: Proposed
) -> None:
    with pytest.raises(ConfigError, match="asks for 2 signatures, there are 1"):
        execute(rpc, proposed, OWNERS[:1])
    with pytest.raises(ConfigError, match="is no owner"):
        execute(rpc, proposed, [OWNERS[0], ARBITRAGEUR])
    assert read_safe(rpc, SAFE).nonce == 0


def test_execute__market_moved_away__all_or_nothing(
    rpc: Rpc, mainnet: Network, proposed: Proposed
) -> None:
    trade_against(rpc, mainnet, WETH, USDC, 500 * UNIT)
    before = balances(rpc, TOKENS, SAFE)

    with pytest.raises(SimulationReverted):
        execute(rpc, proposed, OWNERS[:2])

    assert balances(rpc, TOKENS, SAFE) == before


def test_execute__node_that_cannot_simulate__is_refused_unsigned(
    rpc: Rpc, proposed: Proposed
) -> None:
    class Old:
        def call(self, method: str, *params: Any) -> Any:
            if method == "eth_simulateV1":
                raise RpcError(method, -32601, "method not found")
            return rpc.call(method, *params)

        def batch(self, calls: Any) -> Any:
            return rpc.batch(calls)

    owners = [signer_of(a) for a in OWNERS[:2]]
    with pytest.raises(ReadError, match="no eth_simulateV1"):
        prepare_execution(Old(), proposed, owners, signer_of(ARBITRAGEUR))


def test_outcome__safe_that_swallows_the_failure__is_no_trade(rpc: Rpc, proposed: Proposed) -> None:
    """Status 1 and the plan's swaps in the logs, and still the Safe does not say that it worked."""
    journal = MemoryJournal()
    (done,) = execute(rpc, proposed, OWNERS[:2], journal)
    ((plan, bundle),) = journal.bundles
    receipt = rpc.call("eth_getTransactionReceipt", done.tx_hash)
    silent = [log for log in receipt["logs"] if log["topics"][0] != EXECUTION_SUCCESS]
    assert len(silent) == len(receipt["logs"]) - 1

    outcome = read_outcome(rpc, plan, bundle.transactions[0], {**receipt, "logs": silent})

    assert (outcome.status, outcome.fills) == (1, ())


def test_dry_run__of_a_safe__simulates_and_prepare_says_who_signs(
    rpc: Rpc, mainnet: Network
) -> None:
    plan = make_plan(rpc, mainnet, TRADES, wallet=SAFE)

    shown = dry_run(rpc, plan, mode="safe")

    assert shown.transactions == ()
    assert len(shown.simulation.fills) == 3
    with pytest.raises(ConfigError, match="its owners sign"):
        prepare(rpc, plan, signer_of(), mode="safe")


def test_propose__allowances_standing__needs_no_multi_send(rpc: Rpc, mainnet: Network) -> None:
    approve = call_of(WETH.address, "approve(address,uint256)", EXECUTOR_ADDRESS, 3 * UNIT)
    rpc.call("anvil_setBalance", SAFE, hex(UNIT))
    mine_block(rpc, SAFE, [approve])
    rpc.call("anvil_setCode", MULTI_SEND, "0x")

    proposal = propose(rpc, make_plan(rpc, mainnet, TRADES, wallet=SAFE)).proposal

    assert (proposal.to, proposal.operation) == (EXECUTOR_ADDRESS, 0)
    assert from_hex(proposal.hash)
