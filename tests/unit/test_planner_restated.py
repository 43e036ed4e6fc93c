"""A certificate has to be about the portfolio's own problem, whatever its bridge has forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from planner_world import (
    POLICY,
    TARGETS,
    UNI,
    USDC,
    USDC_WETH,
    WBTC_USDC,
    WBTC_WETH,
    WETH,
    holding,
    pool,
    worth,
)

from rebalancer.model import (
    E8,
    PPM,
    Amount,
    Circumstances,
    GasReserve,
    LpHolding,
    Plan,
    Rebalance,
    Target,
    TokenGas,
    to_json,
    to_plain,
)
from rebalancer.planner.decision import asked
from rebalancer.planner.explain import posed
from rebalancer.planner.gas_schedule import PRAGUE
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.optimal import bridge
from rebalancer.planner.optimal.statement import statement
from rebalancer.planner.optimal_problem import stated
from rebalancer.planner.restated import differences
from rebalancer.planner.verification import verify

Stated = dict[str, Any]
BEST = replace(POLICY, planner="optimal", drift_aversion_ppm=500_000)
PLAIN = Inputs(holding(), TARGETS, BEST, None)


@pytest.fixture(scope="module")
def plan() -> Plan:
    decision = PLAIN.decide()[1]
    assert isinstance(decision, Rebalance)
    return decision.plan


def pools_with(key: str, **changes: Any) -> Callable[[Stated], Stated]:
    """The statement's arguments with the pool at ``key`` changed, without it if nothing changes."""

    def altered(stated: Stated) -> Stated:
        pools = [
            replace(p, **changes) if p.key.endswith(key) else p
            for p in stated["pools"]
            if changes or not p.key.endswith(key)
        ]
        return stated | {"pools": pools}

    return altered


def assets_with(**changes: Callable[[Any], int]) -> Callable[[Stated], Stated]:
    def altered(stated: Stated) -> Stated:
        assets = [
            replace(a, **{name: change(a) for name, change in changes.items()})
            for a in stated["assets"]
        ]
        return stated | {"assets": assets}

    return altered


