"""The ledger against the chain: agreement is exact, and every single lie is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ledger_world as world
import pytest
from ledger_fake_chain import (
    STRANGER,
    FakeChain,
    execution_logs,
    settled_chain,
    swap_log,
    transfer_log,
    word,
)
from sqlalchemy import text

from rebalancer.errors import ChainMismatch, ReadError
from rebalancer.ledger.reconcile import Reconciliation, reconcile
from rebalancer.ledger.store import Ledger
from rebalancer.model import Fill, Plan, TransactionOutcome, to_json

APPROVE, RUN = world.signed("approve", 7), world.signed("execute", 8)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with world.open_ledger(tmp_path) as opened:
        yield opened


@pytest.fixture
def plan(ledger: Ledger) -> Plan:
    return world.execute(ledger)


@pytest.fixture
def chain(plan: Plan) -> FakeChain:
    return settled_chain(plan)


def codes(result: Reconciliation) -> set[str]:
    assert result.ok == (not result.findings)
    assert all(finding.text for finding in result.findings)
    return {finding.code for finding in result.findings}


# Agreement


def test_a_rebalance_beside_others_in_its_block_reconciles_to_the_wei(
    ledger: Ledger, chain: FakeChain
) -> None:
    result = reconcile(ledger, chain)
    assert result.findings == ()
    assert result.ok
    assert (result.chain_id, result.head) == (1, 110)
    assert (result.transactions, result.blocks, result.elsewhere) == (2, 1, 0)
    assert result.notes == ()
    assert to_json(result)


def test_an_empty_ledger_has_nothing_to_reconcile(ledger: Ledger) -> None:
    result = reconcile(ledger, FakeChain())
    assert result.ok
    assert (result.transactions, result.blocks) == (0, 0)


def test_only_the_portfolio_that_was_asked_for(ledger: Ledger, chain: FakeChain) -> None:
    assert reconcile(ledger, chain, "main").transactions == 2
    assert reconcile(ledger, chain, "side").transactions == 0


def test_two_portfolios_of_one_wallet_in_one_block_are_told_apart(
    ledger: Ledger, plan: Plan, chain: FakeChain
) -> None:
    # The side portfolio swapped 10 USDC for 3 units of WETH in the same block.
    leg = replace(plan.legs[0], amount_in=10, amount_out=3, min_amount_out=3)
    side = world.decide(ledger, portfolio="side", legs=(leg,), net=())
    run = world.signed("execute", 20)
    ledger.store_bundle(side, world.bundle(side, run))
    fill = Fill(0, leg.pair, leg.token_in, leg.token_out, 10, 3)
    done = replace(world.outcome(run), fills=(fill,))
    ledger.record_outcome(done)
    chain.mine(run, done, execution_logs(side, (fill,)))
    chain.tokens[101, world.USDC.address] -= 10
    chain.tokens[101, world.WETH.address] += 3
    chain.native[101] -= done.gas_cost_wei
    for name, count in (("main", 2), ("side", 1), (None, 3)):
        result = reconcile(ledger, chain, name)
        assert result.findings == ()
        assert (result.transactions, result.blocks) == (count, 1)


def test_a_reverted_transaction_costs_its_gas_and_nothing_else(
    ledger: Ledger, tmp_path: Path
) -> None:
    plan = world.decide(ledger)
    ledger.store_bundle(plan, world.bundle(plan, RUN))
    failed = world.outcome(RUN, status=0)
    ledger.record_outcome(failed)
    chain = FakeChain()
    chain.mine(RUN, failed)
    chain.native = {100: 10**18, 101: 10**18 - failed.gas_cost_wei}
    chain.nonces[101] = 9
    assert reconcile(ledger, chain).findings == ()
    chain.native[101] -= 1
    (finding,) = reconcile(ledger, chain).findings
    assert (finding.code, finding.difference) == ("native-balance", -1)


@pytest.mark.parametrize(
    "inside", [False, True], ids=["held before", "given inside our transaction"]
)
def test_dust_that_a_pair_held_is_noted_and_explained(ledger: Ledger, inside: bool) -> None:
    """A pair with more than its reserves counts the surplus as paid in: no reason to halt."""
    plan = world.decide(ledger)
    bundle = world.bundle(plan)
    ledger.store_bundle(plan, bundle)
    ledger.record_outcome(world.outcome(APPROVE))
    chain = settled_chain(plan)
    paid = world.executed(plan, RUN)
    counted = replace(paid.fills[0], amount_in=paid.fills[0].amount_in + 17)
    ledger.record_outcome(replace(paid, fills=(counted, *paid.fills[1:])))
    logs = chain.receipts[RUN.tx_hash]["logs"]
    logs[2] = {**swap_log(counted, 2), "transactionHash": RUN.tx_hash}
    if inside:
        gift = transfer_log(world.USDC.address, STRANGER, world.USDC_WETH, 17, 40)
        logs.append({**gift, "transactionHash": RUN.tx_hash})
    result = reconcile(ledger, chain)
    assert result.findings == ()
    (note,) = result.notes
    assert (note.code, note.difference, note.tx_hash) == ("gift-to-pair", 17, RUN.tx_hash)


# One lie of the ledger at a time


def changed_outcome(**changes: Any) -> Callable[[TransactionOutcome], TransactionOutcome]:
    return lambda outcome: replace(outcome, **changes)


def changed_fill(
    number: int, /, **changes: Any
) -> Callable[[TransactionOutcome], TransactionOutcome]:
    def change(outcome: TransactionOutcome) -> TransactionOutcome:
        fills = list(outcome.fills)
        fills[number] = replace(fills[number], **changes)
        return replace(outcome, fills=tuple(fills))

    return change


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        (changed_outcome(block_hash="0x" + "00" * 32), {"block", "block-hash"}),
        (changed_outcome(block_number=102), {"block-hash", "block-number"}),
        (changed_outcome(status=0), {"status", "legs"}),
        (changed_outcome(gas_used=279_018), {"gas-used", "gas-components", "native-balance"}),
        (changed_outcome(effective_gas_price_wei=1), {"gas-price", "native-balance"}),
        (changed_outcome(purpose="approve"), {"purpose"}),
        (changed_outcome(components=()), {"gas-components"}),
        (changed_outcome(fills=()), {"legs", "fills", "token-balance"}),
        (lambda o: replace(o, fills=o.fills[:2]), {"legs", "fills", "token-balance"}),
        (lambda o: replace(o, fills=(*o.fills, o.fills[0])), {"legs", "fills", "token-balance"}),
        (changed_fill(0, amount_in=30_000_000_001), {"fill-in"}),
        (changed_fill(0, amount_in=29_999_999_999), {"fill-in", "token-balance"}),
        (changed_fill(0, amount_out=9_950 * 10**15 + 1), {"fill-out", "token-balance"}),
        (changed_fill(1, amount_out=19_800 * 10**15 + 1), {"fill-out"}),
        (changed_fill(2, amount_in=1), {"fill-in"}),
        (changed_fill(2, amount_out=97_999_999), {"fill-out", "token-balance"}),
        (changed_fill(2, pair=world.USDC_WETH), {"leg", "fill-pair"}),
        (changed_fill(0, token_in=world.WBTC), {"leg", "token-balance"}),
        (changed_fill(0, index=9), {"legs"}),
    ],
)
def test_a_wrong_outcome_is_found(
    ledger: Ledger,
    lie: Callable[[TransactionOutcome], TransactionOutcome],
    found: set[str],
) -> None:
    plan = world.decide(ledger)
    ledger.store_bundle(plan, world.bundle(plan))
    ledger.record_outcome(world.outcome(APPROVE))
    ledger.record_outcome(lie(world.executed(plan, RUN)))
    chain = settled_chain(plan)
    assert found <= codes(reconcile(ledger, chain))
    # and the truth, told later, settles it
    ledger.record_outcome(world.executed(plan, RUN))
    assert reconcile(ledger, chain).findings == ()


def test_less_than_the_minimum_is_found_even_if_the_chain_says_so(ledger: Ledger) -> None:
    plan = world.decide(ledger, legs=(replace(world.legs()[0], min_amount_out=10**19),))
    ledger.store_bundle(plan, world.bundle(plan, RUN))
    leg = plan.legs[0]
    fill = Fill(0, leg.pair, leg.token_in, leg.token_out, leg.amount_in, leg.amount_out)
    done = world.outcome(RUN, fills=(fill,))
    ledger.record_outcome(done)
    chain = FakeChain()
    chain.mine(RUN, done, execution_logs(plan, (fill,)))
    chain.native = {100: 10**18, 101: 10**18 - done.gas_cost_wei}
    chain.tokens[100, world.USDC.address] = leg.amount_in
    chain.tokens[101, world.WETH.address] = leg.amount_out
    chain.nonces[101] = 9
    (finding,) = reconcile(ledger, chain).findings
    assert (finding.code, finding.difference) == ("below-minimum", leg.amount_out - 10**19)


# One value of the chain at a time


def set_receipt(key: str, value: Any) -> Callable[[FakeChain], None]:
    return lambda chain: chain.receipts[RUN.tx_hash].update({key: value})


def add_balance(token: str, amount: int) -> Callable[[FakeChain], None]:
    def change(chain: FakeChain) -> None:
        chain.tokens[101, token] += amount

    return change


def add_native(amount: int) -> Callable[[FakeChain], None]:
    def change(chain: FakeChain) -> None:
        chain.native[101] += amount

    return change


def bend_log(index: int, key: str, value: Any) -> Callable[[FakeChain], None]:
    return lambda chain: chain.receipts[RUN.tx_hash]["logs"][index].update({key: value})


def lose_receipt(chain: FakeChain) -> None:
    del chain.receipts[RUN.tx_hash]


def reorganise(chain: FakeChain) -> None:
    chain.hashes[101] = world.block_hash(101, "b")


def forget(chain: FakeChain) -> None:
    lose_receipt(chain)
    del chain.transactions[RUN.tx_hash]


def reorganise_for_good(chain: FakeChain) -> None:
    reorganise(chain)
    for tx in (APPROVE, RUN):
        del chain.receipts[tx.tx_hash], chain.transactions[tx.tx_hash]
    chain.nonces.clear()


def shorten(chain: FakeChain) -> None:
    for number in range(101, 111):
        del chain.hashes[number]


def one_more_swap(chain: FakeChain) -> None:
    fill = Fill(0, world.USDC_WETH, world.USDC, world.WETH, 1, 1)
    log = {**swap_log(fill, 40), "transactionHash": RUN.tx_hash}
    chain.receipts[RUN.tx_hash]["logs"].append(log)


def unmatched_transfer(chain: FakeChain) -> None:
    log = transfer_log(world.USDC.address, STRANGER, world.WALLET, 9, 70)
    chain.add("0x" + "a9" * 32, 101, logs=[log])


def theft_in_our_transaction(chain: FakeChain) -> None:
    """Our transaction also takes LP shares out of the wallet, which no fill explains."""
    log = transfer_log(world.USDC_WETH, world.WALLET, STRANGER, 10**15, 80)
    log["transactionHash"] = RUN.tx_hash
    chain.receipts[RUN.tx_hash]["logs"].append(log)
    chain.tokens[101, world.USDC_WETH] = 0


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (set_receipt("gasUsed", "0x1"), {"gas-used"}),
        (set_receipt("effectiveGasPrice", "0x1"), {"gas-price"}),
        (set_receipt("status", "0x0"), {"status"}),
        (set_receipt("blockHash", "0x" + "00" * 32), {"block"}),
        (set_receipt("blockNumber", "0x66"), {"block-number"}),
        (set_receipt("from", STRANGER), {"sender"}),
        (set_receipt("to", STRANGER), {"fills"}),
        (set_receipt("logs", []), {"fills", "token-balance"}),
        (lambda chain: chain.transactions[RUN.tx_hash].update(nonce="0x9"), {"nonce"}),
        (lambda chain: chain.transactions.pop(RUN.tx_hash), {"nonce"}),
        (lambda chain: chain.transactions[RUN.tx_hash].update(value="0x1"), set()),
        (lose_receipt, {"receipt"}),
        (forget, {"receipt", "nonce-taken"}),
        (reorganise_for_good, {"receipt", "block-hash"}),
        (reorganise, {"block-hash"}),
        (shorten, {"block-hash"}),
        (one_more_swap, {"fills"}),
        (unmatched_transfer, {"token-balance"}),
        (theft_in_our_transaction, {"token-balance"}),
        (bend_log(2, "data", "0x" + "00" * 128), {"fill-in", "fill-out"}),
        (bend_log(2, "address", world.WBTC_WETH.lower()), {"fill-pair"}),
        (add_balance(world.USDC.address, 1), {"token-balance"}),
        (add_balance(world.WETH.address, -1), {"token-balance"}),
        (add_balance(world.WBTC.address, 1), {"token-balance"}),
        (add_balance(world.USDC_WETH, 1), {"token-balance"}),
        (add_native(1), {"native-balance"}),
        (add_native(-1), {"native-balance"}),
        (lambda chain: chain.withdrawals[101].clear(), {"native-balance"}),
        (lambda chain: chain.transactions.pop("0x" + "a2" * 32), {"native-balance"}),
        (lambda chain: chain.transactions.pop("0x" + "a4" * 32), {"native-balance"}),
        (lambda chain: chain.receipts.pop("0x" + "a1" * 32), {"token-balance"}),
    ],
)
def test_a_value_that_the_chain_has_otherwise_is_found(
    ledger: Ledger, chain: FakeChain, change: Callable[[FakeChain], Any], found: set[str]
) -> None:
    change(chain)
    assert codes(reconcile(ledger, chain)) == found


def test_a_difference_is_told_to_the_wei(ledger: Ledger, chain: FakeChain) -> None:
    chain.tokens[101, world.WETH.address] -= 41
    (finding,) = reconcile(ledger, chain).findings
    assert (finding.token, finding.difference, finding.block_number) == ("WETH", -41, 101)
    assert finding.expected == 9_950 * 10**15
    assert "-41 unexplained" in finding.text


def test_swaps_that_others_make_inside_our_transaction_are_not_ours(
    ledger: Ledger, chain: FakeChain
) -> None:
    fill = Fill(0, world.USDC_WETH, world.USDC, world.WETH, 1, 1)
    log = {**swap_log(fill, 40, sender=STRANGER), "transactionHash": RUN.tx_hash}
    chain.receipts[RUN.tx_hash]["logs"].insert(0, log)
    assert reconcile(ledger, chain).findings == ()


def test_an_nft_transfer_is_no_token_transfer(ledger: Ledger, chain: FakeChain) -> None:
    log = transfer_log(world.USDC.address, STRANGER, world.WALLET, 9, 70)
    log["topics"].append(word(world.WALLET))
    chain.add("0x" + "a9" * 32, 101, logs=[log])
    assert reconcile(ledger, chain).findings == ()


# What the ledger does not call mined


@pytest.fixture
def waiting(ledger: Ledger) -> FakeChain:
    """Both transactions stored, the first one sent; the chain has heard of neither."""
    plan = world.decide(ledger)
    ledger.store_bundle(plan, world.bundle(plan))
    ledger.record_sent(APPROVE.tx_hash)
    chain = FakeChain()
    chain.nonces[90] = 7
    return chain


def test_open_transactions_that_wait_are_no_mismatch(ledger: Ledger, waiting: FakeChain) -> None:
    assert reconcile(ledger, waiting).findings == ()
    waiting.add(APPROVE.tx_hash, None, sender=world.WALLET, nonce=7)
    assert reconcile(ledger, waiting).findings == ()


@pytest.mark.parametrize("dropped", [False, True])
def test_mined_behind_the_ledgers_back(ledger: Ledger, waiting: FakeChain, dropped: bool) -> None:
    if dropped:
        ledger.record_dropped(APPROVE.tx_hash, "given up")
    waiting.mine(APPROVE, world.outcome(APPROVE))
    waiting.nonces[101] = 8
    (finding,) = reconcile(ledger, waiting).findings
    assert finding.code == "mined-unrecorded"
    assert finding.expected == ("dropped" if dropped else "sent")
    assert finding.actual == world.block_hash(101)


def test_dropped_but_still_in_the_pool(ledger: Ledger, waiting: FakeChain) -> None:
    ledger.record_dropped(APPROVE.tx_hash, "given up")
    assert reconcile(ledger, waiting).findings == ()
    waiting.add(APPROVE.tx_hash, None, sender=world.WALLET, nonce=7)
    assert codes(reconcile(ledger, waiting)) == {"dropped-but-pending"}


def test_a_nonce_that_another_transaction_used_is_named(ledger: Ledger, waiting: FakeChain) -> None:
    waiting.add("0x" + "be" * 32, 105, sender=world.WALLET, nonce=7)
    waiting.nonces[105] = 8
    (finding,) = reconcile(ledger, waiting).findings
    assert (finding.code, finding.tx_hash) == ("nonce-taken", APPROVE.tx_hash)
    assert (finding.actual, finding.block_number) == ("0x" + "be" * 32, 105)
    # Once the ledger says that it can never be mined, they agree.
    ledger.record_dropped(APPROVE.tx_hash, "nonce used by another transaction")
    assert reconcile(ledger, waiting).findings == ()


def test_a_replaced_transaction_that_lost_is_no_mismatch(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    slow, fast = world.signed("execute", 8, "slow"), world.signed("execute", 8, "fast")
    ledger.store_bundle(plan, world.bundle(plan, slow))
    ledger.store_bundle(plan, world.bundle(plan, fast))
    failed = world.outcome(fast, status=0)
    ledger.record_outcome(failed)
    chain = FakeChain()
    chain.mine(fast, failed)
    chain.native = {100: 10**18, 101: 10**18 - failed.gas_cost_wei}
    chain.nonces[101] = 9
    assert reconcile(ledger, chain).findings == ()


# What cannot be compared


def test_a_damaged_ledger_is_reported_and_not_compared(ledger: Ledger, chain: FakeChain) -> None:
    with ledger._writing() as connection:
        connection.execute(text("DROP TRIGGER gas_components_no_update"))
        connection.execute(text("UPDATE gas_components SET gas = gas + 1 WHERE position = 0"))
    result = reconcile(ledger, chain)
    assert codes(result) == {"row"}
    assert result.transactions == 0
    assert "eth_getTransactionReceipt" not in chain.calls


def test_another_chain_is_not_mistaken_for_agreement(ledger: Ledger, chain: FakeChain) -> None:
    chain.chain_id = 10
    with pytest.raises(ChainMismatch, match="serves chain 10") as raised:
        reconcile(ledger, chain)
    assert raised.value.hint


def test_transactions_of_other_chains_are_counted_not_compared(
    ledger: Ledger, chain: FakeChain
) -> None:
    seen = world.snapshot(120)
    seen = replace(seen, block=replace(seen.block, chain_id=10))
    decision = world.rebalance(seen)
    ledger.record_decision("far", "execute", seen, world.valuation(seen), decision)
    ledger.store_bundle(decision.plan, world.bundle(decision.plan, world.signed("execute", 40)))
    result = reconcile(ledger, chain)
    assert result.ok
    assert (result.transactions, result.elsewhere) == (2, 1)


def test_a_node_without_archive_says_so(ledger: Ledger, chain: FakeChain) -> None:
    chain.archive = False
    with pytest.raises(ReadError, match="balances at block") as raised:
        reconcile(ledger, chain)
    assert "archive" in raised.value.hint


@pytest.mark.parametrize(
    "bend",
    [
        set_receipt("gasUsed", None),
        set_receipt("logs", None),
        lambda chain: chain.receipts[RUN.tx_hash].pop("status"),
        lambda chain: chain.transactions[RUN.tx_hash].update(nonce="many"),
        bend_log(0, "data", "0x01"),
    ],
)
def test_an_answer_that_is_none_is_one_clear_error(
    ledger: Ledger, chain: FakeChain, bend: Callable[[FakeChain], Any]
) -> None:
    bend(chain)
    with pytest.raises(ReadError, match="is not what it should be") as raised:
        reconcile(ledger, chain)
    assert raised.value.hint
