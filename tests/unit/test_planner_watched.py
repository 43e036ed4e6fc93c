"""Watched wallets count in the weights and sell nothing."""

from __future__ import annotations

from dataclasses import replace

from planner_world import POLICY, TARGETS, USDC, WBTC, WETH, holding, worth

from rebalancer.amm.valuation import value
from rebalancer.model import Amount, Decision, LpHolding, Rebalance, Snapshot, Watched
from rebalancer.planner import decide

COLD = "0x00000000000000000000000000000000000000C2"


def watched(own: Snapshot, weth: int, wbtc: int, usdc: int) -> Snapshot:
    balances = (worth(WETH, weth), worth(WBTC, wbtc), worth(USDC, usdc))
    return replace(own, watched=(Watched(COLD, balances, ()),))


def decided(at: Snapshot) -> Decision:
    return decide(at, value(at, TARGETS), TARGETS, POLICY, None)


def sold(decision: Decision) -> dict[str, int]:
    assert isinstance(decision, Rebalance), decision
    return {a.token.symbol: a.raw for a in decision.plan.sold()}


def test_decide__a_watched_wallet__moves_the_weights() -> None:
    """In balance by itself, 10 points too much WETH with what is watched."""
    at = watched(holding(500_000, 250_000, 250_000), 700_000, 150_000, 150_000)
    assert isinstance(decided(at), Rebalance)
    assert not isinstance(decided(replace(at, watched=())), Rebalance)


def test_decide__as_one_wallet__trades_the_same_where_the_trading_one_has_enough() -> None:
    split = watched(holding(500_000, 100_000, 100_000), 100_000, 100_000, 100_000)
    one, two = decided(split), decided(holding(600_000, 200_000, 200_000))
    assert sold(one) == sold(two)
    assert isinstance(one, Rebalance)
    assert not any(reason.code == "watched_raw" for reason in one.limits)


def test_decide__what_lies_in_a_watched_wallet__is_not_sold_and_said() -> None:
    """100,000 dollars of WETH too much, of which the trading wallet has 40,000."""
    at = watched(holding(40_000, 200_000, 200_000), 560_000, 0, 0)
    decision = decided(at)
    own = at.balance(WETH)
    assert sold(decision) == {"WETH": own}
    assert isinstance(decision, Rebalance)
    (limit,) = [reason for reason in decision.limits if reason.code == "watched_raw"]
    assert "in watched wallets, which sell nothing: the trading wallet has 20 WETH" in limit.text
    assert limit.limit == own
    assert limit.measured is not None
    assert limit.measured > own


def test_decide__nothing_in_the_trading_wallet__holds_and_says_why() -> None:
    at = watched(holding(0, 200_000, 200_000), 600_000, 0, 0)
    decision = decided(at)
    assert not isinstance(decision, Rebalance)
    assert "watched_raw" in {reason.code for reason in decision.reasons}


def test_whole__lots_of_a_position_that_others_hold_too__are_not_told() -> None:
    """Lots add up to the shares; how the watched ones came in nobody has read."""
    own = holding()
    lp = LpHolding("0x" + "B1" * 20, 10, None)
    at = replace(own, holdings=(lp,), watched=(Watched(COLD, (Amount(WETH, 1),), (lp,)),))
    assert at.whole().holdings == (replace(lp, shares=20, lots=()),)
