"""``rebalancer approve``: a person's yes to a large plan, to exactly its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rebalancer.cli.options import JsonOption, Place, at_place, seconds_of
from rebalancer.errors import ConfigError

if TYPE_CHECKING:
    from rebalancer.ledger.orders import OrderRecord
    from rebalancer.model import Plan

SHORTEST_PREFIX = 8


@at_place
def approve(
    place: Place,
    plan_id: Annotated[str, typer.Argument(help="The plan's or order's id, or its beginning.")],
    valid_for: Annotated[
        str, typer.Option("--for", help="How long it holds: 30m, 2h, 1d.", metavar="TIME")
    ] = "1h",
    json: JsonOption = False,
) -> None:
    """Approve what a plan sells and its minimum outputs; a later cycle executes it, once.

    Nothing is sent here. A cycle executes these amounts, or nothing, while the approval holds. Of
    an order its limits are approved: it begins while the approval holds, and keeps them to its end.
    """
    from rebalancer.cli.output import show, show_json
    from rebalancer.ledger.codec import Approval
    from rebalancer.ledger.consent import approve as record
    from rebalancer.ledger.consent import find_plan, was_traded
    from rebalancer.ledger.orders import current_order
    from rebalancer.report.legs import approval_lines

    session = place.open()
    seconds = seconds_of(valid_for)
    if seconds <= 0:
        raise ConfigError("--for 0s approves nothing", hint="write 30m, 2h or 1d")
    name = session.resolved.portfolio.name
    # The chain's own time: a cycle compares with the block that it decides on.
    head: Any = session.rpc.call("eth_getBlockByNumber", "latest", False)
    expires_ts = int(head["timestamp"], 16) + seconds
    with session.ledger(create=False) as book:
        waiting = current_order(book, name)
        if waiting is not None and meant(waiting, plan_id):
            record(book, Approval(name, waiting.order_id, expires_ts))
            approved_order(waiting, expires_ts, json)
            return
        full_id, plan = find_plan(book, name, plan_id)
        again = was_traded(book, full_id)
        approval = Approval(name, full_id, expires_ts)
        record(book, approval)
    if json:
        show_json(document(approval.plan_id, plan, approval.expires_ts))
        return
    show(f"approved until {_utc(approval.expires_ts)}: plan {full_id} of {name}")
    for line in approval_lines(plan):
        show(line)
    if again:
        show("note: it was traded before; where this block still calls for it, it is traded again")


def meant(record: OrderRecord, order_id: str) -> bool:
    """Whether the order waits for its approval, and is the one that is named."""
    return (
        record.state == "awaits approval"
        and len(order_id) >= SHORTEST_PREFIX
        and record.order_id.startswith(order_id.lower())
    )


def approved_order(record: OrderRecord, expires_ts: int, json: bool) -> None:
    """Say what was approved: the order's limits, every digit of them."""
    from rebalancer.cli.output import show, show_json
    from rebalancer.report.orders import limits_view, order_document

    if json:
        show_json({"expires_ts": expires_ts, **order_document(record)})
        return
    name = record.order.portfolio
    show(f"approved until {_utc(expires_ts)}, to begin: order {record.order_id} of {name}")
    show(limits_view(record))


def document(plan_id: str, plan: Plan, expires_ts: int) -> dict[str, Any]:
    """What was approved, as plain data: amounts in the smallest units."""
    from rebalancer.report.legs import approval_document

    return {
        "plan_id": plan_id,
        "expires_ts": expires_ts,
        "traded_e8": plan.costs.traded_e8,
        "legs": approval_document(plan),
    }


def _utc(timestamp: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
