"""Trades in floats become legs in integers: floored, in an order that can be executed, exact.

Sells fund buys: a leg runs once everything that pays its token has run, and never sells more than
is there. Where legs feed each other in a circle one of them starts from what the wallet holds; if
none can, the smallest of the circle is left out. An intermediate that one pool pays and one pool
takes goes straight from pool to pool, and one that is left over is sold to the last unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from rebalancer.amm.liquidity import whole_amounts
from rebalancer.model import PPM
from rebalancer.planner.optimal.exact import DUST, pending_shares
from rebalancer.planner.optimal.graph import Graph
from rebalancer.planner.optimal.legs import Leg, Liquidity, Swap
from rebalancer.planner.optimal.relaxation import Trades, worth
from rebalancer.planner.optimal.statement import Asset, Pool, Statement

#: Of NAV: what the floats leave of a holding that they mean to sell whole.
_WHOLE = 1e-9
#: A leg that falls short of its amount by more than this part of it lacks more than rounding.
_SHORT = 10**6


@dataclass(frozen=True, slots=True)
class Schedule:
    """Legs in order of execution, and the pools and stakes that had to be left out for it.

    ``ring`` are the pools of the first circle that could not start, or the first pool that fell
    short because of one; none if all ran as they were meant to. ``held`` is what is there after the
    legs, and ``sound`` whether there is as much of each intermediate as there was.
    """

    legs: tuple[Leg, ...]
    dropped: tuple[str, ...]
    ring: tuple[str, ...]
    held: Mapping[str, int]
    sound: bool


@dataclass(slots=True)
class _Flow:
    """One swap; ``after`` is the one that takes all it pays."""

    pool: Pool
    sold: str
    bought: str
    amount: int
    after: _Flow | None = None

    @property
    def ends(self) -> str:
        """What comes to the wallet in the end."""
        return self.bought if self.after is None else self.after.ends


def schedule(
    made: Statement, graph: Graph, trades: Trades, links: Mapping[str, str] | None = None
) -> Schedule:
    """Integer legs of ``trades``: each amount at most the float's, each output exact.

    Burns come first, mints last, each of what is there in the pool's own proportion. What is left
    out makes the rest a worse plan than it could be: ``dropped`` says what to plan without.
    ``links`` are pools of which the one pays all it pays straight into the other.
    """
    return _Schedule.of(made, graph, trades, links or {}).run()


@dataclass(slots=True)
class _Schedule:
    made: Statement
    assets: dict[str, Asset]
    held: dict[str, int]
    reserves: dict[str, dict[str, int]]
    flows: list[_Flow]
    moves: list[tuple[Pool, int, float]]
    emptied: set[str]
    kept: set[str]
    minted: set[str]
    legs: list[Leg] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    ring: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, made: Statement, graph: Graph, trades: Trades, links: Mapping[str, str]
    ) -> _Schedule:
        assets = {a.key: a for a in made.assets}
        after = worth(graph, trades).holdings
        flows, moves = [], []
        stakes = {stake.pool: e for e, stake in enumerate(made.stakes)}
        for k, pool in enumerate(made.pools):
            pair = (pool.asset0, pool.asset1)
            side = int(trades.side[k])
            if trades.amount_in[k] > 0:
                whole = float(trades.amount_in[k])
                if pool.key in stakes:
                    # The float swaps on the pool that a mint has enlarged, the legs before the
                    # mint, which then takes the swapped proportion: in sum the same amounts.
                    whole /= 1 - min(float(trades.burn[stakes[pool.key]]), 0.0)
                amount = _raw(made, assets[pair[side]], whole)
                flows.append(_Flow(pool, pair[side], pair[1 - side], amount))
            if pool.key in stakes and trades.burn[stakes[pool.key]] != 0:
                moves.append((pool, stakes[pool.key], float(trades.burn[stakes[pool.key]])))
        return cls(
            made=made,
            assets=assets,
            held={a.key: a.held for a in made.assets},
            reserves={p.key: {p.asset0: p.reserve0, p.asset1: p.reserve1} for p in made.pools},
            flows=_linked([flow for flow in flows if flow.amount > 0], links),
            moves=moves,
            emptied={
                a.key
                for i, a in enumerate(made.assets)
                if a.target_ppm is not None and not a.owed and after[i] < _WHOLE
            },
            kept={
                a.key
                for i, a in enumerate(made.assets)
                if a.least_sold and 2 * (graph.held[i] - after[i]) < graph.least_sold[i]
            },
            minted={
                key for pool, _, part in moves if part < 0 for key in (pool.asset0, pool.asset1)
            },
        )

    def run(self) -> Schedule:
        for pool, e, part in self.moves:
            if part > 0:
                self._burn(pool, e, part)
        while self.flows:
            self._next()
        for pool, e, part in self.moves:
            if part < 0:
                self._mint(pool, e, -part)
        sound = all(
            self._settled(a) for a in self.made.assets if a.target_ppm is None and not a.owed
        )
        return Schedule(tuple(self.legs), tuple(self.dropped), self.ring, self.held, sound)

    def _settled(self, asset: Asset) -> bool:
        """Whether there is as much of an intermediate as before, but for what mints leave of it."""
        more = self.held[asset.key] - asset.held
        if asset.key not in self.minted:
            return more == 0
        return more >= 0 and self._worth(asset.key, more) * DUST <= self.made.nav_e8

    def _next(self) -> None:
        """Run the leg that can run, or leave one out."""
        coming = {flow.ends for flow in self.flows}
        ready = [flow for flow in self.flows if flow.sold not in coming]
        if not ready:
            ring = [flow for flow in self.flows if self._leads(flow.ends, flow.sold)]
            ready = [flow for flow in ring if flow.amount <= self._spare(flow.sold)]
            # A position first: what an intermediate lends must come back to the last unit.
            ready.sort(key=lambda flow: self.assets[flow.sold].target_ppm is None)
            if not ready:
                self.ring = self.ring or tuple(flow.pool.key for flow in ring)
                least = min(ring, key=lambda f: (self._worth(f.sold, f.amount), f.pool.key))
                self.flows.remove(least)
                self.dropped.append(least.pool.key)
                return
        flow: _Flow | None = ready[0]
        while flow is not None:
            flow = self._run(flow)

    def _run(self, flow: _Flow, fed: int = 0) -> _Flow | None:
        """Execute ``flow``, with ``fed`` straight from the leg before; the one it feeds, if any."""
        if flow in self.flows:
            self.flows.remove(flow)
        spare = fed or self._spare(flow.sold)
        last = all(f.sold != flow.sold and f.ends != flow.sold for f in self.flows)
        between = self.assets[flow.sold].target_ppm is None
        whole = last and (between or flow.sold in self.emptied) and flow.sold not in self.minted
        amount_in = fed or (spare if whole else min(flow.amount, spare))
        amount_in = min(amount_in, self._room(flow)) if not fed else amount_in
        there = self.reserves[flow.pool.key]
        after_fee = amount_in * (PPM - flow.pool.fee_ppm)
        amount_out = after_fee * there[flow.bought] // (there[flow.sold] * PPM + after_fee)
        if amount_in <= 0 or amount_out <= 0 or amount_in > self._room(flow):
            if fed:  # take back what the leg before paid here
                self.held[flow.sold] += fed
                self.ring = self.ring or (flow.pool.key,)
            self.dropped.append(flow.pool.key)
            return None
        if amount_in < flow.amount - flow.amount // _SHORT:
            self.ring = self.ring or (flow.pool.key,)
        if not fed:
            self.held[flow.sold] -= amount_in
        there[flow.sold] += amount_in
        there[flow.bought] -= amount_out
        self.legs.append(
            Swap(flow.pool.key, flow.sold, flow.bought, amount_in, amount_out, bool(fed))
        )
        following = self._fed_by(flow)
        if following is None:
            self.held[flow.bought] += amount_out
            return None
        return self._run(following, amount_out)

    def _fed_by(self, flow: _Flow) -> _Flow | None:
        """The leg linked to ``flow``, or the one that takes all of an intermediate that it alone
        has paid, if any."""
        key = flow.bought
        if flow.after is not None:
            return flow.after
        if self.assets[key].target_ppm is not None or key in self.minted:
            return None
        if self.held[key] != self.assets[key].held:
            return None
        takers = [f for f in self.flows if f.sold == key]
        payers = [f for f in self.flows if f.ends == key]
        return takers[0] if len(takers) == 1 and not payers else None

    def _leads(self, start: str, end: str) -> bool:
        """Whether the legs that are left lead from one asset to another."""
        reached, new = {start}, [start]
        while new:
            key = new.pop()
            further = {flow.ends for flow in self.flows if flow.sold == key} - reached
            reached |= further
            new += sorted(further)
        return end in reached

    def _spare(self, key: str) -> int:
        """What may be sold of an asset: all of it, or what it has got more.

        The latter of an intermediate, and of what is not to be sold on the whole: a unit would be
        too little. In a circle either may be lent: what comes back is checked by the replay.
        """
        asset, kept = self.assets[key], key in self.kept
        if (asset.target_ppm is None or kept) and not any(f.ends == key for f in self.flows):
            return self.held[key] - asset.held
        return self.held[key]

    def _room(self, flow: _Flow) -> int:
        """The largest input that keeps the limits of the pool's impact and of one leg."""
        most, asset, leg_e8 = flow.pool.max_impact_ppm, self.assets[flow.sold], self.made.max_leg_e8
        cap = 2**112
        if leg_e8 is not None:
            cap = leg_e8 * asset.price_denominator // asset.price_numerator
        if most >= PPM:
            return cap
        there = self.reserves[flow.pool.key][flow.sold]
        return min(cap, there * PPM * most // ((PPM - flow.pool.fee_ppm) * (PPM - most)))

    def _worth(self, key: str, raw: int) -> Fraction:
        asset = self.assets[key]
        return Fraction(raw * asset.price_numerator, asset.price_denominator)

    def _burn(self, pool: Pool, e: int, part: float) -> None:
        stake, there = self.made.stakes[e], self.reserves[pool.key]
        shares = min(int(part * stake.supply), stake.shares)
        amounts = [shares * there[key] // stake.supply for key in (pool.asset0, pool.asset1)]
        if min(amounts) <= 0:
            self.dropped.append(stake.key)
            return
        for key, amount in zip((pool.asset0, pool.asset1), amounts, strict=True):
            there[key] -= amount
            self.held[key] += amount
        self.legs.append(Liquidity(pool.key, shares, amounts[0], amounts[1], "burn"))

    def _mint(self, pool: Pool, e: int, part: float) -> None:
        """As much of ``part`` of the pool as the wallet can pay for by now, nothing left over."""
        stake, there = self.made.stakes[e], self.reserves[pool.key]
        pair = (pool.asset0, pool.asset1)
        reserve0, reserve1 = (there[key] for key in pair)
        whole = stake.stored or stake.supply
        whole += pending_shares(whole, reserve0 * reserve1, stake.k_last)
        shares = min(int(part * whole), *(self._spare(k) * whole // there[k] for k in pair))
        most = [min(-(-shares * there[key] // whole), self._spare(key)) for key in pair]
        amounts = whole_amounts(reserve0, reserve1, *most)
        minted = min(x * whole // there[k] for k, x in zip(pair, amounts, strict=True))
        if min(minted, *amounts) <= 0:
            self.dropped.append(stake.key)
            return
        for key, amount in zip(pair, amounts, strict=True):
            there[key] += amount
            self.held[key] -= amount
        self.legs.append(Liquidity(pool.key, minted, amounts[0], amounts[1], "mint"))


def _linked(flows: list[_Flow], links: Mapping[str, str]) -> list[_Flow]:
    """The flows that start from the wallet, each with those that it feeds."""
    by_pool = {flow.pool.key: flow for flow in flows}
    fed = set()
    for payer, taker in links.items():
        if payer in by_pool and taker in by_pool:
            by_pool[payer].after = by_pool[taker]
            fed.add(taker)
    return [flow for flow in flows if flow.pool.key not in fed]


def _raw(made: Statement, asset: Asset, share: float) -> int:
    """``share`` of NAV in smallest units, rounded down."""
    return int(Fraction(share) * made.nav_e8 * asset.price_denominator / asset.price_numerator)
