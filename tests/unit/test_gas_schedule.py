"""Gas from data: by fork, by token, corrected, and the same bytes again from a plan's inputs."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from planner_world import (
    POLICY,
    TARGETS,
    UNI,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_USDC,
    WBTC_WETH,
    WETH,
    holding,
    pool,
    problem,
    snapshot,
    worth,
)
from pydantic import TypeAdapter

from rebalancer.config.load import load_networks
from rebalancer.errors import ConfigError
from rebalancer.model import (
    PPM,
    AddLeg,
    Circumstances,
    GasCorrection,
    GasSchedule,
    Leg,
    PairState,
    PlannedGas,
    Rebalance,
    RemoveLeg,
    SwapLeg,
    Target,
    Token,
    TokenGas,
    UnwrapLeg,
    WrapLeg,
    to_json,
)
from rebalancer.planner.gas_schedule import DEFAULT_FORK, FORKS, PRAGUE, schedule_in
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.optimal.bridge import statement_of
from rebalancer.planner.proof import proof
from rebalancer.planner.verification import verify

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = (ROOT / "networks.yaml").read_text()
PROXY = TokenGas(USDC.address, touch=19_000, transfer=3_600, approval=50_800)
SCHEDULE = replace(PRAGUE, tokens=(PROXY,))
ETHER = Token("0x" + "0" * 40, "ETH", 18)


def swap(pair: PairState, sold: Token, chained: bool = False) -> SwapLeg:
    return SwapLeg(pair.address, "uni", sold, pair.other(sold), 3_000, 10**6, 10**6, 1, chained)


def add(pair: PairState) -> AddLeg:
    return AddLeg(pair.address, "uni", pair.token0, pair.token1, 10**6, 10**6, 10**6, 1)


def remove(pair: PairState) -> RemoveLeg:
    return RemoveLeg(pair.address, "uni", pair.token0, pair.token1, 10**6, 10**6, 10**6, 1, 1)


#: Legs, how many of them move USDC, and whether the executor takes USDC for them.
SHAPES: dict[str, tuple[list[Leg], int, bool]] = {
    "bought": ([swap(USDC_WETH, WETH)], 1, False),
    "sold": ([swap(USDC_WETH, USDC)], 1, True),
    "sold in two pools": ([swap(USDC_WETH, USDC), swap(WBTC_USDC, USDC)], 2, True),
    "passed on between two pairs": (
        [swap(USDC_WETH, WETH), swap(WBTC_USDC, USDC, chained=True)],
        2,
        False,
    ),
    "added": ([add(USDC_WETH)], 1, True),
    "removed": ([remove(USDC_WETH)], 1, False),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_proxy_token__pays_more_for_its_touch_each_leg_and_its_approval(shape: str) -> None:
    legs, moving, taken = SHAPES[shape]
    more = PROXY.touch - PRAGUE.per_token + moving * PROXY.transfer
    assert SCHEDULE.execution(legs) - PRAGUE.execution(legs) == more
    approval = PROXY.approval - PRAGUE.per_approval if taken else 0
    assert SCHEDULE.approvals(legs) - PRAGUE.approvals(legs) == approval
    assert SCHEDULE.units(legs) == SCHEDULE.execution(legs) + SCHEDULE.approvals(legs)


def test_tokens_that_a_plan_does_not_touch__change_nothing() -> None:
    legs: list[Leg] = [swap(WBTC_WETH, WBTC), WrapLeg(ETHER, WETH, 1), UnwrapLeg(ETHER, WETH, 1)]
    assert SCHEDULE.units(legs) == PRAGUE.units(legs)
    assert SCHEDULE.units([]) == SCHEDULE.execution([]) == 0


def test_corrected__execution_and_approvals_each_by_their_own_factor() -> None:
    correction = GasCorrection(execution_ppm=1_100_000, approval_ppm=0, rebalances=5)
    scaled = SCHEDULE.corrected(correction)
    legs = SHAPES["sold in two pools"][0]
    assert scaled.approvals(legs) == 0
    # Each figure is rounded by itself, so a sum of n is off by n / 2 at most.
    assert abs(scaled.execution(legs) * 10 - SCHEDULE.execution(legs) * 11) <= 5 * 10
    unscaled = {"name", "tokens", "per_approval"}
    for figure in fields(GasSchedule):
        if figure.name not in unscaled:
            before, after = getattr(SCHEDULE, figure.name), getattr(scaled, figure.name)
            assert abs(after * 10 - before * 11) <= 5, figure.name
    assert scaled.name == SCHEDULE.name
    assert SCHEDULE.corrected(GasCorrection(PPM, PPM, 3)) == SCHEDULE


@pytest.mark.parametrize(
    "correction", [None, GasCorrection(execution_ppm=1_250_000, approval_ppm=400_000, rebalances=4)]
)
def test_the_optimal_planner_counts_what_a_plan_states(correction: GasCorrection | None) -> None:
    """Base, touches, approvals and pools of its statement are those of the schedule."""
    case = problem(holding(), circumstances=Circumstances(gas=SCHEDULE, gas_correction=correction))
    stated = statement_of(case)
    assets = {asset.key: asset for asset in stated.assets}
    pools = {pool.key: pool for pool in stated.pools}
    for pair, sold in ((USDC_WETH, USDC), (USDC_WETH, WETH), (WBTC_WETH, WBTC), (WBTC_USDC, WBTC)):
        parts = (
            stated.base_e8,
            pools[pair.address.lower()].swap_e8,
            *(assets[token.address.lower()].touch_e8 for token in (pair.token0, pair.token1)),
            assets[sold.address.lower()].approval_e8,
        )
        whole = case.gas_value_e8(case.gas_units([swap(pair, sold)]))
        assert 0 <= sum(parts) - whole <= len(parts)  # each rounded up


def test_a_route_through_a_proxy_token__costs_what_its_certificate_says() -> None:
    """What a token's gas adds to the plan it takes off the certificate, to the unit."""
    pools = (pool(4, UNI, USDC, 30_000_000), pool(5, WBTC, USDC, 30_000_000))
    at = snapshot(worth(WBTC, 700_000), worth(UNI, 300_000), worth(USDC, 0), pairs=pools)
    targets = (Target("WBTC", 500_000), Target("UNI", 500_000))
    policy = replace(POLICY, planner="optimal")
    plans = [
        made(Inputs(at, targets, policy, None, Circumstances(gas=gas))).plan
        for gas in (None, SCHEDULE)
    ]
    for plan in plans:
        assert [(leg.token_in, leg.chained) for leg in plan.legs if isinstance(leg, SwapLeg)] == [
            (WBTC, False),
            (USDC, True),
        ]
    dearer = plans[1].costs.gas_e8 - plans[0].costs.gas_e8
    assert dearer > 0
    values = [proof(plan.certificate or "").realised_e8 for plan in plans]
    assert values[0] - values[1] == dearer


