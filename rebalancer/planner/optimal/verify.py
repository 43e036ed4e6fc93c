"""The independent checker of a certificate: weak duality, in a few lines, without the solver.

For any dual prices ``s`` of the assets and ``u`` of the factors, no plan is worth more than what
everybody could earn alone at these prices: the holdings by trading at ``s``, each pool by its best
swap, each stake by its best move, all less the gas that they cannot avoid. So a certificate needs
no trust: it names the prices, and this module recomputes the bound, and by an exact replay of the
legs what the plan is worth. It reads the canonical JSON and imports nothing of the solver.

Amounts are replayed in integers; the bound is worked out in decimals of 50 digits and rounded up.
"""

from __future__ import annotations

import hashlib
import json
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import Any

from rebalancer.errors import PlanError
from rebalancer.planner.optimal.exact import PPM, ZERO, factor_loads, oracle_value, worth

_DIGITS = 50
_PRICE_UNIT = Decimal(10) ** -15


def verify(text: str) -> dict[str, int]:
    """What the certificate claims, recomputed: hold, realised, upper bound and gap, in 1e-8.

    Raises PlanError for anything else than the canonical JSON of a certificate under its seal whose
    legs can be executed and whose four numbers are exactly the recomputed ones. The seal finds
    damage; a forger can set a new one, but no false number passes.
    """
    try:
        claim = json.loads(text, parse_float=_refuse, parse_constant=_refuse)
        found = recompute(claim)
        told = {name: claim[name] for name in (*found, "seal")}
    except (AttributeError, ArithmeticError, KeyError, RecursionError, TypeError, ValueError) as e:
        raise PlanError(f"this is no certificate: {type(e).__name__}") from None
    if _canonical(claim) != text:
        raise PlanError("the certificate is not in canonical form")
    if claim["seal"] != seal(claim):
        raise PlanError("the certificate was changed after it was sealed")
    for name, value in found.items():
        if told[name] != value or isinstance(told[name], bool):
            raise PlanError(f"the certificate says {name} = {told[name]}, it is {value}")
    if found["realised_e8"] < found["hold_e8"]:
        raise PlanError("the plan is worth less than doing nothing")
    return found


