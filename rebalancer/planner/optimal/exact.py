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


def worth(made: dict[str, Any], legs: Sequence[Any]) -> Decimal:
    """What the portfolio is worth after ``legs``, in 1e-8, with every cost of the statement.

    Raises ValueError where a leg cannot be executed exactly as it stands.
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
                raise ValueError("leg")
            if pool["key"] in swapped:
                raise ValueError("a pool is used twice")
            if leg["chained"] is True:
                before = legs[i - 1] if i else {"kind": "", "pool": ""}
                fed = before["kind"] == "swap" and before["pool"] != leg["pool"]
                if not fed or [before["bought"], before["amount_out"]] != [a, amount_in]:
                    raise ValueError("leg is not fed")
                cost -= made["chained_saving_e8"] if assets[a]["target_ppm"] is None else 0
            else:
                held[a] -= amount_in
                sold.add(a)
            after_fee = amount_in * (PPM - pool["fee_ppm"])
            most = pool["max_impact_ppm"]
            if after_fee * (PPM - most) > there[a] * PPM * most:
                raise ValueError("impact")
            amount_out = after_fee * there[b] // (there[a] * PPM + after_fee)
            if amount_out != leg["amount_out"] or amount_out <= 0 or held[a] < 0:
                raise ValueError("amounts")
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
                raise ValueError("shares")
            if sign < 0:  # as if the swap had been made on the pool that the mint enlarges
                cost += swapped.get(pool["key"], ZERO) * moved / whole
            amounts = dict(zip(there, (leg["amount0"], leg["amount1"]), strict=True))
            if sign > 0 and pool["key"] in swapped:
                raise ValueError("a burn after a swap would earn the swap's own fee")
            if sign < 0 and moved != min(x * whole // there[key] for key, x in amounts.items()):
                raise ValueError("shares")
            for key, amount in amounts.items():
                if sign > 0 and amount != moved * there[key] // whole:
                    raise ValueError("amounts")
                if amount <= 0 or held[key] + sign * amount < 0:
                    raise ValueError("amounts")
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
                raise ValueError("shares")
            cost += stake["burn_e8"] if sign > 0 else stake["mint_e8"]
    cost += sum(assets[key]["touch_e8"] for key in touched)
    cost += sum(assets[key]["approval_e8"] for key in sold)
    held_shares = {x["key"]: counted[k] for k, x in stakes.items()}
    return Decimal(_objective(made, held, held_shares) - cost)


def pending_shares(stored: int, k: int, k_last: int) -> int:
    """Shares that the protocol is due at reserves of the product ``k`` (UniswapV2Pair._mintFee)."""
    root, last = isqrt(k), isqrt(k_last)
    return stored * (root - last) // (5 * root + last) if 0 < last < root else 0


def _objective(made: Any, held: dict[str, int], shares: dict[str, Decimal]) -> Decimal:
    """Value less drift penalty and tax, in 1e-8."""
    nav, value, penalty = Decimal(made["nav_e8"]), ZERO, ZERO
    assets = {a["key"]: a for a in made["assets"]}
    pools = {p["key"]: p for p in made["pools"]}
    off: dict[str, Decimal] = {}
    for key, a in assets.items():
        if a["target_ppm"] is None:
            if held[key] < a["held"]:
                raise ValueError("an intermediate was spent")
            continue
        last = 0
        for tier in a["tax"]:
            beyond = oracle_value(a, max(a["held"] - held[key] - tier["above_raw"], 0))
            value -= beyond * (tier["rate_ppm"] - last) / PPM
            last = tier["rate_ppm"]
        off[key] = oracle_value(a, held[key]) - nav * a["target_ppm"] / PPM
        value += oracle_value(a, held[key])
        penalty += off[key] ** 2 * a["drift_weight_ppm"] / PPM
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