def test_a_proxy_token_and_a_correction__make_plans_dearer_and_are_named_in_them() -> None:
    correction = GasCorrection(execution_ppm=1_034_567, approval_ppm=PPM, rebalances=14)
    at = holding()
    plain, proxy, corrected = (
        made(Inputs(at, TARGETS, POLICY, None, circumstances))
        for circumstances in (
            Circumstances(),
            Circumstances(gas=SCHEDULE),
            Circumstances(gas=SCHEDULE, gas_correction=correction),
        )
    )
    units = [p.plan.costs.gas_units for p in (plain, proxy, corrected)]
    assert units == sorted(units)
    assert len(set(units)) == 3
    assert plain.plan.costs.planned_gas is None
    assert proxy.plan.costs.planned_gas == PlannedGas("prague")
    assert corrected.plan.costs.planned_gas == PlannedGas("prague", correction)


def made(inputs: Inputs) -> Rebalance:
    _, decision = inputs.decide()
    assert isinstance(decision, Rebalance)
    return decision


@pytest.mark.parametrize("planner", ["greedy", "optimal"])
def test_inputs_written_and_read_again__the_same_plan_to_the_byte(planner: str) -> None:
    circumstances = Circumstances(
        gas=SCHEDULE, gas_correction=GasCorrection(1_034_567, 900_000, 14)
    )
    policy = replace(POLICY, planner=planner)
    inputs = Inputs(holding(), TARGETS, policy, None, circumstances)
    claimed = to_json(made(inputs))
    again = TypeAdapter(Inputs).validate_json(to_json(inputs), strict=True)
    assert again == inputs
    assert to_json(made(again)) == claimed
    assert all(finding.ok for finding in verify(claimed, again))
    # Figures that somebody changed make another plan.
    other = replace(circumstances, gas=replace(SCHEDULE, base=SCHEDULE.base + 1))
    findings = {f.what: f.ok for f in verify(claimed, replace(again, circumstances=other))}
    assert not findings["decision"]


