"""Orders in the ledger: what may follow what, what was sold, and what is never stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ledger_world as world
import pytest
from ledger_world import USDC, WBTC, WETH, bundle, executed, outcome, signed, snapshot

from rebalancer.errors import ConfigError, LedgerError, LimitBreached, Paused
from rebalancer.ledger.codec import Approval
from rebalancer.ledger.consent import approve, newest_approval, use_approval
from rebalancer.ledger.integrity import check_integrity
from rebalancer.ledger.orders import (
    close_order,
    current_order,
    find_order,
    open_order,
    order_approval,
    order_record,
    orders,
    resume_order,
    stop_order,
    stopped_reason,
)
from rebalancer.ledger.queries import decisions
from rebalancer.ledger.store import Ledger
from rebalancer.model import Amount, Order, Plan, SoFar, digest

#: What one slice of the world's plan sells.
SOLD = 90_000 * 10**6


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with world.open_ledger(tmp_path) as book:
        yield book


def opened(ledger: Ledger, at: int = 100, **changes: Any) -> tuple[str, Order]:
    order = world.order(world.decide(ledger, at), **changes)
    return open_order(ledger, order), order


def planned(ledger: Ledger, order_id: str, at: int) -> Plan:
    """A slice of the order, decided at block ``at``."""
    return world.decide(ledger, at, order=order_id)


def sliced(ledger: Ledger, order_id: str, at: int, nonce: int, confirm: bool = True) -> Plan:
    """A slice from its decision to its fill."""
    plan = planned(ledger, order_id, at)
    run = signed("execute", nonce, order_id)
    ledger.store_bundle(plan, bundle(plan, run))
    ledger.record_sent(run.tx_hash)
    ledger.record_outcome(executed(plan, run, at + 1))
    if confirm:
        ledger.record_confirmed(run.tx_hash, "deep enough")
    return plan


def check_whole(ledger: Ledger) -> None:
    assert check_integrity(ledger) == []


def test_opened__current__until_closed(ledger: Ledger) -> None:
    assert current_order(ledger, "main") is None
    order_id, order = opened(ledger)
    record = current_order(ledger, "main")
    assert record is not None
    assert (record.order_id, record.order, record.state) == (order_id, order, "open")
    assert digest(record.one_go) == order.plan
    assert current_order(ledger, "other") is None
    close_order(ledger, order_id, "done")
    close_order(ledger, order_id, "done")
    assert current_order(ledger, "main") is None
    assert [(r.state, r.note) for r in orders(ledger, "main")] == [("closed", "done")]
    check_whole(ledger)


def test_a_second_order__only_after_the_first(ledger: Ledger) -> None:
    order_id, _ = opened(ledger)
    second = world.order(world.decide(ledger, 105))
    with pytest.raises(LedgerError, match="not closed yet"):
        open_order(ledger, second)
    close_order(ledger, order_id, "done")
    open_order(ledger, second)
    assert len(orders(ledger, "main")) == 2
    check_whole(ledger)


def test_an_order_of_no_recorded_plan__is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="missing"):
        open_order(ledger, world.order(world.plan(snapshot())))


def test_stopped__resumed__closed__and_not_again(ledger: Ledger) -> None:
    order_id, _ = opened(ledger)
    stop_order(ledger, order_id, "the oracle looks odd")
    assert order_record(ledger, order_id).state == "stopped"
    assert stopped_reason(ledger, "main") == (order_id, "the oracle looks odd")
    with pytest.raises(ConfigError, match="is stopped: it cannot be stopped"):
        stop_order(ledger, order_id, "twice")
    resume_order(ledger, order_id)
    assert order_record(ledger, order_id).state == "open"
    assert stopped_reason(ledger, "main") is None
    with pytest.raises(ConfigError, match="cannot be continued"):
        resume_order(ledger, order_id)
    close_order(ledger, order_id, "cancelled")
    for act in (resume_order, lambda b, i: stop_order(b, i, "late")):
        with pytest.raises(ConfigError, match="is closed"):
            act(ledger, order_id)
    check_whole(ledger)


def test_what_was_sold_is_what_the_fills_say(ledger: Ledger) -> None:
    order_id, order = opened(ledger)
    plan = sliced(ledger, order_id, 105, 8)
    so_far = order_record(ledger, order_id).so_far
    assert so_far.of(USDC) == SOLD
    assert (so_far.of(WETH), so_far.of(WBTC)) == (0, 0)
    assert (so_far.slices, so_far.pending) == (1, False)
    assert so_far.last_at == snapshot(105).block.timestamp
    assert order.left(so_far) == (Amount(USDC, order.most(USDC) - SOLD),)
    (item,) = order_record(ledger, order_id).slices
    assert item.plan_id == digest(plan)
    seen = snapshot(105)
    bought = {a.token: a.raw for a in item.bought}
    assert bought == {WETH: 9_950 * 10**15, WBTC: 98_000_000}
    worth = sum(seen.price(token).value_down(raw) for token, raw in bought.items())
    assert item.loss_e8 == seen.price(USDC).value_up(SOLD) - worth
    assert so_far.cost_e8 == max(item.loss_e8, 0) + seen.native.value_up(item.gas_cost_wei)
    assert [(s.token, s.raw) for s in item.sales] == [
        (USDC, 30_000 * 10**6),
        (USDC, 60_000 * 10**6),
    ]


def test_a_fill_that_differs_from_the_plan__counts_as_it_is(ledger: Ledger) -> None:
    order_id, _ = opened(ledger)
    plan = planned(ledger, order_id, 105)
    run = signed("execute", 8)
    ledger.store_bundle(plan, bundle(plan, run))
    made = executed(plan, run, 106)
    first = replace(made.fills[0], amount_in=made.fills[0].amount_in + 7)
    ledger.record_outcome(replace(made, fills=(first, *made.fills[1:])))
    ledger.record_confirmed(run.tx_hash, "deep")
    assert order_record(ledger, order_id).so_far.of(USDC) == SOLD + 7


def test_mined_without_fills__the_plan_counts(ledger: Ledger) -> None:
    order_id, _ = opened(ledger)
    plan = planned(ledger, order_id, 105)
    run = signed("execute", 8)
    ledger.store_bundle(plan, bundle(plan, run))
    ledger.record_outcome(replace(executed(plan, run, 106), fills=()))
    ledger.record_confirmed(run.tx_hash, "deep")
    assert order_record(ledger, order_id).so_far.of(USDC) == SOLD


def test_pending__counts_and_blocks_the_next(ledger: Ledger) -> None:
    order_id, _ = opened(ledger)
    plan = planned(ledger, order_id, 105)
    run = signed("execute", 8)
    ledger.store_bundle(plan, bundle(plan, run))
    ledger.store_bundle(plan, bundle(plan, run))  # after a crash the same again
    so_far = order_record(ledger, order_id).so_far
    assert (so_far.pending, so_far.of(USDC)) == (True, SOLD)
    second = planned(ledger, order_id, 110)
    with pytest.raises(LimitBreached, match="not final yet"):
        ledger.store_bundle(second, bundle(second, signed("execute", 9)))
    ledger.record_outcome(executed(plan, run, 106))
    with pytest.raises(LimitBreached, match="not final yet"):
        ledger.store_bundle(second, bundle(second, signed("execute", 9)))
    ledger.record_confirmed(run.tx_hash, "deep")
    ledger.store_bundle(second, bundle(second, signed("execute", 9)))


def test_reorged__is_pending_again__dropped__was_never_sold(ledger: Ledger) -> None:
    order_id, _ = opened(ledger)
    sliced(ledger, order_id, 105, 8)
    (item,) = order_record(ledger, order_id).slices
    tx_hash = signed("execute", 8, order_id).tx_hash
    ledger.record_reorged(tx_hash, "the block is gone")
    assert order_record(ledger, order_id).so_far.pending
    ledger.record_dropped(tx_hash, "the nonce was used")
    so_far = order_record(ledger, order_id).so_far
    assert so_far == SoFar()
    assert order_record(ledger, order_id).slices[0].state == "failed"
    assert item.state == "executed"


def test_reverted__sold_nothing__cost_its_gas(ledger: Ledger) -> None:
    order_id, _ = opened(ledger)
    plan = planned(ledger, order_id, 105)
    run = signed("execute", 8)
    ledger.store_bundle(plan, bundle(plan, run))
    ledger.record_outcome(outcome(run, 106, status=0))
    ledger.record_confirmed(run.tx_hash, "deep")
    so_far = order_record(ledger, order_id).so_far
    gas_wei = outcome(run, 106).gas_cost_wei
    assert so_far == SoFar(cost_e8=snapshot(105).native.value_up(gas_wei))


def test_more_than_is_left__is_never_stored(ledger: Ledger) -> None:
    order_id, _ = opened(ledger, sells=(Amount(USDC, 2 * SOLD - 1),))
    sliced(ledger, order_id, 105, 8)
    plan = planned(ledger, order_id, 110)
    with pytest.raises(LimitBreached, match=r"sells 90,000 USDC, its order has 89,999\.999999"):
        ledger.store_bundle(plan, bundle(plan, signed("execute", 9)))
    assert ledger.open_bundles(1, world.WALLET) == []


def test_to_the_last_unit__is_stored(ledger: Ledger) -> None:
    order_id, _ = opened(ledger, sells=(Amount(USDC, 2 * SOLD),))
    sliced(ledger, order_id, 105, 8)
    sliced(ledger, order_id, 110, 9)
    assert order_record(ledger, order_id).so_far.of(USDC) == 2 * SOLD
    check_whole(ledger)


def test_a_token_that_the_order_does_not_sell__is_never_stored(ledger: Ledger) -> None:
    order_id, _ = opened(ledger, sells=(Amount(WETH, 10**20),))
    plan = planned(ledger, order_id, 105)
    with pytest.raises(LimitBreached, match="its order has 0 left"):
        ledger.store_bundle(plan, bundle(plan, signed("execute", 8)))


def test_stopped_or_closed__nothing_is_stored(ledger: Ledger) -> None:
    order_id, _ = opened(ledger)
    plan = planned(ledger, order_id, 105)
    stop_order(ledger, order_id, "why")
    with pytest.raises(Paused, match="is stopped: why"):
        ledger.store_bundle(plan, bundle(plan, signed("execute", 8)))
    close_order(ledger, order_id, "cancelled")
    with pytest.raises(Paused, match="is closed: cancelled"):
        ledger.store_bundle(plan, bundle(plan, signed("execute", 8)))


def test_consent__no_slice_before_it__then_for_all_of_them(ledger: Ledger) -> None:
    order_id, _ = opened(ledger, needs_consent=True)
    assert order_record(ledger, order_id).state == "awaits approval"
    plan = planned(ledger, order_id, 105)
    with pytest.raises(Paused, match="waits for a person"):
        ledger.store_bundle(plan, bundle(plan, signed("execute", 8)))
    given = Approval("main", order_id, 2_000_000_000)
    approve(ledger, given)
    assert order_approval(ledger, order_id, 2_000_000_000) == given
    assert order_approval(ledger, order_id, 2_000_000_001) is None
    assert newest_approval(ledger, "main", 0) is None  # it is no plan's
    with pytest.raises(Paused, match="waits for a person"):
        ledger.store_bundle(plan, bundle(plan, signed("execute", 8)))
    use_approval(ledger, given, order_id)
    assert order_record(ledger, order_id).state == "open"
    ledger.store_bundle(plan, bundle(plan, signed("execute", 8)))
    check_whole(ledger)


def test_a_slice_of_no_order__is_not_even_recorded(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="was never opened"):
        world.decide(ledger, 105, order="ab" * 32)
    assert decisions(ledger) == []


def test_found_by_its_beginning__or_the_one_at_work(ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="has no orders"):
        find_order(ledger, "main", None)
    order_id, _ = opened(ledger)
    close_order(ledger, order_id, "done")
    assert find_order(ledger, "main", None).order_id == order_id
    assert find_order(ledger, "main", order_id[:8].upper()).order_id == order_id
    with pytest.raises(ConfigError, match="too short"):
        find_order(ledger, "main", order_id[:7])
    with pytest.raises(ConfigError, match=r"no order of .* begins with"):
        find_order(ledger, "main", "0" * 8)
