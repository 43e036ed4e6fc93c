"""An order played out on the planner's small market: prices move, pools recover, slices fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from planner_world import DOLLARS, POLICY, TARGETS, USDC_WETH, WBTC_USDC, WBTC_WETH, holding

from rebalancer.amm.valuation import value
from rebalancer.model import (
    E8,
    Amount,
    Order,
    Plan,
    Policy,
    Rebalance,
    SliceRules,
    Snapshot,
    SoFar,
    Token,
)
from rebalancer.planner.decision import decide
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.replay import replay
from rebalancer.planner.slices import Slice, decide_slice
from rebalancer.planner.slicing import Slicing, order_of, slicing

RULES = SliceRules(slices=4, clock="seconds", every=60, lasts=480, above_e8=0, worst_ppm=50_000)
START = SoFar()
POOLS = (USDC_WETH, WBTC_WETH, WBTC_USDC)


def inputs_of(at: Snapshot, **changes: Any) -> Inputs:
    return Inputs(at, TARGETS, replace(POLICY, **changes), None)


def cut(at: Snapshot, rules: SliceRules = RULES, **changes: Any) -> tuple[Slicing, Plan]:
    """How the decision at a snapshot would be cut, and its plan."""
    inputs = inputs_of(at, **changes)
    valuation = value(at, TARGETS)
    decision = decide(at, valuation, TARGETS, inputs.policy, None)
    assert isinstance(decision, Rebalance)
    return slicing(inputs, valuation, decision, rules), decision.plan


def order_at(at: Snapshot, rules: SliceRules = RULES, **changes: Any) -> Order:
    found, plan = cut(at, rules, **changes)
    return order_of(found, inputs_of(at, **changes), plan, rules, "main", False)


def turn(at: Snapshot, order: Order, so_far: SoFar, policy: Policy = POLICY) -> Slice:
    inputs = Inputs(at, TARGETS, policy, None)
    return decide_slice(inputs, value(at, TARGETS), order, so_far)


def later(at: Snapshot, seconds: int, blocks: int = 5) -> Snapshot:
    """The same so much later."""
    block = replace(
        at.block,
        number=at.block.number + blocks,
        timestamp=at.block.timestamp + seconds,
        hash=f"0x{at.block.number + blocks:064x}",
    )
    return replace(at, block=block)


def repriced(at: Snapshot, moves_ppm: dict[Token, int]) -> Snapshot:
    """The oracle's prices moved by ppm, from those of the world; pools of that value follow."""
    prices = tuple(
        replace(price, numerator=DOLLARS[price.token] * E8 * (1_000_000 + move) // 1_000_000)
        for price in at.prices
        for move in (moves_ppm.get(price.token, 0),)
    )
    return recovered(replace(at, prices=prices))


def recovered(at: Snapshot) -> Snapshot:
    """The pools as an arbitrageur leaves them: both sides worth the same, as much as before."""
    pairs = []
    for pair, first in zip(at.pairs, POOLS, strict=True):
        price0, price1 = at.price(pair.token0), at.price(pair.token1)
        side_e8 = first.reserve0 * DOLLARS[pair.token0] * E8 // 10**pair.token0.decimals
        pairs.append(
            replace(pair, reserve0=price0.raw_down(side_e8), reserve1=price1.raw_down(side_e8))
        )
    return replace(at, pairs=tuple(pairs))


@dataclass
class Played:
    """An order's life: the snapshot as it is now, what was done, and what each turn said."""

    order: Order
    at: Snapshot
    so_far: SoFar = START
    plans: list[Plan] = field(default_factory=list)
    turns: list[Slice] = field(default_factory=list)

    def look(self, policy: Policy = POLICY) -> Slice:
        """One look; a slice is filled as planned."""
        found = turn(self.at, self.order, self.so_far, policy)
        self.turns.append(found)
        if isinstance(found.decision, Rebalance):
            self.fill(found.decision.plan)
        return found

    def fill(self, plan: Plan, short_ppm: int = 0) -> None:
        """The plan happens, and every trade pays ``short_ppm`` of its slippage less."""
        before = self.at
        done = replay(before, plan.legs)
        lost = sum(
            (before.price(leg.token_out).value_up(self._short(plan, index, short_ppm)))
            for index, leg in enumerate(plan.legs)
        )
        sold = [Amount(c.token, -c.raw) for c in plan.net if c.raw < 0]
        bought = [c for c in plan.net if c.raw > 0]
        cost = sum(before.price(a.token).value_up(a.raw) for a in sold) + lost
        cost -= sum(before.price(a.token).value_down(a.raw) for a in bought)
        self.at = done
        self.plans.append(plan)
        self.so_far = SoFar(
            slices=self.so_far.slices + 1,
            sold=added(self.so_far.sold, sold),
            cost_e8=self.so_far.cost_e8 + max(cost, 0) + plan.costs.gas_e8,
            last_at=before.block.timestamp
            if self.order.clock == "seconds"
            else before.block.number,
        )

    def _short(self, plan: Plan, index: int, short_ppm: int) -> int:
        """What the end of a route pays less than planned, at most down to its minimum."""
        leg = plan.legs[index]
        last = index + 1 == len(plan.legs) or not plan.legs[index + 1].chained
        return (leg.amount_out - leg.min_amount_out) * short_ppm // 1_000_000 if last else 0


def added(first: Sequence[Amount], more: Sequence[Amount]) -> tuple[Amount, ...]:
    totals = {amount.token: amount.raw for amount in first}
    for amount in more:
        totals[amount.token] = totals.get(amount.token, 0) + amount.raw
    return tuple(Amount(token, raw) for token, raw in totals.items())


def large(weth: int = 1_800_000, wbtc: int = 600_000, usdc: int = 600_000) -> Snapshot:
    """Three million dollars, ten points too much WETH: a plan that moves the pools."""
    return holding(weth, wbtc, usdc)
