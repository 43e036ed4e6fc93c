"""What I have, what it is worth, how far it drifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rebalancer.amm.attribution import Attribution
from rebalancer.amm.goals import Exposed
from rebalancer.model import (
    Exposure,
    PositionValue,
    Snapshot,
    Valuation,
    digest,
    to_plain,
)
from rebalancer.planner.bands import Drift
from rebalancer.report.attribution import attribution_view
from rebalancer.report.layout import new_table
from rebalancer.report.lp import lp_view
from rebalancer.report.numbers import (
    amount,
    gwei,
    money,
    percent,
    points,
    quantity,
    short,
    unit_price,
    utc,
)
from rebalancer.report.trust import alarms, prices_view
from rebalancer.report.wallets import reserve_document, reserve_line, wallets_document, wallets_view

_LEFT = frozenset({"position", "holds", "token", "source", "wallet", ""})


@dataclass(frozen=True, slots=True)
class Past:
    """What status tells of the time before: ``why`` it moved since what happened then.

    ``notes`` say what could not be told, and why; ``changed`` which tokens have other code now.
    """

    why: Attribution | None = None
    since: str = ""
    notes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def status_document(
    snapshot: Snapshot,
    valuation: Valuation,
    drifts: Sequence[Drift],
    past: Past | None = None,
    on_exposures: Sequence[Exposed] = (),
) -> Any:
    """Everything of the view as plain data; ``on_exposures`` are the goals that are on them."""
    past = past or Past()
    bands = {drift.position: drift.band_ppm for drift in drifts}
    return {
        "snapshot": digest(snapshot),
        "block": to_plain(snapshot.block),
        "wallet": snapshot.wallet,
        "numeraire": valuation.numeraire,
        "nav_e8": valuation.nav_e8,
        "positions": [
            {**to_plain(p), "drift_ppm": p.drift_ppm, "band_ppm": bands.get(p.name)}
            for p in valuation.positions
        ],
        "drifts": [{**to_plain(d), "drift_ppm": d.drift_ppm, "outside": d.outside} for d in drifts],
        "holdings": to_plain(snapshot.holdings),
        "unread": list(valuation.unread),
        "held_out": to_plain(snapshot.held_out),
        "proxies": to_plain(snapshot.proxies),
        "alarms": list(alarms(snapshot, valuation, past.changed)),
        "attribution": past.why and {"since": past.since, **to_plain(past.why)},
        "notes": list(past.notes),
        "exposures": to_plain(valuation.exposures),
        "exposure_goals": [{**to_plain(e), "drift_ppm": e.drift_ppm} for e in on_exposures],
        "balances": to_plain(snapshot.balances),
        "wallets": wallets_document(snapshot, valuation),
        "watched": to_plain(snapshot.watched),
        "prices": [
            {**to_plain(p), "age_s": snapshot.block.timestamp - p.updated_at}
            for p in snapshot.prices
        ],
        "native": {
            "wei": snapshot.native_wei,
            "value_e8": valuation.native_value_e8,
            **reserve_document(snapshot),
        },
    }


def status_view(
    snapshot: Snapshot,
    valuation: Valuation,
    drifts: Sequence[Drift],
    past: Past | None = None,
    on_exposures: Sequence[Exposed] = (),
) -> RenderableType:
    """Everything: header, positions, LP detail, why it moved, exposure and prices."""
    past = past or Past()
    parts = [positions_view(snapshot, valuation, drifts, past.changed)]
    if past.why is not None:
        parts.append(attribution_view(past.why, valuation.numeraire, past.since))
    if snapshot.watched:
        parts.append(wallets_view(snapshot, valuation))
    parts.append(_exposures(snapshot, valuation))
    if on_exposures:
        parts.append(_exposure_goals(on_exposures, valuation.numeraire))
    parts.append(prices_view(snapshot))
    parts += [Text(f"note: {note}", style="dim") for note in past.notes]
    return Group(*parts)


def since_view(before: Valuation, after: Valuation) -> RenderableType:
    """Between two looks at a portfolio: which block it is now, and what NAV did since the last."""
    change = after.nav_e8 - before.nav_e8
    moved = "NAV as at"
    if change:
        moved = f"NAV {money(change, after.numeraire, signed=True)} {after.numeraire} since"
    return Rule(f"block {after.block_number}: {moved} block {before.block_number}")


def positions_view(
    snapshot: Snapshot,
    valuation: Valuation,
    drifts: Sequence[Drift],
    changed: Sequence[str] = (),
) -> RenderableType:
    """Header, positions, LP detail and alarms."""
    parts: list[RenderableType] = [
        _header(snapshot, valuation),
        _positions(snapshot, valuation, drifts),
    ]
    if any(position.lp for position in valuation.positions):
        parts.append(lp_view(snapshot, valuation))
    found = alarms(snapshot, valuation, changed)
    parts += [Text(f"alarm: {alarm}", style="bold red") for alarm in found]
    return Group(*parts)


def _header(snapshot: Snapshot, valuation: Valuation) -> Text:
    block, native = snapshot.block, snapshot.native.token
    purse_wei = snapshot.native_wei - snapshot.surplus_wei
    return Text.assemble(
        ("NAV ", "dim"),
        (f"{money(valuation.nav_e8, valuation.numeraire)} {valuation.numeraire}", "bold"),
        (f" without {', '.join(valuation.unread)}" if valuation.unread else "", "bold red"),
        ("   block ", "dim"),
        f"{block.number} {short(block.hash)}, {utc(block.timestamp)}",
        ("   base fee ", "dim"),
        gwei(block.base_fee_wei),
        ("\nwallet ", "dim"),
        snapshot.wallet,
        ("   gas purse ", "dim"),
        amount(purse_wei, native),
        f" ({money(valuation.native_value_e8, valuation.numeraire)}, not part of NAV)",
        *reserve_line(snapshot),
    )


def _positions(snapshot: Snapshot, valuation: Valuation, drifts: Sequence[Drift]) -> Table:
    of = {drift.position: drift for drift in drifts}
    names = ("position", "amount", "price", "value", "weight", "target", "drift", "band", "")
    table = new_table("Positions", *names, left=_LEFT)
    for position in valuation.positions:
        if position.bucket is not None:
            continue
        if position.name in valuation.unread:
            unknown = Text("unreadable", style="bold red")
            table.add_row(position.name, unknown, "", "", "", percent(position.target_ppm))
            continue
        cells = _amount_and_price(snapshot, valuation, position)
        worth = money(position.value_e8, valuation.numeraire)
        table.add_row(position.name, *cells, worth, *_drift_cells(of[position.name]))
    for bucket in dict.fromkeys(p.bucket for p in valuation.positions if p.bucket is not None):
        members = [p for p in valuation.positions if p.bucket == bucket]
        worth = money(sum(p.value_e8 for p in members), valuation.numeraire)
        table.add_row(bucket, "bucket", "", worth, *_drift_cells(of[bucket]))
        for position in members:
            cells = _amount_and_price(snapshot, valuation, position)
            worth = money(position.value_e8, valuation.numeraire)
            table.add_row(f"  {position.name}", *cells, worth, percent(position.weight_ppm))
    return table


def _drift_cells(drift: Drift) -> tuple[str | Text, ...]:
    """Weight, target, drift, band and verdict."""
    return (
        percent(drift.weight_ppm),
        percent(drift.target_ppm),
        Text(points(drift.drift_ppm), style="bold red" if drift.outside else ""),
        f"±{points(drift.band_ppm).lstrip('+')}",
        Text("outside", style="bold red") if drift.outside else Text("inside", style="green"),
    )


def _amount_and_price(
    snapshot: Snapshot, valuation: Valuation, position: PositionValue
) -> tuple[str, str]:
    if position.lp is not None:
        return "LP, see below", ""
    token = next((a.token for a in snapshot.balances if a.token.symbol == position.name), None)
    if token is None:
        return "unreadable" if position.name in valuation.unread else "none held", ""
    price = snapshot.price(token).value_down(10**token.decimals)
    held = snapshot.owned(token) + snapshot.watched_balance(token)
    return quantity(held, token), unit_price(price)


def _exposures(snapshot: Snapshot, valuation: Valuation) -> Table:
    title = "Exposure, LP positions looked through"
    leveraged = any(exposure.notional_e8 is not None for exposure in valuation.exposures)
    names = ("token", "amount", "value", "weight", *(("notional",) if leveraged else ()))
    table = new_table(title, *names, left=_LEFT)
    tokens = {a.token.symbol: a.token for a in snapshot.balances}
    tokens |= {t.symbol: t for pair in snapshot.pairs for t in (pair.token0, pair.token1)}
    for exposure in valuation.exposures:
        table.add_row(
            exposure.symbol,
            quantity(exposure.raw, tokens[exposure.symbol]),
            money(exposure.value_e8, valuation.numeraire),
            percent(exposure.weight_ppm),
            *((_notional(exposure, valuation.numeraire),) if leveraged else ()),
        )
    return table


def _exposure_goals(found: Sequence[Exposed], numeraire: str) -> Table:
    names = ("position", "exposure", "weight", "target", "drift")
    table = new_table("Targets on exposure", *names, left=_LEFT)
    for goal in found:
        weights = percent(goal.weight_ppm), percent(goal.target_ppm), points(goal.drift_ppm)
        table.add_row(goal.name, money(goal.notional_e8, numeraire), *weights)
    return table


def _notional(exposure: Exposure, numeraire: str) -> str:
    """The exposure that the value gives, where it is another."""
    value_e8 = exposure.value_e8 if exposure.notional_e8 is None else exposure.notional_e8
    return money(value_e8, numeraire)
