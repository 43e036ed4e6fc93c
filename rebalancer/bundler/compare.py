"""Whether an outcome is the planned one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rebalancer.errors import SimulationMismatch
from rebalancer.model import PPM, Fill, Plan, Token, format_units, mul_div_nearest

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
        where = leg_name(plan, index)
        if not _within(fill.amount_in, leg.amount_in, leg.amount_in, tolerance_ppm):
            raise _mismatch(
                f"{where} would pay",
                leg.token_in,
                fill.amount_in,
                leg.amount_in,
                tolerance_ppm,
                block,
            )
        if not _within(fill.amount_out, leg.amount_out, leg.amount_out, tolerance_ppm):
            raise _mismatch(
                f"{where} would bring",
                leg.token_out,
                fill.amount_out,
                leg.amount_out,
                tolerance_ppm,
                block,
            )


def check_net(
    plan: Plan, changes: Mapping[Token, int], tolerance_ppm: int, block: int | None = None
) -> None:
    """Raise SimulationMismatch when a balance of the wallet changes otherwise than by ``plan.net``.

    ``changes`` are measured balances, so that tokens which take fees or lie in their events are
    found out. The tolerance is a share of what the plan moves of that token between the wallet and
    the pairs; a token that only passes from pair to pair must not change at all.
    """
    expected = {amount.token: amount.raw for amount in plan.net}
    moved = _moved(plan)
    for token, change in changes.items():
        planned = expected.get(token, 0)
        if not _within(change, planned, moved.get(token, 0), tolerance_ppm):
            raise _mismatch(
                "the wallet's balance would change by", token, change, planned, tolerance_ppm, block
            )


def leg_name(plan: Plan, index: int) -> str:
    """For people, who count from 1: ``leg 2 of 3 (USDC -> WETH on uniswap_v2)``."""
    leg = plan.legs[index]
    return (
        f"leg {index + 1} of {len(plan.legs)}"
        f" ({leg.token_in.symbol} -> {leg.token_out.symbol} on {leg.amm})"
    )


def _moved(plan: Plan) -> dict[Token, int]:
    """What leaves and what reaches the wallet, added up per token."""
    moved: dict[Token, int] = {}
    for index, leg in enumerate(plan.legs):
        if not leg.chained:
            moved[leg.token_in] = moved.get(leg.token_in, 0) + leg.amount_in
        if index + 1 == len(plan.legs) or not plan.legs[index + 1].chained:
            moved[leg.token_out] = moved.get(leg.token_out, 0) + leg.amount_out
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
