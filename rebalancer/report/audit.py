"""What each rebalance cost in gas, and whether the ledger tells the truth."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from rebalancer.ledger.gas_audit import GasAudit, GasLine, GasTotal, RebalanceGas
from rebalancer.ledger.reconcile import Reconciliation
from rebalancer.model import PPM, format_units, mul_div_nearest
from rebalancer.report.layout import new_table
from rebalancer.report.numbers import gwei, money, percent, short

_LEFT = frozenset({"component", "transaction", "plan", "purpose", "state"})


def gas_view(audit: GasAudit) -> RenderableType:
    """Per rebalance its transactions, then all gas by component, then expected against used."""
    if not audit.rebalances:
        return Text("no rebalance has been mined yet")
    parts: list[RenderableType] = [_transactions(audit.rebalances)]
    for total in audit.totals:
        parts += [_components(total.lines, total.gas_used, total.numeraire), _total(total)]
    return Group(*parts)


def _transactions(items: Sequence[RebalanceGas]) -> RenderableType:
    names = ("plan", "transaction", "purpose", "state", "block", "gas", "price", "cost")
    table = new_table("Gas per transaction", *names, left=_LEFT)
    for item in items:
        for tx in item.transactions:
            table.add_row(
                short(item.plan_id, 12),
                short(tx.tx_hash, 12),
                tx.purpose,
                "mined" if tx.status == 1 else Text("reverted", style="bold red"),
                f"{tx.block_number}",
                f"{tx.gas_used:,}",
                gwei(tx.effective_gas_price_wei),
                money(tx.cost_e8, item.numeraire),
            )
    return table


def _components(lines: Sequence[GasLine], gas_used: int, numeraire: str) -> RenderableType:
    table = new_table(
        "Gas by component", "component", "gas", "share", "native", numeraire, left=_LEFT
    )
    for line in lines:
        table.add_row(
            line.component,
            f"{line.gas:,}",
            percent(mul_div_nearest(line.gas, PPM, gas_used)),
            format_units(line.cost_wei, 18, 8),
            money(line.cost_e8, numeraire),
        )
    return table


def _total(total: GasTotal) -> Text:
    share = "" if total.share_ppm is None else f", {percent(total.share_ppm)} of the traded value"
    return Text.assemble(
        (f"{total.rebalances} rebalance(s), {total.transactions} transaction(s): ", "bold"),
        f"{total.gas_used:,} gas (planned {total.expected_gas:,}), "
        f"{money(total.cost_e8, total.numeraire)} {total.numeraire}{share}",
    )


def reconciliation_view(result: Reconciliation) -> RenderableType:
    """What was compared, and every difference."""
    if result.ok:
        return Text.assemble(
            ("reconciled", "bold green"),
            f": {result.compared} facts compared with the chain, to the wei, no difference",
        )
    lines = [Text(f"  - {finding.text}") for finding in result.findings]
    head = Text(f"NOT reconciled: {len(result.findings)} difference(s)", style="bold red")
    return Group(head, *lines)
