"""The gas purse: what of the native token trades, what a plan wraps for it, what it fills up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_world import (
    POLICY,
    TARGETS,
    USDC,
    USDC_WETH,
    WBTC_WETH,
    WETH,
    decided,
    holding,
    leg,
    worth,
)

from rebalancer.amm.valuation import value
from rebalancer.errors import PlanError
from rebalancer.model import (
    E8,
    Amount,
    Circumstances,
    GasReserve,
    HeldOut,
    Hold,
    Leg,
    PlannerKind,
    Rebalance,
    Snapshot,
    SwapLeg,
    Target,
    UnwrapLeg,
    WrapLeg,
    to_json,
)
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.purse import Purse, open_purse, trades_of
from rebalancer.planner.replay import replay
from rebalancer.planner.verification import verify

ETHER = 10**18
GAS = ETHER // 50
MUCH = 10**6 * E8


def reserved(weth: int, native_wei: int, reserve_wei: int = ETHER // 10) -> Snapshot:
    """A wallet with so many dollars of WETH and so much ether."""
    at = holding(weth=weth)
    return replace(at, native_wei=native_wei, gas_reserve=GasReserve(WETH, reserve_wei))


def opened(at: Snapshot, gas_wei: int = GAS, kept: Amount | None = None) -> tuple[Snapshot, Purse]:
    snapshot, purse = open_purse(at, gas_wei, MUCH, kept)
    assert purse is not None
    return snapshot, purse


def sells(token_in: object, raw: int) -> SwapLeg:
    pair = USDC_WETH if token_in in (WETH, USDC) else WBTC_WETH
    return leg(pair, token_in, raw, 1)  # type: ignore[arg-type]


def test_without_a_reserve__as_it_is() -> None:
    at = holding()
    assert open_purse(at, GAS, MUCH) == (at, None)
    assert trades_of((), None) == ()


def test_surplus__is_wrapped_in_mind_but_for_the_plans_own_gas() -> None:
    at = reserved(0, 2 * ETHER)
    snapshot, purse = opened(at)
    assert purse.free_wei == 2 * ETHER - ETHER // 10 - GAS
    assert snapshot.balance(WETH) == purse.free_wei
    assert snapshot.native_wei == ETHER // 10 + GAS
    # Whatever is free, the same counts.
    assert snapshot.owned(WETH) == at.owned(WETH) == 2 * ETHER - ETHER // 10


def test_surplus_that_pays_no_more_than_gas__stays() -> None:
    snapshot, purse = opened(reserved(0, ETHER // 10 + GAS))
    assert (purse.free_wei, snapshot.balance(WETH)) == (0, 0)


def test_dress__wraps_exactly_what_the_trades_lack() -> None:
    at = reserved(2_000, 2 * ETHER)  # one WETH
    _, purse = opened(at)
    enough, more = sells(WETH, ETHER), sells(WETH, ETHER + 7)
    assert purse.dress((enough,)) == (enough,)
    assert purse.dress((more,)) == (WrapLeg(purse.native, WETH, 7), more)
    assert purse.dress(()) == ()


def test_dress__what_is_bought_first_need_not_be_wrapped() -> None:
    at = reserved(0, 2 * ETHER)
    _, purse = opened(at)
    buys = replace(sells(USDC, 10**9), amount_out=ETHER)
    (sale,) = (sells(WETH, ETHER + 5),)
    assert purse.dress((buys, sale)) == (WrapLeg(purse.native, WETH, 5), buys, sale)
    assert purse.dress((sale, buys))[0] == WrapLeg(purse.native, WETH, ETHER + 5)


def test_dress__what_goes_from_pair_to_pair_is_not_the_wallets() -> None:
    _, purse = opened(reserved(0, 2 * ETHER))
    first = replace(sells(USDC, 10**9), amount_out=ETHER)
    second = replace(leg(WBTC_WETH, WETH, ETHER, 1), chained=True)
    assert purse.dress((first, second)) == (first, second)


def test_dress__what_a_withdrawal_needs_is_wrapped_too() -> None:
    at = reserved(2_000, 2 * ETHER)
    _, purse = opened(at, kept=Amount(WETH, ETHER + ETHER // 2))
    trade = sells(USDC, 10**6)
    wanted = ETHER // 2 - 1  # the trade brings one unit
    assert purse.dress((trade,))[0] == WrapLeg(purse.native, WETH, wanted)


def test_reserve_that_is_short__is_set_aside_and_filled_at_the_end() -> None:
    at = reserved(2_000, ETHER // 25)
    snapshot, purse = opened(at)
    short = ETHER // 10 - ETHER // 25
    assert (purse.free_wei, purse.top_up_wei) == (0, short)
    assert snapshot.balance(WETH) == ETHER - short
    trade = sells(USDC, 10**6)
    assert purse.dress((trade,)) == (trade, UnwrapLeg(purse.native, WETH, short))
    assert trades_of(purse.dress((trade,)), purse) == (trade,)
    (note,) = purse.notes()
    assert (note.code, note.measured, note.limit) == ("gas_reserve_wei", ETHER // 25, ETHER // 10)
    assert note.text == "0.06 WETH are unwrapped to fill up the gas reserve of 0.1 ETH"


def test_reserve_that_is_short__takes_what_is_there_and_says_what_is_missing() -> None:
    at = reserved(100, ETHER // 25)  # a twentieth of an ether
    _, purse = opened(at)
    assert purse.top_up_wei == ETHER // 20
    assert purse.notes()[0].text.endswith("; 0.01 ETH are still missing")
    # It takes not the whole portfolio.
    _, none = open_purse(at, GAS, 100 * E8)
    assert none is not None
    assert (none.top_up_wei, none.notes()) == (0, ())


def test_held_out_wrapped_token__is_left_alone() -> None:
    at = reserved(0, 2 * ETHER)
    at = replace(at, held_out=(HeldOut("WETH", WETH.address, "rebasing", "it is"),))
    assert open_purse(at, GAS, MUCH) == (at, None)


def test_gas__wrapping_never_leaves_less_than_reserve_and_worst_case() -> None:
    _, purse = opened(reserved(0, 2 * ETHER), gas_wei=0)
    legs = purse.dress((sells(WETH, purse.free_wei),))
    assert purse.short_of_gas(legs, 0) is None
    reason = purse.short_of_gas(legs, 1)
    assert reason is not None
    assert (reason.measured, reason.limit) == (ETHER // 10, ETHER // 10 + 1)
    assert purse.short_of_gas((sells(WETH, 1),), 10 * ETHER) is None  # wraps nothing


@settings(max_examples=200)
@given(
    native_wei=st.integers(0, 3 * ETHER),
    reserve_wei=st.integers(1, ETHER),
    weth=st.integers(0, 3 * ETHER),
    gas_wei=st.integers(0, ETHER // 10),
    kept=st.integers(0, ETHER),
    moves=st.lists(st.tuples(st.booleans(), st.integers(1, ETHER)), max_size=6),
)
def test_whatever_is_traded__no_balance_is_overdrawn_and_the_reserve_stands(
    native_wei: int,
    reserve_wei: int,
    weth: int,
    gas_wei: int,
    kept: int,
    moves: list[tuple[bool, int]],
) -> None:
    """Any trades that the opened snapshot can pay for, dressed, are paid for by what was read."""
    at = reserved(0, native_wei, reserve_wei)
    balances = (Amount(WETH, weth), *at.balances[1:])
    at = replace(at, balances=balances)
    snapshot, purse = opened(at, gas_wei, Amount(WETH, kept))
    room = max(snapshot.balance(WETH) - kept, 0)
    trades: list[Leg] = []
    for sell, raw in moves:
        if sell and raw <= room:
            trades.append(sells(WETH, raw))
            room -= raw
        elif not sell:
            trades.append(replace(sells(USDC, 1), amount_out=raw))
            room += raw
    balance, native, wrapped = weth, native_wei, 0
    legs = purse.dress(trades)
    for one in legs:
        for amount in one.takes:
            if amount.token == WETH:
                balance -= amount.raw
            elif amount.token == purse.native:
                native -= amount.raw
                wrapped += amount.raw
        assert balance >= 0
        for amount in one.pays:
            if amount.token == WETH:
                balance += amount.raw
            elif amount.token == purse.native:
                native += amount.raw
    assert trades_of(legs, purse) == tuple(trades)
    assert native >= min(native_wei, reserve_wei + (gas_wei if wrapped else 0))
    if trades:
        assert native == native_wei - wrapped + purse.top_up_wei
        assert balance >= min(kept, snapshot.balance(WETH))
        assert purse.short_of_gas(legs, gas_wei) is None


# Whole decisions


RESERVE = GasReserve(WETH, ETHER // 10)


def only_ether(dollars: int = 600_000) -> Snapshot:
    """10 points too much WETH, all of it ether, above a reserve of a tenth."""
    at = holding(weth=0)
    native_wei = worth(WETH, dollars).raw + RESERVE.wei
    return replace(at, native_wei=native_wei, gas_reserve=RESERVE)


def rebalance(at: Snapshot, **changes: object) -> Rebalance:
    decision = decided(at, **changes)
    assert isinstance(decision, Rebalance), decision
    return decision


def nets(decision: Rebalance) -> dict[str, int]:
    return {change.token.symbol: change.raw for change in decision.plan.net}


def test_decide__only_ether__trades_as_with_wrapped_and_wraps_it_first() -> None:
    at = only_ether()
    plan, plain = rebalance(at).plan, rebalance(holding()).plan
    wrap, *trades = plan.legs
    assert tuple(trades) == plain.legs
    sold = sum(leg.amount_in for leg in plain.legs if leg.token_in == WETH and not leg.chained)
    assert wrap == WrapLeg(at.native.token, WETH, sold)
    assert nets(rebalance(at)) == {
        "ETH": -sold,
        **{c.token.symbol: c.raw for c in plain.net if c.token != WETH},
    }
    # The same portfolio, before and after, to the unit; the wrapping costs gas alone.
    for name in ("nav_before_e8", "nav_after_e8", "positions", "benefit_e8"):
        assert getattr(plan, name) == getattr(plain, name)
    for name in ("traded_e8", "fee_e8", "impact_e8", "off_oracle_e8"):
        assert getattr(plan.costs, name) == getattr(plain.costs, name)
    assert plan.costs.gas_units > plain.costs.gas_units


def test_decide__replayed_on_what_was_read__the_valuation_of_the_plan_comes_out() -> None:
    at = only_ether()
    plan = rebalance(at).plan
    done = replay(at, plan.legs)
    after = value(done, TARGETS)
    assert after.nav_e8 == plan.nav_after_e8
    assert {p.name: p.weight_ppm for p in after.positions} == {
        p.name: p.after_ppm for p in plan.positions
    }
    assert done.native_wei == at.native_wei + nets(rebalance(at))["ETH"]
    assert all(
        done.balance(c.token) - at.balance(c.token) == c.raw
        for c in plan.net
        if c.token != at.native.token
    )


def test_decide__in_balance__holds() -> None:
    at = replace(only_ether(500_000), balances=holding(weth=0, wbtc=250_000, usdc=250_000).balances)
    assert not isinstance(decided(at), Rebalance)


def test_decide__everything_goes__leaves_the_reserve_and_the_gas_and_says_so() -> None:
    """No WETH wanted at all: what pays for the plan at its dearest stays ether."""
    targets = (Target("WETH", 0), Target("WBTC", 500_000), Target("USDC", 500_000))
    at = only_ether(20_000)
    decision = decided(at, targets=targets)
    assert isinstance(decision, Rebalance), decision
    (wrap,) = [leg for leg in decision.plan.legs if isinstance(leg, WrapLeg)]
    worst = decision.plan.costs.gas_units * decision.plan.max_fee_wei
    assert at.native_wei - wrap.amount >= RESERVE.wei + worst
    assert worst > 10**16  # it is not nothing
    (note,) = [reason for reason in decision.limits if reason.code == "gas_reserve_wei"]
    assert "ETH that count as WETH and should be sold are left for the plan's own gas" in note.text


def test_decide__reserve_short__plan_ends_by_filling_it() -> None:
    at = replace(holding(), native_wei=ETHER // 25, gas_reserve=RESERVE)
    decision = rebalance(at)
    fills = UnwrapLeg(at.native.token, WETH, RESERVE.wei - at.native_wei)
    assert decision.plan.legs[-1] == fills
    assert nets(decision)["ETH"] == fills.amount
    assert "gas_reserve_wei" in {reason.code for reason in decision.limits}
    # What fills the reserve leaves NAV, and costs nothing.
    worth_e8 = 2_000 * E8 * fills.amount // ETHER
    assert decision.plan.nav_before_e8 == value(at, TARGETS).nav_e8 - worth_e8
    done = replay(at, decision.plan.legs)
    assert done.native_wei == RESERVE.wei
    assert value(done, TARGETS).nav_e8 == decision.plan.nav_after_e8


def test_decide__without_a_reserve__the_bytes_it_always_had() -> None:
    """Whatever the gas purse holds, nothing of it is in a plan."""
    plain, rich = holding(), replace(holding(), native_wei=10**21)
    assert to_json(rebalance(plain).plan.legs) == to_json(rebalance(rich).plan.legs)
    assert "wrap" not in to_json(rebalance(rich))


def test_decide__raise_of_wrapped__is_in_the_wallet_at_the_end() -> None:
    at = only_ether()
    raised = Amount(WETH, 5 * ETHER)
    decision = rebalance(at, circumstances=Circumstances(withdrawal=raised))
    assert replay(at, decision.plan.legs).balance(WETH) >= raised.raw


def test_decide__raise_of_wrapped_that_is_there_as_ether__holds_and_says_so() -> None:
    """In balance with 5 WETH taken out of 100: nothing to trade, and no plan to wrap alone."""
    at = replace(only_ether(500_000), balances=holding(weth=0, wbtc=250_000, usdc=250_000).balances)
    raised = Circumstances(withdrawal=Amount(WETH, 5 * ETHER))
    decision = decided(at, circumstances=raised)
    assert isinstance(decision, Hold)
    first = decision.reasons[0]
    assert (first.code, first.measured) == ("withdrawal_is_native_wei", 5 * ETHER)
    assert first.text.startswith("5 WETH of the withdrawal are there as ETH above the gas reserve")
    there = replace(at, balances=(Amount(WETH, 5 * ETHER), *at.balances[1:]))
    assert decided(there, circumstances=raised).reasons[0].code != "withdrawal_is_native_wei"


@pytest.mark.parametrize(
    ("rules", "why"),
    [({"max_gas_price_wei": 1}, "max_gas_price_wei"), ({"max_cost_ppm": 1}, "max_cost_ppm")],
)
def test_decide__raise_of_wrapped__a_plan_that_may_not_go__says_so_too(
    rules: dict[str, int], why: str
) -> None:
    raised = Circumstances(withdrawal=Amount(WETH, 5 * ETHER))
    decision = decided(only_ether(), circumstances=raised, **rules)
    assert isinstance(decision, Hold)
    codes = [reason.code for reason in decision.reasons]
    assert (codes[0], "withdrawal_is_native_wei" in codes) == (why, True)


@settings(max_examples=60)
@given(
    weth=st.integers(0, 50_000),
    wbtc=st.integers(0, 10**6),
    usdc=st.integers(0, 10**6),
    native_wei=st.integers(0, 800 * ETHER),
    reserve_wei=st.integers(1, 50 * ETHER),
    cents=st.integers(100_000, 300_000),
)
def test_any_plan__is_exact_on_what_was_read(
    weth: int, wbtc: int, usdc: int, native_wei: int, reserve_wei: int, cents: int
) -> None:
    """Replay from the read snapshot: NAV to the unit, native exact, the reserve never broken."""
    at = holding(weth, wbtc, usdc)
    prices = tuple(replace(p, numerator=cents * 10**6) if p.token == WETH else p for p in at.prices)
    reserve = GasReserve(WETH, reserve_wei)
    at = replace(at, native_wei=native_wei, gas_reserve=reserve, prices=prices)
    if not value_or_none(at):
        return
    decision = decided(at, max_off_oracle_ppm=1_000_000, max_cost_ppm=1_000_000)
    if not isinstance(decision, Rebalance):
        return
    plan = decision.plan
    done = replay(at, plan.legs)
    wrapped = sum(leg.amount for leg in plan.legs if isinstance(leg, WrapLeg))
    filled = sum(leg.amount for leg in plan.legs if isinstance(leg, UnwrapLeg))
    assert not (wrapped and filled)
    assert done.native_wei == native_wei - wrapped + filled
    assert filled <= max(reserve_wei - native_wei, 0)
    if wrapped:
        assert done.native_wei >= reserve_wei + plan.costs.gas_units * plan.max_fee_wei
    assert value(done, TARGETS).nav_e8 == plan.nav_after_e8
    costs = plan.costs
    lost = costs.fee_e8 + costs.impact_e8 + costs.off_oracle_e8
    assert lost == plan.nav_before_e8 - plan.nav_after_e8
    if not filled:
        assert plan.nav_before_e8 == value(at, TARGETS).nav_e8


def value_or_none(at: Snapshot) -> int:
    try:
        return value(at, TARGETS).nav_e8
    except PlanError:
        return 0


@pytest.mark.parametrize(
    ("native_wei", "planner"),
    [
        (ETHER // 25, "greedy"),
        (260 * ETHER, "greedy"),
        (301 * ETHER, "greedy"),
        (ETHER // 25, "optimal"),
        (301 * ETHER, "optimal"),
    ],
)
def test_verify__recomputes_a_plan_that_wraps_or_unwraps(
    native_wei: int, planner: PlannerKind
) -> None:
    prices = tuple(
        replace(p, numerator=p.numerator + 7) if p.token == WETH else p for p in holding().prices
    )
    weth = 600_000 if native_wei < ETHER else 0
    at = replace(holding(weth), native_wei=native_wei, gas_reserve=RESERVE, prices=prices)
    inputs = Inputs(at, TARGETS, replace(POLICY, planner=planner), None)
    _, decision = inputs.decide()
    assert isinstance(decision, Rebalance)
    assert any(leg.kind in ("wrap", "unwrap") for leg in decision.plan.legs)
    assert (decision.plan.certificate is not None) == (planner == "optimal")
    findings = verify(to_json(decision), inputs)
    assert all(finding.ok for finding in findings), findings
    # One wei less wrapped, and it is another plan, which the recomputation tells.
    other = replace(decision, plan=replace(decision.plan, legs=decision.plan.legs[1:]))
    assert not verify(to_json(other), inputs)[0].ok
