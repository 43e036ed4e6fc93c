"""``rebalancer rebalance``: one keeper cycle, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rebalancer.cli.options import ExecuteOption, JsonOption, Place, RaiseOption, at_place
from rebalancer.cli.slices import drive
from rebalancer.errors import RebalancerError

if TYPE_CHECKING:
    from rebalancer.cli.session import Session
    from rebalancer.keeper.cycle import CycleResult
    from rebalancer.ledger.orders import OrderRecord
    from rebalancer.model import Decision

NoWaitOption = Annotated[
    bool,
    typer.Option("--no-wait", help="One slice at most; run again, or let the keeper go on."),
]


@at_place
def rebalance(
    place: Place,
    raise_: RaiseOption = None,
    execute: ExecuteOption = False,
    no_wait: NoWaitOption = False,
    json: JsonOption = False,
) -> None:
    """Decide, and trade if it is worth it; without --execute only simulate.

    A plan that is traded in slices (`execution` in the portfolio file) takes until its order ends;
    Ctrl-C lets the slice at work finish, and the next run goes on.
    """
    from rebalancer.cli.output import note, show_json

    session = place.open()
    if not json:
        note("reading, planning, simulating, sending ..." if execute else "reading, planning ...")
    try:
        result = session.cycle(execute, session.withdrawal(raise_))
    except KeyboardInterrupt:
        note("interrupted: what was signed is in the ledger, and the next run settles it first")
        raise
    if not json:
        show_cycle(result)
    if execute and not no_wait:
        results = drive(session, result, (lambda _: None) if json else note)
        result = results[-1]
        if not json and result.order is not None:
            show_order(result.order)
    elif not json and not execute:
        if result.order is None:
            show_slicing(session, result)
        if wait := would_wait(session, result.evaluation.decision):
            note(wait)
        _say_whose(session)
    if json:
        show_json(cycle_document(result))
    _refuse(result)


def _say_whose(session: Session) -> None:
    """What a dry run need not ask: whether the wallet is kept by another portfolio."""
    from rebalancer.cli.output import note

    try:
        session.tenure.check()
    except RebalancerError as error:
        note(f"with --execute this is refused: {error}")


def show_slicing(session: Session, result: CycleResult) -> None:
    """How the plan of a dry run would be traded in slices, or why it would not."""
    from rebalancer.cli.output import show
    from rebalancer.keeper.orders import slicing_of
    from rebalancer.report.orders import slicing_view

    seen = result.evaluation
    found = slicing_of(session.resolved, seen.inputs, seen.valuation, seen.decision)
    if found is not None:
        show(slicing_view(found, seen.valuation.numeraire))


def show_order(record: OrderRecord) -> None:
    """An order as `rebalancer order show` has it."""
    from rebalancer.cli.output import show
    from rebalancer.report.orders import order_view

    show(order_view(record))


def _refuse(result: CycleResult) -> None:
    """Why a dry run's plan cannot be executed as things are, below the plan; its exit code."""
    if result.refusal is not None:
        from rebalancer.cli.output import show_error

        show_error(result.refusal, as_json=False)
        raise typer.Exit(result.refusal.exit_code)


def cycle_document(result: CycleResult) -> dict[str, Any]:
    """What a cycle did, as plain data."""
    from rebalancer.cli.output import error_document
    from rebalancer.model import Rebalance, to_plain
    from rebalancer.report.orders import order_document
    from rebalancer.report.outcome import outcome_document
    from rebalancer.report.plan import decision_document

    evaluation = result.evaluation
    document: dict[str, Any] = {
        "block": to_plain(evaluation.snapshot.block),
        "decision_id": result.decision_id,
        "executed": bool(result.outcomes),
        "awaits_approval": result.awaits_approval,
        "recovered": [
            {"plan_id": item.bundle.plan_id, "transactions": to_plain(item.outcomes)}
            for item in result.recovered
        ],
        **decision_document(evaluation.decision),
    }
    if result.proposed is not None:
        document["proposal"] = result.proposed.proposal.service_document()
        document["simulation"] = to_plain(result.proposed.simulation)
    if result.order is not None:
        document["order"] = order_document(result.order)
    if result.refusal is not None:
        document["error"] = error_document(result.refusal)
    if result.dry_run is not None:
        document["simulation"] = to_plain(result.dry_run.simulation)
    if result.outcomes and isinstance(evaluation.decision, Rebalance):
        document |= outcome_document(
            evaluation.decision.plan,
            evaluation.valuation,
            result.outcomes,
            result.after,
            gas_cost_e8(result),
            beside_pools_e8(result),
        )
    return document