def test_inputs_of_before__have_no_gas_and_mean_prague() -> None:
    inputs = Inputs(holding(), TARGETS, POLICY, None)
    written = json.loads(to_json(inputs))
    assert written["circumstances"].keys().isdisjoint({"gas", "gas_correction"})
    assert schedule_in(inputs.circumstances) is PRAGUE
    assert "planned_gas" not in to_json(made(inputs))


def network(folder: Path, text: str):  # type: ignore[no-untyped-def]
    path = folder / "networks.yaml"
    path.write_text(text)
    return load_networks(path)["mainnet"]


def test_network__names_the_fork_and_the_tokens_that_are_no_plain_ones(tmp_path: Path) -> None:
    plain = NETWORKS.replace("  chain_id: 1\n", "  chain_id: 1\n  fork: cancun\n")
    of_cancun = network(tmp_path, plain)
    tokens = [of_cancun.token(symbol) for symbol in ("WETH", "USDT", "USDC")]
    schedule = of_cancun.gas_schedule(tokens)
    assert replace(schedule, tokens=()) == FORKS["cancun"]
    assert [own.address for own in schedule.tokens] == [tokens[2].address, tokens[1].address]
    assert schedule.touch(tokens[0]) == PRAGUE.per_token
    assert schedule.touch(tokens[2]) > 2 * PRAGUE.per_token
    # Whatever order they come in, and others beside, the same bytes.
    assert of_cancun.gas_schedule(reversed(tokens)) == schedule
    assert of_cancun.gas_schedule([*tokens, Token(WBTC.address, "XYZ", 8)]) == schedule
    assert DEFAULT_FORK == network(tmp_path, NETWORKS).fork == "prague"


def test_network__a_token_of_ones_own__what_is_left_out_is_a_plain_ones(tmp_path: Path) -> None:
    text = NETWORKS.replace("feed: DAI/USD}", "feed: DAI/USD, gas: {transfer: 500}}")
    mainnet = network(tmp_path, text)
    dai = mainnet.token("DAI")
    (own,) = mainnet.gas_schedule([dai]).tokens
    assert own == TokenGas(dai.address, PRAGUE.per_token, 500, PRAGUE.per_approval)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("chain_id: 1\n", "chain_id: 1\n  fork: shanghai\n", "under the rules of 'shanghai'"),
        ("chain_id: 1\n", "chain_id: 1\n  fork: Prague\n", "cancun, prague, osaka"),
        ("touch: 19_100", "touch: -1", "mainnet.tokens.USDC.gas.touch"),
        ("touch: 19_100", "touch: 19_100_000", "mainnet.tokens.USDC.gas.touch"),
        ("touch: 19_100", "tuoch: 19_100", "mainnet.tokens.USDC.gas.tuoch: unknown key"),
    ],
)
def test_network__mistake_about_gas__one_line(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert NETWORKS.count(old) == 1
    with pytest.raises(ConfigError) as caught:
        network(tmp_path, NETWORKS.replace(old, new))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
