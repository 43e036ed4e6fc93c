"""What is recorded, what is refused, and what state it folds to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ledger_world as world
import pytest
from sqlalchemy import func, select

from rebalancer.errors import LedgerError
from rebalancer.ledger.queries import decisions, rebalances, transactions
from rebalancer.ledger.schema import events, fills, gas_components, objects, outcomes
from rebalancer.ledger.store import Ledger
from rebalancer.model import Amount, Hold, Plan, Rebalance, TransactionOutcome, digest


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with world.open_ledger(tmp_path) as opened:
        yield opened


def count(ledger: Ledger, table: Any) -> int:
    with ledger.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def states(ledger: Ledger) -> dict[str, str]:
    return {tx.tx_hash: tx.state for tx in transactions(ledger)}


# Decisions


def test_a_hold_is_recorded_with_its_reasons_and_its_block(ledger: Ledger) -> None:
    seen = world.snapshot()
    decision_id = ledger.record_decision(
        "main", "dry-run", seen, world.valuation(seen), world.hold(seen)
    )
    (record,) = decisions(ledger)
    assert record.decision_id == decision_id
    assert (record.action, record.mode, record.plan_id) == ("hold", "dry-run", None)
    assert (record.block_number, record.block_hash) == (100, world.block_hash(100))
    assert record.block_ts == seen.block.timestamp
    assert (record.numeraire, record.nav_e8) == ("USD", 820_000 * 10**8)
    assert record.reasons == world.hold(seen).reasons
    assert record.snapshot_id == digest(seen)


def test_the_same_decision_twice_is_one_decision(ledger: Ledger) -> None:
    seen = world.snapshot()
    args = (seen, world.valuation(seen), world.rebalance(seen))
    first = ledger.record_decision("main", "execute", *args)
    before = count(ledger, events), count(ledger, objects)
    assert ledger.record_decision("main", "execute", *args) == first
    assert (count(ledger, events), count(ledger, objects)) == before


def test_mode_and_portfolio_make_another_decision_of_the_same_objects(ledger: Ledger) -> None:
    seen = world.snapshot()
    args = (seen, world.valuation(seen), world.rebalance(seen))
    ids = {
        ledger.record_decision("main", "execute", *args),
        ledger.record_decision("main", "dry-run", *args),
        ledger.record_decision("side", "dry-run", *args),
    }
    assert len(ids) == 3
    # snapshot, valuation, rebalance and plan once; an evaluation each
    assert count(ledger, objects) == 4 + 3
    assert [record.mode for record in decisions(ledger, "main")] == ["execute", "dry-run"]
    assert [record.portfolio for record in decisions(ledger, "side")] == ["side"]


def test_an_unknown_mode_is_refused(ledger: Ledger) -> None:
    seen = world.snapshot()
    with pytest.raises(LedgerError, match="dry-run or execute"):
        ledger.record_decision("main", "live", seen, world.valuation(seen), world.hold(seen))


_SEEN = world.snapshot()
_OTHER = world.snapshot(99)
_REBALANCE = world.rebalance(_SEEN)


@pytest.mark.parametrize(
    ("link", "valuation", "decision"),
    [
        ("valuation", world.valuation(_OTHER), world.hold(_OTHER)),
        (
            "valuation's block",
            replace(world.valuation(_SEEN), block_hash="0x1"),
            world.hold(_SEEN),
        ),
        ("decision", world.valuation(_SEEN), replace(world.hold(_SEEN), parent="0" * 64)),
        ("decision's block", world.valuation(_SEEN), replace(world.hold(_SEEN), block_number=1)),
        ("plan", world.valuation(_SEEN), world.rebalance(_SEEN, parent="0" * 64)),
        ("plan's block", world.valuation(_SEEN), world.rebalance(_SEEN, block_hash="0x1")),
        ("plan's wallet", world.valuation(_SEEN), world.rebalance(_SEEN, wallet="0x1")),
        ("plan's chain", world.valuation(_SEEN), world.rebalance(_SEEN, chain_id=5)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_trail_is_refused(
    ledger: Ledger, link: str, valuation: Any, decision: Hold | Rebalance
) -> None:
    if link in ("plan", "plan's block") and isinstance(decision, Rebalance):
        # The decision itself is right, only its plan is not.
        decision = replace(_REBALANCE, plan=decision.plan)
    with pytest.raises(LedgerError, match=f"the {link} is not of the snapshot"):
        ledger.record_decision("main", "execute", _SEEN, valuation, decision)
    assert count(ledger, objects) == 0


# Bundles


def test_a_bundle_needs_a_decision_to_execute_its_plan(ledger: Ledger) -> None:
    seen = world.snapshot()
    plan = world.plan(seen)
    with pytest.raises(LedgerError, match="no recorded decision"):
        ledger.store_bundle(plan, world.bundle(plan))
    args = (seen, world.valuation(seen), world.rebalance(seen))
    ledger.record_decision("main", "dry-run", *args)
    with pytest.raises(LedgerError, match="no recorded decision"):
        ledger.store_bundle(plan, world.bundle(plan))
    assert transactions(ledger) == []
    ledger.record_decision("main", "execute", *args)
    ledger.store_bundle(plan, world.bundle(plan))
    assert len(transactions(ledger)) == 2


def test_a_bundle_of_another_plan_is_refused(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    other = world.decide(ledger, at=101)
    with pytest.raises(LedgerError, match="another plan"):
        ledger.store_bundle(plan, world.bundle(other))


def test_a_transaction_goes_from_stored_to_sent_to_mined(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    bundle = world.bundle(plan)
    approve, run = bundle.transactions
    ledger.store_bundle(plan, bundle)
    assert states(ledger) == {approve.tx_hash: "stored", run.tx_hash: "stored"}
    ledger.record_sent(approve.tx_hash)
    assert states(ledger) == {approve.tx_hash: "sent", run.tx_hash: "stored"}
    ledger.record_outcome(world.outcome(approve))
    ledger.record_sent(run.tx_hash)
    ledger.record_outcome(world.outcome(run, status=0))
    assert states(ledger) == {approve.tx_hash: "mined", run.tx_hash: "reverted"}
    assert [tx.purpose for tx in transactions(ledger)] == ["approve", "execute"]


def test_what_is_not_stored_cannot_be_sent_mined_or_dropped(ledger: Ledger) -> None:
    stranger = world.signed("execute", 1)
    for act in (
        lambda: ledger.record_sent(stranger.tx_hash),
        lambda: ledger.record_outcome(world.outcome(stranger)),
        lambda: ledger.record_dropped(stranger.tx_hash, "why not"),
    ):
        with pytest.raises(LedgerError, match="not in the ledger") as raised:
            act()
        assert raised.value.tx_hash == stranger.tx_hash
    assert (count(ledger, events), count(ledger, objects)) == (0, 0)


def test_everything_said_twice_is_said_once(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    bundle = world.bundle(plan)
    approve, run = bundle.transactions
    for _ in range(2):
        ledger.store_bundle(plan, bundle)
    for _ in range(2):
        ledger.record_sent(approve.tx_hash)
        ledger.store_bundle(plan, bundle)
    assert states(ledger)[approve.tx_hash] == "sent"
    for _ in range(2):
        ledger.record_outcome(world.outcome(approve))
        ledger.record_dropped(run.tx_hash, "the deadline has passed")
    # decided, stored twice, sent, mined, dropped
    assert count(ledger, events) == 6
    assert (count(ledger, outcomes), count(ledger, gas_components)) == (1, 3)


def test_after_a_reorganisation_the_last_outcome_wins_and_the_first_is_kept(
    ledger: Ledger,
) -> None:
    plan = world.execute(ledger)
    run = world.signed("execute", 8)
    moved = replace(
        world.executed(plan, run, 102), block_hash=world.block_hash(102, "b"), gas_used=279_117
    )
    ledger.record_outcome(moved)
    (record,) = rebalances(ledger)
    assert record.transactions[1].outcome == moved
    assert record.gas_used == 46_162 + 279_117
    # and back again: news, although it has been said before
    ledger.record_outcome(world.executed(plan, run))
    (record,) = rebalances(ledger)
    assert record.gas_used == 46_162 + 279_017
    assert count(ledger, outcomes) == 4
    assert count(ledger, fills) == 9


def test_a_dropped_transaction_may_be_stored_again(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    bundle = world.bundle(plan)
    ledger.store_bundle(plan, bundle)
    for transaction in bundle.transactions:
        ledger.record_dropped(transaction.tx_hash, "never sent")
    assert ledger.open_bundles(1, world.WALLET) == []
    assert [tx.note for tx in transactions(ledger)] == ["never sent"] * 2
    later = world.decide(ledger, at=101)
    ledger.store_bundle(later, world.bundle(later))
    assert [stored for stored, _ in ledger.open_bundles(1, world.WALLET)] == [later]
    assert {tx.plan_id for tx in transactions(ledger)} == {digest(later)}


def test_a_mined_transaction_cannot_be_stored_to_be_sent(ledger: Ledger) -> None:
    plan = world.execute(ledger)
    before = count(ledger, events)
    with pytest.raises(LedgerError, match="is mined"):
        ledger.store_bundle(plan, world.bundle(plan, world.signed("execute", 8)))
    assert count(ledger, events) == before


def test_an_open_transaction_cannot_be_taken_over_by_another_plan(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    ledger.store_bundle(plan, world.bundle(plan))
    later = world.decide(ledger, at=101)
    with pytest.raises(LedgerError, match="open for another plan"):
        ledger.store_bundle(later, world.bundle(later))


def test_open_bundles_hold_only_what_is_open_oldest_first(ledger: Ledger) -> None:
    first = world.decide(ledger)
    approve, run = world.signed("approve", 7), world.signed("execute", 8)
    ledger.store_bundle(first, world.bundle(first, approve, run))
    ledger.record_sent(approve.tx_hash)
    ledger.record_outcome(world.outcome(approve))
    ((_, still_open),) = ledger.open_bundles(1, world.WALLET)
    assert still_open.transactions == (approve, run), "mined, but not yet final"
    ledger.record_confirmed(approve.tx_hash, "1 block")
    second = world.decide(ledger, at=101)
    other = world.bundle(second, world.signed("execute", 9))
    ledger.store_bundle(second, other)
    ledger.record_sent(run.tx_hash)

    expected = [(first, world.bundle(first, run)), (second, other)]
    assert ledger.open_bundles(1, world.WALLET) == expected
    assert ledger.open_bundles(1, world.WALLET.lower()) == expected
    assert ledger.open_bundles(2, world.WALLET) == []
    assert ledger.open_bundles(1, world.EXECUTOR) == []
    ledger.record_dropped(run.tx_hash, "nonce used")
    assert ledger.open_bundles(1, world.WALLET) == [(second, other)]


def test_a_replacement_is_a_second_bundle_of_the_plan(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    slow, fast = world.signed("execute", 8, "slow"), world.signed("execute", 8, "fast")
    ledger.store_bundle(plan, world.bundle(plan, slow))
    ledger.store_bundle(plan, world.bundle(plan, fast))
    (record,) = rebalances(ledger)
    assert record.state == "open"
    ledger.record_outcome(world.executed(plan, fast))
    ledger.record_dropped(slow.tx_hash, "replaced")
    (record,) = rebalances(ledger)
    assert record.state == "executed"
    assert record.gas_used == 279_017
    assert [tx.state for tx in record.transactions] == ["dropped", "mined"]


# Questions


def test_last_rebalance_is_the_deciding_block_of_the_newest_success(ledger: Ledger) -> None:
    assert ledger.last_rebalance_ts("main") is None
    world.execute(ledger, at=100, nonce=7)
    assert ledger.last_rebalance_ts("main") == world.NOW + 1_200
    world.execute(ledger, at=200, nonce=9)
    assert ledger.last_rebalance_ts("main") == world.NOW + 2_400
    assert ledger.last_rebalance_ts("side") is None
    # As it was at a block: executed is what is mined, one block after it was decided.
    by_then = [ledger.last_rebalance_ts("main", number) for number in (100, 101, 200, 201)]
    first, second = world.NOW + 1_200, world.NOW + 2_400
    assert by_then == [None, first, first, second]

    reverted = world.decide(ledger, at=300)
    run = world.signed("execute", 12)
    ledger.store_bundle(reverted, world.bundle(reverted, world.signed("approve", 11), run))
    ledger.record_outcome(world.outcome(world.signed("approve", 11), 301))
    ledger.record_outcome(world.outcome(run, 301, status=0))
    assert ledger.last_rebalance_ts("main") == world.NOW + 2_400

    # A reorganisation takes the second one away again.
    ledger.record_dropped(world.signed("execute", 10).tx_hash, "reorganised away")
    assert ledger.last_rebalance_ts("main") == world.NOW + 1_200


def test_a_rebalance_shows_expected_beside_realised(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    ledger.store_bundle(plan, world.bundle(plan))
    approve, run = world.bundle(plan).transactions
    (record,) = rebalances(ledger)
    assert record.state == "open"
    assert [leg.fill for leg in record.legs] == [None] * 3
    ledger.record_outcome(world.outcome(approve))
    done = world.executed(plan, run)
    better = replace(done.fills[0], amount_out=done.fills[0].amount_out + 1)
    ledger.record_outcome(replace(done, fills=(better, *done.fills[1:])))
    (record,) = rebalances(ledger, "main")
    assert (record.state, record.plan, record.plan_id) == ("executed", plan, digest(plan))
    assert record.legs[0].leg.pays == (Amount(world.WETH, 9_950 * 10**15),)
    assert record.legs[0].fill == better
    assert record.legs[2].fill == done.fills[2]
    assert record.gas_cost_wei == 46_162 * 21 * 10**9 + 279_017 * (21 * 10**9 + 7)
    assert rebalances(ledger, "side") == []


def test_amounts_beyond_64_bits_are_exact(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    ledger.store_bundle(plan, world.bundle(plan))
    run = world.signed("execute", 8)
    huge = replace(world.fills(plan)[0], amount_in=2**256 - 1, amount_out=2**255 + 1)
    ledger.record_outcome(world.outcome(run, fills=(huge,), effective_gas_price_wei=2**200 + 1))
    with ledger.reading() as connection:
        row = connection.execute(select(fills.c.amount_in, fills.c.amount_out)).one()
        price = connection.execute(select(outcomes.c.effective_gas_price_wei)).scalar_one()
    assert tuple(row) == (2**256 - 1, 2**255 + 1)
    assert price == 2**200 + 1


def test_a_number_too_large_for_its_column_is_one_clear_error(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    ledger.store_bundle(plan, world.bundle(plan))
    lie: TransactionOutcome = world.outcome(world.signed("execute", 8), gas_used=2**70)
    before = count(ledger, events), count(ledger, objects)
    with pytest.raises(LedgerError, match="too large"):
        ledger.record_outcome(lie)
    assert (count(ledger, events), count(ledger, objects)) == before


def test_the_ledger_is_a_journal(ledger: Ledger) -> None:
    from rebalancer.bundler.journal import Journal

    journal: Journal = ledger
    plan: Plan = world.decide(ledger)
    journal.store_bundle(plan, world.bundle(plan))
    assert len(journal.open_bundles(1, world.WALLET)) == 1
