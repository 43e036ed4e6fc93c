"""What ``plan`` says that a certificate proves."""

from __future__ import annotations

import pytest
from planner_world import TARGETS, USDC, WETH, decided, holding, pool, snapshot, worth
from rich.console import Console

from rebalancer.model import PPM, Circumstances, Decision, Rebalance, Target
from rebalancer.planner.proof import proof
from rebalancer.planner.withdrawal import proves_raising
from rebalancer.report.numbers import money
from rebalancer.report.plan import decision_view

BEST = {"planner": "optimal", "max_impact_ppm": 50_000, "max_cost_ppm": PPM}
SHALLOW = snapshot(
    worth(WETH, 700_000), worth(USDC, 300_000), pairs=(pool(1, WETH, USDC, 200_000),)
)


def line(decision: Decision) -> str:
    """The line of the certificate."""
    assert isinstance(decision, Rebalance)
    console = Console(width=400)
    with console.capture() as capture:
        console.print(decision_view(decision, "USD"))
    (found,) = [x for x in capture.get().splitlines() if x.startswith("certificate")]
    return found


def test_a_plan_is_worth_so_much_more_than_holding() -> None:
    decision = decided(holding(700_000, 120_000, 180_000), **BEST)
    assert isinstance(decision, Rebalance)
    found = proof(decision.plan.certificate or "")
    assert f"worth {money(found.gain_e8, 'USD')} USD more than holding" in line(decision)
    assert line(decision).endswith(f"by more than {money(found.gap_e8, 'USD')} USD")


@pytest.mark.parametrize(
    ("at", "targets", "dollars", "says"),
    [
        (holding(), TARGETS, 300_000, "the withdrawal is raised"),
        (SHALLOW, (Target("WETH", 500_000), Target("USDC", 500_000)), 600_000,
         "a part of the withdrawal is raised"),
    ],
)  # fmt: skip
def test_what_a_withdrawal_is_charged_is_no_gain(at, targets, dollars, says) -> None:
    """Holding is charged twice the value of what is missing: that is urgency, and no money."""
    asked = Circumstances(withdrawal=worth(USDC, dollars))
    decision = decided(at, targets, **BEST, circumstances=asked)
    assert isinstance(decision, Rebalance)
    found = proof(decision.plan.certificate or "")
    assert proves_raising(decision.plan.certificate or "")
    assert found.gain_e8 > 40_000 * 10**8
    assert line(decision) == (
        f"certificate   {says}; no plan that raises as much is better by more than "
        f"{money(found.gap_e8, 'USD')} USD, costs and drift counted"
    )


def test_a_withdrawal_that_is_there_is_no_other_plan() -> None:
    asked = Circumstances(withdrawal=worth(USDC, 50_000))
    decision = decided(holding(), **BEST, circumstances=asked)
    assert isinstance(decision, Rebalance)
    assert not proves_raising(decision.plan.certificate or "")
    assert "more than holding" in line(decision)
