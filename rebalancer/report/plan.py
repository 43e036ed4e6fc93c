"""The decision and its reasons: what would be traded, what it costs, where it leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rebalancer.model import (
    PPM,
    Amount,
    Decision,
    Leg,
    Plan,
    Reason,
    Rebalance,
    Simulation,
    SwapLeg,
    digest,
    mul_div_nearest,
    to_plain,
)
from rebalancer.planner.gas_correction import told
from rebalancer.planner.proof import proof
from rebalancer.planner.withdrawal import proves_raising
from rebalancer.report.layout import new_table
from rebalancer.report.legs import all_in_words, roughly, side_by_side, through
from rebalancer.report.numbers import amount, gwei, money, percent, points, short
from rebalancer.report.picture import LEGEND, bars

_LEFT = frozenset({"#", "pay", "through", "receive", "position", "", "cost", LEGEND})


def decision_document(decision: Decision) -> dict[str, Any]:
    """The decision as plain data; ``decision`` is ``hold`` or ``rebalance``."""
    document: dict[str, Any] = to_plain(decision)
    if isinstance(decision, Rebalance):
        return {
            "decision": "rebalance",
            "plan_id": digest(decision.plan),
            "legs_in_words": all_in_words(decision.plan),
            **document,
        }
    return {"decision": "hold", **document}


def decision_view(decision: Decision, numeraire: str) -> RenderableType:
    """Headline, reasons, and for a plan its legs, its costs and where it leads."""
    if not isinstance(decision, Rebalance):
        head = Text.assemble(("HOLD", "bold yellow"), f"   block {decision.block_number}")
        return Group(head, _reasons(decision.reasons))
    plan = decision.plan
    head = Text.assemble(
        ("REBALANCE", "bold green"),
        f"   block {decision.block_number}   plan {short(digest(plan), 12)}",
    )
    parts: list[RenderableType] = [head, _reasons(decision.reasons)]
    if plan.withdrawal is not None:
        raised = amount(plan.withdrawal.raw, plan.withdrawal.token)
        text = f"  - {raised} are yours to take out; the next cycle would trade what is left"
        parts.append(Text(text))
    parts += [_legs(plan), _positions(plan), _costs(plan, numeraire)]
    if plan.costs.planned_gas is not None:
        parts.append(Text(f"gas: {told(plan.costs.planned_gas)}"))
    if plan.certificate is not None:
        parts.append(_certificate(decision, plan.certificate, numeraire))
    if decision.limits:
        parts += [Text("Limits that bind", style="bold"), _reasons(decision.limits)]
    return Group(*parts)


def simulation_view(simulation: Simulation, steps: str = "transaction(s)") -> RenderableType:
    """One line: the node was asked, and says that it would happen as planned.

    ``steps`` is what was simulated one after the other.
    """
    gas = sum(simulation.gas_used)
    return Text.assemble(
        ("simulated", "bold green"),
        f" on block {simulation.block_number}: every leg as planned, {gas:,} gas"
        f" in {len(simulation.gas_used)} {steps}",
    )


def _reasons(reasons: tuple[Reason, ...]) -> Text:
    return Text("\n".join(f"  - {reason.text}" for reason in reasons))


def _legs(plan: Plan) -> Table:
    names = ("#", "pay", "amount in", "through", "receive", "expected out", "minimum out")
    table = new_table("Legs, in one atomic transaction", *names, left=_LEFT)
    legs: Sequence[Leg] = plan.legs
    for number, leg in enumerate(legs, 1):
        swap = leg if isinstance(leg, SwapLeg) else None
        chained = swap is not None and swap.chained
        taken = leg.takes if swap is None else (Amount(swap.token_in, swap.amount_in),)
        rows = side_by_side(taken, leg.pays, leg.least)
        for row, (pays_in, brings, least) in enumerate(rows):
            table.add_row(
                "" if row else f"{number}",
                _symbol(pays_in),
                "↳ all of it" if chained else _quantity(pays_in),
                "" if row else through(leg),
                _symbol(brings),
                _quantity(brings),
                _quantity(least),
            )
    return table


def _symbol(amount: Amount | None) -> str:
    return "" if amount is None else amount.token.symbol


def _quantity(amount: Amount | None) -> str:
    return "" if amount is None else roughly(amount)


def _positions(plan: Plan) -> Table:
    names = ("position", "before", "target", "after", "drift before", "drift after", LEGEND)
    table = new_table("Where it leads", *names, left=_LEFT)
    for position, bar in zip(plan.positions, bars(plan.positions), strict=True):
        table.add_row(
            position.name,
            percent(position.before_ppm),
            percent(position.target_ppm),
            percent(position.after_ppm),
            points(position.before_ppm - position.target_ppm),
            points(position.after_ppm - position.target_ppm),
            bar,
        )
    return table


def _certificate(decision: Rebalance, text: str, numeraire: str) -> Text:
    """What the certificate proves, in one line; of a withdrawal, how much of it is raised."""
    found = proof(text)
    gap = f"{money(found.gap_e8, numeraire)} {numeraire}"
    if proves_raising(text):
        short = any(reason.code == "withdrawal_short_e8" for reason in decision.limits)
        raised = "a part of the withdrawal is raised" if short else "the withdrawal is raised"
        said = f"{raised}; no plan that raises as much is better by more than {gap}, costs and "
        said += "drift counted"
    else:
        said = f"worth {money(found.gain_e8, numeraire)} {numeraire} more than holding, costs and "
        said += f"drift counted; no plan is better by more than {gap}"
    return Text.assemble(("certificate", "bold green"), f"   {said}")


def _costs(plan: Plan, numeraire: str) -> Table:
    costs = plan.costs
    table = new_table("Costs and benefit", "", numeraire, "of traded", left=_LEFT)
    gas = f"gas, {costs.gas_units:,} at {gwei(costs.gas_price_wei)}"
    rows = {
        "pool fees": costs.fee_e8,
        "price impact": costs.impact_e8,
        "pools off the oracle": costs.off_oracle_e8,
        gas: costs.gas_e8,
        "total cost": costs.total_e8,
        **({"tax on what is sold": costs.tax_e8} if costs.tax_e8 else {}),
        **({"set aside for slippage": costs.reserve_e8} if costs.reserve_e8 else {}),
        "drift penalty removed": plan.benefit_e8,
    }
    for label, value in rows.items():
        share = percent(mul_div_nearest(value, PPM, costs.traded_e8)) if costs.traded_e8 else ""
        style = "bold" if label == "total cost" else ""
        table.add_row(label, money(value, numeraire), share, style=style)
    table.add_row("traded value", money(costs.traded_e8, numeraire), "")
    return table
