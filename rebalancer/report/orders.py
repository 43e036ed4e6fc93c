"""Large plans in slices: how one would be cut, how far an order is, and the prices it got."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rebalancer.ledger.orders import OrderRecord
from rebalancer.ledger.slices import SliceRecord
from rebalancer.model import PPM, Order, format_units, mul_div_nearest, mul_div_up, to_plain
from rebalancer.planner.slicing import Slicing
from rebalancer.report.layout import new_table
from rebalancer.report.numbers import amount, money, percent, quantity, short, unit_price

_LEFT = frozenset({"order", "state", "plan", "sold", "bought", "token", ""})


def slicing_document(found: Slicing) -> dict[str, Any]:
    """How a plan would be cut, or why not, as plain data."""
    document: dict[str, Any] = to_plain(found)
    return document | {"saved_e8": found.saved_e8, "more_gas_e8": found.more_gas_e8}


def slicing_view(found: Slicing, numeraire: str) -> RenderableType:
    """The verdict and, where it is cut, what the order would allow."""
    head = Text("In slices" if found.worth_it else "In one go", style="bold")
    lines = [f"  - {reason.text.partition(': ')[2] or reason.text}" for reason in found.reasons]
    if found.worth_it:
        sold = ", ".join(amount(item.raw, item.token) for item in found.sells)
        lines.append(
            f"  - together they sell at most {sold}, and cost at most"
            f" {money(found.max_cost_e8, numeraire)} {numeraire}"
        )
    return Group(Text(), head, Text("\n".join(lines)))


def order_document(record: OrderRecord) -> dict[str, Any]:
    """An order, its limits, where it stands and its slices, as plain data."""
    order, so_far = record.order, record.so_far
    return {
        "order_id": record.order_id,
        "state": record.state,
        "note": record.note,
        "opened_ts": record.opened_ts,
        "order": to_plain(order),
        "so_far": to_plain(so_far),
        "left": to_plain(order.left(so_far)),
        "due_at": order.due_at(so_far),
        "loss_ppm": loss_ppm(_made(record.slices)),
        "one_go_loss_ppm": _one_go_ppm(order),
        "slices": [_slice_document(item) for item in record.slices],
    }


def orders_view(records: Sequence[OrderRecord]) -> RenderableType:
    """One line an order, the newest last."""
    if not records:
        return Text("no order was ever opened")
    names = ("order", "state", "slices", "sold of it", "cost", "of at most", "lost", "one go")
    table = new_table("Orders", *names, left=_LEFT)
    for record in records:
        order, so_far = record.order, record.so_far
        table.add_row(
            short(record.order_id, 12),
            record.state,
            f"{so_far.slices} of {order.slices}",
            percent(_done_ppm(record)),
            money(so_far.cost_e8, order.numeraire),
            money(order.max_cost_e8, order.numeraire),
            percent(loss_ppm(_made(record.slices))),
            percent(_one_go_ppm(order)),
        )
    return table


def order_view(record: OrderRecord) -> RenderableType:
    """The order's limits, its slices, and the prices that it got."""
    parts: list[RenderableType] = [_head(record), limits_view(record)]
    if any(item.state != "unsent" for item in record.slices):
        parts.append(_slices(record))
    if made := _made(record.slices):
        parts += [_prices(record, made), _against_one_go(record, made)]
    return Group(*parts)


def limits_view(record: OrderRecord) -> RenderableType:
    """What all slices together may do, every digit of it, and what of it is used."""
    order, so_far = record.order, record.so_far
    lines = []
    for item in order.sells:
        most, sold = (
            format_units(raw, item.token.decimals) for raw in (item.raw, so_far.of(item.token))
        )
        lines.append(f"  - sells at most {most} {item.token.symbol}; {sold} sold")
    lines += [
        f"  - costs at most {money(order.max_cost_e8, order.numeraire)} {order.numeraire}, gas "
        f"included; {money(so_far.cost_e8, order.numeraire)} so far",
        f"  - takes no price more than {percent(order.worst_ppm)} below the oracle's at block "
        f"{order.block_number}: {_prices_then(order)}",
        f"  - {order.slices} slices, {_distance(order)}, until {_moment(order, order.expires_at)}",
    ]
    return Text("\n".join(lines))


def _distance(order: Order) -> str:
    """``one every 300 seconds``, ``one every block``."""
    if order.every == 1:
        return f"one every {order.clock.removesuffix('s')}"
    return f"one every {order.every} {order.clock}"


def _prices_then(order: Order) -> str:
    """The oracle's prices at the start."""
    prices = (
        f"{p.token.symbol} {unit_price(p.value_down(10**p.token.decimals))}" for p in order.prices
    )
    return ", ".join(prices)


def loss_ppm(slices: Sequence[SliceRecord]) -> int:
    """What the pools took of the value sold, at the oracle's prices of each slice, rounded up."""
    sold = sum(item.sold_e8 for item in slices)
    return mul_div_up(sum(item.loss_e8 for item in slices), PPM, sold) if sold else 0


