"""Tax, reserve and covariance from the portfolio file to the plan, its file and the ledger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Workspace

RULES = (
    "risk: {volatilities: {WETH: 70%, WBTC: 60%, USDC: 0%}, correlations: {WETH/WBTC: 80%}}",
    "tax: {rate: 10%, costs: {WETH: 1000}}",
    "slippage_reserve: 2bp",
)


def policy(place: Workspace, *lines: str) -> None:
    """Put lines of policy in front of those that are there."""
    place.edit(place.portfolio, "policy:\n", "policy:\n" + "".join(f"  {x}\n" for x in lines))


@pytest.mark.parametrize("planner", ["greedy", "optimal"])
def test_plan__shows_what_each_costs_and_replays(drifted: Workspace, planner: str) -> None:
    policy(drifted, f"planner: {planner}", "max_price_age: 10d", *RULES)
    drifted.edit(drifted.portfolio, "drift_aversion: 50%", "drift_aversion: 5000%")
    out = drifted.run("plan").out
    assert "from the portfolio file: volatility a year USDC 0.00%, WBTC 60.00%, WETH 70.00%" in out
    assert "WETH cost 1,000.00 USD on average and is at " in out
    assert "10.00% of the gain is due on what is sold" in out
    # The optimal planner redeems liquidity, and sells just the WETH that it brings: no tax is due.
    labels = ["total cost", "set aside for slippage"]
    labels += ["tax on what is sold"] if planner == "greedy" else []
    for label in labels:
        (row,) = [line for line in out.splitlines() if label in line]
        assert any(digit in row for digit in "123456789")

    document = drifted.run("plan", "--json").json
    costs = document["plan"]["costs"]
    net = {c["token"]["symbol"]: c["raw"] for c in document["plan"]["net"]}
    sold = min(net.get("WETH", 0), 0)
    price = next(
        p for p in document["inputs"]["snapshot"]["prices"] if p["token"]["symbol"] == "WETH"
    )
    value_e8 = -sold * price["numerator"] / price["denominator"]
    gain = 1 - 1_000 * 10**8 / (10**18 * price["numerator"] / price["denominator"])
    assert costs.get("tax_e8", 0) == pytest.approx(value_e8 * gain / 10, rel=1e-4)
    assert (sold < 0) == (planner == "greedy")
    assert costs["reserve_e8"] > 0
    assert document["plan"]["benefit_e8"] > costs["total_e8"] + costs.get("tax_e8", 0)
    path = drifted.folder / "plan.json"
    path.write_text(json.dumps(document))
    done = drifted.run("plan", "--verify", str(path))
    assert done.code == 0, done.out + done.err

    document["plan"]["costs"]["reserve_e8"] -= 1
    path.write_text(json.dumps(document))
    assert drifted.run("plan", "--verify", str(path)).code == 4


def test_rebalance__what_is_bought_is_remembered_at_its_price(drifted: Workspace) -> None:
    policy(drifted, "max_price_age: 10d", "tax: {rate: 10%, costs: {WETH: 1000}}")
    drifted.edit(drifted.portfolio, "drift_aversion: 50%", "drift_aversion: 5000%")
    assert drifted.run("rebalance", "--execute").code == 0
    known = dict(drifted.run("plan", "--json").json["inputs"]["circumstances"]["costs"])
    assert known["WETH"] == 1_000 * 10**18  # sold: the average stays
    assert known["USDC"] == 10**18


def test_exposures__liquidity_is_redeemed_where_a_goal_needs_it(drifted: Workspace) -> None:
    """10 % of NAV is WETH in the pool, and no more than 4 % is wanted at all."""
    text = drifted.portfolio.read_text()
    start, end = text.index("positions:"), text.index("policy:")
    goals = """targets_on: exposures
positions:
  - {token: WETH, target: 4%}
  - {token: WBTC, target: 40%}
  - {token: USDC, target: 56%}
  - {lp: "uniswap_v2:WETH/USDC"}

"""
    drifted.portfolio.write_text(text[:start] + goals + text[end:])
    drifted.edit(drifted.portfolio, "drift_aversion: 50%", "drift_aversion: 5000%")
    drifted.edit(drifted.portfolio, "max_impact: 1%", "max_impact: 5%")
    policy(drifted, "planner: optimal", "max_price_age: 10d")
    document = drifted.run("plan", "--json").json
    assert any("min_amount0" in leg for leg in document["plan"]["legs"])  # a removal
    path = drifted.folder / "plan.json"
    path.write_text(json.dumps(document))
    done = drifted.run("plan", "--verify", str(path))
    assert done.code == 0, done.out + done.err
    assert drifted.run("rebalance", "--execute", "--json").json["executed"] is True
    after = drifted.run("status", "--json").json["exposure_goals"]
    assert max(abs(goal["drift_ppm"]) for goal in after) < 5_000


def test_a_mistake_in_the_file_is_one_line(drifted: Workspace) -> None:
    policy(drifted, "risk: {volatilities: {WETH: 70%}}")
    done = drifted.run("plan")
    assert done.code == 2
    assert "policy.risk.volatilities: WBTC is missing" in done.err
    assert "Traceback" not in done.err
