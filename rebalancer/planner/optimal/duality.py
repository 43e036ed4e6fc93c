"""Weak duality at the prices of one leaf of a certificate, in exact decimals.

No plan is worth more than what everybody could earn alone at these prices: the holdings by trading
at ``s``, each pool by its best swap, each stake by its best move, less the gas that they cannot
avoid. Imports nothing of the solver; ``docs/optimal.md`` proves it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rebalancer.planner.optimal.alone import NEVER, arb, keep, kept
from rebalancer.planner.optimal.exact import PPM, ZERO, factor_loads, oracle_value

PRICE_UNIT = Decimal(10) ** -15
#: What earns less than this share of NAV beyond its charge is not counted on.
_DUST = Decimal(10) ** -12


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
    due: dict[str, Decimal] = {}
    open_fees: dict[str, bool] = {}
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
        approval = Decimal(a["approval_e8"]) / nav if ">" + key not in unused else NEVER
        # Taken from the wallet for sure: sold net, minted from, or sold more often than fed.
        if sells[key] > feeds[key] or {key + "-", ">" + key} & used:
            total -= approval
            approval = ZERO
        fee = None if key + "-" in unused else approval
        worth, over = kept(made, a, s[key], lean[key], fee, key + "-" in used)
        total += worth
        # Sold net after all, it is worth the less by so much, its approval paid.
        open_fees[key] = approval > 0
        due[key] = max(min(approval, -over), ZERO)
    unpaid = {key: Decimal(a["touch_e8"]) / nav for key, a in assets.items()}
    links = dict(zip(assets, (Decimal(half) / 2 for half in made["links"]), strict=True))
    ways: dict[tuple[str, str], _Way] = {}
    for pool in made["pools"]:
        pair = (pool["asset0"], pool["asset1"])
        reserve = {
            key: oracle_value(assets[key], pool[f"reserve{i}"]) / nav for i, key in enumerate(pair)
        }
        stake = next((x for x in made["stakes"] if x["pool"] == pool["key"]), None)

        def with_stake(earned: Decimal, stake: Any = stake, reserve: Any = reserve) -> Decimal:
            """What the pool earns by a swap worth ``earned``, its stake by its best move."""
            if stake is None:
                return earned
            unit = 2 * (reserve[pair[0]] * reserve[pair[1]]).sqrt()  # noqa: B023
            price = (sum(s[key] * r for key, r in reserve.items()) - earned) / unit
            held = unit * stake["shares"] / stake["supply"]
            low = held if stake["key"] + "-" in unused else ZERO
            high = held if stake["key"] + "+" in unused else None
            return earned + keep(made, stake, held, price, lean[stake["key"]], low, high)

        total += with_stake(ZERO)
        for sold, bought in (pair, pair[::-1]):
            item = f"{pool['key']}>{sold}"
            saved = made["chained_saving_e8"] * (links[sold] + 1 - links[bought])
            cost = (pool["swap_e8"] - saved) / nav
            earned = with_stake(arb(made, pool, reserve, s, sold, bought)) - with_stake(ZERO)
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
    fed = _Fed(made, s, lean, unused, list(ways.values()), open_fees)
    losses = {key: fed.losses(key) for key, fee in due.items() if fee}
    for key, (sure, lost) in losses.items():
        total -= min(sure, due[key])
        there = sum((min(way.left, loss) for way, loss in lost), ZERO)
        if sure < due[key] and there:
            part = min(Decimal(1), (due[key] - sure) / there)
            for way, loss in lost:
                way.left -= part * min(way.left, loss)
    return Decimal(total + sum((way.left for way in free), ZERO))


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
    def lacks(self) -> Decimal:
        return max(self.cost - self.earned, ZERO) if self.open else ZERO


class _Fed:
    """What it takes to sell a position without its approval: a pool that pays each that takes it.

    Such a pair earns ``(sqrt(s_c A) - sqrt(s_b B))^2 / D``, less than the two apart.
    """

    def __init__(
        self,
        made: dict[str, Any],
        s: dict[str, Decimal],
        lean: dict[str, Decimal],
        unused: frozenset[str],
        ways: list[_Way],
        unpaid: dict[str, bool],
    ) -> None:
        self.made, self.s, self.lean, self.unused = made, s, lean, unused
        self.ways, self.unpaid = ways, unpaid

    def losses(self, key: str) -> tuple[Decimal, list[tuple[_Way, Decimal]]]:
        """What is lost for sure, and by each open way, if ``key`` is not sold from the wallet."""
        takers = [x for x in self.ways if x.sold == key and (not x.open or x.left > _DUST)]
        decided = [x for x in takers if not x.open]
        if not takers:
            return ZERO, []
        busy = {x.pool["key"] for x in decided}
        payers = [x for x in self.ways if x.bought == key and x.pool["key"] not in busy]
        pairs = {taker: self._pairs(taker, payers) for taker in takers}
        least = {taker: min(found.values(), default=NEVER) for taker, found in pairs.items()}
        still = self._still(key)

        def one_more(among: list[_Way]) -> Decimal:
            """One more pays it, which then feeds none of these."""
            return min(
                (
                    payer.lacks
                    + sum(
                        min((x for p, x in pairs[taker].items() if p is not payer), default=NEVER)
                        for taker in among
                    )
                    for payer in payers
                ),
                default=NEVER,
            )

        if decided:
            among = sum((least[taker] for taker in decided), ZERO)
            sure = min(among + still, one_more(decided))
            rest = sure - among if among < NEVER else still
            return sure, [(x, max(least[x] - rest, ZERO)) for x in takers if x.open]
        if len(takers) == 1:
            return ZERO, [(x, min(least[x] + still, one_more([x]))) for x in takers]
        rest = min(still, min((x.lacks for x in payers), default=NEVER)) / len(takers)
        return ZERO, [(x, least[x] + rest) for x in takers]

    def _pairs(self, taker: _Way, payers: list[_Way]) -> dict[_Way, Decimal]:
        """What is lost if each of the payers feeds the taker."""
        return {
            payer: payer.lacks + self._mismatch(payer, taker)
            for payer in payers
            if payer.pool is not taker.pool
        }

    def _mismatch(self, payer: _Way, taker: _Way) -> Decimal:
        """What the two earn less where the one takes all that the other pays.

        Half of it where it may be counted a second time, at the other token of one of them.
        """
        apart = payer.earned + taker.earned
        if payer.stake or taker.stake:
            return ZERO
        price_out = self.s[taker.bought] - Decimal(self.made["reserve_ppm"]) / PPM
        a = payer.gamma * taker.gamma * payer.out * taker.out
        d = payer.gamma * (taker.into + taker.gamma * payer.out)
        root = (max(price_out, ZERO) * a).sqrt()
        root -= (self.s[payer.sold] * payer.into * taker.into).sqrt()
        lost = apart - (min(root * root / d, apart) if root > 0 else ZERO)
        return lost / 2 if self.unpaid[payer.sold] or self.unpaid[taker.bought] else lost

    def _still(self, key: str) -> Decimal:
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
            keep(self.made, a, held, self.s[key], self.lean[key], held, top) for top in (high, held)
        )
        return more - none
