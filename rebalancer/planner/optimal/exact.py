"""What a portfolio is worth after its legs, exactly: the objective of a certificate's statement.

Works on the plain JSON form of a statement and imports nothing of the planner: the solver is judged
by it, and ``verify`` recomputes with it. Amounts are integers, replayed as Uniswap V2's pair does
them; values are decimals of the caller's precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import isqrt, prod
from typing import Any

PPM = 1_000_000
ZERO = Decimal(0)
#: What minting may leave of an intermediate: NAV over this. Both sides of a pool never fit exactly.
DUST = 1_000_000


class Refused(ValueError):
    """Legs that cannot be executed exactly as they stand, or that break a limit."""


def worth(made: dict[str, Any], legs: Sequence[Any]) -> Decimal:
    """What the portfolio is worth after ``legs``, in 1e-8, with every cost of the statement.

    Raises Refused where a leg cannot be executed exactly as it stands or a limit is broken.
    """
    assets = {a["key"]: a for a in made["assets"]}
    pools = {p["key"]: p for p in made["pools"]}
    stakes = {x["pool"]: x for x in made["stakes"]}
    held = {key: int(a["held"]) for key, a in assets.items()}
    shares = {key: int(x["shares"]) for key, x in stakes.items()}
    counted = {key: Decimal(x["shares"]) for key, x in stakes.items()}
    stored = {key: int(x.get("stored") or x["supply"]) for key, x in stakes.items()}
    k_last = {key: int(x.get("k_last", 0)) for key, x in stakes.items()}
    reserves = {
        key: {p["asset0"]: int(p["reserve0"]), p["asset1"]: int(p["reserve1"])}
        for key, p in pools.items()
    }
    touched, sold = set(), set()
    swapped: dict[str, Decimal] = {}
    cost = Decimal(made["base_e8"] if legs else 0)
    for i, leg in enumerate(legs):
        pool = pools[leg["pool"]]
        there = reserves[pool["key"]]
        touched |= set(there)
        if leg["kind"] == "swap":
            a, b, amount_in = leg["sold"], leg["bought"], leg["amount_in"]
            if {a, b} != set(there) or type(amount_in) is not int or amount_in <= 0:
                raise Refused("leg")
            if pool["key"] in swapped:
                raise Refused("a pool is used twice")
            if leg["chained"] is True:
                before = legs[i - 1] if i else {"kind": "", "pool": ""}
                fed = before["kind"] == "swap" and before["pool"] != leg["pool"]
                if not fed or [before["bought"], before["amount_out"]] != [a, amount_in]:
                    raise Refused("leg is not fed")
                cost -= made["chained_saving_e8"]
            else:
                held[a] -= amount_in
                sold.add(a)
            after_fee = amount_in * (PPM - pool["fee_ppm"])
            most = pool["max_impact_ppm"]
            if after_fee * (PPM - most) > there[a] * PPM * most:
                raise Refused("impact")
            value, most = oracle_value(assets[a], amount_in), made["max_leg_e8"]
            if most is not None and value > most:
                raise Refused("a leg sells too much")
            amount_out = after_fee * there[b] // (there[a] * PPM + after_fee)
            if amount_out != leg["amount_out"] or amount_out <= 0 or held[a] < 0:
                raise Refused("amounts")
            there[a] += amount_in
            there[b] -= amount_out
            if not (i + 1 < len(legs) and legs[i + 1].get("chained") is True):
                held[b] += amount_out
            set_aside = oracle_value(assets[b], amount_out) * made["reserve_ppm"] / PPM
            swapped[pool["key"]] = set_aside
            cost += pool["swap_e8"] + set_aside
        else:
            stake, moved = stakes[pool["key"]], leg["shares"]
            whole = stored[pool["key"]]
            whole += pending_shares(whole, prod(there.values()), k_last[pool["key"]])
            sign = {"burn": 1, "mint": -1}[leg["kind"]]
            if type(moved) is not int or moved <= 0:
                raise Refused("shares")
            if sign < 0:  # as if the swap had been made on the pool that the mint enlarges
                cost += swapped.get(pool["key"], ZERO) * moved / whole
            amounts = dict(zip(there, (leg["amount0"], leg["amount1"]), strict=True))
            if sign > 0 and pool["key"] in swapped:
                raise Refused("a burn after a swap would earn the swap's own fee")
            if sign < 0 and moved != min(x * whole // there[key] for key, x in amounts.items()):
                raise Refused("shares")
            for key, amount in amounts.items():
                if sign > 0 and amount != moved * there[key] // whole:
                    raise Refused("amounts")
                if amount <= 0 or held[key] + sign * amount < 0:
                    raise Refused("amounts")
                held[key] += sign * amount
                there[key] -= sign * amount
                if sign < 0:
                    sold.add(key)
            shares[pool["key"]] -= sign * moved
            # A swap before a mint makes the protocol's due, so that each share is less of the pool.
            supply = stake["supply"]
            counted[pool["key"]] -= sign * (
                Decimal(moved) if whole == supply else Decimal(moved) * supply / whole
            )
            stored[pool["key"]] = whole - sign * moved
            k_last[pool["key"]] = prod(there.values()) if k_last[pool["key"]] else 0
            if shares[pool["key"]] < 0 or stored[pool["key"]] <= 0:
                raise Refused("shares")
            cost += stake["burn_e8"] if sign > 0 else stake["mint_e8"]
    cost += sum(assets[key]["touch_e8"] for key in touched)
    cost += sum(assets[key]["approval_e8"] for key in sold)
    held_shares = {x["key"]: counted[k] for k, x in stakes.items()}
    into = [pools[leg["pool"]] for leg in legs if leg["kind"] == "mint"]
    minted = {key for pool in into for key in (pool["asset0"], pool["asset1"])}
    return Decimal(_objective(made, held, held_shares, minted) - cost)


def pending_shares(stored: int, k: int, k_last: int) -> int:
    """Shares that the protocol is due at reserves of the product ``k`` (UniswapV2Pair._mintFee)."""
    root, last = isqrt(k), isqrt(k_last)
    return stored * (root - last) // (5 * root + last) if 0 < last < root else 0


def _objective(
    made: Any, held: dict[str, int], shares: dict[str, Decimal], minted: set[str]
) -> Decimal:
    """Value less drift penalty and tax, in 1e-8."""
    nav, value, penalty = Decimal(made["nav_e8"]), ZERO, ZERO
    assets = {a["key"]: a for a in made["assets"]}
    pools = {p["key"]: p for p in made["pools"]}
    off: dict[str, Decimal] = {}
    gone = ZERO
    for key, a in assets.items():
        left, missing = held[key] - a["owed"], max(a["owed"] - held[key], 0)
        if missing:
            urgency = 2 + 2 * Decimal(made["kappa_ppm"]) / PPM
            value -= urgency * oracle_value(a, missing) * (1 + Decimal(missing) / (2 * a["owed"]))
        if a["target_ppm"] is None:
            rest = oracle_value(a, left - a["held"]) * DUST if key in minted else left - a["held"]
            if not a["owed"] and not 0 <= rest <= (nav if key in minted else 0):
                raise Refused("there is not as much of an intermediate as before")
            continue
        sold = a["held"] - held[key]
        if 0 < sold < a["least_sold"]:
            raise Refused("too little is sold")
        if a["most"] is not None and held[key] > a["most"]:
            raise Refused("too much is bought")
        gone += oracle_value(a, max(sold, 0))
        last = 0
        for tier in a["tax"]:
            beyond = oracle_value(a, max(sold - tier["above_raw"], 0))
            value -= beyond * (tier["rate_ppm"] - last) / PPM
            last = tier["rate_ppm"]
        off[key] = oracle_value(a, max(left, 0) + a["watched"]) - nav * a["target_ppm"] / PPM
        value += oracle_value(a, max(left, 0))
        penalty += off[key] ** 2 * a["drift_weight_ppm"] / PPM
    if made["max_sold_e8"] is not None and gone > made["max_sold_e8"]:
        raise Refused("too much is sold")
    for x in made["stakes"]:
        pool = pools[x["pool"]]
        sides = [oracle_value(assets[pool[f"asset{i}"]], pool[f"reserve{i}"]) for i in (0, 1)]
        fair = 2 * (sides[0] * sides[1]).sqrt() * shares[x["key"]] / x["supply"]
        off[x["key"]] = fair - nav * x["target_ppm"] / PPM
        value += fair
        penalty += off[x["key"]] ** 2 * x["drift_weight_ppm"] / PPM
    loads = factor_loads(made)
    for j in range(len(made["factors"])):
        penalty += sum((loads[key][j] * drift for key, drift in off.items()), ZERO) ** 2
    return Decimal(value - penalty * made["kappa_ppm"] / PPM / (2 * nav))


def factor_loads(made: Any) -> dict[str, list[Decimal]]:
    """The factors' loads on each position."""
    keys = [x["key"] for x in (*made["assets"], *made["stakes"])]
    loads = [dict.fromkeys(keys, ZERO) for _ in made["factors"]]
    for row, factor in zip(loads, made["factors"], strict=True):
        for key, load in factor["loads"]:
            row[key] += Decimal(load) / PPM
    return {key: [row[key] for row in loads] for key in keys}


def oracle_value(a: Any, raw: int) -> Decimal:
    """Oracle value of ``raw`` units in 1e-8."""
    return Decimal(Decimal(raw) * a["price_numerator"] / a["price_denominator"])
