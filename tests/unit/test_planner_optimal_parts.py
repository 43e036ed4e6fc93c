"""The optimal planner where its best plan breaks a limit: what it asks for instead, and names."""

from __future__ import annotations

import json
from dataclasses import replace

import planner_world
import pytest
from planner_world import (
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_WETH,
    WETH,
    decided,
    holding,
    pool,
    price,
    problem,
    snapshot,
    worth,
)

from rebalancer.model import E8, PPM, Hold, Rebalance, Target, Token, to_json
from rebalancer.planner.batch import batch_size
from rebalancer.planner.optimal import effort
from rebalancer.planner.optimal.statement import Factor
from rebalancer.planner.optimal.verify import verify
from rebalancer.planner.optimal_parts import among, shares
from rebalancer.planner.optimal_problem import stated
from rebalancer.planner.trades import MAX_ENTRIES, MAX_WATCHED

BEST = {"planner": "optimal", "drift_aversion_ppm": PPM}
#: Ten points too much WETH, and pools in which selling them costs more than may be lost.
SHALLOW = holding(pairs=(pool(1, USDC, WETH, 40_000), pool(2, WBTC, WETH, 40_000)))


def limits(decision):
    return decision.limits if isinstance(decision, Rebalance) else decision.reasons


def of(decision, code):
    return [limit for limit in limits(decision) if limit.code == code]


# --- work ------------------------------------------------------------------------------


def test_the_whole_problem_is_solved_once_however_often_its_plan_is_cut(monkeypatch):
    solved = []
    thorough = effort.thorough
    monkeypatch.setattr(effort, "thorough", lambda made: solved.append(made) or thorough(made))
    decision = decided(SHALLOW, **BEST, max_impact_ppm=100_000)
    assert isinstance(decision, Rebalance), decision
    assert of(decision, "cut_to_limits")
    assert len(solved) == 1
    # The certificate is still one of the whole problem.
    claim = json.loads(decision.plan.certificate)
    assert [p["max_impact_ppm"] for p in claim["statement"]["pools"]] == [100_000] * 2
    assert verify(decision.plan.certificate)


def test_what_is_cut_sells_no_more_than_the_share_that_it_says():
    whole = decided(SHALLOW, **BEST, max_impact_ppm=100_000, max_cost_ppm=PPM)
    cut = decided(SHALLOW, **BEST, max_impact_ppm=100_000)
    share = next(s for s in (50, 25, 10) if f"{s}.00%" in of(cut, "cut_to_limits")[0].text)
    assert cut.plan.costs.traded_e8 * 100 <= whole.plan.costs.traded_e8 * share
    assert cut.plan.benefit_e8 > cut.plan.costs.total_e8


def test_a_trade_in_the_deepest_pools_is_cut_too():
    # A share of reserves as large as these is no part per million.
    deep = tuple(pool(k, USDC, WETH, 50_000_000_000, amm=f"a{k}") for k in (1, 4))
    at = holding(600_000, 250_000, 150_000, pairs=(*deep, WBTC_WETH))
    best = effort.thorough(stated(problem(at, **BEST)))
    sold = [effort.sold_e8(part.planned) for part in shares(best)]
    for found, share in zip(sold, (50, 25, 10), strict=True):
        assert share * 99 <= found * 10_000 // effort.sold_e8(best) <= share * 100


@pytest.mark.parametrize("count", [4, 90])
def test_a_search_ends_by_what_it_trades_and_by_the_size_of_the_problem(monkeypatch, count):
    pairs = tuple(pool(k, USDC, WETH, 1_000_000 + 7_000 * k, amm=f"a{k}") for k in range(count))
    made = stated(problem(holding(pairs=(*pairs, replace(WBTC_WETH, amm="b"))), **BEST))
    asked = []
    plan = effort.plan
    monkeypatch.setattr(
        effort, "plan", lambda m, wanted: asked.append(wanted) or replace(plan(m, wanted))
    )
    found = effort.thorough(made)
    assert asked[0].nodes == 1
    assert all(wanted.clock is None for wanted in asked)
    size = len(made.assets) + len(made.pools)
    assert effort.most_nodes(made) * size <= 200_000
    for wanted in asked[1:]:
        assert wanted.nodes == effort.most_nodes(made)
        assert wanted.gap_e8 * 19_000 <= max(effort.sold_e8(found), 100_000 * 19_000)


def test_a_larger_problem_has_fewer_nodes():
    made = stated(problem(holding()))
    many = replace(made, pools=made.pools * 200)
    assert effort.most_nodes(many) * 3 < effort.most_nodes(made)


