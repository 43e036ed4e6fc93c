"""Legs in words: what each takes, from where, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from rebalancer.model import (
    AddLeg,
    Amount,
    Leg,
    Plan,
    RemoveLeg,
    SwapLeg,
    UnwrapLeg,
    WrapLeg,
    contract_of,
    format_units,
)
from rebalancer.report.numbers import percent, quantity

Show = Callable[[Amount], str]


def exactly(amount: Amount) -> str:
    """Every digit of an amount, without its symbol."""
    return format_units(amount.raw, amount.token.decimals)


def roughly(amount: Amount) -> str:
    """As tables show it; of very little, as shares of pairs often are, every digit."""
    shown = quantity(amount.raw, amount.token)
    return exactly(amount) if amount.raw and not shown.strip("-0.,") else shown


def briefly(amount: Amount) -> str:
    """As ``roughly``, for sentences: without zeros at the end."""
    shown = roughly(amount)
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def in_words(legs: Sequence[Leg], index: int, *, least: bool = False, show: Show = briefly) -> str:
    """``remove 1.23 shares of uniswap_v2:USDC/WETH for 1,000 USDC and 0.5 WETH``.

    ``least`` tells the minimums in place of what is expected.
    """
    leg = legs[index]
    brings = leg.least if least else leg.pays
    at_least = "at least " if least and not isinstance(leg, WrapLeg | UnwrapLeg) else ""
    match leg:
        case SwapLeg():
            sold = f"all that leg {index} brings" if leg.chained else _named(leg.takes, show)
            return f"sell {sold} for {at_least}{_named(brings, show)} on {leg.amm}"
        case AddLeg():
            shares = show(brings[0])
            took = _named(leg.takes, show)
            return f"add {took} to {leg.share.symbol} for {at_least}{shares} shares"
        case RemoveLeg():
            shares = show(leg.takes[0])
            brought = _named(brings, show)
            return f"remove {shares} shares of {leg.share.symbol} for {at_least}{brought}"
        case WrapLeg() | UnwrapLeg():
            return f"{leg.kind} {_named(leg.takes, show)} into {leg.pays[0].token.symbol}"


def all_in_words(plan: Plan) -> list[str]:
    """A sentence per leg, with what is expected."""
    return [in_words(plan.legs, index) for index in range(len(plan.legs))]


def approval_lines(plan: Plan) -> list[str]:
    """What a person approves, a line per leg: what goes, and the least that comes of it."""
    return [
        f"  leg {index + 1}: {in_words(plan.legs, index, least=True, show=exactly)}"
        for index in range(len(plan.legs))
    ]


def approval_document(plan: Plan) -> list[dict[str, Any]]:
    """The same as plain data; amounts in smallest units, ``takes`` empty where a leg is chained."""
    legs: Sequence[Leg] = plan.legs
    return [
        {
            "kind": leg.kind,
            "pair": contract_of(leg),
            "takes": _plain(leg.takes),
            "at_least": _plain(leg.least),
            **(_swap_keys(leg) if isinstance(leg, SwapLeg) else {}),
        }
        for leg in legs
    ]


def through(leg: Leg) -> str:
    """How a table names the way of a leg: its pool with the fee, or what is done there."""
    return f"{leg.amm} {percent(leg.fee_ppm)}" if isinstance(leg, SwapLeg) else leg.kind


def side_by_side(
    *sides: Iterable[Amount],
) -> Iterator[tuple[Amount | None, ...]]:
    """Amounts of several sides of a leg as rows; None where a side has fewer than another."""
    return zip_longest(*sides)


def _named(amounts: Sequence[Amount], show: Show) -> str:
    return " and ".join(f"{show(amount)} {amount.token.symbol}" for amount in amounts)


def _plain(amounts: Sequence[Amount]) -> list[dict[str, Any]]:
    return [{"token": amount.token.symbol, "amount": amount.raw} for amount in amounts]


def _swap_keys(leg: SwapLeg) -> dict[str, Any]:
    return {
        "token_in": leg.token_in.symbol,
        "amount_in": None if leg.chained else leg.amount_in,
        "token_out": leg.token_out.symbol,
        "min_amount_out": leg.min_amount_out,
    }
