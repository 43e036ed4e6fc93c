"""What became of a plan: transactions, fills, and where the portfolio stands after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rebalancer.model import Amount, Fill, Leg, Plan, TransactionOutcome, Valuation, to_plain
from rebalancer.report.layout import new_table
from rebalancer.report.legs import roughly, side_by_side
from rebalancer.report.numbers import gwei, money, percent, points, short

_LEFT = frozenset({"#", "transaction", "purpose", "paid", "received", "position", ""})


def outcome_document(
    plan: Plan,
    before: Valuation,
    outcomes: Sequence[TransactionOutcome],
    after: Valuation | None,
    native_cost_e8: int,
    beside_e8: int = 0,
) -> dict[str, Any]:
    """Transactions, fills, weights and NAV as plain data; values in 1e-8 of the numeraire.

    ``after`` is None when the portfolio could not be read any more: then there are no weights and
    no NAV, but what was done is told all the same.
    ``nav.cost_e8`` is what the NAV lost at the prices of either block, gas not included, which is
    paid from the native balance beside it: ``nav.gas_e8``. With a gas reserve ``beside_e8`` of the
    loss is none of the pools': gas that was paid from what counts, and what filled the reserve.
    """
    execute = outcomes[-1]
    document: dict[str, Any] = {
        "tx_hash": execute.tx_hash,
        "gas_used": sum(outcome.gas_used for outcome in outcomes),
        "transactions": to_plain(tuple(outcomes)),
        "fills": to_plain(_fills(outcomes)),
    }
    if after is None:
        return document
    return document | {
        "weights": {
            p.name: {
                "before_ppm": before.position(p.name).weight_ppm,
                "target_ppm": p.target_ppm,
                "after_ppm": p.weight_ppm,
            }
            for p in after.positions
        },
        "nav": {
            "numeraire": after.numeraire,
            "before_e8": before.nav_e8,
            "after_e8": after.nav_e8,
            "cost_e8": before.nav_e8 - after.nav_e8 - beside_e8,
            "planned_after_e8": plan.nav_after_e8,
            "gas_e8": native_cost_e8,
        },
    }


def outcome_view(
    plan: Plan,
    before: Valuation,
    outcomes: Sequence[TransactionOutcome],
    after: Valuation | None,
    native_cost_e8: int,
    beside_e8: int = 0,
) -> RenderableType:
    """Transactions, fills against the plan, weights and NAV before and after."""
    done = Group(_transactions(outcomes), _filled(plan, outcomes))
    if after is None:
        return done
    numeraire = after.numeraire
    cost = before.nav_e8 - after.nav_e8 - beside_e8
    total = Text.assemble(
        ("NAV ", "dim"),
        f"{money(before.nav_e8, numeraire)} -> {money(after.nav_e8, numeraire)} {numeraire}",
        ("   cost ", "dim"),
        f"{money(cost, numeraire)} in the pools, {money(native_cost_e8, numeraire)} for gas",
    )
    return Group(done, _weights(before, after), total)


def _fills(outcomes: Sequence[TransactionOutcome]) -> tuple[Fill, ...]:
    return tuple(fill for outcome in outcomes for fill in outcome.fills)


def _transactions(outcomes: Sequence[TransactionOutcome]) -> RenderableType:
    names = ("transaction", "purpose", "block", "gas", "price")
    table = new_table("Transactions", *names, left=_LEFT)
    for outcome in outcomes:
        table.add_row(
            short(outcome.tx_hash, 18),
            outcome.purpose,
            f"{outcome.block_number}",
            f"{outcome.gas_used:,}",
            gwei(outcome.effective_gas_price_wei),
        )
    return table


def _filled(plan: Plan, outcomes: Sequence[TransactionOutcome]) -> RenderableType:
    names = ("#", "paid", "amount in", "received", "amount out", "against the plan")
    table = new_table("Fills", *names, left=_LEFT)
    for fill in _fills(outcomes):
        leg: Leg = plan.legs[fill.index]
        rows = side_by_side(fill.takes, fill.pays, leg.pays)
        for row, (taken, paid, planned) in enumerate(rows):
            table.add_row(
                "" if row else f"{fill.index + 1}",
                "" if taken is None else taken.token.symbol,
                "" if taken is None else roughly(taken),
                "" if paid is None else paid.token.symbol,
                "" if paid is None else roughly(paid),
                _against(paid, planned),
            )
    return table


def _against(paid: Amount | None, planned: Amount | None) -> str:
    if paid is None or planned is None:
        return ""
    difference = paid.raw - planned.raw
    return f"{difference:+,} of its smallest unit" if difference else "equal to the wei"


def _weights(before: Valuation, after: Valuation) -> RenderableType:
    names = ("position", "before", "target", "after", "drift after")
    table = new_table("Weights", *names, left=_LEFT)
    for position in after.positions:
        table.add_row(
            position.name,
            percent(before.position(position.name).weight_ppm),
            percent(position.target_ppm),
            percent(position.weight_ppm),
            points(position.drift_ppm),
        )
    return table
