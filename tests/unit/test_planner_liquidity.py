"""LP positions in plans: added and removed in exact integers, priced, guarded, recomputed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from planner_world import (
    POLICY,
    USDC,
    USDC_WETH,
    WBTC_USDC,
    WBTC_WETH,
    WETH,
    decided,
    holding,
    leg,
    pool,
    problem,
)

from rebalancer.amm.goals import exposed, position_targets
from rebalancer.amm.liquidity import apply_burn, apply_mint, effective_total_supply
from rebalancer.amm.swap import apply_swap
from rebalancer.amm.valuation import value
from rebalancer.errors import PlanError
from rebalancer.model import (
    E8,
    PPM,
    AddLeg,
    GasReserve,
    Goal,
    HeldOut,
    Hold,
    LpEntry,
    LpHolding,
    LpLot,
    PairState,
    Plan,
    Rebalance,
    RemoveLeg,
    Scheme,
    Snapshot,
    Target,
    UnwrapLeg,
    Watched,
    WrapLeg,
    to_json,
)
from rebalancer.planner import PRAGUE, replay
from rebalancer.planner.attempts import priced
from rebalancer.planner.costs import appraise
from rebalancer.planner.gas_schedule import GasSchedule
from rebalancer.planner.guards import CONSISTENCY, LIMITS, few_enough_legs, violations
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.optimal.bridge import statement_of
from rebalancer.planner.problem import Problem
from rebalancer.planner.proof import proof
from rebalancer.planner.routes import min_amount_out
from rebalancer.planner.verification import verify

LP = "uni:USDC/WETH"
TARGETS = (
    Target("WETH", 300_000),
    Target("WBTC", 200_000),
    Target("USDC", 200_000),
    Target(LP, 300_000),
)
#: A pool whose protocol takes its sixth, with a twentieth of it not yet minted.
DUE = replace(
    USDC_WETH,
    protocol_fee_on=True,
    k_last=USDC_WETH.reserve0 * USDC_WETH.reserve1 * 95 // 100,
)


def with_lp(part_ppm: int = 6_000, pair: PairState = USDC_WETH, **more: object) -> Snapshot:
    """The usual wallet with so much of the pool besides."""
    lp = replace(LpHolding(pair.address, pair.total_supply * part_ppm // PPM, None), **more)
    return holding(holdings=(lp,), pairs=(pair, WBTC_WETH, WBTC_USDC))


def removal(pair: PairState, shares: int) -> RemoveLeg:
    _, amount0, amount1 = apply_burn(pair, shares)
    least = (min_amount_out(amount, POLICY.slippage_ppm) for amount in (amount0, amount1))
    return RemoveLeg(
        pair.address, pair.amm, pair.token0, pair.token1, shares, amount0, amount1, *least
    )


def addition(pair: PairState, amount0: int) -> AddLeg:
    amount1 = amount0 * pair.reserve1 // pair.reserve0
    _, shares = apply_mint(pair, amount0, amount1)
    least = min_amount_out(shares, POLICY.slippage_ppm)
    return AddLeg(pair.address, pair.amm, pair.token0, pair.token1, amount0, amount1, shares, least)


# Replay.


def test_removing_pays_both_tokens_and_leaves_what_the_pool_says():
    at = with_lp()
    shares = at.holdings[0].shares // 3
    done = replay(at, [removal(USDC_WETH, shares)])

    after, usdc, weth = apply_burn(USDC_WETH, shares)
    assert done.pair(USDC_WETH.address) == after
    assert done.balance(USDC) == at.balance(USDC) + usdc
    assert done.balance(WETH) == at.balance(WETH) + weth
    assert done.holdings[0].shares == at.holdings[0].shares - shares


def test_what_the_protocol_is_due_is_minted_before_anything_else():
    assert effective_total_supply(DUE) > DUE.total_supply
    at = with_lp(pair=DUE)
    take = removal(DUE, at.holdings[0].shares // 2)
    after = replay(at, [take]).pair(DUE.address)
    assert after.total_supply == effective_total_supply(DUE) - take.shares
    assert after.k_last == after.reserve0 * after.reserve1

    # A swap before an addition makes more of it due: its fee is growth, too.
    swapped, out = apply_swap(DUE, WETH, 10**19)
    legs = [leg(DUE, WETH, 10**19, out), addition(swapped, 10**9)]
    assert effective_total_supply(swapped) > effective_total_supply(DUE)
    done = replay(at, legs)
    assert done.pair(DUE.address).total_supply == effective_total_supply(swapped) + legs[1].shares


def test_a_removal_takes_the_same_part_of_every_lot_and_an_addition_is_a_new_one():
    entry = LpEntry(1, USDC_WETH.reserve0, USDC_WETH.reserve1, USDC_WETH.total_supply)
    lots = (
        LpLot("added", entry, 300_000, 300_000, 1, 1),
        LpLot("received", entry, 100_000, 100_000, 1, 1),
    )
    at = with_lp(shares=400_000, lots=lots, entry=entry)
    some = removal(USDC_WETH, 100_000)
    (left,) = replay(at, [some]).holdings
    assert [lot.shares for lot in left.lots] == [225_000, 75_000]
    assert left.entry == entry

    after, _, _ = apply_burn(USDC_WETH, 100_000)
    more = addition(after, 10**9)
    (both,) = replay(at, [some, more]).holdings
    assert both.entry is None  # there is no single one any more
    assert both.lots[2].shares == both.lots[2].entered == more.shares
    assert (both.lots[2].amount0, both.lots[2].amount1) == (more.amount0, more.amount1)
    assert sum(lot.shares for lot in both.lots) == both.shares

    # The first addition is the one point of entry, and its impermanent loss starts at nothing.
    bare = with_lp(0)
    done = replay(bare, [addition(USDC_WETH, 10**9)])
    (first,) = done.holdings
    assert first.entry is not None
    assert -1 <= value(done, TARGETS).position(LP).lp.il_e8 <= 0  # a rounding


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"amount0": 1}, "pays"),
        ({"shares": 10**30}, "are there"),
        ({"token0": WETH, "token1": USDC}, "order of tokens"),
        ({"amm": "other"}, "another amm"),
        ({"pair": WBTC_WETH.address}, "no such pair"),
    ],
)
def test_a_removal_that_could_not_be_is_refused(change, says):
    at = with_lp()
    with pytest.raises(PlanError, match=says):
        replay(at, [replace(removal(USDC_WETH, 10**12), **change)])


def test_staked_shares_are_not_there_to_be_removed():
    at = with_lp(staked=USDC_WETH.total_supply * 5_999 // PPM)
    liquid = at.holdings[0].liquid
    assert 0 < liquid < at.holdings[0].shares
    replay(at, [removal(USDC_WETH, liquid)])
    with pytest.raises(PlanError, match=f"{liquid} are there"):
        replay(at, [removal(USDC_WETH, liquid + 1)])


def test_an_addition_of_which_a_part_would_be_left_is_refused():
    whole = addition(USDC_WETH, 10**9)
    replay(with_lp(), [whole])
    for change in ({"amount0": whole.amount0 + 1}, {"amount1": whole.amount1 + 1}):
        with pytest.raises(PlanError, match="more to uni:USDC/WETH than"):
            replay(with_lp(), [replace(whole, **change)])
    with pytest.raises(PlanError, match="mints"):
        replay(with_lp(), [replace(whole, shares=whole.shares + 1)])


def test_ether_is_wrapped_and_unwrapped_one_for_one():
    at = replace(holding(), gas_reserve=GasReserve(WETH, 10**17))
    wrap, unwrap = WrapLeg(at.native.token, WETH, 10**17), UnwrapLeg(at.native.token, WETH, 10**16)
    done = replay(at, [wrap, unwrap])
    assert done.native_wei == at.native_wei - 9 * 10**16
    assert done.balance(WETH) == at.balance(WETH) + 9 * 10**16
    with pytest.raises(PlanError, match="are there"):
        replay(at, [replace(wrap, amount=at.native_wei + 1)])


# Costs and gas.


def lost(case: Problem, *legs: object) -> tuple[int, int, int]:
    made = appraise(case, legs)
    total = made.costs.fee_e8 + made.costs.impact_e8 + made.costs.off_oracle_e8
    assert total == made.costs.total_e8 - made.costs.gas_e8
    return made.costs.fee_e8, made.costs.impact_e8, made.costs.off_oracle_e8


def test_shares_change_hands_for_nothing_where_the_pool_is_at_the_oracle():
    case = problem(with_lp(), TARGETS)
    fee, impact, off = lost(case, removal(USDC_WETH, 10**15))
    assert (fee, off) == (0, 0)
    assert 0 <= impact <= 2_100  # a unit of USDC is worth 100, and one of each is rounded away
    fee, impact, off = lost(case, addition(USDC_WETH, 10**9))
    assert fee == 0
    assert abs(impact) <= 100
    assert abs(off) <= 100


def test_off_the_oracle_removing_gains_what_adding_loses():
    off_pool = pool(1, USDC, WETH, 50_000_000, skew_ppm=15_000)
    case = problem(with_lp(pair=off_pool), TARGETS)
    shares = off_pool.total_supply // 1_000
    _, _, gained = lost(case, removal(off_pool, shares))
    # Of both sides' mean less their geometric mean, a thousandth.
    expected = 50_000_000 * E8 * (2.015 - 2 * 1.015**0.5) / 1_000
    assert -gained == pytest.approx(expected, rel=1e-6)
    more = addition(off_pool, off_pool.reserve0 // 1_000)
    _, _, paid = lost(case, more)
    assert paid == pytest.approx(expected, rel=1e-6)
    # What a stale pool seems to give pays for nothing.
    made = appraise(case, [removal(off_pool, shares)])
    assert made.gate_cost_e8 == made.costs.total_e8 - gained


def test_shares_count_as_sold_and_as_a_change_of_the_wallet():
    at = with_lp()
    made = appraise(problem(at, TARGETS), [removal(USDC_WETH, 10**15)])
    assert [(c.token.symbol, c.raw > 0) for c in made.net] == [
        (LP, False),
        ("USDC", True),
        ("WETH", True),
    ]
    per_share = 100_000_000 * E8 * 10**15 / USDC_WETH.total_supply
    assert made.costs.traded_e8 == pytest.approx(per_share, rel=1e-9)


def test_gas_of_liquidity_is_what_was_measured():
    schedule: GasSchedule = replace(PRAGUE, per_approval=0)
    remove, add = removal(USDC_WETH, 10**12), addition(USDC_WETH, 10**9)
    other = leg(WBTC_WETH, WETH, 1, 1)
    same = leg(USDC_WETH, WETH, 1, 1)
    assert abs(schedule.units([remove]) - 124_251) <= 20
    assert abs(schedule.units([add]) - 117_589) <= 20
    assert abs(schedule.units([add], {add.share}) - 134_689) <= 20
    assert abs(schedule.units([remove, other]) - 186_300) <= 600
    assert abs(schedule.units([remove, same]) - 145_209) <= 600
    assert abs(schedule.units([same, add]) - 138_341) <= 800
    # The shares are allowed to the executor like any other token.
    assert PRAGUE.units([remove]) - schedule.units([remove]) == PRAGUE.per_approval
    assert PRAGUE.units([add]) - schedule.units([add]) == 2 * PRAGUE.per_approval
    ether = with_lp().native.token
    assert PRAGUE.units([WrapLeg(ether, WETH, 1)]) < PRAGUE.units([UnwrapLeg(ether, WETH, 1)])


# Guards.


def plan_of(case: Problem, *legs: object) -> Plan:
    return priced(case, "", "", appraise(case, legs))


def codes(case: Problem, plan: Plan) -> list[str]:
    return [reason.code for reason in violations(case, plan, (*CONSISTENCY, *LIMITS))]


def test_guards__a_sound_removal_passes_and_each_defect_is_named():
    case = problem(with_lp(20_000), TARGETS, max_trade_e8=10**18)
    sound = removal(USDC_WETH, USDC_WETH.total_supply // 1_000)
    plan = plan_of(case, sound)
    # Without a proof of what it gains a removal may not move tokens away from their targets.
    off = "further_off_e8"
    assert codes(case, plan) == [off]

    loose = replace(sound, min_amount1=sound.min_amount1 - 1)
    assert codes(case, replace(plan, legs=(loose,))) == ["min_amount_out", off]
    assert "costs_e8" in codes(case, replace(plan, costs=replace(plan.costs, fee_e8=1)))
    tight = problem(with_lp(20_000), TARGETS, max_trade_e8=E8)
    assert codes(tight, plan_of(tight, sound)) == ["max_trade_e8", off]
    dust = problem(with_lp(20_000), TARGETS, min_trade_e8=10**15)
    assert "dust_e8" in codes(dust, plan_of(dust, sound))
    alone = problem(with_lp(20_000), (Target("WETH", PPM),))
    assert set(codes(alone, plan_of(alone, sound))) >= {"not_a_position"}


@pytest.mark.parametrize("address", [USDC_WETH.address, USDC.address])
def test_guards__shares_of_what_is_held_out_are_not_touched(address):
    at = replace(with_lp(20_000), held_out=(HeldOut("it", address, "test", "not safe"),))
    case = problem(at, TARGETS)
    assert "held_out" in codes(case, plan_of(case, removal(USDC_WETH, 10**13)))
    decision = decided(at, TARGETS, planner="optimal")
    legs = decision.plan.legs if isinstance(decision, Rebalance) else ()
    assert all(leg.kind == "swap" and leg.pair != USDC_WETH.address for leg in legs)


def test_guards__impact_is_that_of_the_pool_that_the_removal_leaves():
    case = problem(with_lp(400_000), TARGETS, max_impact_ppm=5_000)
    half = USDC_WETH.total_supply * 4 // 10
    after, _, _ = apply_burn(USDC_WETH, half)
    amount = WETH_FOR_HALF_A_PERCENT = 95 * 10**18
    assert amount < USDC_WETH.reserve1 * 5 // 1_000 < 2 * WETH_FOR_HALF_A_PERCENT
    _, fine = apply_swap(USDC_WETH, WETH, amount)
    _, worse = apply_swap(after, WETH, amount)
    swap_first = leg(USDC_WETH, WETH, amount, fine)
    swap_after = leg(USDC_WETH, WETH, amount, worse)
    assert "max_impact_ppm" not in codes(case, plan_of(case, swap_first))
    legs = (removal(USDC_WETH, half), swap_after)
    assert "max_impact_ppm" in codes(case, plan_of(case, *legs))


# Through the decision.


def optimal(at: Snapshot, targets: tuple[Target, ...] = TARGETS) -> Plan:
    decision = decided(at, targets, planner="optimal")
    assert isinstance(decision, Rebalance), decision
    assert decision.plan.certificate is not None
    return decision.plan


def test_an_overweight_position_is_redeemed_and_an_underweight_one_added_to():
    kinds = {leg.kind for leg in optimal(with_lp(8_000)).legs}
    assert "remove" in kinds
    assert "add" not in kinds
    plan = optimal(with_lp(1_000))
    assert [leg.kind for leg in plan.legs][-1] == "add"
    (lp,) = (p for p in plan.positions if p.name == LP)
    assert lp.before_ppm < 100_000 < 290_000 < lp.after_ppm


def test_a_position_that_is_not_there_yet_is_entered():
    plan = optimal(with_lp(0))
    assert any(leg.kind == "add" for leg in plan.legs)


def test_greedy_leaves_liquidity_alone_and_says_who_does_not():
    decision = decided(with_lp(8_000), TARGETS)
    limits = decision.reasons if isinstance(decision, Hold) else decision.limits
    (text,) = (reason.text for reason in limits if reason.code == "lp_held_out_ppm")
    assert "planner: optimal" in text


def test_staked_and_watched_shares_count_and_stay():
    free = statement_of(problem(with_lp(8_000), TARGETS))
    staked = with_lp(8_000, staked=USDC_WETH.total_supply * 5_000 // PPM)
    (some,) = statement_of(problem(staked, TARGETS)).stakes
    (all_of_it,) = free.stakes
    assert some.shares == staked.holdings[0].liquid
    nav = free.nav_e8
    beside = all_of_it.target_ppm - some.target_ppm
    assert beside == pytest.approx(500_000 * E8 * PPM / nav, abs=1)
    for leg_ in optimal(staked).legs:
        assert leg_.kind != "remove" or leg_.shares <= some.shares

    own = with_lp(3_000)
    other = Watched("0x" + "c2" * 20, (), (replace(own.holdings[0]),))
    (seen,) = statement_of(problem(replace(own, watched=(other,)), TARGETS)).stakes
    assert seen.shares == own.holdings[0].shares
    assert seen.target_ppm < TARGETS[3].weight_ppm


def test_a_kept_position_is_nobodys_to_trade():
    kept = tuple(replace(t, kept=t.position == LP) for t in TARGETS)
    assert statement_of(problem(with_lp(8_000), kept)).stakes == ()


def test_what_the_protocol_is_due_is_in_the_proof_and_in_the_plan():
    plan = optimal(with_lp(1_000, pair=DUE))
    (stake,) = json.loads(plan.certificate)["statement"]["stakes"]
    assert stake["supply"] == effective_total_supply(DUE) > stake["stored"] == DUE.total_supply
    assert [leg.kind for leg in plan.legs][-1] == "add"
    assert proof(plan.certificate).gain_e8 > 0


# Recomputed.


@pytest.fixture
def recomputed():
    at = with_lp(1_000, pair=DUE)
    inputs = Inputs(at, TARGETS, replace(POLICY, planner="optimal"), None)
    _, decision = inputs.decide()
    assert isinstance(decision, Rebalance)
    return inputs, decision


def test_verification__books_liquidity_by_itself(recomputed):
    inputs, decision = recomputed
    assert {leg.kind for leg in decision.plan.legs} == {"swap", "add"}
    findings = verify(to_json(decision), inputs)
    assert all(finding.ok for finding in findings), findings


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shares": -1}, "mints something else"),
        ({"shares": 1}, "mints something else"),
        ({"amount0": -(10**6)}, "mints something else|ratio"),
        ({"amount1": 1}, "ratio"),
    ],
)
def test_verification__sees_a_leg_that_says_something_else(recomputed, monkeypatch, change, says):
    inputs, decision = recomputed
    *before, add = decision.plan.legs
    forged = replace(add, **{name: getattr(add, name) + by for name, by in change.items()})
    plan = replace(decision.plan, legs=(*before, forged))
    other = replace(decision, plan=plan)
    monkeypatch.setattr(Inputs, "decide", lambda _: (value(inputs.snapshot, TARGETS), other))
    found = {finding.what: finding for finding in verify(to_json(other), inputs)}
    assert not found["legs"].ok
    assert any(part in found["legs"].detail for part in says.split("|"))


def test_guards__a_batch_takes_so_many_entries_and_watches_so_many_tokens():
    case = problem(with_lp(20_000), TARGETS)
    plan = plan_of(case, removal(USDC_WETH, 10**13))
    many = tuple(removal(USDC_WETH, 10**13) for _ in range(24))
    assert "max_entries" not in codes_of_size(case, replace(plan, legs=many[:23]))
    assert codes_of_size(case, replace(plan, legs=many)) == ["max_entries"]
    swap = leg(USDC_WETH, WETH, 1, 1)
    buys = tuple(
        replace(swap, token_out=replace(USDC, address=f"0x{i:040x}", symbol=f"X{i}"))
        for i in range(17)
    )
    assert codes_of_size(case, replace(plan, legs=buys[:16])) == []
    assert codes_of_size(case, replace(plan, legs=buys)) == ["max_watched"]


def codes_of_size(case: Problem, plan: Plan) -> list[str]:
    return [reason.code for reason in few_enough_legs(case, plan)]


def test_targets_on_exposures_leave_liquidity_alone_and_count_it():
    scheme = Scheme(
        on="exposures",
        positions=("WETH", "USDC", LP),
        goals=(Goal("WETH", 700_000, ("WETH",)), Goal("USDC", 300_000, ("USDC",))),
    )
    at = with_lp(4_000)
    targets = position_targets(at, scheme)
    assert [target.position for target in targets if target.kept] == [LP]
    plan = optimal(at, targets)
    assert {leg.kind for leg in plan.legs} == {"swap"}
    done = replay(at, plan.legs)
    before, after = (abs(exposed(value(s, targets), scheme)[0].drift_ppm) for s in (at, done))
    assert after < before
