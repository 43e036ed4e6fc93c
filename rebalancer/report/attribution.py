"""Why the portfolio is not what it was, position by position."""

from __future__ import annotations

from rich.table import Table

from rebalancer.amm.attribution import Attribution, Parts
from rebalancer.report.layout import new_table
from rebalancer.report.numbers import age, money, points

_LEFT = frozenset({"position", ""})


def attribution_view(found: Attribution, numeraire: str, since: str) -> Table:
    """Two lines each: the value in the numeraire, and the weight in points of NAV.

    ``since`` says what happened at the earlier block. Flows are deposits and withdrawals, trades,
    and what no transfer explains.
    """
    span = age(found.to_ts - found.from_ts)
    title = f"Why it moved since {since} (block {found.from_block}, {span} ago)"
    names = ("position", "", "price", "LP composition", "fees", "flows", "change")
    table = new_table(title, *names, left=_LEFT)
    for change in found.positions:
        if not (change.before_e8 or change.after_e8 or change.value.flows):
            continue
        value, weight = _cells(change.value, numeraire), _weights(change.weight)
        cells = [f"{v}\n{w}" for v, w in zip(value, weight, strict=True)]
        table.add_row(change.name, f"{numeraire}\nweight", *cells)
    table.add_row("NAV", numeraire, *_cells(found.nav, numeraire))
    return table


def _cells(parts: Parts, numeraire: str) -> list[str]:
    return [money(value, numeraire, signed=True) for value in _columns(parts)]


def _weights(parts: Parts) -> list[str]:
    return [points(value) for value in _columns(parts)]


def _columns(parts: Parts) -> tuple[int, int, int, int, int]:
    return parts.price, parts.composition, parts.fees, parts.flows, parts.total
