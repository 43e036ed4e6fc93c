"""Smoothed prices decide whether to trade, present ones what."""

from __future__ import annotations

from dataclasses import replace

from planner_world import DOLLARS, UNI, USDC, WBTC, WETH, decided, holding, pool, price, problem

from rebalancer.model import Hold, Price, Rebalance, to_json
from rebalancer.planner.smoothed import smoothing_note, trigger_valuation


def at_prices(**dollars: int) -> tuple[Price, ...]:
    return tuple(
        price(token, dollars.get(token.symbol, DOLLARS[token])) for token in (WETH, WBTC, USDC, UNI)
    )


#: At target, and a spike of WETH by half that has just begun, in the pools as well.
CALM = holding(500_000, 250_000, 250_000)
DEARER = (
    pool(1, USDC, WETH, 50_000_000, skew_ppm=-333_333),
    pool(2, WBTC, WETH, 20_000_000, skew_ppm=-333_333),
)
SPIKE = replace(CALM, prices=at_prices(WETH=3_000), pairs=DEARER)


def test_a_spike_alone__fires__and_does_not_where_its_average_is_inside_the_band() -> None:
    assert isinstance(decided(SPIKE), Rebalance)
    smoothed = replace(SPIKE, trigger_prices=at_prices(WETH=2_050))
    hold = decided(smoothed)
    assert isinstance(hold, Hold)
    assert "smoothed_prices" in {reason.code for reason in hold.reasons}
    note = next(reason for reason in hold.reasons if reason.code == "smoothed_prices")
    assert note.text == (
        "The trigger goes by smoothed prices: WETH at 2,050.00 USD instead of 3,000.00 USD"
    )


def test_an_average_that_has_moved__fires__and_the_plan_goes_by_the_present() -> None:
    moved = replace(SPIKE, trigger_prices=at_prices(WETH=2_900))
    found, plain = decided(moved), decided(SPIKE)
    assert isinstance(found, Rebalance)
    assert isinstance(plain, Rebalance)
    assert found.plan.legs == plain.plan.legs
    assert found.plan.costs == plain.plan.costs
    assert found.plan.positions == plain.plan.positions


def test_what_is_over_by_now__is_not_traded_for_its_average() -> None:
    """The average is still outside, the portfolio is not: there is nothing to gain."""
    over = replace(CALM, trigger_prices=at_prices(WETH=3_000))
    hold = decided(over)
    assert isinstance(hold, Hold)
    assert "nothing_to_trade" in {reason.code for reason in hold.reasons}


def test_without_averages__nothing_is_different() -> None:
    present = problem(SPIKE)
    assert trigger_valuation(present) is present.valuation
    assert smoothing_note(present) == ()
    same = replace(SPIKE, trigger_prices=SPIKE.prices)
    assert smoothing_note(problem(same)) == ()
    assert trigger_valuation(problem(same)).positions == problem(SPIKE).valuation.positions
    assert "trigger_prices" not in to_json(SPIKE)
