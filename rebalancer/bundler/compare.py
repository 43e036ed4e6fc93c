"""Whether an outcome is the planned one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rebalancer.errors import SimulationMismatch
from rebalancer.model import (
    PPM,
    Amount,
    Fill,
    Leg,
    Plan,
    SwapLeg,
    Token,
    UnwrapLeg,
    WrapLeg,
    format_units,
    forwards,
    mul_div_nearest,
)

_HINT = "nothing was signed; the market moved since the plan was made: plan again"


def check_fills(
    plan: Plan, fills: Sequence[Fill], tolerance_ppm: int, block: int | None = None
) -> None:
    """Raise SimulationMismatch when a leg pays or brings something else than planned.

    Amounts may differ from the plan by ``tolerance_ppm`` of the planned amount, in either
    direction. A better price than planned is refused as well: the plan's sizes, costs and reasons
    were derived from prices that no longer hold, and planning again is cheap.
    """
    for index, (leg, fill) in enumerate(zip(plan.legs, fills, strict=True)):
        for what, done, planned in (
            ("would pay", fill.takes, _takes(leg)),
            ("would bring", fill.pays, leg.pays),
        ):
            for actual, wanted in zip(done, planned, strict=True):
                if not _within(actual.raw, wanted.raw, wanted.raw, tolerance_ppm):
                    where = f"{leg_name(plan, index)} {what}"
                    raise _mismatch(
                        where, wanted.token, actual.raw, wanted.raw, tolerance_ppm, block
                    )


def check_net(
    plan: Plan, changes: Mapping[Token, int], tolerance_ppm: int, block: int | None = None
) -> None:
    """Raise SimulationMismatch when a balance of the wallet changes otherwise than by ``plan.net``.

    ``changes`` are measured balances, so that tokens which take fees or lie in their events are
    found out. The tolerance is a share of what the plan moves of that token between the wallet and
    the pairs; a token that only passes from pair to pair must not change at all. What the plan's
    net does not tell of, ether and shares of pairs, must change as the legs say.
    """
    expected = _untold(plan) | {amount.token: amount.raw for amount in plan.net}
    moved = _moved(plan)
    for token, change in changes.items():
        planned = expected.get(token, 0)
        if not _within(change, planned, moved.get(token, 0), tolerance_ppm):
            raise _mismatch(
                "the wallet's balance would change by", token, change, planned, tolerance_ppm, block
            )


def leg_name(plan: Plan, index: int) -> str:
    """For people, who count from 1: ``leg 2 of 3 (USDC -> WETH on uniswap_v2)``."""
    return f"leg {index + 1} of {len(plan.legs)} ({leg_words(plan.legs[index])})"


def leg_words(leg: Leg) -> str:
    """A leg without its amounts: ``remove uniswap_v2:USDC/WETH``, ``wrap ETH``."""
    match leg:
        case SwapLeg():
            return f"{leg.token_in.symbol} -> {leg.token_out.symbol} on {leg.amm}"
        case WrapLeg():
            return f"wrap {leg.native.symbol}"
        case UnwrapLeg():
            return f"unwrap {leg.wrapped.symbol}"
        case _:
            return f"{leg.kind} {leg.share.symbol}"


def _takes(leg: Leg) -> tuple[Amount, ...]:
    """What goes into a leg's contract, whoever pays it."""
    return (Amount(leg.token_in, leg.amount_in),) if isinstance(leg, SwapLeg) else leg.takes


def _flows(plan: Plan) -> Iterable[Amount]:
    """What the legs take from the wallet (negative) and what they pay to it, one by one."""
    for index, leg in enumerate(plan.legs):
        for amount in leg.takes:
            yield Amount(amount.token, -amount.raw)
        if not forwards(plan.legs, index):
            yield from leg.pays


def _untold(plan: Plan) -> dict[Token, int]:
    """Planned changes of ether and of shares of pairs."""
    legs: Sequence[Leg] = plan.legs
    special = {leg.native for leg in legs if isinstance(leg, WrapLeg | UnwrapLeg)}
    special |= {leg.share for leg in legs if not isinstance(leg, SwapLeg | WrapLeg | UnwrapLeg)}
    changes: dict[Token, int] = {}
    for amount in _flows(plan):
        if amount.token in special:
            changes[amount.token] = changes.get(amount.token, 0) + amount.raw
    return changes


def _moved(plan: Plan) -> dict[Token, int]:
    """What leaves and what reaches the wallet, added up per token."""
    moved: dict[Token, int] = {}
    for amount in _flows(plan):
        moved[amount.token] = moved.get(amount.token, 0) + abs(amount.raw)
    return moved


def _within(actual: int, planned: int, reference: int, tolerance_ppm: int) -> bool:
    return abs(actual - planned) * PPM <= tolerance_ppm * reference


def _mismatch(
    what: str, token: Token, actual: int, planned: int, tolerance_ppm: int, block: int | None
) -> SimulationMismatch:
    got, wanted = (
        f"{format_units(raw, token.decimals)} {token.symbol}" for raw in (actual, planned)
    )
    off = ""
    if planned:
        off_ppm = mul_div_nearest(actual - planned, PPM, abs(planned))
        off = f" ({'+' if off_ppm > 0 else ''}{_percent(off_ppm)})"
    return SimulationMismatch(
        f"{what} {got} instead of {wanted}{off}; the tolerance is {_percent(tolerance_ppm)}",
        hint=_HINT,
        block=block,
    )


def _percent(ppm: int) -> str:
    return f"{format_units(ppm, 4)} %"
