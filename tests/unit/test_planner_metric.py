"""Covariance in the price of drift: by hand, in the gate, in the proof, measured and replayed."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, sqrt

import numpy as np
import pytest
from planner_world import (
    POLICY,
    TARGETS,
    USDC,
    USDC_WETH,
    WBTC,
    WETH,
    decided,
    holding,
    pool,
    problem,
    snapshot,
    worth,
)
from pydantic import TypeAdapter

from rebalancer.amm.valuation import value
from rebalancer.errors import PlanError
from rebalancer.model import E8, PPM, Circumstances, Hold, LpHolding, Target, to_json
from rebalancer.planner.benefit import benefit_e8, penalty_down_e8, penalty_up_e8
from rebalancer.planner.explain import drifting, told
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.metric import COVARIANCE_UNIT, Metric, metric_of, stated_covariances
from rebalancer.planner.optimal.covariance import RIDGE
from rebalancer.planner.optimal.verify import verify
from rebalancer.planner.optimal_problem import stated
from rebalancer.planner.proof import proof
from rebalancer.planner.restated import differences
from rebalancer.planner.verification import verify as verify_plan
from rebalancer.planner.volatility import MIN_RETURNS, YEAR_S, Observation, covariances

BEST = {"planner": "optimal", "max_impact_ppm": 50_000}
VOLATILITIES = (("USDC", 0), ("WBTC", 600_000), ("WETH", 700_000))
ALIKE = {
    "risk_volatilities": VOLATILITIES,
    "risk_correlations": (("WBTC", "WETH", 950_000),),
}
#: 6 points of NAV in WETH instead of WBTC: the same bet, or nearly.
SWAPPED = holding(560_000, 190_000, 250_000)


def form(metric: Metric, names: list[str]) -> np.ndarray:
    """The matrix of a metric."""
    matrix = np.diag([metric.weights_ppm[name] / PPM for name in names])
    for _, loads in metric.factors:
        row = np.array([loads[name] / PPM for name in names])
        matrix += np.outer(row, row)
    return matrix


def test_the_matrix_is_that_of_the_file_over_its_average_variance():
    names = ["USDC", "WBTC", "WETH"]
    metric = metric_of(problem(SWAPPED, **ALIKE))
    variances = np.array([[0, 0, 0], [0, 0.36, 0.95 * 0.42], [0, 0.95 * 0.42, 0.49]])
    expected = variances / (0.85 / 3)
    values, vectors = np.linalg.eigh(expected)
    floored = vectors @ np.diag(np.maximum(values, RIDGE)) @ vectors.T
    assert form(metric, names) == pytest.approx(floored, abs=2e-6)
    assert metric_of(problem(SWAPPED)) is None


def test_an_lp_position_moves_as_half_of_each_of_its_tokens():
    targets = (*TARGETS[:2], Target("uni:USDC/WETH", 250_000))
    at = snapshot(
        worth(WETH, 500_000), worth(WBTC, 250_000), worth(USDC, 0),
        holdings=[LpHolding(USDC_WETH.address, USDC_WETH.total_supply // 400, None)],
    )  # fmt: skip
    names = ["WBTC", "WETH", "uni:USDC/WETH"]
    found = form(metric_of(problem(at, targets, **ALIKE)), names)
    root = np.array([[0, 1, 0], [0, 0, 1], [0.5, 0, 0.5]])  # of USDC, WBTC, WETH
    tokens = np.array([[0, 0, 0], [0, 0.36, 0.95 * 0.42], [0, 0.95 * 0.42, 0.49]])
    expected = root @ tokens @ root.T
    expected /= np.trace(expected) / 3
    values, vectors = np.linalg.eigh(expected)
    floored = vectors @ np.diag(np.maximum(values, RIDGE)) @ vectors.T
    assert found == pytest.approx(floored, abs=2e-6)


def test_the_penalty_is_exact():
    """d = 0.5 each, one factor 2 x_a - x_b: by hand."""
    metric = Metric(
        {"WETH": 500_000, "WBTC": 500_000, "USDC": 500_000},
        (("f", {"WETH": 2 * PPM, "WBTC": -PPM, "USDC": 0}),),
    )
    at = value(holding(600_000, 200_000, 200_000), TARGETS)  # drifts 0.1, -0.05, -0.05
    squares = 0.5 * (0.01 + 0.0025 + 0.0025) + 0.25**2
    assert penalty_down_e8(at, 250_000, metric) == round(0.125 * 1_000_000 * squares * E8)
    assert penalty_up_e8(at, 250_000, metric) == penalty_down_e8(at, 250_000, metric)
    odd = replace(metric, weights_ppm={**metric.weights_ppm, "USDC": 1})
    assert penalty_up_e8(at, 333_333, odd) == penalty_down_e8(at, 333_333, odd) + 1
    even = value(holding(500_000, 250_000, 250_000), TARGETS)
    assert benefit_e8(at, even, 250_000, metric) == penalty_down_e8(at, 250_000, metric)


@pytest.mark.parametrize("rules", [{"planner": "greedy"}, BEST], ids=["greedy", "optimal"])
def test_one_coin_instead_of_its_like_is_not_worth_a_trade(rules):
    assert decided(SWAPPED, **rules).plan.legs
    twins = {
        "risk_volatilities": (("USDC", 0), ("WBTC", 650_000), ("WETH", 650_000)),
        "risk_correlations": (("WBTC", "WETH", 990_000),),
    }
    assert isinstance(decided(SWAPPED, **rules, **twins), Hold)
    apart = {**twins, "risk_correlations": (("WBTC", "WETH", -500_000),)}
    assert decided(SWAPPED, **rules, **apart).plan.legs


def test_dollars_for_coins_are_a_bet_whatever_the_coins():
    at = holding(560_000, 310_000, 130_000)
    plain, alike = decided(at, **BEST).plan, decided(at, **BEST, **ALIKE).plan
    sold = {c.token: -c.raw for c in alike.net if c.raw < 0}
    assert USDC not in sold
    # Which of the two is sold hardly matters: one trade does, where the plain penalty makes two.
    assert len(sold) == 1
    assert len([c for c in plain.net if c.raw < 0]) == 2


def test_the_proof_counts_what_the_gate_counts():
    at = holding(700_000, 120_000, 180_000)
    decision = decided(at, **BEST, **ALIKE)
    plan = decision.plan
    verify(plan.certificate)
    found = proof(plan.certificate)
    assert found.gain_e8 == pytest.approx(plan.benefit_e8 - plan.costs.total_e8, rel=2e-3)
    assert found.gap_e8 * 10_000 <= plan.costs.traded_e8
    made = stated(problem(at, **BEST, **ALIKE))
    assert len(made.factors) == 2
    assert {a.drift_weight_ppm for a in made.assets} == {round(RIDGE * PPM)}


def test_a_position_that_is_not_in_the_problem_is_in_no_factor():
    """LP shares of a pool that is too far off the oracle: their drift is left to the gate."""
    far = pool(9, WBTC, WETH, 1_000_000, amm="far", skew_ppm=200_000)
    targets = (*TARGETS[:2], Target("USDC", 200_000), Target("far:WBTC/WETH", 50_000))
    at = holding(
        700_000, 120_000, 180_000,
        pairs=[USDC_WETH, pool(2, WBTC, WETH, 20_000_000), far],
        holdings=[LpHolding(far.address, far.total_supply // 100, None)],
    )  # fmt: skip
    made = stated(problem(at, targets, **BEST, **ALIKE))
    assert made.stakes == ()
    keys = {asset.key for asset in made.assets}
    assert all({key for key, _ in factor.loads} <= keys for factor in made.factors)
    decision = decided(at, targets, **BEST, **ALIKE)
    inputs = Inputs(at, targets, replace(POLICY, **BEST, **ALIKE), None)
    claim = json.loads(decision.plan.certificate)["statement"]
    assert differences(decision.plan.legs, inputs, claim) == ()


def measured(**correlated):
    rows = stated_covariances(VOLATILITIES, (("WBTC", "WETH", 950_000),))
    return Circumstances(covariances=rows, **correlated)


def test_what_was_measured_stands_in_for_the_file_once_it_knows_every_token():
    by_file = metric_of(problem(SWAPPED, **ALIKE))
    asked = {"risk_half_life_s": 86_400}
    assert metric_of(problem(SWAPPED, **asked)) is None
    assert metric_of(problem(SWAPPED, **asked, circumstances=measured())) == by_file
    assert metric_of(problem(SWAPPED, circumstances=measured())) is None  # nobody asked for it
    plain = {"risk_volatilities": tuple((name, 500_000) for name, _ in VOLATILITIES)}
    assert metric_of(problem(SWAPPED, **plain, **asked, circumstances=measured())) == by_file
    # A token that came later has no returns yet: the file's stand.
    some = tuple(x for x in measured().covariances if "WBTC" not in x)
    young = problem(SWAPPED, **plain, **asked, circumstances=Circumstances(covariances=some))
    assert metric_of(young) == metric_of(problem(SWAPPED, **plain))
    with pytest.raises(PlanError, match="has no volatility"):
        metric_of(problem(SWAPPED, risk_volatilities=(("WETH", 1),)))


@pytest.mark.parametrize("rules", [{"planner": "greedy"}, BEST], ids=["greedy", "optimal"])
def test_it_replays(rules):
    at = holding(700_000, 120_000, 180_000)
    policy = replace(POLICY, **rules, risk_half_life_s=86_400)
    inputs = Inputs(at, TARGETS, policy, None, measured())
    _, decision = inputs.decide()
    assert decision.plan.legs
    assert all(finding.ok for finding in verify_plan(to_json(decision), inputs))
    assert TypeAdapter(Inputs).validate_json(to_json(inputs), strict=True) == inputs
    if rules is BEST:
        claim = json.loads(decision.plan.certificate)["statement"]
        assert differences(decision.plan.legs, inputs, claim) == ()
        other = replace(inputs, circumstances=Circumstances())
        assert any("drift_weight" in text for text in differences(decision.plan.legs, other, claim))


def returns(*rows, start=1_000_000, step=3_600):
    """Observations with these logarithmic returns of WETH and WBTC; USDC never moves."""
    found, eth, btc = [], 2_000.0, 40_000.0
    for i, (one, other) in enumerate([(0.0, 0.0), *rows]):
        eth, btc = eth * exp(one), btc * exp(other)
        found.append(Observation(start + i * step, {"WETH": eth, "WBTC": btc, "USDC": 1.0}))
    return found


def test_covariances_are_the_average_products_of_returns():
    rows = [(0.01, 0.02), (-0.02, 0.01), (0.03, 0.03)] * 8
    history = returns(*rows)
    now = history[-1].ts
    found = covariances(history, ["WETH", "WBTC", "USDC"], now, 10**15)
    per_year = YEAR_S / 3_600
    assert found["WETH", "WETH"] == pytest.approx(sum(a * a for a, _ in rows) / 24 * per_year)
    assert found["WBTC", "WETH"] == pytest.approx(sum(a * b for a, b in rows) / 24 * per_year)
    assert found["USDC", "WETH"] == 0
    assert len(found) == 6
    # Only eight half-lives count, and nine returns are too few.
    assert covariances(history, ["WETH", "WBTC"], now, 3_600) == {}
    many = returns(*rows, step=360)
    weights = [0.5 ** (age / 10) for age in range(23, -1, -1)]
    expected = sum(w * a * a for w, (a, _) in zip(weights, rows, strict=True)) / sum(weights)
    recent = covariances(many, ["WETH", "WBTC"], many[-1].ts, 3_600)
    assert recent["WETH", "WETH"] == pytest.approx(expected * YEAR_S / 360)


def test_covariances_look_only_backwards_and_need_all_of_one_period():
    history = returns(*[(0.01, -0.01)] * MIN_RETURNS)
    now = history[-1].ts
    found = covariances(history, ["WETH", "WBTC"], now, 10**6)
    assert found["WBTC", "WETH"] == pytest.approx(-found["WETH", "WETH"])
    crash = Observation(now + 60, {"WETH": 1.0, "WBTC": 1.0})
    assert covariances([*history, crash], ["WETH", "WBTC"], now, 10**6) == found
    assert covariances(history[1:], ["WETH", "WBTC"], now, 10**6) == {}  # one return short
    assert covariances(history, ["WETH", "UNI"], now, 10**6) == {}
    still = returns(*[(0.0, 0.0)] * 30)
    assert covariances(still, ["WETH", "WBTC"], still[-1].ts, 10**6) == {}


def test_units():
    (own,) = stated_covariances((("WETH", 700_000),), ())
    assert own[2] / COVARIANCE_UNIT == pytest.approx(0.49)
    assert stated_covariances((("A", PPM), ("B", PPM // 2)), (("A", "B", -200_000),)) == (
        ("A", "A", COVARIANCE_UNIT),
        ("A", "B", -COVARIANCE_UNIT // 10),
        ("B", "B", COVARIANCE_UNIT // 4),
    )
    assert sqrt(own[2] / COVARIANCE_UNIT) == pytest.approx(0.7)


def lines(**rules):
    circumstances = rules.pop("circumstances", Circumstances())
    inputs = Inputs(SWAPPED, TARGETS, replace(POLICY, **rules), None, circumstances)
    return told(drifting(inputs), "USD")[1:]


def test_plan_says_what_drifts_and_sales_are_weighed_by():
    volatility = "volatility a year USDC 0.00%, WBTC 60.00%, WETH 70.00%"
    by_file = f"Drifts cost by their covariance, from the portfolio file: {volatility}"
    assert lines(**ALIKE) == (by_file,)
    assert lines(risk_half_life_s=9, circumstances=measured()) == (
        f"Drifts cost by their covariance, from the ledger's prices: {volatility}",
    )
    assert lines(**ALIKE, risk_half_life_s=9) == (by_file,)
    (alone,) = lines(risk_half_life_s=9)
    assert alone.startswith("Each drift costs by itself until the ledger has prices enough")
    taxed = {"tax_rate_ppm": 250_000, "tax_tiers": (("USDC", 0, 1),)}
    costs = tuple(
        (name, n * 10**18) for name, n in (("USDC", 0), ("WBTC", 40_000), ("WETH", 1_500))
    )
    assert lines(**taxed, circumstances=Circumstances(costs=costs)) == (
        "WETH cost 1,500.00 USD on average and is at 2,000.00 USD: 25.00% of the gain is due on "
        "what is sold",
    )
    assert lines() == ()


def test_the_penalty_that_waiting_shows_is_the_metrics():
    found = drifting(Inputs(SWAPPED, TARGETS, replace(POLICY, **ALIKE), None))
    case = problem(SWAPPED, **ALIKE)
    assert found.penalty_e8 == penalty_up_e8(case.valuation, 250_000, metric_of(case))
    assert found.penalty_e8 * 5 < penalty_up_e8(case.valuation, 250_000)