FAULTS: dict[str, tuple[Callable[[Stated], Stated], str]] = {
    "best pool left out": (pools_with("b1"), "uni:USDC/WETH is missing in its pools"),
    "kappa halved": (lambda s: s | {"kappa_ppm": 250_000}, "kappa_ppm 250000, by the inputs"),
    "targets": (assets_with(target_ppm=lambda a: a.target_ppm - 50_000), "target_ppm of WETH"),
    "gas": (pools_with("b1", swap_e8=10**9), "swap_e8 of uni:USDC/WETH 1000000000, by the"),
    "impact": (pools_with("b1", max_impact_ppm=1_000), "max_impact_ppm of uni:USDC/WETH 1000"),
    "nav": (lambda s: s | {"nav_e8": s["nav_e8"] + E8}, "nav_e8 100000100000000, by the inputs"),
    "base": (lambda s: s | {"base_e8": 0}, "base_e8 0, by the inputs"),
    "decimals": (
        assets_with(
            price_denominator=lambda a: a.price_denominator * 10,
            price_numerator=lambda a: a.price_numerator * 10,
        ),
        "price_numerator of WETH 2000000000000, by the inputs",
    ),
    "watched": (assets_with(watched=lambda a: 1), "watched of"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_bridge_is_seen(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Deciding again has the same fault, so the bytes are the same, and the proof is sound."""
    altered, words = FAULTS[fault]
    monkeypatch.setattr(bridge, "statement", lambda **parts: statement(**altered(parts)))
    decision = PLAIN.decide()[1]
    assert isinstance(decision, Rebalance)
    found = {f.what: f for f in verify(to_json(decision), PLAIN)}
    assert [name for name, finding in found.items() if not finding.ok] == ["statement"]
    assert words in found["statement"].detail


def test_its_own_problem_is_its_own(plan: Plan) -> None:
    (found,) = [f for f in verify(to_json(PLAIN.decide()[1]), PLAIN) if f.what == "statement"]
    assert (found.ok, found.detail) == (True, "it is about this very problem")


# Every number, in problems that have something of everything.

LP = USDC_WETH.name
DUE = replace(USDC_WETH, protocol_fee_on=True, k_last=USDC_WETH.reserve0 * USDC_WETH.reserve1 // 2)
THROUGH = pool(4, UNI, WETH, 5_000_000)
OFF = pool(5, UNI, USDC, 5_000_000, skew_ppm=100_000)
POOLS = (DUE, WBTC_WETH, WBTC_USDC, THROUGH, OFF)
SHARES = (LpHolding(DUE.address, DUE.total_supply // 200, None, staked=DUE.total_supply // 900),)
MIXED = (
    Target("WETH", 200_000, bucket="eth"),
    Target(LP, 300_000, bucket="eth"),
    Target("WBTC", 200_000),
    Target("USDC", 300_000),
)
CAPPED = replace(
    BEST,
    max_trade_e8=50_000 * E8,
    max_turnover_ppm=200_000,
    max_pool_share_ppm=2_000,
    max_impact_ppm=50_000,
    tax_rate_ppm=250_000,
    tax_costs=(("WBTC", 30_000 * 10**18),),
    tax_tiers=(("WETH", 0, 10_000), ("WETH", 10**19, 20_000)),
    slippage_reserve_ppm=700,
)
#: One token is no plain one.
GAS = replace(PRAGUE, tokens=(TokenGas(USDC.address, touch=9_000, transfer=700, approval=55_000),))


def rich(**changes: Any) -> Inputs:
    """LP shares with a fee due and a part staked, a bucket, an intermediate, caps."""
    at = holding(holdings=SHARES, pairs=POOLS)
    at = replace(at, balances=(*at.balances, Amount(UNI, 7 * 10**18)))
    past = Circumstances(turnover_e8=1_000 * E8, gas=GAS)
    return replace(Inputs(at, MIXED, CAPPED, None, past), **changes)


def reserved(withdrawal: Amount | None = None) -> Inputs:
    """With ether above a gas reserve."""
    case = rich(circumstances=Circumstances(withdrawal=withdrawal))
    reserve = GasReserve(WETH, 10**17)
    return replace(case, snapshot=replace(case.snapshot, native_wei=10**19, gas_reserve=reserve))


def raising(amount: Amount, *, calm: bool = False) -> Inputs:
    """``calm``: nothing but the withdrawal is a reason to trade."""
    policy = replace(CAPPED, trigger="threshold", band_abs_ppm=PPM) if calm else CAPPED
    return rich(policy=policy, circumstances=Circumstances(withdrawal=amount, gas=GAS))


CASES = {
    "rich": rich(),
    "raised": raising(worth(USDC, 300_000)),
    "only raised": raising(worth(USDC, 300_000), calm=True),
    "intermediate raised": raising(worth(UNI, 20_000)),
    "ether": reserved(),
    "ether raised": reserved(worth(WETH, 700_000)),
    "no impact": rich(policy=replace(CAPPED, max_impact_ppm=0)),
}


def stated_for(inputs: Inputs, gas_wei: int | None = None) -> Stated:
    """The bridge's statement of ``inputs`` as the certificate has it."""
    problem = posed(inputs, gas_wei)
    verdict = asked(problem, inputs.last_rebalance_ts)
    plain: Stated = to_plain(stated(replace(problem, only_raise=verdict.only_raise)))
    return plain


@pytest.mark.parametrize("case", CASES)
def test_the_bridge_states_the_same(plan: Plan, case: str) -> None:
    assert differences(plan.legs, CASES[case], stated_for(CASES[case])) == ()


@pytest.mark.parametrize("case", ["ether", "ether raised"])
def test_ether_left_for_gas_is_the_planners_choice_as_far_as_it_is_there(
    plan: Plan, case: str
) -> None:
    for left in (0, 10**15, 10**19 - 10**17):
        assert differences(plan.legs, CASES[case], stated_for(CASES[case], left)) == ()
    claimed = stated_for(CASES[case])
    asset = next(a for a in claimed["assets"] if a["key"] == WETH.address.lower())
    asset["held" if asset["held"] else "owed"] = 10**30
    assert differences(plan.legs, CASES[case], claimed)


def leaves(stated: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every number and every word of a statement."""
    if isinstance(stated, dict):
        for key, one in stated.items():
            yield from leaves(one, (*path, key))
    elif isinstance(stated, list):
        for index, one in enumerate(stated):
            yield from leaves(one, (*path, index))
    else:
        yield path


@pytest.mark.parametrize("case", ["rich", "raised", "only raised", "intermediate raised"])
def test_no_number_can_be_another_one(plan: Plan, case: str) -> None:
    claimed, count = stated_for(CASES[case]), 0
    for *way, last in list(leaves(claimed)):
        other = deepcopy(claimed)
        place: Any = other
        for step in way:
            place = place[step]
        place[last] = "x" if isinstance(place[last], str) else (place[last] or 0) + 1
        assert differences(plan.legs, CASES[case], other), (*way, last)
        count += 1
    assert count > 80


@pytest.mark.parametrize("kind", ["assets", "pools", "stakes", "factors"])
def test_nothing_is_missing_or_there_twice(plan: Plan, kind: str) -> None:
    claimed = stated_for(CASES["rich"])
    for index in range(len(claimed[kind])):
        some = deepcopy(claimed)
        (gone,) = some[kind][index : index + 1]
        del some[kind][index]
        assert any(
            "is missing in its" in text for text in differences(plan.legs, CASES["rich"], some)
        )
        some[kind] += [gone, gone]
        assert differences(plan.legs, CASES["rich"], some) == (f"something is in its {kind} twice",)
        some[kind][-1] = gone | {"key": "0xff"}
        assert differences(plan.legs, CASES["rich"], some) == (f"0xff should not be in its {kind}",)
