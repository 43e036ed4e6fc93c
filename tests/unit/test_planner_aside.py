"""Tax and the reserve for slippage: what they are, that plans count them, that they replay."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from planner_world import (
    POLICY,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_WETH,
    WETH,
    decided,
    holding,
    leg,
    problem,
    worth,
)
from pydantic import TypeAdapter

from rebalancer.amm.swap import get_amount_out
from rebalancer.model import (
    E8,
    PPM,
    Amount,
    Circumstances,
    Hold,
    Policy,
    Rebalance,
    Target,
    to_json,
    to_plain,
)
from rebalancer.planner.aside import Tier, cost_of, reserve_e8, tax_e8, tax_tiers
from rebalancer.planner.costs import appraise, cost_gate
from rebalancer.planner.explain import why
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.optimal.verify import verify
from rebalancer.planner.optimal_problem import stated
from rebalancer.planner.proof import proof
from rebalancer.planner.restated import differences
from rebalancer.planner.verification import verify as verify_plan

AT = holding(700_000, 120_000, 180_000)
TARGETS = (Target("WETH", 500_000), Target("WBTC", 250_000), Target("USDC", 250_000))
BOTH = [{"planner": "greedy"}, {"planner": "optimal", "max_impact_ppm": 50_000}]
NUMBER = 10**18
SCHEDULE = (("WETH", 0, 2_000), ("WETH", 10 * NUMBER, 8_000))


def known(**dollars):
    """What tokens cost by the ledger."""
    return Circumstances(costs=tuple((symbol, n * NUMBER) for symbol, n in dollars.items()))


def tiers(token, circumstances=None, **rules):
    found = circumstances or Circumstances()
    return tax_tiers(AT, replace(POLICY, **rules), found, token)


def test_tiers__the_rate_on_the_part_of_the_price_that_is_gain():
    gain = {"tax_rate_ppm": 250_000}
    assert tiers(WETH, known(WETH=1_500), **gain) == (Tier(0, 62_500),)  # 25 % of a quarter
    assert tiers(WETH, known(WETH=1_999), **gain) == (Tier(0, 125),)
    assert tiers(WBTC, known(WBTC=30_000), **gain) == (Tier(0, 62_500),)
    third = known(WETH=1_333)
    assert tiers(WETH, third, **gain) == (Tier(0, 83_375),)
    assert tiers(WETH, third, tax_rate_ppm=1) == (Tier(0, 1),)  # rounded up
    for at_least in (2_000, 5_000):  # a loss brings nothing
        assert tiers(WETH, known(WETH=at_least), **gain) == ()
    assert tiers(WETH, known(WETH=0), tax_rate_ppm=999_999) == (Tier(0, 999_999),)


def test_tiers__the_ledger_knows_better_than_the_file_and_nobody_knows_of_no_gain():
    rules = {"tax_rate_ppm": 250_000, "tax_costs": (("WETH", 1_000 * NUMBER),)}
    assert tiers(WETH, **rules) == (Tier(0, 125_000),)
    assert tiers(WETH, known(WETH=1_500), **rules) == (Tier(0, 62_500),)
    assert tiers(WBTC, **rules) == ()
    assert cost_of(replace(POLICY, **rules), Circumstances(), WBTC) is None


def test_tiers__a_schedule_is_all_there_is_of_its_token():
    rules = {"tax_rate_ppm": 250_000, "tax_tiers": SCHEDULE}
    assert tiers(WETH, known(WETH=1), **rules) == (Tier(0, 2_000), Tier(10**19, 8_000))
    # Half a unit of a token of six decimals is no unit: the dearer tier holds from 0 on.
    fine = (("USDC", 0, 1_000), ("USDC", 5 * 10**11, 3_000), ("USDC", NUMBER, 4_000))
    assert tiers(USDC, tax_tiers=fine) == (Tier(0, 3_000), Tier(10**6, 4_000))


def test_tax__of_the_net_amount_by_tier_rounded_up():
    policy = replace(POLICY, tax_tiers=SCHEDULE)
    nothing = Circumstances()
    sold = [Amount(WETH, -15 * NUMBER), Amount(WBTC, -(10**8)), Amount(USDC, 5)]
    assert tax_e8(AT, policy, nothing, sold) == 15 * 2_000 * E8 // 500 + 5 * 2_000 * E8 * 6 // 1_000
    assert tax_e8(AT, policy, nothing, [Amount(WETH, 15 * NUMBER)]) == 0
    assert tax_e8(AT, policy, nothing, [Amount(WETH, -1)]) == 1
    assert tax_e8(AT, POLICY, nothing, sold) == 0
    assert tax_e8(AT, policy, nothing, [Amount(replace(WETH, symbol="LP"), -1)]) == 0


def test_reserve__of_what_every_swap_pays_chained_ones_too():
    policy = replace(POLICY, slippage_reserve_ppm=500)
    mid = get_amount_out(10**18, *USDC_WETH.reserves(WETH), 3_000)
    legs = [leg(USDC_WETH, WETH, 10**18, mid), leg(WBTC_WETH, WETH, 10**18, 4_985_000)]
    paid = mid * 100 + 4_985_000 * 40_000  # in 1e-8 dollars
    assert reserve_e8(AT, policy, legs) == -(-paid * 500 // PPM)
    assert reserve_e8(AT, POLICY, legs) == 0


def swap(amount_in):
    amount_out = get_amount_out(amount_in, *USDC_WETH.reserves(WETH), 3_000)
    return [leg(USDC_WETH, WETH, amount_in, amount_out)]


def test_the_gate_counts_both_and_the_share_of_trading_neither():
    rules = {"tax_rate_ppm": 500_000, "slippage_reserve_ppm": 1_000, "circumstances": known(WETH=1)}
    plain = appraise(problem(AT), swap(50 * 10**18))
    taxed = appraise(problem(AT, **rules), swap(50 * 10**18))
    assert taxed.costs.tax_e8 == 50 * 2_000 * E8 * 499_750 // PPM
    assert taxed.costs.reserve_e8 > 99 * E8
    assert taxed.costs.total_e8 == plain.costs.total_e8
    assert taxed.gate_cost_e8 == plain.gate_cost_e8 + taxed.costs.beside_e8
    assert cost_gate(problem(AT), plain) == ()
    (reason,) = cost_gate(problem(AT, **rules), taxed)
    assert (reason.code, reason.measured) == ("cost_above_benefit_e8", taxed.gate_cost_e8)
    assert "49,975.00 USD tax, 99." in reason.text
    assert reason.text.count("set aside for slippage") == 1


@pytest.mark.parametrize("rules", BOTH)
def test_what_a_tax_makes_too_dear_is_not_sold(rules):
    assert isinstance(decided(AT, **rules), Rebalance)
    dear = decided(AT, **rules, tax_rate_ppm=400_000, circumstances=known(WETH=100))
    # The optimal planner mends what it can without: dollars for WBTC, though both are short.
    net = dear.plan.net if isinstance(dear, Rebalance) else ()
    assert isinstance(dear, Hold) == (rules["planner"] == "greedy")
    assert not [change for change in net if change.token == WETH and change.raw < 0]
    nothing_gained = decided(AT, **rules, tax_rate_ppm=400_000, circumstances=known(WETH=2_000))
    assert isinstance(nothing_gained, Rebalance)
    assert nothing_gained.plan.costs.tax_e8 == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"tax_rate_ppm": 250_000, "circumstances": known(WETH=1_900)},
        {"tax_tiers": SCHEDULE},
        {"slippage_reserve_ppm": 2_000},
    ],
    ids=["gain", "schedule", "reserve"],
)
def test_the_optimal_planner_trades_less_where_it_costs_more(changes):
    best = BOTH[1]
    free, dear = (decided(AT, **best, **more).plan for more in ({}, changes))
    assert 0 < dear.costs.traded_e8 < free.costs.traded_e8
    assert dear.costs.beside_e8 > 0
    verify(dear.certificate)
    found = proof(dear.certificate)
    # The objective that was solved counts just what the plan says it costs.
    cost = dear.costs.total_e8 + dear.costs.beside_e8
    assert found.gain_e8 == pytest.approx(dear.benefit_e8 - cost, rel=2e-3)
    assert found.gap_e8 * 10_000 <= dear.costs.traded_e8
    # By the same rules, what was best without them is worse.
    again = appraise(problem(AT, **best, **changes), free.legs)
    assert again.gain_e8 < dear.benefit_e8 - cost + E8


def test_the_next_tier_is_only_sold_where_it_is_worth_it():
    """Without a tax it would sell most of the 100 WETH that are beyond the target."""
    steep = (("WETH", 0, 1_000), ("WETH", 40 * NUMBER, 60_000))
    plan = decided(AT, **BOTH[1], tax_tiers=steep).plan
    sold = -next(change.raw for change in plan.net if change.token == WETH)
    assert 40 * NUMBER - 10**15 <= sold <= 40 * NUMBER + 10**15


def test_what_is_bought_or_no_position_has_no_tax_in_the_problem():
    made = stated(problem(AT, **BOTH[1], tax_rate_ppm=PPM // 4, circumstances=known(WBTC=1)))
    taxed = {asset.key: asset.tax for asset in made.assets}
    assert [key for key, found in taxed.items() if found] == [WBTC.address.lower()]
    assert made.reserve_ppm == 0
    some = stated(problem(AT, **BOTH[1], slippage_reserve_ppm=700))
    assert some.reserve_ppm == 700
    two = (Target("WETH", 500_000), Target("USDC", 500_000))
    passing = stated(problem(AT, two, **BOTH[1], tax_tiers=(("WBTC", 0, 5_000),)))
    assert all(not asset.tax for asset in passing.assets)


def test_a_withdrawal_is_raised_whatever_the_tax():
    wanted = Circumstances(withdrawal=worth(USDC, 300_000), costs=known(WETH=1).costs)
    for rules in BOTH:
        plan = decided(AT, **rules, tax_rate_ppm=400_000, circumstances=wanted).plan
        bought = next(change.raw for change in plan.net if change.token == USDC)
        assert bought >= worth(USDC, 120_000).raw
        assert plan.costs.tax_e8 > 0


def test_why_says_that_both_are_in_the_cost():
    inputs = Inputs(AT, TARGETS, replace(POLICY, slippage_reserve_ppm=500), None)
    said = [answer.text for step in why(inputs) for answer in step.answers]
    assert len([text for text in said if "tax and the reserve for slippage are in it" in text]) == 1
    plain = replace(inputs, policy=POLICY)
    assert not [a for step in why(plain) for a in step.answers if "reserve" in a.text]


@pytest.mark.parametrize("rules", BOTH)
def test_it_replays(rules):
    policy = replace(POLICY, **rules, tax_rate_ppm=250_000, slippage_reserve_ppm=500)
    inputs = Inputs(AT, TARGETS, policy, None, known(WETH=1_950))
    _, decision = inputs.decide()
    assert decision.plan.costs.tax_e8 > 0
    assert all(finding.ok for finding in verify_plan(to_json(decision), inputs))
    told = TypeAdapter(Inputs).validate_json(to_json(inputs), strict=True)
    assert told == inputs
    lower = replace(inputs, circumstances=known(WETH=1_900))
    assert not all(finding.ok for finding in verify_plan(to_json(decision), lower))


@pytest.mark.parametrize(
    "rules",
    [
        {"tax_rate_ppm": 250_000, "tax_costs": (("WBTC", 7 * NUMBER), ("WETH", 10**30))},
        {"tax_tiers": (*SCHEDULE, ("USDC", 5 * 10**11, 3), ("USDC", 6 * 10**11, 5))},
        {"slippage_reserve_ppm": 500},
    ],
    ids=["gain", "schedule", "reserve"],
)
def test_a_certificate_of_another_tax_or_reserve_is_told_apart(rules):
    policy = replace(POLICY, **BOTH[1], **rules)
    inputs = Inputs(AT, TARGETS, policy, None, known(WETH=1_950))
    plan = inputs.decide()[1].plan
    claim = json.loads(plan.certificate)["statement"]
    assert differences(plan.legs, inputs, claim) == ()
    other = replace(inputs, policy=replace(policy, tax_rate_ppm=0, tax_tiers=()))
    if "slippage_reserve_ppm" in rules:
        other = replace(inputs, policy=replace(policy, slippage_reserve_ppm=0))
        assert differences(plan.legs, other, claim) == ("reserve_ppm 500, by the inputs 0",)
    else:
        assert any("tax of W" in text for text in differences(plan.legs, other, claim))


def test_without_either_nothing_is_written():
    """What older versions signed with its digest is still canonical."""
    plain = to_plain(decided(AT).plan.costs)
    assert not {"tax_e8", "reserve_e8"} & set(plain)
    assert not any(name.startswith(("tax", "slippage_r")) for name in to_plain(POLICY))
    assert "costs" not in to_plain(Circumstances())
    old = json.dumps(to_plain(POLICY))
    assert TypeAdapter(Policy).validate_json(old, strict=True) == POLICY
