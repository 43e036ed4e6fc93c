"""From goals to targets: buckets, multipliers, exposures; by hand and by their laws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rebalancer.amm import value
from rebalancer.amm.goals import position_targets
from rebalancer.model import (
    E8,
    PPM,
    Amount,
    BlockRef,
    Goal,
    LpHolding,
    PairState,
    Price,
    Reward,
    Scheme,
    Snapshot,
    Target,
    Token,
)

TOKENS = {
    symbol: Token(f"0x{number:040x}", symbol, 8)
    for number, symbol in enumerate(("USDC", "USDT", "DAI", "WETH", "stETH", "ETH2X"), 1)
}
#: A dollar is E8 smallest units of every token and 10**8 units of value.
PRICES = tuple(Price(token, 1, 1, "feed", 0) for token in TOKENS.values())


def pool(a: str, b: str) -> PairState:
    """A million dollars on each side, a share for each smallest unit of value."""
    side = 10**6 * E8
    return PairState(f"0x{a}{b}", "v2", TOKENS[a], TOKENS[b], 3_000, side, side, 2 * side, 0, False)


USDC_WETH, USDC_USDT = pool("USDC", "WETH"), pool("USDC", "USDT")
LP, STABLE_LP = USDC_WETH.name, USDC_USDT.name


def holding(lps: Mapping[str, int], **dollars: int) -> Snapshot:
    """So many dollars of each token, and of LP positions by name."""
    pairs = (USDC_WETH, USDC_USDT)
    return Snapshot(
        block=BlockRef(1, 100, "0x", 0, 0),
        wallet="0x",
        numeraire="USD",
        native=Price(TOKENS["WETH"], 1, 1, "feed", 0),
        native_wei=0,
        balances=tuple(Amount(t, dollars.get(s, 0) * E8) for s, t in TOKENS.items()),
        holdings=tuple(LpHolding(p.address, lps.get(p.name, 0) * E8, None) for p in pairs),
        pairs=pairs,
        prices=PRICES,
        priority_fee_wei=0,
    )


def goal(name: str, percent: int, *members: str) -> Goal:
    return Goal(name, percent * 10_000, members or (name,))


def positions(*goals: Goal) -> Scheme:
    names = tuple(member for item in goals for member in item.members)
    return Scheme("positions", names, goals)


def exposures(lps: tuple[str, ...], *goals: Goal, **times: int) -> Scheme:
    names = tuple(member for item in goals for member in item.members)
    multipliers = tuple((symbol, ppm) for symbol, ppm in times.items())
    return Scheme("exposures", (*names, *lps), goals, multipliers)


def percents(snapshot: Snapshot, scheme: Scheme) -> dict[str, float]:
    targets = position_targets(snapshot, scheme)
    assert tuple(t.position for t in targets) == scheme.positions
    assert sum(t.weight_ppm for t in targets) == PPM
    return {t.position: t.weight_ppm / 10_000 for t in targets}


def test_single_positions__are_their_own_targets() -> None:
    scheme = Scheme(
        "positions",
        ("WETH", "USDC"),
        (Goal("WETH", 333_333, ("WETH",), 7, 8), Goal("USDC", 666_667, ("USDC",))),
    )
    assert position_targets(holding({}, WETH=7, USDC=3), scheme) == (
        Target("WETH", 333_333, 7, 8),
        Target("USDC", 666_667),
    )


def test_bucket__keeps_the_mix_of_its_members() -> None:
    scheme = positions(goal("stables", 40, "USDC", "DAI"), goal("WETH", 60))
    found = percents(holding({}, USDC=30, DAI=10, WETH=60), scheme)
    assert found == {"USDC": 30, "DAI": 10, "WETH": 60}
    found = percents(holding({}, USDC=60, DAI=20, WETH=20), scheme)
    assert found == {"USDC": 30, "DAI": 10, "WETH": 60}


def test_bucket__that_is_empty__fills_with_its_first() -> None:
    scheme = positions(goal("stables", 40, "DAI", "USDC"), goal("WETH", 60))
    assert percents(holding({}, WETH=5), scheme) == {"DAI": 40, "USDC": 0, "WETH": 60}
    assert percents(holding({}), scheme) == {"DAI": 40, "USDC": 0, "WETH": 60}


def test_bucket__lp_keeps_its_value__the_tokens_share_the_rest() -> None:
    scheme = positions(goal("stables", 50, "USDC", "USDT", STABLE_LP), goal("WETH", 50))
    found = percents(holding({STABLE_LP: 20}, USDC=30, USDT=10, WETH=40), scheme)
    assert found == {"USDC": 22.5, "USDT": 7.5, STABLE_LP: 20, "WETH": 50}


def test_bucket__more_lp_than_its_share__the_tokens_go() -> None:
    scheme = positions(goal("stables", 10, "USDC", STABLE_LP), goal("WETH", 90))
    found = percents(holding({STABLE_LP: 30}, USDC=10, WETH=60), scheme)
    assert found == {"USDC": 0, STABLE_LP: 10, "WETH": 90}


def test_bucket__of_lps_alone() -> None:
    scheme = positions(goal("pools", 50, LP, STABLE_LP), goal("WETH", 50))
    found = percents(holding({STABLE_LP: 30, LP: 10}, WETH=60), scheme)
    assert found == {STABLE_LP: 37.5, LP: 12.5, "WETH": 50}


def test_bucket__its_targets_say_so_and_have_its_bands() -> None:
    stables = Goal("stables", 400_000, ("USDC", "DAI"), 5, 6)
    scheme = Scheme("positions", ("USDC", "DAI", "WETH"), (stables, goal("WETH", 60)))
    usdc, dai, weth = position_targets(holding({}, USDC=1, DAI=1, WETH=1), scheme)
    assert usdc == Target("USDC", 200_000, 5, 6, bucket="stables") == replace(dai, position="USDC")
    assert weth == Target("WETH", 600_000)


def test_exposure__half_of_the_lp_counts_for_each_side() -> None:
    scheme = exposures((LP,), goal("WETH", 60), goal("USDC", 40))
    found = percents(holding({LP: 40}, WETH=20, USDC=40), scheme)
    assert found == {"WETH": 40, "USDC": 20, LP: 40}  # 40 + 20 and 20 + 20


def test_exposure__more_through_the_lp_than_wanted__the_others_share_the_rest() -> None:
    """USDC has 30 through the LP, wanted are 10; WETH and DAI split 40 so that 45:45 comes near."""
    scheme = exposures((LP,), goal("WETH", 45), goal("USDC", 10), goal("DAI", 45))
    found = percents(holding({LP: 60}, WETH=10, USDC=10, DAI=20), scheme)
    assert found == {"WETH": 5, "USDC": 0, "DAI": 35, LP: 60}
    assert 5 + 30 == 35  # both exposed alike


def test_exposure__pool_that_was_pushed__moves_no_target() -> None:
    scheme = exposures((LP,), goal("WETH", 60), goal("USDC", 40))
    plain = holding({LP: 40}, WETH=20, USDC=40)
    pushed = replace(USDC_WETH, reserve0=USDC_WETH.reserve0 * 16, reserve1=USDC_WETH.reserve1 // 16)
    assert percents(replace(plain, pairs=(pushed, USDC_USDT)), scheme) == percents(plain, scheme)


def test_exposure__multiplier__a_unit_of_value_counts_twice() -> None:
    """All ETH is the 2x token: a dollar of it and two of USDC are half and half."""
    scheme = exposures((), goal("eth", 50, "ETH2X", "WETH"), goal("USDC", 50), ETH2X=2 * PPM)
    found = percents(holding({}, ETH2X=60, USDC=60), scheme)
    assert found == {"ETH2X": 33.3333, "WETH": 0, "USDC": 66.6667}
    mixed = percents(holding({}, ETH2X=10, WETH=10, USDC=10), scheme)
    # 1.5 of exposure for each dollar in the bucket: 40 dollars of it stand against 60.
    assert mixed == {"ETH2X": 20, "WETH": 20, "USDC": 60}


def test_exposure__reward_counts_for_its_token() -> None:
    scheme = exposures((LP,), goal("WETH", 50), goal("USDC", 50))
    plain = holding({LP: 40}, WETH=20, USDC=20)
    reward = Reward(TOKENS["WETH"].address, TOKENS["WETH"], 20 * E8)
    lp = replace(plain.holdings[0], farm="0xf", reward=reward)
    found = percents(replace(plain, holdings=(lp, plain.holdings[1])), scheme)
    assert found == {"WETH": 10, "USDC": 30, LP: 60}  # 10 + 20 + 20 and 30 + 20


PERCENTS = st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(lambda p: sum(p) > 0)
DOLLARS = st.integers(0, 10**6)


def shares_of(parts: list[int]) -> list[int]:
    """Parts scaled to ppm that add up."""
    scaled = [part * PPM // sum(parts) for part in parts]
    return [PPM - sum(scaled[1:]), *scaled[1:]]


@given(PERCENTS, DOLLARS, DOLLARS, DOLLARS, DOLLARS, DOLLARS, st.integers(100_000, 10_000_000))
def test_exposure__always__is_the_water_level(
    parts: list[int], weth: int, usdc: int, dai: int, eth2x: int, lp: int, times: int
) -> None:
    """One level of exposure for every share: who has more through LPs gets nothing, all the rest
    are filled up to it, and all capital is used."""
    weights = shares_of(parts)
    goals = (
        Goal("eth", weights[0], ("WETH", "ETH2X")),
        Goal("USDC", weights[1], ("USDC",)),
        Goal("DAI", weights[2], ("DAI",)),
    )
    scheme = exposures((LP,), *goals, ETH2X=times)
    snapshot = holding({LP: lp}, WETH=weth, ETH2X=eth2x, USDC=usdc, DAI=dai)
    assume(weth + usdc + dai + eth2x + lp)
    targets = {t.position: t.weight_ppm for t in position_targets(snapshot, scheme)}
    assert sum(targets.values()) == PPM
    assert min(targets.values()) >= 0
    nav = weth + usdc + dai + eth2x + lp
    assert abs(targets[LP] - Fraction(lp * PPM, nav)) <= 1
    through = {"eth": Fraction(lp * PPM, 2 * nav), "USDC": Fraction(lp * PPM, 2 * nav), "DAI": 0}
    exposure = {
        "eth": targets["WETH"] + Fraction(targets["ETH2X"] * times, PPM) + through["eth"],
        "USDC": targets["USDC"] + through["USDC"],
        "DAI": Fraction(targets["DAI"]),
    }
    assume(nav != lp)
    capital = {"eth": targets["WETH"] + targets["ETH2X"], "USDC": targets["USDC"]}
    capital["DAI"] = targets["DAI"]
    levels = [
        exposure[g.name] / g.weight_ppm
        for g in goals
        if g.weight_ppm > 100_000 and capital[g.name] > 3
    ]
    # A ppm of rounding in the targets is at most ten times as much in the level.
    slack = Fraction(40 * max(times, PPM), PPM * 100_000)
    assert all(abs(level - levels[0]) <= slack for level in levels)
    for g in goals:
        if levels and capital[g.name] == 0 and g.weight_ppm:
            assert Fraction(through[g.name]) / g.weight_ppm >= levels[0] - slack


@given(PERCENTS, DOLLARS, DOLLARS, DOLLARS, DOLLARS)
def test_bucket__always__adds_up_to_its_share_and_keeps_its_mix(
    parts: list[int], usdc: int, dai: int, weth: int, lp: int
) -> None:
    weights = shares_of(parts)
    goals = (
        Goal("stables", weights[0] + weights[1], ("USDC", "DAI", STABLE_LP)),
        Goal("WETH", weights[2], ("WETH",)),
    )
    scheme = Scheme("positions", ("USDC", "DAI", STABLE_LP, "WETH"), goals)
    snapshot = holding({STABLE_LP: lp}, USDC=usdc, DAI=dai, WETH=weth)
    targets = {t.position: t.weight_ppm for t in position_targets(snapshot, scheme)}
    assert targets["WETH"] == weights[2]
    assert sum(targets.values()) == PPM
    if usdc + dai:
        tokens = targets["USDC"] + targets["DAI"]
        assert abs(targets["USDC"] - Fraction(tokens * usdc, usdc + dai)) <= 2


def test_targets__value_the_snapshot_without_complaint() -> None:
    scheme = exposures((LP,), goal("eth", 60, "WETH", "ETH2X"), goal("USDC", 40), ETH2X=3 * PPM)
    snapshot = holding({LP: 40}, WETH=20, ETH2X=10, USDC=40)
    valuation = value(snapshot, position_targets(snapshot, scheme))
    notional = {e.symbol: e.notional_e8 for e in valuation.exposures}
    assert notional == {"WETH": None, "ETH2X": 30 * E8, "USDC": None}
    assert sum(e.value_e8 for e in valuation.exposures) == valuation.nav_e8
    with pytest.raises(KeyError):
        valuation.position("DAI")