def show_cycle(result: CycleResult) -> None:
    """Decision, then what became of it."""
    from rebalancer.cli.output import show, show_line
    from rebalancer.model import Rebalance
    from rebalancer.report.outcome import outcome_view
    from rebalancer.report.plan import decision_view, simulation_view

    evaluation = result.evaluation
    for item in result.recovered:
        mined = ", ".join(outcome.tx_hash for outcome in item.outcomes) or "nothing was mined"
        show(f"an earlier run was settled: {mined}")
    show(decision_view(evaluation.decision, evaluation.valuation.numeraire))
    if result.proposed is not None:
        show(simulation_view(result.proposed.simulation, "call(s) of the Safe"))
        show_line(proposed(result))
        return
    if result.refusal is not None:
        show("the plan cannot be executed as things are; nothing was signed or sent")
        return
    if result.dry_run is None or not isinstance(evaluation.decision, Rebalance):
        return
    # What a Safe executes is one transaction of whoever sends it.
    steps = "transaction(s)" if result.dry_run.transactions else "call(s) of the Safe"
    show(simulation_view(result.dry_run.simulation, steps))
    if result.awaits_approval:
        show_line(awaited(result))
        return
    if not result.outcomes:
        show("dry run: nothing was signed or sent; add --execute to trade")
        return
    show(
        outcome_view(
            evaluation.decision.plan,
            evaluation.valuation,
            result.outcomes,
            result.after,
            gas_cost_e8(result),
            beside_pools_e8(result),
        )
    )
    if result.after_unread:
        show(f"done, but the portfolio could not be read after it: {result.after_unread}")


def would_wait(session: Session, decision: Decision) -> str:
    """What a plan that was only shown would need before it is signed; nothing where it is small."""
    from rebalancer.model import Rebalance
    from rebalancer.report.numbers import money

    limit = session.resolved.portfolio.approve_above
    if limit is None or not isinstance(decision, Rebalance):
        return ""
    if decision.plan.costs.traded_e8 <= limit:
        return ""
    most = f"{money(limit, decision.plan.numeraire)} {decision.plan.numeraire}"
    return f"larger than approve_above, {most}: with --execute it waits for `rebalancer approve`"


def awaited(result: CycleResult) -> str:
    """What a person has to do before the plan, or the first slice of an order, is signed."""
    if result.order is not None:
        order_id = result.order.order_id[:12]
        return f"larger than approve_above: no slice before `rebalancer approve {order_id}`"
    plan_id = "" if result.dry_run is None else result.dry_run.plan_id
    return f"larger than approve_above: nothing is signed before `rebalancer approve {plan_id}`"


def proposed(result: CycleResult) -> str:
    """What a Safe's owners have to do, where too few of their keys are at hand."""
    from rebalancer.cli.propose import to_sign

    if result.proposed is None:
        return ""
    return (
        f"proposed, not sent: {to_sign(result.proposed)}; `rebalancer propose --out FILE` makes the"
        " file for their Safe's interface"
    )


def gas_cost_e8(result: CycleResult) -> int:
    """What the cycle's transactions paid for gas, at the deciding snapshot's native price."""
    wei = sum(outcome.gas_cost_wei for outcome in result.outcomes)
    return result.evaluation.snapshot.native.value_up(wei)


def beside_pools_e8(result: CycleResult) -> int:
    """What left NAV by a gas reserve: gas paid from above it, and what filled it up."""
    from rebalancer.model import Rebalance, UnwrapLeg, WrapLeg

    snapshot, decision = result.evaluation.snapshot, result.evaluation.decision
    if snapshot.gas_reserve is None or not isinstance(decision, Rebalance):
        return 0
    legs = decision.plan.legs
    wrapped = sum(leg.amount for leg in legs if isinstance(leg, WrapLeg))
    filled = sum(leg.amount for leg in legs if isinstance(leg, UnwrapLeg))
    gas = sum(outcome.gas_cost_wei for outcome in result.outcomes)
    above = max(snapshot.surplus_wei - wrapped, 0)
    return snapshot.price(snapshot.gas_reserve.wrapped).value_up(min(gas, above) + filled)
