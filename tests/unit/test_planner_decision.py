"""The decision: every reason to hold, every limit, what a plan says of itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from planner_world import (
    GWEI,
    NOW,
    POLICY,
    TARGETS,
    UNI,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_WETH,
    WETH,
    decided,
    holding,
    leg,
    pool,
    problem,
    snapshot,
    worth,
)

from rebalancer.amm.swap import apply_swap
from rebalancer.amm.valuation import value
from rebalancer.errors import PlanError
from rebalancer.model import (
    E8,
    PPM,
    Amount,
    ExpectedPosition,
    Hold,
    LpHolding,
    Plan,
    Reason,
    Rebalance,
    SwapLeg,
    Target,
    digest,
    to_json,
)
from rebalancer.planner import Problem, Proposal, decide, replay

AT = holding(700_000, 120_000, 180_000)
PAIR_TARGETS = (Target("WETH", 500_000), Target("USDC", 500_000))


def codes(reasons):
    return [reason.code for reason in reasons]


def held(decision):
    assert isinstance(decision, Hold), decision
    return decision.reasons


def planned(decision):
    assert isinstance(decision, Rebalance), decision
    return decision


# Holding


def test_hold__inside_the_bands():
    reasons = held(decided(holding(521_000, 239_000, 240_000)))
    assert codes(reasons) == ["inside_band_ppm"] * 3
    assert reasons[0].text.startswith("WETH drifted +2.10 points, its band is 3.00: 52.10%")


def test_hold__calendar():
    (reason,) = held(decided(AT, last_ts=NOW - 60))
    assert reason == Reason(
        "calendar_not_due_s",
        "Last rebalanced 1 min ago, the calendar of every 1 h is not due yet",
        60,
        3_600,
    )


def test_hold__dead_band():
    (reason,) = held(decided(holding(504_000, 248_000, 248_000), trigger="calendar"))
    assert (reason.code, reason.measured, reason.limit) == ("dead_band_ppm", 4_000, 5_000)


def test_hold__gas_price():
    (reason,) = held(decided(holding(700_000, 120_000, 180_000, gas_gwei=101)))
    assert reason == Reason(
        "max_gas_price_wei",
        "Gas costs 101.00 gwei, the ceiling is 100.00 gwei",
        101 * GWEI,
        100 * GWEI,
    )
    planned(decided(holding(700_000, 120_000, 180_000, gas_gwei=100)))


def test_hold__nothing_to_trade():
    reasons = held(decided(holding(540, 230, 230)))
    assert codes(reasons) == ["nothing_to_trade"] + ["min_trade_e8"] * 3
    assert reasons[0].text == (
        "No trade of at least 100.00 USD brings a position nearer to its target"
    )
    assert reasons[1].text == "WETH stays 40.00 USD off: the smallest trade is 100.00 USD"


def test_hold__no_reset():
    assert codes(held(decided(AT, reset_ppm=0))) == ["nothing_to_trade"]


def test_hold__no_usable_pool():
    stale = pool(1, USDC, WETH, 50_000_000, skew_ppm=30_000)
    at = snapshot(worth(WETH, 700_000), worth(USDC, 300_000), pairs=[stale])
    reasons = held(decided(at, PAIR_TARGETS))
    assert codes(reasons) == ["nothing_to_trade", "no_pool", "no_pool", "off_oracle_ppm"]


def test_hold__cost_above_benefit():
    reason, part = held(decided(AT, drift_aversion_ppm=10_000))
    assert (reason.code, part.code) == ("cost_above_benefit_e8", "not_worth_it_e8")
    assert reason.measured > reason.limit > 0


def test_hold__cost_share():
    reasons = held(decided(AT, max_cost_ppm=3_000, drift_aversion_ppm=PPM))
    assert codes(reasons) == ["max_cost_ppm", "max_nav_loss_ppm"]
    with_gas, without = (reason.measured for reason in reasons)
    assert 3_000 < without < with_gas < 8_000  # fee 0.3 % and a little impact


def test_cut__where_the_whole_way_costs_too_large_a_share():
    shallow = [pool(1, USDC, WETH, 1_000_000)]
    at = snapshot(worth(WETH, 600_000), worth(USDC, 400_000), pairs=shallow)
    rules = {"max_impact_ppm": 200_000, "drift_aversion_ppm": 50 * PPM}
    whole = planned(decided(at, PAIR_TARGETS, max_cost_ppm=PPM, **rules)).plan
    cut = planned(decided(at, PAIR_TARGETS, max_cost_ppm=60_000, **rules))
    assert whole.costs.total_e8 * PPM > whole.costs.traded_e8 * 60_000
    assert cut.plan.costs.total_e8 * PPM <= cut.plan.costs.traded_e8 * 60_000
    assert [leg.amount_in for leg in cut.plan.legs] == [whole.legs[0].amount_in // 2]
    assert codes(cut.limits)[:3] == ["max_cost_ppm", "max_nav_loss_ppm", "cut_to_limits"]


def test_hold__only_an_lp_position_is_off():
    lp = LpHolding(USDC_WETH.address, USDC_WETH.total_supply // 100, None)
    at = snapshot(worth(WETH, 1_000_000), worth(USDC, 1_000_000), holdings=[lp])
    targets = (
        Target("WETH", 400_000),
        Target("USDC", 400_000),
        Target("uni:USDC/WETH", 200_000),
    )
    reasons = held(decided(at, targets))
    assert codes(reasons) == ["nothing_to_trade", "lp_held_out_ppm"]
    assert reasons[1].measured == 133_333


def test_a_hold_names_its_parent_and_block():
    decision = decided(holding(500_000, 250_000, 250_000))
    assert isinstance(decision, Hold)
    valuation = value(holding(500_000, 250_000, 250_000), TARGETS)
    assert decision.parent == digest(valuation)
    assert (decision.block_number, decision.block_hash) == (100, "0x" + "ab" * 32)


# Rebalancing


def test_a_plan_says_what_it_is_made_of():
    decision = planned(decided(AT, last_ts=NOW - 3_600))
    plan = decision.plan
    valuation = value(AT, TARGETS)
    ordered = tuple(sorted(TARGETS, key=lambda t: t.position))
    assert decision.parent == plan.parent == digest(valuation)
    assert plan.policy == digest({"targets": ordered, "policy": POLICY})
    assert (plan.chain_id, plan.block_number, plan.block_hash) == (1, 100, "0x" + "ab" * 32)
    assert (plan.wallet, plan.numeraire) == (AT.wallet, "USD")
    assert (plan.max_fee_wei, plan.deadline_ts, plan.max_age_blocks) == (
        100 * GWEI,
        NOW + 300,
        5,
    )
    assert codes(decision.reasons) == ["outside_band_ppm"] * 3 + ["calendar_due_s"]
    assert decision.limits == ()
    assert plan.positions == (
        ExpectedPosition("WETH", 700_000, 500_000, 500_000),
        ExpectedPosition("USDC", 180_000, 250_000, 250_000),
        ExpectedPosition("WBTC", 120_000, 250_000, 250_000),
    )
    assert [change.token for change in plan.net] == [WETH, WBTC, USDC]
    done = replay(AT, plan.legs)
    assert {a.token: a.raw for a in plan.net} == {
        token: done.balance(token) - AT.balance(token) for token in (WETH, WBTC, USDC)
    }
    assert plan.nav_after_e8 == value(done, TARGETS).nav_e8


def test_a_policy_is_told_from_another_by_its_digest():
    first = planned(decided(AT)).plan.policy
    assert first != planned(decided(AT, deadline_s=301)).plan.policy
    other = (replace(TARGETS[0], band_abs_ppm=30_000), *TARGETS[1:])
    assert first != planned(decided(AT, other)).plan.policy


def test_half_the_way_back():
    plan = planned(decided(AT, reset_ppm=500_000)).plan
    for position in plan.positions:
        halfway = (position.before_ppm + position.target_ppm) // 2
        assert abs(position.after_ppm - halfway) < 300  # the costs, shared out


def test_a_portfolio_kept_in_eth_is_planned_alike():
    in_eth = replace(
        AT,
        numeraire="WETH",
        native=replace(AT.native, denominator=AT.native.denominator * 2_000),
        prices=tuple(replace(p, denominator=p.denominator * 2_000) for p in AT.prices),
    )
    in_usd = planned(decided(AT)).plan
    plan = planned(decided(in_eth, min_trade_e8=100 * E8 // 2_000)).plan
    assert [(one.pair, one.token_in) for one in plan.legs] == [
        (one.pair, one.token_in) for one in in_usd.legs
    ]
    assert abs(plan.costs.total_e8 * 2_000 - in_usd.costs.total_e8) < 10 * 2_000


def test_an_lp_position_is_not_touched_and_the_rest_shares_what_remains():
    lp = LpHolding(USDC_WETH.address, USDC_WETH.total_supply // 100, None)  # one million
    at = snapshot(worth(WETH, 1_500_000), worth(USDC, 500_000), holdings=[lp])
    targets = (
        Target("WETH", 400_000),
        Target("USDC", 400_000),
        Target("uni:USDC/WETH", 200_000),
    )
    decision = planned(decided(at, targets))
    assert codes(decision.limits) == ["lp_held_out_ppm"]
    after = {p.name: p.after_ppm for p in decision.plan.positions}
    assert abs(after["WETH"] - after["USDC"]) <= 1
    assert replay(at, decision.plan.legs).holdings == at.holdings


# Limits that cut a plan


def test_limit__impact():
    shallow = pool(1, USDC, WETH, 1_000_000)
    at = snapshot(worth(WETH, 700_000), worth(USDC, 300_000), pairs=[shallow])
    assert codes(planned(decided(at, PAIR_TARGETS)).limits) == ["max_impact_ppm"]


def test_limit__minimum_trade():
    at = holding(7_000, 2_420, 580)
    small = {"dead_band_ppm": 0, "drift_aversion_ppm": 10 * PPM}
    assert codes(planned(decided(at, **small)).limits) == ["min_trade_e8"] * 2


def test_limit__trade_not_worth_its_cost():
    at = holding(34_000, 14_600, 11_400, pairs=[USDC_WETH, WBTC_WETH], gas_gwei=90)
    decision = planned(decided(at, drift_aversion_ppm=2 * PPM))
    assert codes(decision.limits) == ["not_worth_it_e8"]


def test_limit__pools_and_tokens_left_out():
    pairs = [
        USDC_WETH,
        WBTC_WETH,
        pool(3, WBTC, USDC, 200_000, skew_ppm=-25_000),
        replace(pool(4, WBTC, USDC, 1, amm="new"), reserve0=0, reserve1=0),
    ]
    at = holding(700_000, 120_000, 180_000, pairs=pairs)
    at = replace(at, balances=(*at.balances, worth(UNI, 0)))
    targets = (Target("WETH", 450_000), *TARGETS[1:], Target("UNI", 50_000))
    decision = planned(decided(at, targets))
    assert codes(decision.limits) == ["no_pool", "off_oracle_ppm", "pool_empty"]
    assert {p.name: p.after_ppm for p in decision.plan.positions}["UNI"] == 0


def test_limit__legs():
    crowd = [pool(i, USDC, WETH, 20_000, amm=f"amm{i}") for i in range(40)]
    at = snapshot(worth(WETH, 700_000), worth(USDC, 300_000), pairs=crowd)
    assert codes(planned(decided(at, PAIR_TARGETS)).limits) == ["max_legs"]


def test_limit__no_route():
    # WETH can go to USDC, and WBTC to UNI, but nothing from one couple to the other.
    island = pool(8, UNI, WBTC, 50_000_000)
    at = snapshot(
        worth(WETH, 500_000),
        worth(USDC, 100_000),
        worth(UNI, 100_000),
        worth(WBTC, 300_000),
        pairs=[USDC_WETH, island],
    )
    targets = tuple(Target(t, 250_000) for t in ("WETH", "USDC", "UNI", "WBTC"))
    decision = planned(decided(at, targets))
    assert set(codes(decision.limits)) == {"no_route"}
    assert len(decision.plan.legs) == 2


# Input that does not belong together


def test_a_valuation_of_another_snapshot_is_refused():
    with pytest.raises(PlanError, match="not of this snapshot"):
        decide(AT, value(holding(), TARGETS), TARGETS, POLICY, None)


def test_a_valuation_against_other_targets_is_refused():
    other = (Target("WETH", 600_000), Target("WBTC", 150_000), Target("USDC", 250_000))
    for targets in (other, TARGETS[:2], (*TARGETS, Target("UNI", 0))):
        with pytest.raises(PlanError, match="against other targets"):
            decide(AT, value(AT, TARGETS), targets, POLICY, None)


# The seam


@dataclass(frozen=True)
class Fixed:
    """A proposer that always proposes the same."""

    legs: tuple[SwapLeg, ...]
    certificate: str | None = None

    def propose(self, problem: Problem) -> Proposal:
        return Proposal(self.legs, (Reason("mine", "as I was told"),), self.certificate)


SOLD = 35 * 10**18
SELL = leg(USDC_WETH, WETH, SOLD, apply_swap(USDC_WETH, WETH, SOLD)[1])


def test_another_proposer_slots_in():
    decision = planned(decided(AT, proposer=Fixed((SELL,))))
    assert decision.plan.legs == (SELL,)
    assert codes(decision.limits) == ["mine"]


def test_a_proposer_with_nothing_holds():
    assert codes(held(decided(AT, proposer=Fixed(())))) == ["nothing_to_trade", "mine"]


def test_a_proposer_is_given_the_whole_problem():
    seen = []

    class Curious:
        def propose(self, problem: Problem) -> Proposal:
            seen.append(problem)
            return Proposal((), ())

    decided(AT, proposer=Curious())
    (got,) = seen
    assert (got.snapshot, got.targets, got.policy) == (AT, problem(AT).targets, POLICY)
    assert [p.name for p in got.valuation.positions] == ["USDC", "WBTC", "WETH"]
    assert got.gas_price_wei == 10 * GWEI
    assert got.gas_value_e8(100_000) == 2 * E8  # 0.001 ETH


@pytest.mark.parametrize(
    ("tampered", "message"),
    [
        (replace(SELL, amount_out=SELL.amount_out + 1), "leg 0 expects"),
        (replace(SELL, min_amount_out=1), "the plan contradicts itself: Leg 0 accepts 1"),
        (replace(SELL, amount_in=10**30), "and 350000000000000000000 are there"),
    ],
)
def test_a_proposal_that_cannot_be_is_a_plan_error(tampered, message):
    with pytest.raises(PlanError, match=message):
        decided(AT, proposer=Fixed((tampered,)))


def test_sales_of_what_no_earlier_leg_bought_are_a_plan_error():
    moved, usdc = apply_swap(USDC_WETH, WETH, SOLD)
    back = AT.balance(USDC) + usdc + 1
    legs = (SELL, leg(USDC_WETH, USDC, back, apply_swap(moved, USDC, back)[1]))
    with pytest.raises(PlanError, match=f"and {back - 1} are there"):
        decided(AT, proposer=Fixed(legs))


def test_a_plan_that_contradicts_itself_is_a_plan_error():
    with pytest.raises(PlanError, match="contradicts itself: The certificate") as caught:
        decided(AT, proposer=Fixed((SELL,), "{}"))
    assert caught.value.block == 100
    assert "please report it" in caught.value.hint


def test_a_proposal_beyond_a_limit_is_a_hold():
    most = AT.balance(WETH)
    dump = leg(USDC_WETH, WETH, most, apply_swap(USDC_WETH, WETH, most)[1])
    reasons = held(decided(AT, proposer=Fixed((dump,))))
    assert codes(reasons) == [
        "cost_above_benefit_e8",
        "max_impact_ppm",
        "further_off_e8",
        "further_off_e8",
        "mine",
    ]


def test_the_wrong_way_is_a_hold():
    wrong = leg(USDC_WETH, USDC, 10**10, apply_swap(USDC_WETH, USDC, 10**10)[1])
    assert codes(held(decided(AT, proposer=Fixed((wrong,))))) == [
        "cost_above_benefit_e8",
        "further_off_e8",
        "further_off_e8",
        "mine",
    ]


# Bytes


def test_the_same_input_gives_the_same_bytes_in_any_order():
    first = decided(AT)
    turned = replace(AT, balances=AT.balances[::-1], pairs=AT.pairs[::-1], prices=AT.prices[::-1])
    second = decided(turned, TARGETS[::-1])
    assert to_json(first) == to_json(decided(AT))
    assert to_json(anonymous(first)) == to_json(anonymous(second))


def test_weights_that_tie_do_not_depend_on_order():
    # Three equal thirds: one of them shows the odd ppm, whoever is listed first.
    at = snapshot(worth(WETH, 200_000), worth(WBTC, 200_000), worth(USDC, 200_000), gas_gwei=10)
    plans = [
        anonymous(planned(decided(at, targets, trigger="calendar", dead_band_ppm=0))).plan
        for targets in (TARGETS, TARGETS[::-1])
    ]
    assert isinstance(plans[0], Plan)
    assert plans[0] == plans[1]


def anonymous(decision):
    """Without the digests of the input, which are of its order as well."""
    plan = replace(decision.plan, parent="") if isinstance(decision, Rebalance) else None
    return replace(decision, parent="", **({"plan": plan} if plan else {}))


def test_a_token_that_is_no_position_is_not_sold():
    at = replace(AT, balances=(*AT.balances, Amount(UNI, 10**24)))
    at = replace(at, pairs=(*at.pairs, pool(8, UNI, USDC, 50_000_000)))
    plan = planned(decided(at)).plan
    assert UNI not in {one.token_in for one in plan.legs if not one.chained}