def seal(claim: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of everything but the seal itself, as 64 hex digits."""
    rest = {name: value for name, value in claim.items() if name != "seal"}
    return hashlib.sha256(_canonical(rest).encode()).hexdigest()


def _canonical(claim: dict[str, Any]) -> str:
    return json.dumps(claim, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _refuse(number: str) -> None:
    raise ValueError(f"{number} is no integer")


def recompute(claim: dict[str, Any]) -> dict[str, int]:
    """The four numbers of a certificate, from its statement, its legs and its tree of prices."""
    made = claim["statement"]
    with localcontext() as context:
        context.prec = _DIGITS
        hold, realised = worth(made, []), worth(made, claim["legs"])
        upper = max(hold, made["nav_e8"] * _best(made, claim["tree"], frozenset(), frozenset()))
        numbers = {
            "hold_e8": int(hold.to_integral_value(ROUND_FLOOR)),
            "realised_e8": int(realised.to_integral_value(ROUND_FLOOR)),
            "upper_e8": int(upper.to_integral_value(ROUND_CEILING)),
        }
    return numbers | {"gap_e8": numbers["upper_e8"] - numbers["realised_e8"]}


def _best(made: dict[str, Any], node: Any, used: frozenset[str], unused: frozenset[str]) -> Decimal:
    """Over NAV, the bound on all plans that pay for ``used`` items and do without ``unused``."""
    if "item" not in node:
        return _bound(made, node, used, unused)
    item = node["item"]
    return max(
        _best(made, node["used"], used | {item}, unused),
        _best(made, node["unused"], used, unused | {item}),
    )


def _bound(
    made: dict[str, Any], leaf: Any, used: frozenset[str], unused: frozenset[str]
) -> Decimal:
    """Weak duality at one leaf; items are ``pool>asset sold``, ``stake-``, burned, ``stake+``."""
    nav, kappa = Decimal(made["nav_e8"]), Decimal(made["kappa_ppm"]) / PPM
    assets = {a["key"]: a for a in made["assets"]}
    if [len(leaf["nu"]), len(leaf["u"])] != [len(assets), len(made["factors"])]:
        raise ValueError("prices")
    s = {key: int(nu) * _PRICE_UNIT for key, nu in zip(assets, leaf["nu"], strict=True)}
    u = [int(x) * _PRICE_UNIT for x in leaf["u"]]
    if min(s.values()) <= 0:
        raise ValueError("a price is not positive")
    total = sum((x * x / (2 * kappa) for x in u), -Decimal(made["base_e8"]) / nav)
    lean = {
        key: sum((x * load for x, load in zip(u, loads, strict=True)), ZERO)
        for key, loads in factor_loads(made).items()
    }
    for key, a in assets.items():
        if a["target_ppm"] is not None:
            total += _keep(made, a, oracle_value(a, a["held"]) / nav, s[key], lean[key], ZERO, None)
    unpaid = {("touch", key): Decimal(a["touch_e8"]) / nav for key, a in assets.items()}
    unpaid |= {
        ("approval", key): Decimal(a["approval_e8"] if a["target_ppm"] is not None else 0) / nav
        for key, a in assets.items()
    }
    between = [key for key, a in assets.items() if a["target_ppm"] is None]
    surplus: dict[tuple[str, str], Decimal] = {}
    for pool in made["pools"]:
        pair = (pool["asset0"], pool["asset1"])
        reserve = {
            key: oracle_value(assets[key], pool[f"reserve{i}"]) / nav for i, key in enumerate(pair)
        }
        saved = Decimal(made["chained_saving_e8"]) * sum(key in between for key in pair) / 2
        cost = max(Decimal(pool["swap_e8"]) - saved, ZERO) / nav
        stake = next((x for x in made["stakes"] if x["pool"] == pool["key"]), None)

        def alone(arb: Decimal, stake: Any = stake, reserve: Any = reserve) -> Decimal:
            """What the pool earns by a swap worth ``arb``, its stake by its best move with it."""
            if stake is None:
                return arb
            unit = 2 * (reserve[pair[0]] * reserve[pair[1]]).sqrt()  # noqa: B023
            price = (sum(s[key] * r for key, r in reserve.items()) - arb) / unit
            held = unit * stake["shares"] / stake["supply"]
            low = held if stake["key"] + "-" in unused else ZERO
            high = held if stake["key"] + "+" in unused else None
            return arb + _keep(made, stake, held, price, lean[stake["key"]], low, high)

        total += alone(ZERO)
        for sold, bought in (pair, pair[::-1]):
            item = f"{pool['key']}>{sold}"
            earned = alone(_arb(made, pool, reserve, s, sold, bought)) - alone(ZERO)
            if item in used:
                total += earned - cost - unpaid.pop(("approval", sold), ZERO)
                total -= unpaid.pop(("touch", sold), ZERO) + unpaid.pop(("touch", bought), ZERO)
            elif item not in unused:
                surplus[pool["key"], sold] = max(earned - cost, ZERO)
        for sign, gas in (("-", "burn_e8"), ("+", "mint_e8")):
            if stake is not None and stake["key"] + sign in used:
                total -= Decimal(stake[gas]) / nav
                for key in pair:
                    total -= unpaid.pop(("touch", key), ZERO)
                    total -= unpaid.pop(("approval", key), ZERO) if sign == "+" else ZERO
    pairs = {pool["key"]: (pool["asset0"], pool["asset1"]) for pool in made["pools"]}
    for (kind, key), cost in sorted(unpaid.items(), key=lambda x: (x[0][0] == "approval", x[0])):
        payers = [p for p in surplus if (p[1] == key if kind == "approval" else key in pairs[p[0]])]
        there = sum((surplus[p] for p in payers), ZERO)
        part = min(Decimal(1), cost / there) if there else ZERO
        for p in payers:
            surplus[p] -= part * surplus[p]
    return Decimal(total + sum(surplus.values(), ZERO))


def _arb(made: Any, pool: Any, reserve: Any, s: Any, sold: str, bought: str) -> Decimal:
    """What the best swap of ``sold`` for ``bought`` earns at the prices ``s``, at least 0."""
    gamma = Decimal(PPM - pool["fee_ppm"]) / PPM
    price = s[bought] - Decimal(made["reserve_ppm"]) / PPM
    if gamma * price * reserve[bought] <= s[sold] * reserve[sold]:
        return ZERO
    t = (gamma * price * reserve[bought] / (s[sold] * reserve[sold])).sqrt()
    if pool["max_impact_ppm"] < PPM:
        t = min(t, Decimal(PPM) / (PPM - pool["max_impact_ppm"]))
    got, paid = reserve[bought] * (t - 1) / t, reserve[sold] * (t - 1) / gamma
    return Decimal(price * got - s[sold] * paid)


def _keep(
    made: Any, a: Any, held: Decimal, price: Decimal, lean: Decimal, low: Decimal, high: Any
) -> Decimal:
    """What the best holding of ``a`` is worth when it is traded at ``price`` from ``held``.

    Concave and quadratic between the steps of the tax: the best is at a step, at an end, or where
    the slope is 0 at one of the rates.
    """
    stiff = Decimal(made["kappa_ppm"]) * a["drift_weight_ppm"] / PPM**2
    target = Decimal(a["target_ppm"]) / PPM
    steps = [
        (oracle_value(a, t["above_raw"]) / made["nav_e8"], Decimal(t["rate_ppm"]) / PPM)
        for t in a.get("tax", ())
    ]

    def at(y: Decimal) -> Decimal:
        tax, last = ZERO, ZERO
        for above, rate in steps:
            tax += (rate - last) * max(held - y - above, ZERO)
            last = rate
        off = y - target
        return Decimal(y - price * (y - held) - lean * off - stiff / 2 * off * off - tax)

    ends = [held - above for above, _ in steps]
    ends += [target + (1 - price - lean + rate) / stiff for rate in (ZERO, *(r for _, r in steps))]
    return max(at(max(y, low) if high is None else min(max(y, low), high)) for y in ends)