def test_a_first_plan_that_is_near_enough_is_the_answer(monkeypatch):
    asked = []
    plan = effort.plan
    monkeypatch.setattr(effort, "plan", lambda m, wanted: asked.append(wanted) or plan(m, wanted))
    found = effort.thorough(stated(problem(holding(pairs=(USDC_WETH, WBTC_WETH)), **BEST)))
    assert found.legs
    assert len(asked) == 1


# --- pools off the oracle ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "skew_ppm"),
    [
        (5_000_000, -15_000),
        (5_000_000, 15_000),
        (50_000_000, -15_000),
        (50_000_000, -10_000),
        (50_000_000, 10_000),
        (50_000_000, 15_000),
    ],
)
def test_a_deep_pool_off_the_oracle_does_not_keep_from_trading(skew_ppm, side):
    """The best plan would trade for what it seems to give, which the gate does not count."""
    stale = pool(7, USDC, WETH, side, amm="sushi", skew_ppm=skew_ppm)
    rules = {"planner": "optimal", "drift_aversion_ppm": 500_000}
    at = holding(60_000, 20_000, 20_000, pairs=(USDC_WETH, stale, WBTC_WETH))
    without = holding(60_000, 20_000, 20_000, pairs=(USDC_WETH, WBTC_WETH))
    decision, plain = decided(at, **rules), decided(without, **rules)
    assert isinstance(decision, Rebalance), decision.reasons
    assert decision.plan.legs == plain.plan.legs
    (named,) = of(decision, "off_oracle_ppm")
    assert "sushi:USDC/WETH is left out" in named.text
    assert named.measured >= 10_000
    assert named.limit == 3_000
    # The proof is still one against all plans, those with that pool included.
    claim = json.loads(decision.plan.certificate)
    assert stale.address.lower() in {p["key"] for p in claim["statement"]["pools"]}
    assert verify(decision.plan.certificate)["gap_e8"] > verify(plain.plan.certificate)["gap_e8"]


def test_where_no_plan_found_can_be_executed_pools_near_the_oracle_are_used(monkeypatch):
    thorough = effort.thorough

    def in_circles(made):
        found = thorough(made)
        return replace(found, legs=(), realised_e8=found.hold_e8)

    stale = pool(7, USDC, WETH, 5_000_000, amm="sushi", skew_ppm=15_000)
    at = holding(60_000, 20_000, 20_000, pairs=(USDC_WETH, stale, WBTC_WETH))
    monkeypatch.setattr(effort, "thorough", in_circles)
    decision = decided(at, **BEST)
    assert isinstance(decision, Rebalance), decision.reasons
    assert stale.address not in {leg.pair for leg in decision.plan.legs}
    (named,) = of(decision, "no_order")
    assert "circles" in named.text
    assert verify(decision.plan.certificate)["gap_e8"] > 0


# --- limits by name ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"max_impact_ppm": 10_000}, "max_impact_ppm"),
        ({"max_impact_ppm": 100_000, "max_pool_share_ppm": 5_000}, "max_pool_share_ppm"),
    ],
)
def test_a_pool_that_takes_no_more_is_named_with_what_is_left(changes, code):
    decision = decided(SHALLOW, **BEST, **changes, max_cost_ppm=PPM)
    found = of(decision, code)
    assert [limit.text.split(" takes")[0] for limit in found] == ["uni:USDC/WETH", "uni:WBTC/WETH"]
    assert {limit.limit for limit in found} == {changes[code]}
    left = {
        p.name: (p.after_ppm - p.target_ppm) * 1_000_000 // PPM for p in decision.plan.positions
    }
    assert left["WETH"] > 90_000
    for limit in found:
        assert limit.limit - 2 <= limit.measured <= limit.limit
        told = limit.text.split("WETH stays ")[1].split(".")[0].replace(",", "")
        assert int(told) == pytest.approx(left["WETH"], rel=0.01)
        assert "below its target" in limit.text


def test_no_pool_is_named_where_none_is_in_the_way():
    decision = decided(holding(pairs=(USDC_WETH, WBTC_WETH)), **BEST)
    assert isinstance(decision, Rebalance)
    assert [limit.code for limit in decision.limits] == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"max_impact_ppm": 1}, "max_impact_ppm"),
        ({"max_pool_share_ppm": 1}, "max_pool_share_ppm"),
        ({"max_trade_e8": 50 * E8}, "max_trade_e8"),
        ({"max_turnover_ppm": 50}, "max_turnover_e8"),  # less than the smallest trade
    ],
)
def test_a_hold_names_the_limit_without_which_it_would_trade(changes, code):
    decision = decided(holding(pairs=(USDC_WETH, WBTC_WETH)), **BEST, **changes)
    assert isinstance(decision, Hold)
    found = of(decision, code)
    assert found
    assert {limit.code for limit in limits(decision)} == {"nothing_to_trade", "most_gain_e8", code}
    if code in ("max_impact_ppm", "max_pool_share_ppm"):
        assert all(limit.measured > limit.limit == 1 for limit in found)
        assert "of WETH is left unsold for USDC" in found[0].text


