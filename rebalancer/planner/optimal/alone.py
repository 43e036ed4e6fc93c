"""What an asset, a pool or a stake is worth alone at given prices, in exact decimals."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rebalancer.planner.optimal.exact import PPM, ZERO, oracle_value

NEVER = Decimal("Infinity")


def arb(made: Any, pool: Any, reserve: Any, s: Any, sold: str, bought: str) -> Decimal:
    """What the best swap of ``sold`` for ``bought`` earns at the prices ``s``, at least 0."""
    gamma = Decimal(PPM - pool["fee_ppm"]) / PPM
    price = s[bought] - Decimal(made["reserve_ppm"]) / PPM
    if gamma * price * reserve[bought] <= s[sold] * reserve[sold]:
        return ZERO
    t = (gamma * price * reserve[bought] / (s[sold] * reserve[sold])).sqrt()
    if pool["max_impact_ppm"] < PPM:
        t = min(t, Decimal(PPM) / (PPM - pool["max_impact_ppm"]))
    if made["max_leg_e8"] is not None:
        t = min(t, 1 + gamma * made["max_leg_e8"] / made["nav_e8"] / reserve[sold])
    got, paid = reserve[bought] * (t - 1) / t, reserve[sold] * (t - 1) / gamma
    return Decimal(price * got - s[sold] * paid)


def kept(
    made: Any, a: Any, price: Decimal, lean: Decimal, fee: Decimal | None, sold: bool
) -> tuple[Decimal, Decimal]:
    """What an asset is best worth: kept, or sold for a ``fee``, None for never; ``sold`` for sure.

    And how much better it is sold than kept, the fee paid.
    """
    nav = made["nav_e8"]
    held, owed = oracle_value(a, a["held"] - a["owed"]) / nav, oracle_value(a, a["owed"]) / nav
    if a["target_ppm"] is None:
        return (missing(made, ZERO, held, owed, price) if owed else ZERO), -NEVER
    target = Decimal(a["target_ppm"]) / PPM - oracle_value(a, a["watched"]) / nav
    stiff = Decimal(made["kappa_ppm"]) * a["drift_weight_ppm"] / PPM**2
    top = None if a["most"] is None else oracle_value(a, a["most"] - a["owed"]) / nav
    least = oracle_value(a, a["least_sold"]) / nav
    whole = keep(made, a, held, price, lean, ZERO, top)
    if owed:
        at_none = stiff / 2 * target * target - lean * target
        whole = max(whole, missing(made, at_none, held, owed, price))
    if held <= 0 or (fee == 0 and not least and not sold):
        return whole, -NEVER
    high = None if top is None else max(top, held)
    stay = keep(made, a, held, price, lean, held, high)
    if least > held or fee is None:
        return stay, -NEVER
    most = held - least if top is None else min(top, held - least)
    parted = keep(made, a, held, price, lean, ZERO, most)
    if sold:
        return parted, ZERO
    over = parted - stay - fee
    return stay + max(over, ZERO), over if whole > stay else -NEVER


def missing(made: Any, at_none: Decimal, held: Decimal, owed: Decimal, price: Decimal) -> Decimal:
    """What it is best worth not to have all that is ``owed``; ``at_none`` is what having none else
    costs."""
    urgency = 2 + 2 * Decimal(made["kappa_ppm"]) / PPM
    lacks = min(max((price / urgency - 1) * owed, ZERO), owed)
    return Decimal(price * (lacks + held) - urgency * lacks * (1 + lacks / (2 * owed)) - at_none)


def keep(
    made: Any, a: Any, held: Decimal, price: Decimal, lean: Decimal, low: Decimal, high: Any
) -> Decimal:
    """What the best holding of ``a`` is worth when it is traded at ``price`` from ``held``.

    Concave and quadratic between the steps of the tax: the best is at a step, at an end, or where
    the slope is 0 at one of the rates.
    """
    stiff = Decimal(made["kappa_ppm"]) * a["drift_weight_ppm"] / PPM**2
    is_asset = "held" in a  # and no stake
    target = Decimal(a["target_ppm"]) / PPM
    target -= oracle_value(a, a["watched"]) / made["nav_e8"] if is_asset else ZERO
    toll = made["toll"] if is_asset else ZERO
    steps = [
        (oracle_value(a, t["above_raw"]) / made["nav_e8"], Decimal(t["rate_ppm"]) / PPM)
        for t in a.get("tax", ())
    ]

    def at(y: Decimal) -> Decimal:
        tax, last = toll * max(held - y, ZERO), ZERO
        for above, rate in steps:
            tax += (rate - last) * max(held - y - above, ZERO)
            last = rate
        off = y - target
        return Decimal(y - price * (y - held) - lean * off - stiff / 2 * off * off - tax)

    ends = [held, *(held - above for above, _ in steps)]
    rates = (ZERO, toll, *(toll + rate for _, rate in steps))
    ends += [target + (1 - price - lean + rate) / stiff for rate in rates]
    return max(at(max(y, low) if high is None else min(max(y, low), high)) for y in ends)
