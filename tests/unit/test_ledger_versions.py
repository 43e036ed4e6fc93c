"""Versions of a nonce, confirmations, reorganisations, and what people said."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import ledger_world as world
import pytest

from rebalancer.errors import ConfigError, LedgerError, NonceConflict
from rebalancer.ledger.codec import Approval
from rebalancer.ledger.consent import (
    approve,
    find_plan,
    newest_approval,
    pause,
    pause_reason,
    resume,
    use_approval,
    was_traded,
)
from rebalancer.ledger.integrity import check_integrity
from rebalancer.ledger.log import Event
from rebalancer.ledger.queries import rebalances, transactions
from rebalancer.ledger.store import Ledger
from rebalancer.model import Plan, SignedTransaction, digest


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with world.open_ledger(tmp_path) as opened:
        yield opened
        assert check_integrity(opened) == []


SLOW = world.signed("execute", 8, "slow")
FAST = world.signed("execute", 8, "fast")
CANCEL = world.signed("cancel", 8)


def stored(ledger: Ledger, *versions: SignedTransaction) -> Plan:
    """A plan whose execution has these versions, each in place of the one before."""
    plan = world.decide(ledger)
    ledger.store_bundle(plan, world.bundle(plan, versions[0]))
    for before, version in pairwise(versions):
        ledger.store_version(world.bundle(plan, version), before.tx_hash)
    return plan


def states(ledger: Ledger) -> list[str]:
    return [record.state for record in transactions(ledger)]


def test_versions_stay_open_side_by_side_until_the_chain_decides(ledger: Ledger) -> None:
    plan = stored(ledger, SLOW, FAST, CANCEL)
    assert states(ledger) == ["replaced", "cancelled", "stored"]
    assert [record.note for record in transactions(ledger)] == [FAST.tx_hash, CANCEL.tx_hash, ""]
    ((_, bundle),) = ledger.open_bundles(1, world.WALLET)
    assert bundle.transactions == (SLOW, FAST, CANCEL)
    ledger.record_sent(SLOW.tx_hash, "public")
    assert states(ledger)[0] == "replaced", "that it was seen does not undo that it is replaced"

    ledger.record_outcome(world.executed(plan, SLOW))
    for other in (FAST, CANCEL):
        ledger.record_dropped(other.tx_hash, "another version was mined")
    (record,) = rebalances(ledger)
    assert record.state == "executed"
    ((_, bundle),) = ledger.open_bundles(1, world.WALLET)
    assert bundle.transactions == (SLOW,), "mined, but not final"
    ledger.record_confirmed(SLOW.tx_hash, "2 deep")
    assert ledger.open_bundles(1, world.WALLET) == []


def test_a_plan_whose_cancellation_was_mined_is_dropped_and_paid_for(ledger: Ledger) -> None:
    stored(ledger, SLOW, CANCEL)
    ledger.record_outcome(world.outcome(CANCEL, gas_used=21_000, components=()))
    ledger.record_dropped(SLOW.tx_hash, "cancelled")
    (record,) = rebalances(ledger)
    assert (record.state, record.fills, record.gas_used) == ("dropped", (), 21_000)
    assert ledger.last_rebalance_ts("main") is None


def test_only_an_open_transaction_of_the_same_nonce_and_plan_is_replaced(ledger: Ledger) -> None:
    plan = stored(ledger, SLOW)
    for version, replaced in (
        (world.signed("execute", 9, "other nonce"), SLOW.tx_hash),
        (FAST, world.signed("execute", 8, "stranger").tx_hash),
    ):
        with pytest.raises(LedgerError, match="replaces nothing"):
            ledger.store_version(world.bundle(plan, version), replaced)
    ledger.record_dropped(SLOW.tx_hash, "expired")
    with pytest.raises(LedgerError, match="replaces nothing"):
        ledger.store_version(world.bundle(plan, FAST), SLOW.tx_hash)
    assert states(ledger) == ["dropped"]


@pytest.mark.parametrize("end", ["open", "mined", "reorged"])
def test_a_nonce_belongs_to_one_plan(ledger: Ledger, end: str) -> None:
    plan = stored(ledger, SLOW)
    if end != "open":
        ledger.record_outcome(world.executed(plan, SLOW))
    if end == "reorged":
        ledger.record_reorged(SLOW.tx_hash, "gone")
    later = world.decide(ledger, at=101)
    with pytest.raises(NonceConflict, match="nonce 8 of"):
        ledger.store_bundle(later, world.bundle(later, FAST))
    assert len(transactions(ledger)) == 1


def test_a_nonce_that_was_given_up_is_free(ledger: Ledger) -> None:
    stored(ledger, SLOW)
    ledger.record_dropped(SLOW.tx_hash, "expired")
    later = world.decide(ledger, at=101)
    ledger.store_bundle(later, world.bundle(later, FAST))
    assert states(ledger) == ["dropped", "stored"]


def test_a_reorganisation_reopens_what_was_mined_and_even_confirmed(ledger: Ledger) -> None:
    plan = stored(ledger, SLOW)
    outcome = world.executed(plan, SLOW)
    ledger.record_outcome(outcome)
    ledger.record_confirmed(SLOW.tx_hash, "1 deep")
    assert ledger.recorded_outcome(SLOW.tx_hash) == outcome
    ledger.record_reorged(SLOW.tx_hash, "block 101 is another one")
    assert ledger.recorded_outcome(SLOW.tx_hash) is None
    (record,) = transactions(ledger)
    assert (record.state, record.confirmed, record.is_open) == ("reorged", False, True)
    assert len(ledger.open_bundles(1, world.WALLET)) == 1
    ledger.record_outcome(outcome)
    (record,) = transactions(ledger)
    assert (record.state, record.confirmed) == ("mined", False), "confirmed again, not still"
    ledger.record_confirmed(SLOW.tx_hash, "3 deep")
    ledger.record_confirmed(SLOW.tx_hash, "4 deep")
    (record,) = transactions(ledger)
    assert record.confirmed


def test_what_is_not_mined_cannot_be_confirmed(ledger: Ledger) -> None:
    plan = stored(ledger, SLOW)
    with pytest.raises(LedgerError, match="cannot be confirmed"):
        ledger.record_confirmed(SLOW.tx_hash, "")
    ledger.record_outcome(world.executed(plan, SLOW))
    ledger.record_reorged(SLOW.tx_hash, "gone")
    with pytest.raises(LedgerError, match="cannot be confirmed"):
        ledger.record_confirmed(SLOW.tx_hash, "")


def test_what_was_ever_stored_or_sent_is_found(ledger: Ledger) -> None:
    plan = stored(ledger, SLOW, FAST)
    assert ledger.find(FAST.tx_hash) == (plan, FAST)
    assert ledger.find("0x" + "00" * 32) is None
    assert not ledger.was_sent(SLOW.tx_hash)
    ledger.record_sent(FAST.tx_hash)
    ledger.record_dropped(FAST.tx_hash, "expired")
    assert ledger.was_sent(FAST.tx_hash)


# People


def test_an_approval_holds_until_it_expires_or_is_used(ledger: Ledger) -> None:
    plan = world.decide(ledger)
    name, found = find_plan(ledger, "main", digest(plan)[:8].upper())
    assert (name, found) == (digest(plan), plan)
    approval = Approval("main", name, 1_000)
    approve(ledger, approval)
    assert newest_approval(ledger, "main", 1_000) == (approval, plan)
    assert newest_approval(ledger, "main", 1_001) is None
    assert newest_approval(ledger, "side", 1_000) is None
    assert not was_traded(ledger, name)
    again = Approval("main", name, 2_000)
    approve(ledger, again)
    assert newest_approval(ledger, "main", 1_000) == (again, plan)
    use_approval(ledger, again, "ff" * 32)
    assert newest_approval(ledger, "main", 1_000) is None, "approved twice, it was one yes"
    assert was_traded(ledger, name)
    approve(ledger, again)
    assert newest_approval(ledger, "main", 1_000) == (again, plan), "said anew, it counts anew"


def test_only_a_plan_of_the_portfolio_that_was_to_be_executed_can_be_approved(
    ledger: Ledger,
) -> None:
    seen = world.snapshot(100)
    dry = world.rebalance(seen)
    ledger.record_decision("main", "dry-run", seen, world.valuation(seen), dry)
    theirs = world.decide(ledger, at=101, portfolio="side")
    for plan_id in (digest(dry.plan), digest(theirs), "", "________", "%" * 8):
        with pytest.raises(ConfigError):
            find_plan(ledger, "main", plan_id)


def test_a_pause_holds_until_it_is_taken_back(ledger: Ledger) -> None:
    assert pause_reason(ledger, "main") is None
    pause(ledger, "main", "audit week")
    pause(ledger, "main", "audit week")
    assert pause_reason(ledger, "main") == "audit week"
    assert pause_reason(ledger, "side") is None
    resume(ledger, "main")
    assert pause_reason(ledger, "main") is None
    resume(ledger, "main")
    pause(ledger, "main", "")
    assert pause_reason(ledger, "main") == "", "without a reason it is a pause all the same"


# The ledger's own checks


@pytest.mark.parametrize(
    "lie",
    [
        Event("confirmed", SLOW.tx_hash),
        Event("replaced", SLOW.tx_hash, note="0x" + "00" * 32),
        Event("reorged", world.signed("execute", 1).tx_hash),
        Event("invented", SLOW.tx_hash),
        Event("approved", "00" * 32),
    ],
)
def test_an_event_that_cannot_be_is_found(tmp_path: Path, lie: Event) -> None:
    with world.open_ledger(tmp_path) as ledger:
        stored(ledger, SLOW)
        assert check_integrity(ledger) == []
        ledger.record(lie)
        (finding,) = check_integrity(ledger)
        assert finding.code == "event"
