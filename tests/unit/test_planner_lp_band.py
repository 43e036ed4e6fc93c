"""The J-band of an LP position, where the planner moves it; where it does not, that is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from planner_world import (
    POLICY,
    USDC_WETH,
    WBTC_USDC,
    WBTC_WETH,
    decided,
    holding,
    problem,
)
from rich.console import Console

from rebalancer.model import (
    E8,
    PPM,
    Circumstances,
    LpHolding,
    PairState,
    Rebalance,
    RemoveLeg,
    Snapshot,
    Target,
)
from rebalancer.planner import PRAGUE
from rebalancer.planner.bands import band_ppm
from rebalancer.planner.calibration import Rules, settle
from rebalancer.planner.explain import drifting, told
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.jband import best_band, kappa
from rebalancer.report.why import waiting_view

LP = USDC_WETH.name
TARGETS = (
    Target("WETH", 300_000),
    Target("WBTC", 200_000),
    Target("USDC", 200_000),
    Target(LP, 300_000),
)
BAND: dict[str, Any] = {
    "reset": "optimal", "planner": "optimal", "risk_aversion_ppm": 4 * PPM,
    "volatility_ppm": 600_000, "trigger": "threshold",
}  # fmt: skip


def wallet(lp_dollars: int, pair: PairState = USDC_WETH, **dollars: int) -> Snapshot:
    """Shares of so many dollars beside tokens of a million less these."""
    shares = pair.total_supply * lp_dollars // 100_000_000
    pairs = (pair, WBTC_WETH, WBTC_USDC)
    return holding(**dollars, holdings=(LpHolding(pair.address, shares, None),), pairs=pairs)


AT = wallet(300_000, weth=300_000, wbtc=200_000, usdc=200_000)


def rules(at: Snapshot = AT, targets: tuple[Target, ...] = TARGETS, **changes: Any) -> Rules:
    policy = replace(POLICY, **BAND | changes)
    ordered = tuple(sorted(targets, key=lambda t: t.position))
    nav = problem(at, targets).valuation.nav_e8
    return settle(at, nav, ordered, policy, PRAGUE, Circumstances())


@pytest.mark.parametrize("fee_on", [False, True])
def test_it_is_that_of_redeeming_and_one_swap_of_half(fee_on: bool) -> None:
    at = wallet(300_000, replace(USDC_WETH, protocol_fee_on=fee_on),
                weth=300_000, wbtc=200_000, usdc=200_000)  # fmt: skip
    made = rules(at)
    lp = next(w for w in made.wanders if w.name == LP)
    gas = PRAGUE.trade() + PRAGUE.per_remove + PRAGUE.per_approval
    gas += PRAGUE.protocol_fee * fee_on
    fixed = at.native.value_up(gas * 10 * 10**9) / (1_000_000 * E8)
    variance = (0.3 * 0.7 * 0.6) ** 2
    band = best_band(variance, 4 * 0.6**2, fixed, 0.0015)
    assert (lp.rate_ppm, lp.volatility_ppm) == (1_500, 600_000)
    assert (lp.trigger_ppm, lp.reset_ppm) == (
        pytest.approx(band.trigger * PPM, abs=1), pytest.approx(band.reset * PPM, abs=1),
    )  # fmt: skip
    assert lp.kappa_ppm == pytest.approx(kappa(band, variance) * PPM, abs=1)
    bands = {t.position: band_ppm(t, made.policy) for t in made.targets}
    assert bands[LP] == lp.trigger_ppm != 30_000
    # No drift is priced higher than its own band would, LP positions' neither.
    assert made.policy.drift_aversion_ppm == min(w.kappa_ppm for w in made.wanders)


def test_it_triggers_there_and_is_redeemed() -> None:
    lp = next(w for w in rules().wanders if w.name == LP)
    for off, fires in ((lp.trigger_ppm - 500, False), (lp.trigger_ppm + 1_500, True)):
        # A million dollars: a ppm is a dollar, and the others share what the LP position has more.
        at = wallet(300_000 + off, weth=300_000 - off // 3, wbtc=200_000 - off // 3,
                    usdc=200_000 - off // 3)  # fmt: skip
        decision = decided(at, TARGETS, **BAND)
        assert isinstance(decision, Rebalance) == fires, decision
        if isinstance(decision, Rebalance):
            assert any(isinstance(leg, RemoveLeg) for leg in decision.plan.legs)
            assert decision.reasons[0].limit == pytest.approx(lp.trigger_ppm, abs=5)


@pytest.mark.parametrize(
    ("changes", "targets", "why"),
    [
        ({"planner": "greedy"}, TARGETS, "the greedy planner trades no LP positions"),
        ({"max_off_oracle_ppm": 0}, TARGETS, "no usable pool trades it"),
        ({}, (*TARGETS[:2], Target("USDC", 500_000), Target(LP, 0)), "its target is 0.00%"),
    ],
)
def test_where_none_is_derived_the_files_stands_and_that_is_said(changes, targets, why) -> None:
    off = replace(USDC_WETH, reserve0=USDC_WETH.reserve0 * 1_001 // 1_000)
    at = wallet(300_000, off, weth=300_000, wbtc=200_000, usdc=200_000)
    made = rules(at, targets, **changes)
    assert LP not in {w.name for w in made.wanders}
    assert {t.position: band_ppm(t, made.policy) for t in made.targets}[LP] == 30_000
    found = drifting(Inputs(at, targets, replace(POLICY, **BAND | changes), None))
    said = [reason for reason in found.kept if reason.text.startswith(LP)]
    assert [(r.code, r.measured) for r in said] == [("band_kept_ppm", 30_000)]
    assert said[0].text.startswith(f"{LP} keeps the file's band of 3.00: {why}")
    assert said[0].text in told(found, "USD")


def test_what_is_looked_through_has_none() -> None:
    kept = (*TARGETS[:3], replace(TARGETS[3], kept=True))
    assert LP not in {w.name for w in rules(targets=kept).wanders}


def test_the_table_has_it() -> None:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(
            waiting_view(drifting(Inputs(AT, TARGETS, replace(POLICY, **BAND), None)), "USD")
        )
    table = capture.get().partition("Cheapest bands")[2]
    assert LP in table
    assert "keeps the file's band" not in capture.get()


def test_bands_that_are_no_rule_are_not_missed() -> None:
    changes = BAND | {"reset": "share", "planner": "greedy"}
    assert drifting(Inputs(AT, TARGETS, replace(POLICY, **changes), None)).kept == ()
