"""What fills did to the wallet: legs that are paid by the one before pass it by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rebalancer.model import (
    Amount,
    Fill,
    Leg,
    Plan,
    RemoveLeg,
    Snapshot,
    SwapLeg,
    Token,
    UnwrapLeg,
    WrapLeg,
    forwards,
    mul_div_down,
)


def all_taken(leg: Leg) -> tuple[Amount, ...]:
    """What goes into a leg's contract, also where the leg before pays it."""
    return (Amount(leg.token_in, leg.amount_in),) if isinstance(leg, SwapLeg) else leg.takes


def is_chained(leg: Leg) -> bool:
    """Whether the leg before pays it."""
    return isinstance(leg, SwapLeg) and leg.chained


def natives_of(plan: Plan) -> dict[Token, Token]:
    """The native token with its wrapped one, where the plan wraps or unwraps it."""
    legs: Sequence[Leg] = plan.legs
    return {leg.native: leg.wrapped for leg in legs if isinstance(leg, WrapLeg | UnwrapLeg)}


def wallet_changes(plan: Plan, fills: Iterable[Fill]) -> dict[Token, int]:
    """Net change of the wallet per token by the fills, shares of pairs and ether too."""
    legs: Sequence[Leg] = plan.legs
    net: dict[Token, int] = {}
    for fill in fills:
        taken = () if is_chained(legs[fill.index]) else fill.takes
        paid = () if forwards(legs, fill.index) else fill.pays
        for sign, amounts in ((-1, taken), (1, paid)):
            for amount in amounts:
                net[amount.token] = net.get(amount.token, 0) + sign * amount.raw
    return net


def given_away_e8(plan: Plan, fills: Sequence[Fill], snapshot: Snapshot) -> int:
    """What the wallet gave for what it got, at the snapshot's prices, rounded down.

    What it has less of afterwards: what was bought and sold again in between does not count, ether
    that was only wrapped or unwrapped neither. Shares of a pair count as what they were redeemed
    for.
    """
    changes = wallet_changes(plan, fills)
    for native, wrapped in natives_of(plan).items():
        if native in changes:
            changes[wrapped] = changes.get(wrapped, 0) + changes.pop(native)
    redeemed = _redeemed_e8(plan, fills, snapshot)
    total_e8 = 0
    for token, change in changes.items():
        if change < 0 and token in redeemed:
            shares, worth_e8 = redeemed[token]
            total_e8 += mul_div_down(worth_e8, min(-change, shares), shares)
        elif change < 0:
            total_e8 += snapshot.price(token).value_down(-change)
    return total_e8


def _redeemed_e8(
    plan: Plan, fills: Sequence[Fill], snapshot: Snapshot
) -> dict[Token, tuple[int, int]]:
    """Shares of each pair that were redeemed, and the value of what they brought."""
    legs: Sequence[Leg] = plan.legs
    found: dict[Token, tuple[int, int]] = {}
    for fill in fills:
        leg = legs[fill.index]
        if isinstance(leg, RemoveLeg):
            shares, worth_e8 = found.get(leg.share, (0, 0))
            paid_e8 = sum(snapshot.price(a.token).value_down(a.raw) for a in fill.pays)
            found[leg.share] = (shares + fill.amount_in, worth_e8 + paid_e8)
    return found
