"""Plans that move LP positions, of random markets: what must hold whatever the market is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import isqrt
from random import Random
from typing import Any

import random_markets as world
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.amm.liquidity import added_amounts, effective_total_supply
from rebalancer.errors import PlanError
from rebalancer.model import (
    PPM,
    AddLeg,
    BlockRef,
    Decision,
    HeldOut,
    Hold,
    Plan,
    Rebalance,
    RemoveLeg,
    Snapshot,
    SwapLeg,
)
from rebalancer.planner import replay
from rebalancer.planner.proof import proof

BLOCK = BlockRef(1, 100, "0x" + "ab" * 32, 1_700_000_000, 10**10)
seeds = st.integers(0, 10**6)


def case_of(seed: int, **policy: object) -> world.Case:
    """A market with the optimal planner."""
    case = world.make(Random(seed), BLOCK)  # noqa: S311
    return replace(case, policy=replace(case.policy, planner="optimal", **policy))


def decided(case: world.Case) -> Decision | None:
    """The decision; None for a portfolio that is worth nothing."""
    try:
        return case.inputs.decide()[1]
    except PlanError as error:
        if "worth" not in str(error):
            raise
        return None


@settings(max_examples=40)
@given(seeds)
def test_a_plan_is_never_below_holding_and_its_costs_add_up(seed: int) -> None:
    case = case_of(seed)
    decision = decided(case)
    if not isinstance(decision, Rebalance):
        return
    plan = decision.plan
    if plan.certificate is not None:
        numbers = proof(plan.certificate)
        assert numbers.hold_e8 <= numbers.realised_e8 <= numbers.upper_e8
    costs = plan.costs
    lost = costs.fee_e8 + costs.impact_e8 + costs.off_oracle_e8
    assert costs.total_e8 == lost + costs.gas_e8
    # The same from fractions: tokens at the oracle's prices, shares at the fair price.
    done = replay(case.snapshot, plan.legs)
    exact = _worth(case.snapshot, case.snapshot) - _worth(case.snapshot, done)
    assert abs(exact - lost) <= len(plan.net) + 1
    if all(leg.kind != "swap" for leg in plan.legs):
        assert costs.fee_e8 == 0


def _worth(prices: Snapshot, at: Snapshot) -> Fraction:
    """What the wallet holds at the prices of another snapshot; a root to 30 digits."""
    total = Fraction(0)
    for amount in at.balances:
        price = prices.price(amount.token)
        total += Fraction(amount.raw * price.numerator, price.denominator)
    if at.gas_reserve is not None:  # ether counts as its wrapped token
        price = prices.price(at.gas_reserve.wrapped)
        total += Fraction(at.native_wei * price.numerator, price.denominator)
    for holding in at.holdings:
        pair = prices.pair(holding.pair)
        square = Fraction(4 * pair.reserve0 * pair.reserve1)
        for token in (pair.token0, pair.token1):
            square *= Fraction(prices.price(token).numerator, prices.price(token).denominator)
        root = Fraction(isqrt(square.numerator * 10**60 // square.denominator), 10**30)
        total += root * holding.liquid / effective_total_supply(pair)
    return total


@settings(max_examples=60)
@given(seeds)
def test_planning_again_on_the_plans_own_result_holds(seed: int) -> None:
    free = {
        "max_impact_ppm": PPM,
        "max_off_oracle_ppm": 50 * PPM,
        "max_stale_gain_ppm": 50 * PPM,
        "max_pool_share_ppm": None,
        "min_trade_e8": 0,
        "reset_ppm": PPM,
    }
    case = case_of(seed, **free)
    first = decided(case)
    if not isinstance(first, Rebalance) or first.plan.certificate is None:
        return
    # What trading itself costs or brings is another portfolio, and what is not proved not the best.
    plan, gap_e8 = first.plan, proof(first.plan.certificate).gap_e8
    moved = abs(plan.nav_after_e8 - plan.nav_before_e8)
    if moved * 5_000 > plan.nav_before_e8 or gap_e8 * 2 > plan.costs.gas_e8:
        return
    again = decided(replace(case, snapshot=replay(case.snapshot, plan.legs)))
    assert isinstance(again, Hold), again


@settings(max_examples=30)
@given(seeds, st.randoms(use_true_random=False))
def test_the_order_of_tokens_and_pairs_changes_nothing(seed: int, order: Random) -> None:
    case = case_of(seed)
    at = case.snapshot
    turned = replace(
        at,
        balances=_mixed(at.balances, order),
        pairs=_mixed(at.pairs, order),
        prices=_mixed(at.prices, order),
        holdings=_mixed(at.holdings, order),
    )
    first = decided(case)
    other = decided(replace(case, snapshot=turned, targets=_mixed(case.targets, order)))
    assert type(first) is type(other)
    if isinstance(first, Rebalance) and isinstance(other, Rebalance):
        assert first.plan.legs == other.plan.legs
        assert first.plan.certificate == other.plan.certificate


def _mixed(items: tuple[Any, ...], order: Random) -> tuple[Any, ...]:
    return tuple(order.sample(items, len(items)))


@settings(max_examples=50)
@given(seeds, st.randoms(use_true_random=False))
def test_nothing_held_out_staked_or_kept_is_touched(seed: int, choice: Random) -> None:
    case = case_of(seed)
    at = case.snapshot
    pairs = choice.sample(at.pairs, choice.randint(0, min(2, len(at.pairs))))
    tokens = choice.sample(at.balances, choice.randint(0, 1))
    out = [HeldOut(pair.name, pair.address, "test", "held out") for pair in pairs]
    out += [HeldOut(a.token.symbol, a.token.address, "test", "held out") for a in tokens]
    kept = choice.choice([*(pair.name for pair in at.pairs), ""])
    decision = decided(
        replace(
            case,
            snapshot=replace(at, held_out=tuple(out)),
            targets=tuple(replace(t, kept=t.position == kept) for t in case.targets),
        )
    )
    if not isinstance(decision, Rebalance):
        return
    addresses = {item.address for item in out}
    for leg in decision.plan.legs:
        moved = {amount.token.address for amount in (*leg.takes, *leg.pays)}
        assert not moved & addresses
        assert leg.kind in ("wrap", "unwrap") or leg.pair not in addresses
        assert leg.kind not in ("add", "remove") or leg.share.symbol != kept
    _liquid_shares_alone(at, decision.plan)


def _liquid_shares_alone(at: Snapshot, plan: Plan) -> None:
    done = replay(at, plan.legs)
    for before in at.holdings:
        after = next(h for h in done.holdings if h.pair == before.pair)
        assert after.staked == before.staked
        assert after.liquid >= 0
        removed = sum(
            leg.shares
            for leg in plan.legs
            if isinstance(leg, RemoveLeg) and leg.pair == before.pair
        )
        assert removed <= before.liquid


@settings(max_examples=50)
@given(seeds)
def test_an_addition_leaves_nothing_over_and_minimums_follow_the_slippage(seed: int) -> None:
    case = case_of(seed)
    decision = decided(case)
    if not isinstance(decision, Rebalance):
        return
    at, slippage = case.snapshot, case.policy.slippage_ppm
    for index, leg in enumerate(decision.plan.legs):
        if isinstance(leg, AddLeg):
            pair = replay(at, decision.plan.legs[:index]).pair(leg.pair)
            assert added_amounts(pair, leg.amount0, leg.amount1) == (leg.amount0, leg.amount1)
        if leg.kind in ("wrap", "unwrap"):
            assert leg.least == leg.pays  # these change no amount
            continue
        for pays, least in zip(leg.pays, leg.least, strict=True):
            assert least.raw <= pays.raw
            assert least.raw * PPM >= pays.raw * (PPM - slippage)
            assert (least.raw - 1) * PPM < pays.raw * (PPM - slippage)
        if isinstance(leg, SwapLeg):
            assert leg.token_in != leg.token_out
