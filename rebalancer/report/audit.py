"""What each rebalance cost in gas, and whether the ledger tells the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rebalancer.ledger.gas_audit import GasAudit, GasLine, GasTotal, KindGas, RebalanceGas
from rebalancer.ledger.reconcile import Reconciliation
from rebalancer.model import PPM, format_units, mul_div_nearest, to_plain
from rebalancer.report.layout import new_table
from rebalancer.report.numbers import gwei, money, percent, short

_LEFT = frozenset({"order", "component", "transaction", "plan", "purpose", "state", "kind"})


def gas_view(audit: GasAudit) -> RenderableType:
    """Per rebalance its transactions, then all gas by component, then expected against used."""
    if not audit.rebalances:
        return Text("no rebalance has been mined yet")
    parts: list[RenderableType] = [_transactions(audit.rebalances)]
    if audit.orders:
        parts.append(_orders(audit.orders))
    for total in audit.totals:
        parts += [_components(total.lines, total.gas_used, total.numeraire), _total(total)]
    if audit.kinds:
        parts.append(_kinds(audit.kinds))
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


def _orders(items: Sequence[GasTotal]) -> RenderableType:
    """The slices of each order together."""
    names = ("order", "slices", "transactions", "gas", "planned", "cost", "of traded")
    table = new_table("Gas per order", *names, left=_LEFT)
    for item in items:
        table.add_row(
            short(item.order or "", 12),
            f"{item.rebalances}",
            f"{item.transactions}",
            f"{item.gas_used:,}",
            f"{item.expected_gas:,}",
            money(item.cost_e8, item.numeraire),
            "" if item.share_ppm is None else percent(item.share_ppm),
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


def _kinds(items: Sequence[KindGas]) -> RenderableType:
    """What a leg of each kind used in its pair or in wrapped ether, on average."""
    names = ("kind", "chain", "legs", "gas", "per leg")
    table = new_table("Gas by kind of leg", *names, left=_LEFT)
    for item in items:
        each = mul_div_nearest(item.gas, 1, item.legs)
        table.add_row(item.kind, f"{item.chain_id}", f"{item.legs}", f"{item.gas:,}", f"{each:,}")
    return table


def _total(total: GasTotal) -> Text:
    share = "" if total.share_ppm is None else f", {percent(total.share_ppm)} of the traded value"
    return Text.assemble(
        (f"{total.rebalances} rebalance(s), {total.transactions} transaction(s): ", "bold"),
        f"{total.gas_used:,} gas (planned {total.expected_gas:,}), "
        f"{money(total.cost_e8, total.numeraire)} {total.numeraire}{share}",
    )


def reconciliation_document(result: Reconciliation) -> dict[str, Any]:
    """The comparison as plain data; ``ok`` when nothing differs."""
    return {"ok": result.ok, **to_plain(result)}


def reconciliation_view(result: Reconciliation) -> RenderableType:
    """What was compared, every difference, and what was explained."""
    what = (
        f"{result.transactions} transaction(s), the balances around {result.blocks} block(s), "
        f"chain {result.chain_id} up to block {result.head}"
    )
    notes = [Text(f"  note: {note.text}", style="dim") for note in result.notes]
    if result.ok:
        head = Text.assemble(("reconciled", "bold green"), f" to the wei, no difference: {what}")
        return Group(head, *notes)
    count = f"NOT reconciled: {len(result.findings)} difference(s)"
    lines = [Text(f"  - {finding.text}") for finding in result.findings]
    return Group(Text.assemble((count, "bold red"), f"; {what}"), *lines, *notes)