def test_a_hold_that_no_limit_causes_names_none():
    rules = {"band_abs_ppm": 100, "dead_band_ppm": 0, "max_turnover_ppm": 500_000}
    at = holding(505_000, 250_000, 245_000)
    decision = decided(at, planner="optimal", drift_aversion_ppm=1_000, **rules)
    assert isinstance(decision, Hold)
    assert [reason.code for reason in decision.reasons] == ["nothing_to_trade", "most_gain_e8"]


# --- what a batch takes ------------------------------------------------------------------


def star(sellers, buyers):
    """Tokens with one pool each to USDC, some too much and some too little, of several sizes."""
    tokens = [Token(f"0x{0x1000 + k:040X}", f"T{k:02}", 18) for k in range(sellers + buyers)]
    planner_world.DOLLARS.update(dict.fromkeys(tokens, 3))
    each = 1_000_000 // len(tokens)
    short = [each // 3 + 400 * k for k in range(buyers)]
    over = sum(short) // sellers
    held = [worth(t, each + over + 900 * k) for k, t in enumerate(tokens[:sellers])]
    held += [worth(t, each - off) for t, off in zip(tokens[sellers:], short, strict=True)]
    share = PPM // (len(tokens) + 1)
    targets = [Target(t.symbol, share) for t in tokens]
    targets.append(Target("USDC", PPM - share * len(tokens)))
    pairs = tuple(pool(20 + k, t, USDC, 90_000_000) for k, t in enumerate(tokens))
    at = snapshot(*held, worth(USDC, each), worth(WETH, 0), worth(WBTC, 0), pairs=pairs)
    return replace(at, prices=(*at.prices, *(price(t) for t in tokens))), tuple(targets)


@pytest.fixture
def _dollars(monkeypatch):
    monkeypatch.setattr(planner_world, "DOLLARS", dict(planner_world.DOLLARS))


@pytest.mark.usefixtures("_dollars")
@pytest.mark.parametrize(
    ("sellers", "buyers", "code", "most"),
    [(15, 13, "max_entries", MAX_ENTRIES), (2, 19, "max_watched", MAX_WATCHED)],
)
def test_what_gains_least_is_left_out_until_a_batch_takes_the_plan(sellers, buyers, code, most):
    at, targets = star(sellers, buyers)
    rules = BEST | {"drift_aversion_ppm": 20 * PPM}
    decision = decided(at, targets, **rules, trigger="cost_aware")
    assert isinstance(decision, Rebalance), decision.reasons
    entries, watched = batch_size(decision.plan.legs)
    assert entries <= MAX_ENTRIES
    assert watched <= MAX_WATCHED
    assert (entries if code == "max_entries" else watched) >= most - 2  # no more than needed
    (named,) = of(decision, code)
    assert named.measured > named.limit == most
    assert not of(decision, "cut_to_limits")
    # What is traded of a token is traded as far as it would be anyway, not halved.
    moved = {leg.token_out.symbol for leg in decision.plan.legs}
    ways = [
        abs(p.after_ppm - p.before_ppm) / abs(p.target_ppm - p.before_ppm)
        for p in decision.plan.positions
        if p.name in moved - {"USDC"}
    ]
    assert min(ways) > 0.8
    assert verify(decision.plan.certificate)


@pytest.mark.usefixtures("_dollars")
def test_a_problem_of_few_pools_knows_only_what_they_trade_and_has_the_same_plan():
    at, targets = star(15, 13)
    made = stated(problem(at, targets, **BEST))
    pools = {pool.key for pool in made.pools[::4]}
    few, wide = among(made, pools), replace(made, pools=among(made, pools).pools)
    assert len(few.assets) == len(pools) + 1 < len(wide.assets)
    ours, theirs = effort.quick(few), effort.quick(wide)
    assert ours.legs
    assert abs(ours.gain_e8 - theirs.gain_e8) <= 10
    # With factors no asset counts on its own, so all stay.
    factor = Factor("all", tuple((asset.key, PPM) for asset in made.assets[:2]))
    assert among(replace(made, factors=(factor,)), pools).assets == made.assets


@pytest.mark.usefixtures("_dollars")
def test_the_same_input_gives_the_same_bytes_also_where_it_is_cut():
    at, targets = star(15, 13)
    first, again = (decided(at, targets, **BEST, trigger="cost_aware") for _ in range(2))
    assert isinstance(first, Rebalance)
    assert to_json(first) == to_json(again)
