"""What is held out is never traded, and what cannot be valued stops everything."""

from __future__ import annotations

from dataclasses import replace

from planner_world import (
    TARGETS,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_WETH,
    WETH,
    decided,
    holding,
    leg,
    problem,
    snapshot,
    worth,
)

from rebalancer.amm.valuation import value
from rebalancer.model import UNREADABLE, HeldOut, Hold, Rebalance, Token, digest, to_json
from rebalancer.planner import guards
from rebalancer.planner.guards import CONSISTENCY, violations

FEE = "WBTC keeps 1.00 % of every transfer"


def keeps_a_fee(token: Token) -> HeldOut:
    return HeldOut(token.symbol, token.address, "fee_on_transfer", FEE)


def unreadable(token: Token) -> HeldOut:
    text = f"token {token.symbol} at {token.address} cannot be read: balanceOf() reverts"
    return HeldOut(token.symbol, token.address, UNREADABLE, text)


def test_a_held_out_token_keeps_its_value_and_the_others_share_the_rest() -> None:
    at = holding(700_000, 100_000, 200_000)
    free = decided(at)
    assert isinstance(free, Rebalance)
    assert WBTC in {leg.token_out for leg in free.plan.legs}

    held = decided(replace(at, held_out=(keeps_a_fee(WBTC),)))
    assert isinstance(held, Rebalance)
    assert {token for leg in held.plan.legs for token in (leg.token_in, leg.token_out)} == {
        WETH,
        USDC,
    }
    after = {p.name: p.after_ppm for p in held.plan.positions}
    # 90 % of NAV are shared two to one, less what the trade cost.
    assert abs(after["WETH"] - 600_000) < 1_000
    assert abs(after["USDC"] - 300_000) < 1_000
    named = [reason for reason in held.limits if reason.code == "fee_on_transfer"]
    assert named[0].text == f"WBTC is held out of every trade: {FEE}"
    assert f"uni:WBTC/WETH is not used: {FEE}" in {reason.text for reason in named}


def test_a_held_out_token_is_no_stop_on_the_way() -> None:
    """WBTC could reach USDC only through WETH: with WETH held out there is no trade at all."""
    at = snapshot(worth(WBTC, 800_000), worth(USDC, 200_000), pairs=(USDC_WETH, WBTC_WETH))
    targets = [t for t in TARGETS if t.position != "WETH"]
    targets = [replace(t, weight_ppm=500_000) for t in targets]
    assert isinstance(decided(at, targets), Rebalance)
    hold = decided(replace(at, held_out=(keeps_a_fee(WETH),)), targets)
    assert isinstance(hold, Hold)
    assert "nothing_to_trade" in {reason.code for reason in hold.reasons}


def test_a_held_out_pool_is_not_used() -> None:
    at = holding(700_000, 100_000, 200_000)
    pool = HeldOut("uni:USDC/WETH", USDC_WETH.address, "odd", "it is odd")
    found = decided(replace(at, held_out=(pool,)))
    assert isinstance(found, Rebalance)
    assert USDC_WETH.address not in {leg.pair for leg in found.plan.legs}


def test_the_guard_stops_a_plan_that_trades_it_all_the_same() -> None:
    at = holding(700_000, 100_000, 200_000)
    found = decided(at)
    assert isinstance(found, Rebalance)
    sell = leg(WBTC_WETH, WETH, 10**18, 4_984_503)
    plan = replace(found.plan, legs=(sell,))
    assert list(guards.trades_nothing_held_out(problem(at), plan)) == []
    now = problem(replace(at, held_out=(keeps_a_fee(WBTC),)))
    (reason,) = guards.trades_nothing_held_out(now, plan)
    assert reason.code == "held_out"
    assert reason.text == f"Leg 0 trades WBTC, which is held out: {FEE}"
    assert reason in violations(now, plan, CONSISTENCY)


def test_an_unreadable_position_is_in_no_nav_and_nothing_is_traded() -> None:
    whole = holding(700_000, 100_000, 200_000)
    at = replace(
        whole,
        balances=tuple(a for a in whole.balances if a.token != WBTC),
        held_out=(unreadable(WBTC),),
    )
    valued = value(at, TARGETS)
    assert valued.unread == ("WBTC",)
    assert valued.position("WBTC").value_e8 == 0
    assert valued.nav_e8 == value(whole, TARGETS).nav_e8 * 9 // 10
    hold = decided(at)
    assert isinstance(hold, Hold)
    (reason,) = hold.reasons
    assert reason.code == UNREADABLE
    assert reason.text.startswith("WBTC cannot be valued, so no weight is known and nothing is")
    assert reason.text.endswith("cannot be read: balanceOf() reverts")


def test_an_unreadable_token_that_is_no_position_stops_nobody() -> None:
    at = holding(700_000, 100_000, 200_000)
    stranger = Token("0x00000000000000000000000000000000000000A9", "ODD", 18)
    found = decided(replace(at, held_out=(unreadable(stranger),)))
    assert isinstance(found, Rebalance)


def test_what_was_added_later_changes_no_digest_while_it_is_empty() -> None:
    at = holding()
    assert "held_out" not in to_json(at)
    assert "proxies" not in to_json(at)
    assert "unread" not in to_json(value(at, TARGETS))
    held = replace(at, held_out=(keeps_a_fee(WBTC),))
    assert '"held_out":[{"address":"0x' in to_json(held)
    assert digest(held) != digest(at)
