"""When a cycle opens an order instead of trading in one go, and whose yes that needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ledger_world import open_ledger
from order_world import RULES, inputs_of, large
from planner_world import E8, TARGETS, USDC, holding

from rebalancer.amm.valuation import value
from rebalancer.errors import ConfigError
from rebalancer.keeper import orders
from rebalancer.keeper.orders import after_slice, begin, check_no_withdrawal, take_turn
from rebalancer.ledger.orders import OrderRecord, current_order
from rebalancer.ledger.queries import decisions
from rebalancer.ledger.store import Ledger
from rebalancer.model import Amount, Circumstances, Hold, Rebalance, Snapshot, SoFar, digest
from rebalancer.planner.decision import decide
from rebalancer.planner.slices import Slice


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as book:
        yield book


def portfolio(**changes: Any) -> Any:
    """What of a portfolio file an order is about."""
    keys = {"name": "main", "slice_rules": lambda: RULES, "approve_above": None, **changes}
    return SimpleNamespace(portfolio=SimpleNamespace(**keys))


def begun(
    ledger: Ledger, at: Snapshot, resolved: Any, circumstances: Circumstances | None = None
) -> tuple[OrderRecord | None, Rebalance]:
    inputs = inputs_of(at)
    if circumstances is not None:
        inputs = replace(inputs, circumstances=circumstances)
    valuation = value(at, TARGETS)
    decision = decide(
        at, valuation, TARGETS, inputs.policy, None, circumstances=inputs.circumstances
    )
    assert isinstance(decision, Rebalance)
    return begin(resolved, ledger, inputs, valuation, decision), decision


def test_a_large_plan__is_recorded__then_its_order(ledger: Ledger) -> None:
    record, decision = begun(ledger, large(), portfolio())
    assert record is not None
    assert (record.state, record.order.plan) == ("open", digest(decision.plan))
    (one,) = decisions(ledger)
    assert (one.mode, one.plan_id) == ("execute", digest(decision.plan))
    found = current_order(ledger, "main")
    assert found is not None
    assert found.one_go == decision.plan


@pytest.mark.parametrize(
    ("at", "resolved"),
    [
        (large(), portfolio(slice_rules=lambda: None)),
        (holding(60_000, 20_000, 20_000), portfolio()),
    ],
    ids=["nobody asked for slices", "a small plan"],
)
def test_in_one_go__nothing_is_recorded(ledger: Ledger, at: Snapshot, resolved: Any) -> None:
    assert begun(ledger, at, resolved)[0] is None
    assert decisions(ledger) == []


def test_a_withdrawal_is_raised_in_one_go(ledger: Ledger) -> None:
    wanted = Circumstances(withdrawal=Amount(USDC, 700_000 * 10**6))
    record, decision = begun(ledger, large(), portfolio(), wanted)
    assert decision.plan.withdrawal is not None
    assert record is None


def test_over_before_it_begins__in_one_go(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = Slice(Hold("", 100, "", ()), ends=True)
    monkeypatch.setattr(orders, "decide_slice", lambda *_: ends)
    assert begun(ledger, large(), portfolio())[0] is None
    assert decisions(ledger) == []


def test_larger_than_approve_above__waits_for_a_yes(ledger: Ledger) -> None:
    record, _ = begun(ledger, large(), portfolio(approve_above=1_000 * E8))
    assert record is not None
    assert (record.state, record.order.needs_consent) == ("awaits approval", True)


def test_smaller__does_not(ledger: Ledger) -> None:
    record, _ = begun(ledger, large(), portfolio(approve_above=10**9 * E8))
    assert record is not None
    assert record.state == "open"


def test_nothing_is_raised_beside_an_order(ledger: Ledger) -> None:
    record, _ = begun(ledger, large(), portfolio())
    assert record is not None
    wanted = Circumstances(withdrawal=Amount(USDC, 1))
    with pytest.raises(ConfigError, match="nothing is raised while order"):
        check_no_withdrawal(record, replace(inputs_of(large()), circumstances=wanted))


def test_after_a_slice__closed_where_nothing_is_left(ledger: Ledger) -> None:
    record, _ = begun(ledger, large(), portfolio())
    assert record is not None
    assert after_slice(ledger, record, inputs_of(large())).state == "open"
    rich = inputs_of(large(), min_trade_e8=10**9 * E8)
    assert after_slice(ledger, record, rich).state == "closed"
    assert current_order(ledger, "main") is None


def test_its_turn_is_a_slice_that_names_it(ledger: Ledger) -> None:
    record, _ = begun(ledger, large(), portfolio())
    assert record is not None
    valuation, turn = take_turn(inputs_of(large()), record)
    assert isinstance(turn.decision, Rebalance)
    assert turn.decision.plan.order == record.order_id
    ledger.record_decision("main", "execute", large(), valuation, turn.decision)
    after = current_order(ledger, "main")
    assert after is not None
    assert [item.state for item in after.slices] == ["unsent"]
    assert after.so_far == SoFar()
