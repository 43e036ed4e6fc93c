"""Gas by component, by transaction, by rebalance and in total: everything adds up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ledger_world as world
import pytest

from rebalancer.errors import LedgerError
from rebalancer.ledger.gas_audit import GasAudit, gas_audit
from rebalancer.ledger.store import Ledger
from rebalancer.model import E8, Price

GWEI = 10**9
APPROVE_WEI = 46_162 * 21 * GWEI
EXECUTE_WEI = 279_017 * (21 * GWEI + 7)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with world.open_ledger(tmp_path) as opened:
        yield opened


def assert_adds_up(audit: GasAudit) -> None:
    for item in (*audit.rebalances, *audit.totals):
        assert sum(line.gas for line in item.lines) == item.gas_used
        assert sum(line.cost_wei for line in item.lines) == item.cost_wei
        assert sum(line.cost_e8 for line in item.lines) == item.cost_e8
    for rebalance in audit.rebalances:
        for tx in rebalance.transactions:
            assert sum(line.gas for line in tx.lines) == tx.gas_used
            assert sum(line.cost_wei for line in tx.lines) == tx.cost_wei
            assert sum(line.cost_e8 for line in tx.lines) == tx.cost_e8
        assert sum(tx.gas_used for tx in rebalance.transactions) == rebalance.gas_used
        assert sum(tx.cost_wei for tx in rebalance.transactions) == rebalance.cost_wei


def test_a_rebalance_with_its_approval(ledger: Ledger) -> None:
    world.execute(ledger)
    audit = gas_audit(ledger)
    assert_adds_up(audit)
    (item,) = audit.rebalances
    assert (item.portfolio, item.chain_id, item.numeraire, item.state) == (
        "main",
        1,
        "USD",
        "executed",
    )
    assert [tx.purpose for tx in item.transactions] == ["approve", "execute"]
    assert item.gas_used == 46_162 + 279_017
    assert item.cost_wei == APPROVE_WEI + EXECUTE_WEI
    # 3,000 USD per 10**18 wei, rounded up to 1e-8 USD
    assert item.cost_e8 == -(-(APPROVE_WEI + EXECUTE_WEI) * 3_000 * E8 // 10**18)
    assert {line.component: line.gas for line in item.lines} == {
        "intrinsic": 42_000,
        "calldata": 640 + 4_017,
        "approval": 24_522,
        "transfers": 90_000,
        "swaps": 160_000,
        "executor": 14_000,
        "refund": -10_000,
    }
    by_name = {line.component: line for line in item.lines}
    assert by_name["intrinsic"].cost_wei == 21_000 * 21 * GWEI + 21_000 * (21 * GWEI + 7)
    assert by_name["refund"].cost_wei == -10_000 * (21 * GWEI + 7)
    assert by_name["refund"].cost_e8 < 0
    assert (item.expected_gas, item.expected_cost_e8) == (290_000, 15 * E8)


def test_the_share_is_of_what_was_really_sold(ledger: Ledger) -> None:
    world.execute(ledger)
    (item,) = gas_audit(ledger).rebalances
    # Two unchained legs sold 90,000 USDC at 1 USD; the chained one sold nothing of the wallet's.
    assert item.traded_e8 == 90_000 * E8
    assert item.share_ppm == -(-item.cost_e8 * 1_000_000 // (90_000 * E8))
    assert item.share_ppm == 228  # 20.49 USD of 90,000, rounded up


def test_a_reverted_rebalance_cost_gas_and_traded_nothing(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    ledger.store_bundle(plan, world.bundle(plan))
    approve, run = world.bundle(plan).transactions
    ledger.record_outcome(world.outcome(approve))
    ledger.record_outcome(world.outcome(run, status=0))
    audit = gas_audit(ledger)
    assert_adds_up(audit)
    (item,) = audit.rebalances
    assert (item.state, item.gas_used) == ("reverted", 2 * 46_162)
    assert (item.traded_e8, item.share_ppm) == (0, None)


def test_what_is_not_mined_cost_nothing(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    ledger.store_bundle(plan, world.bundle(plan))
    assert gas_audit(ledger) == GasAudit((), ())


def test_totals_are_by_chain_and_numeraire_and_never_across(ledger: Ledger) -> None:
    world.execute(ledger, at=100, nonce=7)
    world.execute(ledger, at=200, nonce=9, portfolio="side")
    for at, nonce, chain_id, numeraire in ((300, 11, 1, "WETH"), (400, 12, 10, "USD")):
        seen = world.snapshot(at, numeraire=numeraire, native=Price(world.WETH, E8, 10**18, "x", 0))
        seen = replace(seen, block=replace(seen.block, chain_id=chain_id))
        decision = world.rebalance(seen, numeraire=numeraire)
        ledger.record_decision("far", "execute", seen, world.valuation(seen), decision)
        run = world.signed("execute", nonce)
        ledger.store_bundle(decision.plan, world.bundle(decision.plan, run))
        ledger.record_outcome(world.executed(decision.plan, run, at + 1))
    audit = gas_audit(ledger)
    assert_adds_up(audit)
    assert [(t.chain_id, t.numeraire, t.rebalances, t.transactions) for t in audit.totals] == [
        (1, "USD", 2, 4),
        (1, "WETH", 1, 1),
        (10, "USD", 1, 1),
    ]
    dollars = audit.totals[0]
    assert dollars.gas_used == 2 * (46_162 + 279_017)
    assert dollars.cost_wei == 2 * (APPROVE_WEI + EXECUTE_WEI)
    assert dollars.cost_e8 == sum(item.cost_e8 for item in audit.rebalances[:2])
    assert (dollars.expected_gas, dollars.traded_e8) == (580_000, 180_000 * E8)
    # native priced at 1 WETH: the value is the wei itself, in 1e-8
    assert audit.totals[1].cost_e8 == -(-EXECUTE_WEI // 10**10)

    main = gas_audit(ledger, "main")
    assert [item.portfolio for item in main.rebalances] == ["main"]
    assert main.totals[0].rebalances == 1


def test_a_fill_of_no_leg_is_one_clear_error(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    ledger.store_bundle(plan, world.bundle(plan))
    run = world.signed("execute", 8)
    done = world.executed(plan, run)
    ledger.record_outcome(replace(done, fills=(replace(done.fills[0], index=3),)))
    with pytest.raises(LedgerError, match="leg that its plan does not have"):
        gas_audit(ledger)
