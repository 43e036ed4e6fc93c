"""What I have, what it is worth, how far it drifted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rebalancer.model import PositionValue, Snapshot, Valuation, digest, to_plain
from rebalancer.planner.bands import Drift
from rebalancer.report.layout import new_table
from rebalancer.report.numbers import (
    age,
    amount,
    gwei,
    money,
    percent,
    points,
    quantity,
    short,
    unit_price,
)

_LEFT = frozenset({"position", "holds", "token", "source", ""})


def status_document(snapshot: Snapshot, valuation: Valuation, drifts: Sequence[Drift]) -> Any:
    """Everything of the view as plain data."""
    bands = {drift.position: drift.band_ppm for drift in drifts}
    return {
        "snapshot": digest(snapshot),
        "block": to_plain(snapshot.block),
        "wallet": snapshot.wallet,
        "numeraire": valuation.numeraire,
        "nav_e8": valuation.nav_e8,
        "positions": [
            {**to_plain(p), "drift_ppm": p.drift_ppm, "band_ppm": bands[p.name]}
            for p in valuation.positions
        ],
        "exposures": to_plain(valuation.exposures),
        "balances": to_plain(snapshot.balances),
        "prices": [
            {**to_plain(p), "age_s": snapshot.block.timestamp - p.updated_at}
            for p in snapshot.prices
        ],
        "native": {"wei": snapshot.native_wei, "value_e8": valuation.native_value_e8},
    }


def status_view(
    snapshot: Snapshot, valuation: Valuation, drifts: Sequence[Drift]
) -> RenderableType:
    """Everything: header, positions, LP detail, exposure and prices."""
    return Group(
        positions_view(snapshot, valuation, drifts),
        _exposures(snapshot, valuation),
        _prices(snapshot),
    )


def positions_view(
    snapshot: Snapshot, valuation: Valuation, drifts: Sequence[Drift]
) -> RenderableType:
    """Header, positions and LP detail."""
    parts: list[RenderableType] = [
        _header(snapshot, valuation),
        _positions(snapshot, valuation, drifts),
    ]
    if any(position.lp for position in valuation.positions):
        parts.append(_lp(snapshot, valuation))
    return Group(*parts)


def _header(snapshot: Snapshot, valuation: Valuation) -> Text:
    block, native = snapshot.block, snapshot.native.token
    return Text.assemble(
        ("NAV ", "dim"),
        (f"{money(valuation.nav_e8, valuation.numeraire)} {valuation.numeraire}", "bold"),
        ("   block ", "dim"),
        f"{block.number} {short(block.hash)}",
        ("   base fee ", "dim"),
        gwei(block.base_fee_wei),
        ("\nwallet ", "dim"),
        snapshot.wallet,
        ("   gas purse ", "dim"),
        amount(snapshot.native_wei, native),
        f" ({money(valuation.native_value_e8, valuation.numeraire)}, not part of NAV)",
    )


def _positions(snapshot: Snapshot, valuation: Valuation, drifts: Sequence[Drift]) -> Table:
    of = {drift.position: drift for drift in drifts}
    names = ("position", "amount", "price", "value", "weight", "target", "drift", "band", "")
    table = new_table("Positions", *names, left=_LEFT)
    for position in valuation.positions:
        drift = of[position.name]
        table.add_row(
            position.name,
            *_amount_and_price(snapshot, valuation, position),
            money(position.value_e8, valuation.numeraire),
            percent(position.weight_ppm),
            percent(position.target_ppm),
            Text(points(position.drift_ppm), style="bold red" if drift.outside else ""),
            f"±{points(drift.band_ppm).lstrip('+')}",
            Text("outside", style="bold red") if drift.outside else Text("inside", style="green"),
        )
    return table


def _amount_and_price(
    snapshot: Snapshot, valuation: Valuation, position: PositionValue
) -> tuple[str, str]:
    if position.lp is not None:
        return "LP, see below", ""
    token = next(a.token for a in snapshot.balances if a.token.symbol == position.name)
    price = snapshot.price(token).value_down(10**token.decimals)
    return quantity(snapshot.balance(token), token), unit_price(price)


def _lp(snapshot: Snapshot, valuation: Valuation) -> Table:
    names = ("position", "holds", "fair", "spot", "held instead", "IL", "fees", "net")
    table = new_table("LP positions (fair price; spot beside it)", *names, left=_LEFT)
    for position in valuation.positions:
        lp = position.lp
        if lp is None:
            continue
        pair = snapshot.pair(lp.pair)
        holds = f"{amount(lp.amount0, pair.token0)}\n{amount(lp.amount1, pair.token1)}"
        numeraire = valuation.numeraire
        row = [position.name, holds, money(position.value_e8, numeraire)]
        row.append(money(lp.spot_value_e8, numeraire))
        if lp.held_value_e8 is None or lp.il_e8 is None or lp.fees_e8 is None:
            row += ["entry unknown", "", "", ""]
        else:
            row.append(money(lp.held_value_e8, numeraire))
            row += [money(v, numeraire, signed=True) for v in (lp.il_e8, lp.fees_e8)]
            row.append(money(lp.il_e8 + lp.fees_e8, numeraire, signed=True))
        table.add_row(*row)
    return table


def _exposures(snapshot: Snapshot, valuation: Valuation) -> Table:
    title = "Exposure, LP positions looked through"
    table = new_table(title, "token", "amount", "value", "weight", left=_LEFT)
    tokens = {a.token.symbol: a.token for a in snapshot.balances}
    tokens |= {t.symbol: t for pair in snapshot.pairs for t in (pair.token0, pair.token1)}
    for exposure in valuation.exposures:
        table.add_row(
            exposure.symbol,
            quantity(exposure.raw, tokens[exposure.symbol]),
            money(exposure.value_e8, valuation.numeraire),
            percent(exposure.weight_ppm),
        )
    return table


def _prices(snapshot: Snapshot) -> Table:
    names = ("token", f"price in {snapshot.numeraire}", "source", "age")
    table = new_table("Prices", *names, left=_LEFT)
    for price in snapshot.prices:
        table.add_row(
            price.token.symbol,
            unit_price(price.value_down(10**price.token.decimals)),
            price.source,
            age(snapshot.block.timestamp - price.updated_at),
        )
    return table
