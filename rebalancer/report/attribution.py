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
    and what no transfer explains; gas has a column where it came out of a position.
    """
    span = age(found.to_ts - found.from_ts)
    gas = any(change.value.gas for change in found.positions)
    title = f"Why it moved since {since} (block {found.from_block}, {span} ago)"
    columns = ("price", "LP composition", "fees", "flows", *(("gas",) if gas else ()), "change")
    names = ("position", "", *columns)
    table = new_table(title, *names, left=_LEFT)
    for change in found.positions:
        if not (change.before_e8 or change.after_e8 or change.value.flows):
            continue
        value, weight = _cells(change.value, numeraire, gas), _weights(change.weight, gas)
        cells = [f"{v}\n{w}" for v, w in zip(value, weight, strict=True)]
        table.add_row(change.name, f"{numeraire}\nweight", *cells)
    table.add_row("NAV", numeraire, *_cells(found.nav, numeraire, gas))
    return table


def _cells(parts: Parts, numeraire: str, gas: bool) -> list[str]:
    return [money(value, numeraire, signed=True) for value in _columns(parts, gas)]


def _weights(parts: Parts, gas: bool) -> list[str]:
    return [points(value) for value in _columns(parts, gas)]


def _columns(parts: Parts, gas: bool) -> tuple[int, ...]:
    paid = (parts.gas,) if gas else ()
    return parts.price, parts.composition, parts.fees, parts.flows, *paid, parts.total
