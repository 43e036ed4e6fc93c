"""``rebalancer approve``: a person's yes to a large plan, to exactly its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rebalancer.cli.options import (
    PORTFOLIO,
    JsonOption,
    LedgerOption,
    NetworksOption,
    PortfolioOption,
    RpcUrlOption,
)

if TYPE_CHECKING:
    from rebalancer.model import Plan


def approve(
    plan_id: Annotated[str, typer.Argument(help="The plan's id, or its first digits.")],
    portfolio: PortfolioOption = PORTFOLIO,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    ledger: LedgerOption = None,
    valid_for: Annotated[
        str, typer.Option("--for", help="How long it holds: 30m, 2h, 1d.", metavar="TIME")
    ] = "1h",
    json: JsonOption = False,
) -> None:
    """Approve what a plan sells and its minimum outputs; a later cycle executes it, once.

    Nothing is sent here. A cycle executes these amounts, or nothing, while the approval holds.
    """
    from pydantic import TypeAdapter, ValidationError

    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.session import Session
    from rebalancer.config.quantities import Duration
    from rebalancer.errors import ConfigError
    from rebalancer.ledger.codec import Approval
    from rebalancer.ledger.consent import approve as record
    from rebalancer.ledger.consent import find_plan
    from rebalancer.report.legs import approval_lines

    session = Session.open(portfolio, networks, rpc_url, ledger)
    try:
        seconds = int(TypeAdapter(Duration).validate_python(valid_for))
    except ValidationError:
        raise ConfigError(f"{valid_for!r} is not a time", hint="write 30m, 2h or 1d") from None
    name = session.resolved.portfolio.name
    # The chain's own time: a cycle compares with the block that it decides on.
    head: Any = session.rpc.call("eth_getBlockByNumber", "latest", False)
    with session.ledger(create=False) as book:
        full_id, plan = find_plan(book, name, plan_id)
        approval = Approval(name, full_id, int(head["timestamp"], 16) + seconds)
        record(book, approval)
    if json:
        show_json(document(approval.plan_id, plan, approval.expires_ts))
        return
    show(f"approved until {_utc(approval.expires_ts)}: plan {full_id} of {name}")
    for line in approval_lines(plan):
        show(line)


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