def progress(record: OrderRecord) -> str:
    """One line: how far, and what next."""
    order, so_far = record.order, record.so_far
    head = (
        f"order {record.order_id[:12]}: {so_far.slices} of {order.slices} slices, "
        f"{percent(_done_ppm(record))} sold, lost {percent(loss_ppm(_made(record.slices)))} in the "
        f"pools (one go: {percent(_one_go_ppm(order))})"
    )
    if record.state == "open":
        return f"{head}; next due {_moment(order, order.due_at(so_far))}"
    return f"{head}; {record.state}" + (f": {record.note}" if record.note else "")


def _head(record: OrderRecord) -> Text:
    style = {"open": "bold green", "closed": "bold"}.get(record.state, "bold yellow")
    text = Text.assemble(
        ("ORDER ", "bold"), short(record.order_id, 12), "   ", (record.state, style)
    )
    if record.note:
        text.append(f": {record.note}")
    if record.state == "awaits approval":
        text.append(f": rebalancer approve {record.order_id[:12]}")
    order, so_far = record.order, record.so_far
    text.append(f"   {so_far.slices} of {order.slices} slices")
    if record.state == "open":
        text.append(f", the next one due {_moment(order, order.due_at(so_far))}")
    return text


def _slices(record: OrderRecord) -> RenderableType:
    numeraire = record.order.numeraire
    names = ("#", "state", "block", "sold", "bought", "value sold", "lost", "of it", "gas", "cost")
    table = new_table("Slices", *names, left=_LEFT)
    shown = [item for item in record.slices if item.state != "unsent"]
    for number, item in enumerate(shown, 1):
        table.add_row(
            f"{number}",
            item.state,
            f"{item.plan.block_number}",
            "\n".join(amount(a.raw, a.token) for a in item.sold),
            "\n".join(amount(a.raw, a.token) for a in item.bought),
            money(item.sold_e8, numeraire),
            money(item.loss_e8, numeraire),
            percent(loss_ppm([item])),
            f"{item.gas_used:,}",
            money(item.gas_e8, numeraire),
        )
    return table


def _prices(record: OrderRecord, made: Sequence[SliceRecord]) -> RenderableType:
    """Each sold token's average price against the oracle's, in the numeraire."""
    table = new_table(
        f"Average prices in {record.order.numeraire}",
        *("token", "sold", "oracle at the start", "oracle at the slices", "got", "below it"),
        left=_LEFT,
    )
    sales = [sale for item in made for sale in item.sales]
    for token in dict.fromkeys(sale.token for sale in sales):
        own = [sale for sale in sales if sale.token == token]
        raw, unit = sum(sale.raw for sale in own), 10**token.decimals
        value_e8, got_e8 = sum(s.value_e8 for s in own), sum(s.got_e8 for s in own)
        start = record.order.price(token)
        table.add_row(
            token.symbol,
            quantity(raw, token),
            "" if start is None else unit_price(start.value_down(unit)),
            unit_price(value_e8 * unit // raw),
            unit_price(got_e8 * unit // raw),
            percent(mul_div_up(value_e8 - got_e8, PPM, value_e8)),
        )
    return table


def _against_one_go(record: OrderRecord, made: Sequence[SliceRecord]) -> Text:
    """What the pools took, beside what they would have taken of one transaction."""
    order = record.order
    gas_e8 = sum(item.gas_e8 for item in record.slices)
    return Text(
        f"lost {percent(loss_ppm(made))} in the pools and "
        f"{money(gas_e8, order.numeraire)} {order.numeraire} for gas; one go at the start would "
        f"have lost {percent(_one_go_ppm(order))} and {money(order.whole.gas_e8, order.numeraire)}"
    )


def _slice_document(item: SliceRecord) -> dict[str, Any]:
    return {
        "plan_id": item.plan_id,
        "state": item.state,
        "block_number": item.plan.block_number,
        "sold": to_plain(item.sold),
        "bought": to_plain(item.bought),
        "sales": to_plain(item.sales),
        "sold_e8": item.sold_e8,
        "loss_e8": item.loss_e8,
        "gas_used": item.gas_used,
        "gas_e8": item.gas_e8,
    }


def _made(slices: Sequence[SliceRecord]) -> list[SliceRecord]:
    return [item for item in slices if item.state == "executed"]


def _one_go_ppm(order: Order) -> int:
    whole = order.whole
    lost = whole.total_e8 - whole.gas_e8
    return mul_div_up(lost, PPM, whole.traded_e8) if whole.traded_e8 else 0


def _done_ppm(record: OrderRecord) -> int:
    """Share of what may be sold that is, by value at the start's prices."""
    order, so_far = record.order, record.so_far
    most = sold = 0
    for item in order.sells:
        price = order.price(item.token)
        if price is not None:
            most += price.value_down(item.raw)
            sold += price.value_down(so_far.of(item.token))
    return mul_div_nearest(sold, PPM, most) if most else 0


def _moment(order: Order, at: int) -> str:
    if order.clock == "blocks":
        return f"block {at}"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
