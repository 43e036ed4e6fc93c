"""``rebalancer order``: large plans in slices: how far they are, and stop, resume, cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from rebalancer.cli.options import JsonOption, Place, at_place

if TYPE_CHECKING:
    from rebalancer.ledger.store import Ledger

app = typer.Typer(no_args_is_help=True, help="Large plans in slices: how far, stop, resume.")

OrderArgument = Annotated[
    str | None,
    typer.Argument(help="The order's id, or its first digits; left away: the one at work."),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why.", metavar="TEXT")]


@app.command("list")
@at_place
def list_orders(place: Place, json: JsonOption = False) -> None:
    """All orders of the portfolio, oldest first."""
    from rebalancer.cli.output import show, show_json
    from rebalancer.ledger.orders import orders
    from rebalancer.report.orders import order_document, orders_view

    session = place.open()
    with session.ledger(create=False) as book:
        found = orders(book, session.resolved.portfolio.name)
    if json:
        show_json([order_document(record) for record in found])
    else:
        show(orders_view(found))


@app.command("show")
@at_place
def show_order(place: Place, order: OrderArgument = None, json: JsonOption = False) -> None:
    """An order's limits, its slices, the prices it got; gas, and what one go would have lost."""
    _act(place, order, json, None)


@app.command("stop")
@at_place
def stop(
    place: Place,
    order: OrderArgument = None,
    reason: ReasonOption = "a person said so",
    json: JsonOption = False,
) -> None:
    """No more slices, and no other trade of the portfolio, until `resume` or `cancel`.

    A slice that was sent is followed to its end.
    """
    from rebalancer.ledger.orders import stop_order

    _act(place, order, json, lambda b, i: stop_order(b, i, reason))


@app.command("resume")
@at_place
def resume(place: Place, order: OrderArgument = None, json: JsonOption = False) -> None:
    """Go on with what is left, from the next cycle on."""
    from rebalancer.ledger.orders import resume_order

    _act(place, order, json, resume_order)


@app.command("cancel")
@at_place
def cancel(
    place: Place,
    order: OrderArgument = None,
    reason: ReasonOption = "a person said so",
    json: JsonOption = False,
) -> None:
    """End the order for good: what is left is not sold by it, the next cycle decides anew."""
    from rebalancer.ledger.orders import close_order

    def close(book: Ledger, order_id: str) -> None:
        close_order(book, order_id, f"Cancelled: {reason}")

    _act(place, order, json, close)


def _act(
    place: Place, order: str | None, json: bool, act: Callable[[Ledger, str], None] | None
) -> None:
    """Do something to an order, if anything, and show it as it then is."""
    from rebalancer.cli.output import show, show_json
    from rebalancer.ledger.orders import find_order
    from rebalancer.report.orders import order_document, order_view

    session = place.open()
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
