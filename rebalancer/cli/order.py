"""``rebalancer order``: large plans in slices: how far they are, and stop, resume, cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

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
    from pathlib import Path

    from rebalancer.ledger.store import Ledger

app = typer.Typer(no_args_is_help=True, help="Large plans in slices: how far, stop, resume.")

OrderArgument = Annotated[
    str | None,
    typer.Argument(help="The order's id, or its first digits; left away: the one at work."),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why.")]


@app.command("list")
def list_orders(
    portfolio: PortfolioOption = PORTFOLIO,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """All orders of the portfolio, oldest first."""
    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.session import Session
    from rebalancer.ledger.orders import orders
    from rebalancer.report.orders import order_document, orders_view

    session = Session.open(portfolio, networks, rpc_url, ledger)
    with session.ledger(create=False) as book:
        found = orders(book, session.resolved.portfolio.name)
    if json:
        show_json([order_document(record) for record in found])
    else:
        show(orders_view(found))


@app.command("show")
def show_order(
    order: OrderArgument = None,
    portfolio: PortfolioOption = PORTFOLIO,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """An order's limits, its slices, the prices it got; gas, and what one go would have lost."""
    _act(order, portfolio, networks, rpc_url, ledger, json, None)


@app.command("stop")
def stop(
    order: OrderArgument = None,
    portfolio: PortfolioOption = PORTFOLIO,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    ledger: LedgerOption = None,
    reason: ReasonOption = "a person said so",
    json: JsonOption = False,
) -> None:
    """No more slices, and no other trade of the portfolio, until `resume` or `cancel`.

    A slice that was sent is followed to its end.
    """
    from rebalancer.ledger.orders import stop_order

    _act(order, portfolio, networks, rpc_url, ledger, json, lambda b, i: stop_order(b, i, reason))


@app.command("resume")
def resume(
    order: OrderArgument = None,
    portfolio: PortfolioOption = PORTFOLIO,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """Go on with what is left, from the next cycle on."""
    from rebalancer.ledger.orders import resume_order

    _act(order, portfolio, networks, rpc_url, ledger, json, resume_order)


@app.command("cancel")
def cancel(
    order: OrderArgument = None,
    portfolio: PortfolioOption = PORTFOLIO,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    ledger: LedgerOption = None,
    reason: ReasonOption = "a person said so",
    json: JsonOption = False,
) -> None:
    """End the order for good: what is left is not sold by it, the next cycle decides anew."""
    from rebalancer.ledger.orders import close_order

    def close(book: Ledger, order_id: str) -> None:
        close_order(book, order_id, f"Cancelled: {reason}")

    _act(order, portfolio, networks, rpc_url, ledger, json, close)


def _act(
    order: str | None,
    portfolio: Path,
    networks: Path | None,
    rpc_url: str | None,
    ledger: str | None,
    json: bool,
    act: Callable[[Ledger, str], None] | None,
) -> None:
    """Do something to an order, if anything, and show it as it then is."""
    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.session import Session
    from rebalancer.ledger.orders import find_order
    from rebalancer.report.orders import order_document, order_view

    session = Session.open(portfolio, networks, rpc_url, ledger)
    with session.ledger(create=False) as book:
        name = session.resolved.portfolio.name
        record = find_order(book, name, order)
        if act is not None:
            act(book, record.order_id)
            record = find_order(book, name, record.order_id)
    if json:
        show_json(order_document(record))
    else:
        show(order_view(record))
