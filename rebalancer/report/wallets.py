"""Where a portfolio lies: what each wallet has, and what of the native token stays for gas."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from rebalancer.amm.valuation import WalletPart, by_wallet, shares_ppm
from rebalancer.model import PPM, PositionValue, Snapshot, Target, Valuation
from rebalancer.report.layout import new_table
from rebalancer.report.numbers import amount, money, percent, quantity

_LEFT = frozenset({"wallet", ""})


def wallets_document(snapshot: Snapshot, valuation: Valuation) -> list[dict[str, Any]]:
    """Each wallet with the value of what it has of every position, the trading one first."""
    return [
        {
            "wallet": part.wallet,
            "value_e8": part.value_e8,
            "positions": [{"name": p.name, "value_e8": p.value_e8} for p in part.positions],
        }
        for part in _parts(snapshot, valuation)
    ]


def wallets_view(snapshot: Snapshot, valuation: Valuation) -> Table:
    """Where the portfolio lies: what is traded, what is only watched, and what each wallet has."""
    table = new_table("Wallets", "wallet", "", "amount", "value", "weight", left=_LEFT)
    found = _parts(snapshot, valuation)
    shares = iter(shares_ppm([p.value_e8 for part in found for p in part.positions]))
    for part in found:
        role = "trading" if part.wallet == snapshot.wallet else "watched"
        weights = [next(shares) for _ in part.positions]
        worth = money(part.value_e8, valuation.numeraire)
        table.add_row(part.wallet, role, "", worth, percent(sum(weights)))
        for position, weight in zip(part.positions, weights, strict=True):
            held = _held(part.own, position)
            if held:
                worth = money(position.value_e8, valuation.numeraire)
                table.add_row(f"  {position.name}", "", held, worth, percent(weight))
    return table


def reserve_document(snapshot: Snapshot) -> dict[str, Any]:
    """The gas reserve and what is above it; nothing without one."""
    reserve = snapshot.gas_reserve
    if reserve is None:
        return {}
    return {
        "reserve_wei": reserve.wei,
        "surplus_wei": snapshot.surplus_wei,
        "surplus_value_e8": _surplus_e8(snapshot),
        "counts_as": reserve.wrapped.symbol,
    }


def reserve_line(snapshot: Snapshot) -> tuple[str | tuple[str, str], ...]:
    """The same as a line of text with its styles."""
    reserve, native = snapshot.gas_reserve, snapshot.native.token
    if reserve is None:
        return ()
    if snapshot.native_wei < reserve.wei:
        short_wei = reserve.wei - snapshot.native_wei
        return (("\ngas reserve ", "dim"), (f"short of {amount(short_wei, native)}", "bold red"))
    worth = money(_surplus_e8(snapshot), snapshot.numeraire)
    return (
        ("\nnative above the gas reserve ", "dim"),
        amount(snapshot.surplus_wei, native),
        f" ({worth}, counts as {reserve.wrapped.symbol})",
    )


def _parts(snapshot: Snapshot, valuation: Valuation) -> tuple[WalletPart, ...]:
    targets = [Target(position.name, position.target_ppm) for position in valuation.positions]
    return by_wallet(snapshot, targets)


def _held(own: Snapshot, position: PositionValue) -> str:
    """How much of a position a wallet has; empty for nothing."""
    if position.lp is None:
        token = next((a.token for a in own.balances if a.token.symbol == position.name), None)
        raw = 0 if token is None else own.owned(token)
        return "" if token is None or not raw else quantity(raw, token)
    lp, pair = position.lp, own.pair(position.lp.pair)
    lines = []
    if lp.shares:
        lines += [amount(lp.amount0, pair.token0), amount(lp.amount1, pair.token1)]
    if lp.staked:
        lines.append(f"staked {percent(lp.staked * PPM // lp.shares)}")
    reward = next((h.reward for h in own.holdings if h.pair == lp.pair), None)
    if reward is not None and reward.token is not None and reward.raw:
        lines.append(f"owed {amount(reward.raw, reward.token)}")
    return "\n".join(lines)


def _surplus_e8(snapshot: Snapshot) -> int:
    """What the native token above the reserve is worth; 0 where its wrapped one has no price."""
    reserve = snapshot.gas_reserve
    found = (p for p in snapshot.prices if reserve is not None and p.token == reserve.wrapped)
    return sum(price.value_down(snapshot.surplus_wei) for price in found)
