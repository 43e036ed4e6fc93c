"""Large plans in slices: when one is opened, whose yes it needs, what its turn at a block is."""

from __future__ import annotations

from rebalancer.amm.valuation import value
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.errors import ConfigError, Paused
from rebalancer.ledger.codec import Approval
from rebalancer.ledger.orders import (
    OrderRecord,
    close_order,
    open_order,
    order_approval,
    order_record,
    stopped_reason,
)
from rebalancer.ledger.store import Ledger
from rebalancer.model import Decision, Hold, Rebalance, Snapshot, SoFar, Valuation
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.slices import Slice, decide_slice, sold_out
from rebalancer.planner.slicing import Slicing, order_of, slicing


def slicing_of(
    resolved: ResolvedPortfolio, inputs: Inputs, valuation: Valuation, decision: Decision
) -> Slicing | None:
    """How the decision would be cut, or why not; None where nothing is or nobody asked for it."""
    rules = resolved.portfolio.slice_rules()
    if rules is None or not isinstance(decision, Rebalance):
        return None
    if decision.plan.withdrawal is not None:
        return None  # its owner waits for it
    return slicing(inputs, valuation, decision, rules)


def begin(
    resolved: ResolvedPortfolio,
    ledger: Ledger,
    inputs: Inputs,
    valuation: Valuation,
    decision: Decision,
) -> OrderRecord | None:
    """Open an order instead of trading ``decision`` in one go; None where that is not worth it.

    The plan that one go would have been is recorded before it: the order names it.
    """
    portfolio, rules = resolved.portfolio, resolved.portfolio.slice_rules()
    found = slicing_of(resolved, inputs, valuation, decision)
    if found is None or rules is None or not isinstance(decision, Rebalance):
        return None
    if not found.worth_it:
        return None
    above = portfolio.approve_above
    needs_consent = above is not None and found.whole.traded_e8 > above
    order = order_of(found, inputs, decision.plan, rules, portfolio.name, needs_consent)
    if decide_slice(inputs, valuation, order, SoFar()).ends:
        return None  # smoothed prices asked for it, those of the block do not
    ledger.record_decision(portfolio.name, "execute", inputs.snapshot, valuation, decision)
    return order_record(ledger, open_order(ledger, order))


def take_turn(inputs: Inputs, record: OrderRecord) -> tuple[Valuation, Slice]:
    """What the order does at the snapshot's block."""
    valuation = value(inputs.snapshot, inputs.targets)
    return valuation, decide_slice(inputs, valuation, record.order, record.so_far)


def check_no_withdrawal(record: OrderRecord, inputs: Inputs) -> None:
    """Raise ConfigError where money is to be raised beside an order: both would count on it."""
    if inputs.circumstances.withdrawal is not None:
        raise ConfigError(
            f"nothing is raised while order {record.order_id[:12]} is not closed",
            hint="wait for its end, or end it: `rebalancer order cancel`",
        )


def check_not_stopped(ledger: Ledger, portfolio: str) -> None:
    """Raise Paused while a person has stopped the portfolio's order."""
    stopped = stopped_reason(ledger, portfolio)
    if stopped is not None:
        order_id, reason = stopped
        raise Paused(
            f"order {order_id[:12]} of {portfolio} is stopped: {reason}",
            hint="`rebalancer order resume` goes on with what is left, `order cancel` ends it",
        )


def consent_to(ledger: Ledger, record: OrderRecord, snapshot: Snapshot) -> Approval | None:
    """The approval that the order's first slice uses, where a person's yes holds at the block."""
    return order_approval(ledger, record.order_id, snapshot.block.timestamp)


def close_ended(ledger: Ledger, record: OrderRecord, hold: Hold) -> OrderRecord:
    """The order, closed for the first reason of the hold."""
    close_order(ledger, record.order_id, hold.reasons[0].text)
    return order_record(ledger, record.order_id)


def after_slice(ledger: Ledger, record: OrderRecord, inputs: Inputs) -> OrderRecord:
    """The order as its newest slice leaves it; closed where nothing of it is left to sell."""
    found = order_record(ledger, record.order_id)
    if found.state == "open" and sold_out(
        inputs.snapshot, inputs.policy, found.order, found.so_far
    ):
        close_order(ledger, record.order_id, f"Sold in {found.so_far.slices} slices")
        return order_record(ledger, record.order_id)
    return found
