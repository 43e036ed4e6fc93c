"""What must hold of every decision, on random markets, portfolios and policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isqrt
from random import Random

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rebalancer.amm.swap import get_amount_out
from rebalancer.amm.valuation import value
from rebalancer.model import (
    E8,
    PPM,
    Amount,
    BlockRef,
    Decision,
    Hold,
    LpHolding,
    PairState,
    Policy,
    Price,
    Rebalance,
    Snapshot,
    Target,
    Token,
    to_json,
)
from rebalancer.planner import PRAGUE, decide, replay
from rebalancer.planner.market import hop_impact_ppm, off_oracle_ppm

GWEI = 10**9
NOW = 1_700_000_000


@dataclass(frozen=True)
class World:
    """Everything that ``decide`` is asked with."""

    snapshot: Snapshot
    targets: tuple[Target, ...]
    policy: Policy

    def decide(self) -> Decision:
        valuation = value(self.snapshot, self.targets)
        return decide(self.snapshot, valuation, self.targets, self.policy, None)


def address(number: int) -> str:
    return f"0x{number:040x}"


def whole(price: Price, dollars: int) -> int:
    return price.raw_down(dollars * E8)


def make_world(random: Random) -> World:
    """Three to five tokens of 6, 8 or 18 decimals, several AMMs, LP holdings, any policy."""
    pick, between = random.choice, random.randint
    count = between(3, 5)
    tokens = [Token(address(100 + i), f"T{i}", pick((6, 8, 18))) for i in range(count)]
    prices = [
        Price(
            token,
            pick((1, 3, 17, 250, 1_999, 40_123)) * E8 + between(-E8 // 2, E8 // 2),
            10**token.decimals,
            "test",
            NOW,
        )
        for token in tokens
    ]
    pairs = []
    for i in range(count):
        for j in range(i + 1, count):
            for amm, fee in pick(((), (("a", 3000),), (("a", 3000), ("b", 2500)))):
                side = pick((30_000, 700_000, 20_000_000))
                skew = between(-25_000, 25_000)
                reserve0 = max(whole(prices[i], side), 10_000)
                reserve1 = max(whole(prices[j], side) * (PPM + skew) // PPM, 10_000)
                pairs.append(
                    PairState(
                        address=address(1_000 + len(pairs)),
                        amm=amm,
                        token0=tokens[i],
                        token1=tokens[j],
                        fee_ppm=fee,
                        reserve0=reserve0,
                        reserve1=reserve1,
                        total_supply=isqrt(reserve0 * reserve1),
                        k_last=0,
                        protocol_fee_on=False,
                    )
                )
    dollars = (0, 50, 900, 20_000, 110_000, 1_300_000)
    balances = [
        Amount(price.token, whole(price, pick(dollars)) + between(0, 999)) for price in prices
    ]
    held = random.sample(pairs, min(between(0, 2), len(pairs)))
    holdings = [
        LpHolding(pair.address, pair.total_supply // pick((3, 50, 10_000)), None) for pair in held
    ]
    ours = tokens[: count - pick((0, 0, 1))]  # the last may be no position
    names = [t.symbol for t in ours] + [p.name for p in held]
    shares = [pick((0, 1, 2, 3, 5)) for _ in names]
    shares[0] += not any(shares)
    weights = [share * PPM // sum(shares) for share in shares]
    weights[shares.index(max(shares))] += PPM - sum(weights)
    snapshot = Snapshot(
        block=BlockRef(1, 1, "0x" + "ab" * 32, NOW, pick((1, 15, 60)) * GWEI),
        wallet=address(7),
        numeraire="USD",
        native=Price(Token(address(0), "ETH", 18), 2_000 * E8, 10**18, "test", NOW),
        native_wei=10**18,
        balances=tuple(balances),
        holdings=tuple(holdings),
        pairs=tuple(pairs),
        prices=tuple(prices),
        priority_fee_wei=GWEI,
    )
    policy = Policy(
        trigger="threshold",
        band_abs_ppm=pick((0, 5_000, 30_000)),
        band_rel_ppm=pick((None, 100_000)),
        band_rule=pick(("tighter", "wider")),
        calendar_s=3_600,
        dead_band_ppm=pick((0, 2_000)),
        reset_ppm=pick((PPM, PPM, 500_000)),
        drift_aversion_ppm=pick((250_000, 3_000_000)),
        min_trade_e8=pick((0, 100, 2_000)) * E8,
        max_impact_ppm=pick((3_000, 20_000, PPM)),
        max_cost_ppm=pick((20_000, PPM)),
        max_off_oracle_ppm=pick((10_000, 30_000)),
        slippage_ppm=pick((0, 5_000)),
        max_gas_price_wei=100 * GWEI,
        deadline_s=300,
        max_age_blocks=5,
    )
    if not any(price.value_down(snapshot.balance(price.token)) for price in prices[: len(ours)]):
        return make_world(random)  # there must be something to value
    return World(snapshot, tuple(map(Target, names, weights)), policy)


def make_rebalance(
    random: Random, change: Callable[[World], World] = lambda world: world
) -> tuple[World, Rebalance]:
    """A world in which there is something to trade, with the decision to trade it."""
    while True:
        world = change(make_world(random))
        decision = world.decide()
        if isinstance(decision, Rebalance):
            return world, decision


def without_limits(world: World) -> World:
    """Nothing cuts the way to the targets.

    Half a way back, or a trade that a limit cut, is meant to be continued; and a trade that was
    not worth it may become so when pools that the plan moved are the new measure.
    """
    free = replace(world.policy, reset_ppm=PPM, max_impact_ppm=PPM, max_off_oracle_ppm=100 * PPM)
    return replace(world, policy=free)


#: A seed is a world: as varied as drawing each number, at a small part of the time.
_SEEDS = st.integers(0, 2**64 - 1).map(Random)


def worlds() -> st.SearchStrategy[World]:
    return _SEEDS.map(make_world)


def rebalances() -> st.SearchStrategy[tuple[World, Rebalance]]:
    return _SEEDS.map(make_rebalance)


def bulk(test):  # type: ignore[no-untyped-def]
    """Enough examples to meet every limit, and no clock."""
    return settings(max_examples=120, deadline=None)(test)


@bulk
@given(worlds(), _SEEDS)
def test_the_order_of_the_input_changes_nothing(world, random):
    snapshot = world.snapshot
    shuffled = World(
        replace(
            snapshot,
            balances=tuple(random.sample(snapshot.balances, len(snapshot.balances))),
            holdings=tuple(random.sample(snapshot.holdings, len(snapshot.holdings))),
            pairs=tuple(random.sample(snapshot.pairs, len(snapshot.pairs))),
            prices=tuple(random.sample(snapshot.prices, len(snapshot.prices))),
        ),
        tuple(random.sample(world.targets, len(world.targets))),
        world.policy,
    )
    first = world.decide()
    assert to_json(first) == to_json(world.decide())
    assert to_json(_orphaned(first)) == to_json(_orphaned(shuffled.decide()))


def _orphaned(decision: Decision) -> Decision:
    """Without the digests of the input, which are of its order as well."""
    if isinstance(decision, Hold):
        return replace(decision, parent="")
    return replace(decision, parent="", plan=replace(decision.plan, parent=""))


@bulk
@given(_SEEDS.map(lambda random: make_rebalance(random, without_limits)))
def test_planning_again_on_the_plans_own_result_holds(made):
    world, first = made
    limits = {limit.code for limit in first.limits}
    assume(not {"no_route", "max_legs", "not_worth_it_e8", "cut_to_limits"} & limits)
    assume(first.plan.costs.impact_e8 * 20 <= first.plan.costs.traded_e8)
    again = replace(world, snapshot=replay(world.snapshot, first.plan.legs)).decide()
    assert isinstance(again, Hold), again


@bulk
@given(rebalances())
def test_every_leg_is_what_the_pools_pay_one_after_the_other(made):
    world, decision = made
    reserves = {p.address: {p.token0: p.reserve0, p.token1: p.reserve1} for p in _pairs(world)}
    balances = {a.token: a.raw for a in world.snapshot.balances}
    start = dict(balances)
    for index, leg in enumerate(decision.plan.legs):
        pool = reserves[leg.pair]
        paid = get_amount_out(leg.amount_in, pool[leg.token_in], pool[leg.token_out], leg.fee_ppm)
        assert paid == leg.amount_out > 0
        least = leg.amount_out * (PPM - world.policy.slippage_ppm)
        assert (leg.min_amount_out - 1) * PPM < least <= leg.min_amount_out * PPM
        pool[leg.token_in] += leg.amount_in
        pool[leg.token_out] -= leg.amount_out
        if leg.chained:
            before = decision.plan.legs[index - 1]
            assert (before.token_out, before.amount_out) == (leg.token_in, leg.amount_in)
            assert before.pair != leg.pair
            balances[before.token_out] -= leg.amount_in
        else:
            start[leg.token_in] -= leg.amount_in
            assert start[leg.token_in] >= 0  # funded by what was there, not by what is bought
            balances[leg.token_in] -= leg.amount_in
        balances[leg.token_out] += leg.amount_out
    changes = {a.token: balances[a.token] - a.raw for a in world.snapshot.balances}
    net = {a.token: a.raw for a in decision.plan.net}
    assert net == {token: change for token, change in changes.items() if change}
    done = replay(world.snapshot, decision.plan.legs)
    assert {a.token: a.raw for a in done.balances} == balances
    assert all(
        reserves[p.address] == {p.token0: p.reserve0, p.token1: p.reserve1} for p in done.pairs
    )


def _pairs(world: World) -> tuple[PairState, ...]:
    return world.snapshot.pairs


@bulk
@given(rebalances())
def test_costs_are_the_loss_of_nav_to_the_unit(made):
    world, decision = made
    plan, costs, snapshot = decision.plan, decision.plan.costs, world.snapshot
    done = replay(snapshot, plan.legs)
    lost = costs.fee_e8 + costs.impact_e8 + costs.off_oracle_e8
    assert costs.total_e8 == lost + costs.gas_e8
    worth = [
        (
            price.value_down(snapshot.balance(price.token)),
            price.value_down(done.balance(price.token)),
        )
        for price in snapshot.prices
    ]
    sold = sum(before - after for before, after in worth if after < before)
    bought = sum(after - before for before, after in worth if after > before)
    assert (costs.traded_e8, lost) == (sold, sold - bought)
    before, after = value(snapshot, world.targets), value(done, world.targets)
    lps = [p.name for p in before.positions if ":" in p.name]
    earned = sum(after.position(n).value_e8 - before.position(n).value_e8 for n in lps)
    assert earned >= 0  # the fee that the wallet's own LP positions take of it
    assert (plan.nav_before_e8, plan.nav_after_e8) == (before.nav_e8, after.nav_e8)
    assert plan.nav_before_e8 - plan.nav_after_e8 == lost - earned
    wei = PRAGUE.units(plan.legs) * (snapshot.block.base_fee_wei + snapshot.priority_fee_wei)
    assert costs.gas_e8 == -(-wei * 2_000 * E8 // 10**18)


@bulk
@given(rebalances())
def test_fee_and_spot_are_told_apart_from_impact(made):
    world, decision = made
    value_of = {p.token: Fraction(p.numerator, p.denominator) for p in world.snapshot.prices}
    fee = off_oracle = impact = Fraction(0)
    for leg in decision.plan.legs:
        reserve_in, reserve_out = world.snapshot.pair(leg.pair).reserves(leg.token_in)
        at_spot = Fraction(leg.amount_in * reserve_out, reserve_in) * value_of[leg.token_out]
        off_oracle += leg.amount_in * value_of[leg.token_in] - at_spot
        fee += at_spot * leg.fee_ppm / PPM
        impact += at_spot * (PPM - leg.fee_ppm) / PPM - leg.amount_out * value_of[leg.token_out]
    costs, legs = decision.plan.costs, len(decision.plan.legs)
    assert abs(costs.fee_e8 - fee) <= 1
    assert abs(costs.off_oracle_e8 - off_oracle) <= 1
    assert abs(costs.impact_e8 - impact) <= 2 + 2 * legs  # a floor per balance before and after


@bulk
@given(rebalances())
def test_benefit_is_the_penalty_removed_and_exceeds_the_cost(made):
    world, decision = made
    plan, policy = decision.plan, world.policy
    after = value(replay(world.snapshot, plan.legs), world.targets)
    removed = _penalty(world, value(world.snapshot, world.targets)) - _penalty(world, after)
    assert removed - 2 < plan.benefit_e8 <= removed
    assert plan.benefit_e8 > plan.costs.total_e8
    assert plan.costs.total_e8 * PPM <= policy.max_cost_ppm * plan.costs.traded_e8


def _penalty(world, valuation):
    drifts = [
        Fraction(p.value_e8, valuation.nav_e8) - Fraction(p.target_ppm, PPM)
        for p in valuation.positions
    ]
    kappa = Fraction(world.policy.drift_aversion_ppm, PPM)
    return kappa / 2 * valuation.nav_e8 * sum(d * d for d in drifts)


@bulk
@given(rebalances())
def test_every_hop_keeps_the_impact_limit_on_pools_near_the_oracle(made):
    world, decision = made
    done: list = []
    for leg in decision.plan.legs:
        start = world.snapshot.pair(leg.pair)
        reserve_in, reserve_out = start.reserves(leg.token_in)
        now_in, now_out = _after(start, done).reserves(leg.token_in)
        paid = Fraction(leg.amount_in * (PPM - leg.fee_ppm), PPM)
        impact = 1 - Fraction(now_out) / (now_in + paid) * Fraction(reserve_in, reserve_out)
        assert impact * PPM <= world.policy.max_impact_ppm
        assert hop_impact_ppm(start, _after(start, done), leg.token_in, leg.amount_in) >= (
            impact * PPM
        )
        gap = off_oracle_ppm(world.snapshot, start)
        assert gap <= world.policy.max_off_oracle_ppm
        done.append(leg)


def _after(pair, legs):
    for leg in legs:
        if leg.pair == pair.address:
            delta0 = leg.amount_in if leg.token_in == pair.token0 else -leg.amount_out
            delta1 = leg.amount_in if leg.token_in == pair.token1 else -leg.amount_out
            pair = replace(pair, reserve0=pair.reserve0 + delta0, reserve1=pair.reserve1 + delta1)
    return pair


@bulk
@given(rebalances())
def test_no_position_ends_further_off_and_nothing_else_is_touched(made):
    world, decision = made
    plan, snapshot = decision.plan, world.snapshot
    symbols = {a.token.symbol for a in snapshot.balances}
    ours = {t.position: t.weight_ppm for t in world.targets if t.position in symbols}
    assert {a.token.symbol for a in plan.net} <= set(ours)
    assert {leg.token_in.symbol for leg in plan.legs if not leg.chained} <= set(ours)
    for column in ("before_ppm", "target_ppm", "after_ppm"):
        assert sum(getattr(position, column) for position in plan.positions) == PPM
    done = replay(snapshot, plan.legs)
    assert done.holdings == snapshot.holdings
    if "no_pool" in {limit.code for limit in decision.limits}:
        return  # then the others' shares are not simply in proportion
    before, after = _values(snapshot, ours), _values(done, ours)
    total, weights = sum(after.values()), sum(ours.values())
    slack = abs(sum(before.values()) - total) + sum(
        snapshot.price(a.token).value_up(1) for a in plan.net
    )
    for name, weight in ours.items():
        share = total * weight // weights
        assert abs(after[name] - share) <= abs(before[name] - share) + slack


def _values(snapshot, names):
    return {
        a.token.symbol: snapshot.price(a.token).value_down(a.raw)
        for a in snapshot.balances
        if a.token.symbol in names
    }


@bulk
@given(worlds(), st.integers(1, 50))
def test_dearer_gas_never_adds_legs(world, times):
    world = replace(world, policy=replace(world.policy, max_gas_price_wei=10**15))
    block = world.snapshot.block
    dear = replace(block, base_fee_wei=block.base_fee_wei * times)
    dearer = replace(world, snapshot=replace(world.snapshot, block=dear))
    assert _legs(dearer.decide()) <= _legs(world.decide())


def _legs(decision: Decision) -> int:
    return len(decision.plan.legs) if isinstance(decision, Rebalance) else 0
