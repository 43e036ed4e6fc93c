"""Buckets and exposures in a decision: what fires, what is traded, where it leads."""

from __future__ import annotations

from collections.abc import Sequence

from planner_world import (
    POLICY,
    UNI,
    USDC,
    USDC_WETH,
    WBTC,
    WETH,
    holding,
    pool,
    snapshot,
    worth,
)

from rebalancer.amm.goals import position_targets
from rebalancer.amm.valuation import value
from rebalancer.model import (
    E8,
    PPM,
    Decision,
    Goal,
    Hold,
    LpHolding,
    Rebalance,
    Scheme,
    Snapshot,
    Valuation,
)
from rebalancer.planner import decide
from rebalancer.planner.bands import drifts, position_drifts
from rebalancer.planner.benefit import penalty_down_e8
from rebalancer.planner.replay import replay

MAJORS = Goal("majors", 750_000, ("WETH", "WBTC"))
SCHEME = Scheme("positions", ("WETH", "WBTC", "USDC"), (MAJORS, Goal("USDC", 250_000, ("USDC",))))
ALL_POOLS = (USDC_WETH, pool(2, WBTC, WETH, 20_000_000), pool(4, UNI, WETH, 20_000_000))


def decided(at: Snapshot, scheme: Scheme = SCHEME) -> Decision:
    targets = position_targets(at, scheme)
    return decide(at, value(at, targets), targets, POLICY, None)


def after(at: Snapshot, decision: Decision, scheme: Scheme) -> Valuation:
    assert isinstance(decision, Rebalance), decision
    return value(replay(at, decision.plan.legs), position_targets(at, scheme))


def weight(valuation: Valuation, names: Sequence[str]) -> int:
    return sum(valuation.position(name).weight_ppm for name in names)


def test_mix_of_a_bucket__is_nobodys_business() -> None:
    for weth in (0, 50_000, 700_000, 750_000):
        decision = decided(holding(weth, 750_000 - weth, 250_000))
        assert isinstance(decision, Hold)
        assert "majors" in decision.reasons[-1].text or "USDC" in decision.reasons[-1].text


def test_bucket_outside_its_band__though_no_member_is__fires_by_its_name() -> None:
    """Three members two points over each: the bucket is six over, its band is three."""
    members = ("WETH", "WBTC", "UNI")
    scheme = Scheme(
        "positions",
        (*members, "USDC"),
        (Goal("risk", 750_000, members), Goal("USDC", 250_000, ("USDC",))),
    )
    balances = [worth(token, 270_000) for token in (WETH, WBTC, UNI)]
    direct = [pool(5, UNI, USDC, 20_000_000), pool(6, WBTC, USDC, 20_000_000)]
    at = snapshot(*balances, worth(USDC, 190_000), pairs=(*ALL_POOLS, *direct))
    targets = position_targets(at, scheme)
    valuation = value(at, targets)
    assert [(d.position, d.drift_ppm) for d in drifts(valuation, targets, POLICY)] == [
        ("USDC", -60_000),
        ("risk", 60_000),
    ]
    singles = {d.position: d for d in position_drifts(valuation, targets, POLICY)}
    assert [singles[name].outside for name in members] == [False] * 3
    decision = decided(at, scheme)
    assert isinstance(decision, Rebalance)
    assert {r.code for r in decision.reasons} >= {"outside_band_ppm"}
    assert any("risk drifted +6.00 points" in reason.text for reason in decision.reasons)
    done = after(at, decision, scheme)
    assert abs(weight(done, members) - 750_000) <= 500
    mix = [done.position(name).weight_ppm for name in members]
    assert max(mix) - min(mix) <= 500  # sold in equal parts


def test_drift_of_a_bucket__is_penalised_as_one() -> None:
    """Six points in one bucket and six in one position cost the same, however it is made up."""
    lone = Scheme(
        "positions",
        ("WETH", "WBTC", "USDC"),
        tuple(Goal(n, w, (n,)) for n, w in (("WETH", 750_000), ("WBTC", 0), ("USDC", 250_000))),
    )
    for mixed in (405_000, 700_000):
        at = holding(mixed, 810_000 - mixed, 190_000)
        alone = holding(810_000, 0, 190_000)
        found = [
            penalty_down_e8(value(a, position_targets(a, s)), PPM)
            for a, s in ((at, SCHEME), (alone, lone))
        ]
        # kappa / 2 * NAV * (0.06^2 + 0.06^2) with kappa 1.
        assert found[0] == found[1] == 3_600 * E8


def test_bucket_with_lp__the_tokens_make_up_for_it() -> None:
    lp = LpHolding(USDC_WETH.address, USDC_WETH.total_supply // 500, None)  # 200,000 dollars
    scheme = Scheme(
        "positions",
        ("WETH", USDC_WETH.name, "USDC"),
        (Goal("yield", 500_000, ("USDC", USDC_WETH.name)), Goal("WETH", 500_000, ("WETH",))),
    )
    at = snapshot(worth(WETH, 600_000), worth(USDC, 200_000), pairs=ALL_POOLS, holdings=[lp])
    decision = decided(at, scheme)
    done = after(at, decision, scheme)
    assert abs(weight(done, ("USDC", USDC_WETH.name)) - 500_000) <= 500
    assert isinstance(decision, Rebalance)
    assert not any(reason.code.startswith("lp_held_out") for reason in decision.limits)


def test_exposures__the_trades_lead_to_the_wanted_exposures() -> None:
    """200,000 dollars of LP hold half of each: the tokens are traded so that the sums are right."""
    lp = LpHolding(USDC_WETH.address, USDC_WETH.total_supply // 500, None)
    goals = (Goal("WETH", 600_000, ("WETH",)), Goal("USDC", 400_000, ("USDC",)))
    scheme = Scheme("exposures", ("WETH", "USDC", USDC_WETH.name), goals)
    at = snapshot(worth(WETH, 300_000), worth(USDC, 500_000), pairs=ALL_POOLS, holdings=[lp])
    done = after(at, decided(at, scheme), scheme)
    exposures = {e.symbol: e.weight_ppm for e in done.exposures}
    assert abs(exposures["WETH"] - 600_000) <= 500
    assert abs(exposures["USDC"] - 400_000) <= 500
    level = snapshot(worth(WETH, 500_000), worth(USDC, 300_000), pairs=ALL_POOLS, holdings=[lp])
    assert isinstance(decided(level, scheme), Hold)


def test_multiplier__the_trades_lead_to_the_wanted_notional() -> None:
    """UNI stands for a token with twice the exposure."""
    goals = (Goal("risk", 600_000, ("UNI", "WETH")), Goal("USDC", 400_000, ("USDC",)))
    scheme = Scheme("exposures", ("UNI", "WETH", "USDC"), goals, (("UNI", 2 * PPM),))
    at = snapshot(worth(WETH, 300_000), worth(UNI, 300_000), worth(USDC, 400_000), pairs=ALL_POOLS)
    done = after(at, decided(at, scheme), scheme)
    notional = {
        e.symbol: e.value_e8 if e.notional_e8 is None else e.notional_e8 for e in done.exposures
    }
    risk = notional["UNI"] + notional["WETH"]
    assert abs(risk * PPM // (risk + notional["USDC"]) - 600_000) <= 1_000
