"""Weak duality at the prices of one leaf of a certificate, in exact decimals.

No plan is worth more than what everybody could earn alone at these prices: the holdings by trading
at ``s``, each pool by its best swap, each stake by its best move, less the gas that they cannot
avoid. Imports nothing of the solver; ``docs/optimal.md`` proves it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rebalancer.planner.optimal.exact import PPM, ZERO, factor_loads, oracle_value

PRICE_UNIT = Decimal(10) ** -15
#: What earns less than this share of NAV beyond its charge is not counted on.
_DUST = Decimal(10) ** -12
_NEVER = Decimal("Infinity")


def bound(made: dict[str, Any], leaf: Any, used: frozenset[str], unused: frozenset[str]) -> Decimal:
    """Weak duality at one leaf; items are ``pool>asset sold``, ``stake-``, burned, ``stake+``."""
    nav, kappa = Decimal(made["nav_e8"]), Decimal(made["kappa_ppm"]) / PPM
    assets = {a["key"]: a for a in made["assets"]}
    if [len(leaf["nu"]), len(leaf["u"])] != [len(assets), len(made["factors"])]:
        raise ValueError("prices")
    s = {key: int(nu) * PRICE_UNIT for key, nu in zip(assets, leaf["nu"], strict=True)}
    u = [int(x) * PRICE_UNIT for x in leaf["u"]]
    if min(s.values()) <= 0:
        raise ValueError("a price is not positive")
    total = sum((x * x / (2 * kappa) for x in u), -Decimal(made["base_e8"]) / nav)
    lean = {
        key: sum((x * load for x, load in zip(u, loads, strict=True)), ZERO)
        for key, loads in factor_loads(made).items()
    }
    fees: dict[str, Decimal] = {}
    sells, feeds = dict.fromkeys(assets, 0), dict.fromkeys(assets, 0)
    for pool in made["pools"]:
        pair = (pool["asset0"], pool["asset1"])
        for sold, bought in (pair, pair[::-1]):
            sells[sold] += f"{pool['key']}>{sold}" in used
            feeds[bought] += f"{pool['key']}>{sold}" not in unused
        for x in made["stakes"]:
            for key in pair if x["pool"] == pool["key"] else ():
                sells[key] += len(assets) * len(made["pools"]) * (x["key"] + "+" in used)
    for key, a in assets.items():
        # Taken from the wallet for sure: sold net, minted from, or sold more often than fed.
        due = sells[key] > feeds[key] or key + "-" in used
        approval = Decimal(a["approval_e8"]) / nav
        total -= approval if due else ZERO
        unpaid_for = ZERO if due else approval
        fee = None if key + "-" in unused else unpaid_for
        worth, over = _kept(made, a, s[key], lean[key], fee, key + "-" in used)
        total += worth
        if unpaid_for and over <= 0:
            fees[key] = min(unpaid_for, -over)
    unpaid = {key: Decimal(a["touch_e8"]) / nav for key, a in assets.items()}
    links = dict(zip(assets, (Decimal(half) / 2 for half in made["links"]), strict=True))
    ways: dict[tuple[str, str], _Way] = {}
    for pool in made["pools"]:
        pair = (pool["asset0"], pool["asset1"])
        reserve = {
            key: oracle_value(assets[key], pool[f"reserve{i}"]) / nav for i, key in enumerate(pair)
        }
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
            saved = made["chained_saving_e8"] * (links[sold] + 1 - links[bought])
            cost = (pool["swap_e8"] - saved) / nav
            earned = alone(_arb(made, pool, reserve, s, sold, bought)) - alone(ZERO)
            if item not in unused:
                ways[pool["key"], sold] = _Way(pool, reserve, sold, bought, stake, earned)
                ways[pool["key"], sold].cost = ZERO if item in used else cost
                ways[pool["key"], sold].open = item not in used
            if item in used:
                total += earned - cost - unpaid.pop(sold, ZERO) - unpaid.pop(bought, ZERO)
        for sign, gas in (("-", "burn_e8"), ("+", "mint_e8")):
            if stake is not None and stake["key"] + sign in used:
                total -= Decimal(stake[gas]) / nav
                total -= sum((unpaid.pop(key, ZERO) for key in pair), ZERO)
    free = [way for way in ways.values() if way.open]
    for way in free:
        way.left = max(way.earned - way.cost, ZERO)
    for key, cost in sorted(unpaid.items()):
        payers = [way for way in free if key in (way.sold, way.bought)]
        there = sum((way.left for way in payers), ZERO)
        part = min(Decimal(1), cost / there) if there else ZERO
        for way in payers:
            way.cost += part * way.left + (cost - part * there) / len(payers)
            way.left -= part * way.left
    total += sum((way.left for way in free), ZERO)
    fed = _Fed(made, s, lean, used, unused, list(ways.values()))
    return Decimal(total - fed.spared(fees))


def _arb(made: Any, pool: Any, reserve: Any, s: Any, sold: str, bought: str) -> Decimal:
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


def _kept(
    made: Any, a: Any, price: Decimal, lean: Decimal, fee: Decimal | None, sold: bool
) -> tuple[Decimal, Decimal]:
    """What an asset is best worth: kept, or sold for a ``fee``, None for never; ``sold`` for sure.

    And how much better it is sold than kept, the fee paid.
    """
    nav = made["nav_e8"]
    held, owed = oracle_value(a, a["held"] - a["owed"]) / nav, oracle_value(a, a["owed"]) / nav
    if a["target_ppm"] is None:
        return (_missing(made, ZERO, held, owed, price) if owed else ZERO), -_NEVER
    target = Decimal(a["target_ppm"]) / PPM - oracle_value(a, a["watched"]) / nav
    stiff = Decimal(made["kappa_ppm"]) * a["drift_weight_ppm"] / PPM**2
    top = None if a["most"] is None else oracle_value(a, a["most"] - a["owed"]) / nav
    least = oracle_value(a, a["least_sold"]) / nav
    whole = _keep(made, a, held, price, lean, ZERO, top)
    if owed:
        at_none = stiff / 2 * target * target - lean * target
        whole = max(whole, _missing(made, at_none, held, owed, price))
    if held <= 0 or (fee == 0 and not least and not sold):
        return whole, -_NEVER
    high = None if top is None else max(top, held)
    stay = _keep(made, a, held, price, lean, held, high)
    if least > held or fee is None:
        return stay, -_NEVER
    most = held - least if top is None else min(top, held - least)
    parted = _keep(made, a, held, price, lean, ZERO, most)
    if sold:
        return parted, ZERO
    over = parted - stay - fee
    return stay + max(over, ZERO), over if whole > stay else -_NEVER


def _missing(made: Any, at_none: Decimal, held: Decimal, owed: Decimal, price: Decimal) -> Decimal:
    """What it is best worth not to have all that is ``owed``; ``at_none`` is what having none else
    costs."""
    urgency = 2 + 2 * Decimal(made["kappa_ppm"]) / PPM
    lacks = min(max((price / urgency - 1) * owed, ZERO), owed)
    return Decimal(price * (lacks + held) - urgency * lacks * (1 + lacks / (2 * owed)) - at_none)


def _keep(
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


class _Way:
    """A direction of a pool that a plan may use, what it earns, and what using it costs."""

    def __init__(
        self, pool: Any, reserve: Any, sold: str, bought: str, stake: Any, earned: Decimal
    ):
        self.pool, self.sold, self.bought, self.earned = pool, sold, bought, earned
        self.into, self.out = reserve[sold], reserve[bought]
        self.gamma = Decimal(PPM - pool["fee_ppm"]) / PPM
        self.stake = stake is not None
        self.cost, self.left, self.open = ZERO, ZERO, True

    @property
    def counted(self) -> Decimal:
        return max(self.earned - self.cost, ZERO) if self.open else self.earned


class _Fed:
    """What it takes to sell a position without its approval: a pool that pays each that takes it.

    Such a pair earns ``(sqrt(s_c A) - sqrt(s_b B))^2 / D``, less than the two apart.
    """

    def __init__(
        self,
        made: Any,
        s: dict[str, Decimal],
        lean: dict[str, Decimal],
        used: frozenset[str],
        unused: frozenset[str],
        ways: list[_Way],
    ) -> None:
        self.made, self.s, self.lean, self.unused, self.ways = made, s, lean, unused, ways

    def spared(self, fees: dict[str, Decimal]) -> Decimal:
        """By how much less than alone all are worth; of the losses avoided only the largest."""
        takes = {way.sold for way in self.ways if not way.open or way.counted > _DUST}
        options = [(self._loss(key), fee) for key, fee in fees.items() if key in takes]
        return min(
            most + sum((fee for loss, fee in options if loss > most), ZERO)
            for most in (ZERO, *(loss for loss, _ in options))
        )

    def _loss(self, key: str) -> Decimal:
        """What it costs at least to feed whatever takes ``key`` by pools that pay it."""
        takers = [
            way for way in self.ways if way.sold == key and (not way.open or way.counted > _DUST)
        ]
        payers = [way for way in self.ways if way.bought == key]
        lacks = [max(way.cost - way.earned, ZERO) for way in payers]
        still = self._pinned(key)
        rest = min(still, min(lacks, default=_NEVER))
        lost = ZERO
        for taker in takers:
            pairs = [self._pair(payer, taker) for payer in payers]
            least = min(pairs, default=_NEVER)
            idle = taker.counted if taker.open else _NEVER
            if len(takers) == 1:
                others = [
                    min(lacks[:j] + lacks[j + 1 :], default=_NEVER) for j in range(len(lacks))
                ]
                more = [pair + other for pair, other in zip(pairs, others, strict=True)]
                return max(min(idle + rest, min(more, default=_NEVER), least + still), ZERO)
            lost += max(min(least, idle), ZERO)
        return lost + rest

    def _pair(self, payer: _Way, taker: _Way) -> Decimal:
        """What the two lose where the one takes all that the other pays."""
        if payer.pool is taker.pool:
            return _NEVER
        apart = payer.earned + taker.earned
        together = apart
        if not (payer.stake or taker.stake):
            price_out = self.s[taker.bought] - Decimal(self.made["reserve_ppm"]) / PPM
            a = payer.gamma * taker.gamma * payer.out * taker.out
            d = payer.gamma * (taker.into + taker.gamma * payer.out)
            root = (max(price_out, ZERO) * a).sqrt()
            root -= (self.s[payer.sold] * payer.into * taker.into).sqrt()
            together = min(root * root / d, apart) if root > 0 else ZERO
        return payer.counted + taker.counted + payer.cost + taker.cost - together

    def _pinned(self, key: str) -> Decimal:
        """What it is worth less if none of ``key`` comes or goes, where more would come."""
        a = next(a for a in self.made["assets"] if a["key"] == key)
        pools = {p["key"] for p in self.made["pools"] if key in (p["asset0"], p["asset1"])}
        given = any(
            x["pool"] in pools and x["key"] + "-" not in self.unused for x in self.made["stakes"]
        )
        if a["target_ppm"] is None or given or a["held"] < a["owed"]:
            return ZERO
        nav = self.made["nav_e8"]
        held = oracle_value(a, a["held"] - a["owed"]) / nav
        high = (
            None if a["most"] is None else max(oracle_value(a, a["most"] - a["owed"]) / nav, held)
        )
        more, none = (
            _keep(self.made, a, held, self.s[key], self.lean[key], held, top)
            for top in (high, held)
        )
        return more - none
