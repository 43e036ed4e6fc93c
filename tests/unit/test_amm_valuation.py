"""A snapshot valued by hand, and what valuation refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rebalancer.amm import shares_ppm, value
from rebalancer.amm.valuation import by_wallet
from rebalancer.errors import PlanError, ReadError
from rebalancer.model import (
    E8,
    PPM,
    Amount,
    BlockRef,
    Exposure,
    GasReserve,
    LpDetail,
    LpEntry,
    LpHolding,
    PairState,
    PositionValue,
    Price,
    Snapshot,
    Target,
    Token,
    Watched,
    digest,
    to_json,
)

ETHER = 10**18
USDC = Token("0x" + "1" * 40, "USDC", 6)
WETH = Token("0x" + "2" * 40, "WETH", 18)
WBTC = Token("0x" + "3" * 40, "WBTC", 8)
LP = "uniswap_v2:USDC/WETH"
#: 1,000 WETH and 2.5m USDC in 10^12 shares: the oracle's price of 2,500 to the unit.
PAIR = PairState(
    "0xpair",
    "uniswap_v2",
    USDC,
    WETH,
    3_000,
    2_500_000 * 10**6,
    1_000 * ETHER,
    10**12,
    0,
    False,
)
#: Entered when WETH was at 625 and the pool held 2,000 of it: sqrt(k) per share was the same.
ENTRY = LpEntry(90, 1_250_000 * 10**6, 2_000 * ETHER, 10**12)
SNAPSHOT = Snapshot(
    block=BlockRef(1, 100, "0xhash", 1_700_000_000, 10**10),
    wallet="0xwallet",
    numeraire="USD",
    native=Price(WETH, 2_500 * E8, ETHER, "feed", 0),
    native_wei=ETHER // 2,
    balances=(Amount(WETH, 16 * ETHER), Amount(USDC, 10_000 * 10**6), Amount(WBTC, 10**8)),
    holdings=(LpHolding("0xpair", 10**10, ENTRY),),
    pairs=(PAIR,),
    prices=(
        Price(WETH, 2_500 * E8, ETHER, "feed", 0),
        Price(USDC, E8, 10**6, "feed", 0),
        Price(WBTC, 50_000 * E8, 10**8, "feed", 0),
    ),
    priority_fee_wei=1,
)
TARGETS = (Target("WETH", 400_000), Target("USDC", 200_000), Target(LP, 400_000))


def test_value__by_hand() -> None:
    valuation = value(SNAPSHOT, TARGETS)
    assert valuation.nav_e8 == 100_000 * E8  # WBTC is held, but no target names it
    assert valuation.positions == (
        PositionValue("WETH", 40_000 * E8, 400_000, 400_000, 0, None),
        PositionValue("USDC", 10_000 * E8, 100_000, 200_000, -10_000 * E8, None),
        PositionValue(
            LP,
            50_000 * E8,
            500_000,
            400_000,
            10_000 * E8,
            LpDetail(
                pair="0xpair",
                shares=10**10,
                amount0=25_000 * 10**6,
                amount1=10 * ETHER,
                spot_value_e8=50_000 * E8,
                held_value_e8=62_500 * E8,  # 12,500 USDC and 20 WETH, a quarter the price then
                il_e8=-12_500 * E8,
                fees_e8=0,
            ),
        ),
    )
    assert [p.drift_ppm for p in valuation.positions] == [0, -100_000, 100_000]
    assert valuation.exposures == (
        Exposure("WETH", 26 * ETHER, 65_000 * E8, 650_000),
        Exposure("USDC", 35_000 * 10**6, 35_000 * E8, 350_000),
    )
    assert valuation.native_value_e8 == 1_250 * E8
    assert (valuation.block_number, valuation.block_hash) == (100, "0xhash")
    assert (valuation.numeraire, valuation.parent) == ("USD", digest(SNAPSHOT))


def test_value__native_above_the_gas_reserve__counts_as_its_wrapped_token() -> None:
    """Half an ether of which a tenth stays for gas: 0.4 more of WETH, a thousand dollars."""
    at = replace(SNAPSHOT, gas_reserve=GasReserve(WETH, ETHER // 10))
    valuation = value(at, TARGETS)
    assert valuation.nav_e8 == 101_000 * E8
    assert valuation.position("WETH").value_e8 == 41_000 * E8
    assert valuation.exposures[0] == Exposure(
        "WETH", 26 * ETHER + ETHER * 4 // 10, 66_000 * E8, 653_465
    )
    assert valuation.native_value_e8 == 250 * E8
    (part,) = by_wallet(at, TARGETS)
    assert (part.wallet, part.value_e8) == ("0xwallet", 101_000 * E8)


def test_value__native_below_the_gas_reserve__counts_nothing_and_owes_nothing() -> None:
    at = replace(SNAPSHOT, gas_reserve=GasReserve(WETH, ETHER))
    valuation = value(at, TARGETS)
    assert (valuation.nav_e8, at.surplus_wei, at.owned(WETH)) == (100_000 * E8, 0, 16 * ETHER)
    assert valuation.native_value_e8 == 1_250 * E8


def test_value__gas_reserve__wrapping_changes_nothing_to_the_unit() -> None:
    """What is wrapped and what could be are valued together, at one price and rounded once."""
    prices = (replace(SNAPSHOT.prices[0], numerator=2_500 * E8 + 7), *SNAPSHOT.prices[1:])
    at = replace(SNAPSHOT, prices=prices, gas_reserve=GasReserve(WETH, ETHER // 10))
    before = value(at, TARGETS)
    for wei in (1, 3, 10**9 + 1, at.surplus_wei):
        balances = (Amount(WETH, 16 * ETHER + wei), *at.balances[1:])
        wrapped = replace(at, native_wei=at.native_wei - wei, balances=balances)
        assert value(wrapped, TARGETS).positions == before.positions


def test_value__a_watched_wallet__has_no_part_in_the_gas_reserve() -> None:
    cold = Watched("0xcold", (Amount(WETH, ETHER), Amount(USDC, 0), Amount(WBTC, 0)), ())
    at = replace(SNAPSHOT, gas_reserve=GasReserve(WETH, 0), watched=(cold,))
    parts = [(part.wallet, part.value_e8) for part in by_wallet(at, TARGETS)]
    assert parts == [("0xwallet", 101_250 * E8), ("0xcold", 2_500 * E8)]
    assert value(at, TARGETS).nav_e8 == 103_750 * E8


def test_snapshot__without_a_gas_reserve__has_the_bytes_it_always_had() -> None:
    assert "gas_reserve" not in to_json(SNAPSHOT)
    assert '"gas_reserve":{"wei":1' in to_json(replace(SNAPSHOT, gas_reserve=GasReserve(WETH, 1)))


def test_value__same_snapshot__is_the_same_to_the_byte() -> None:
    assert digest(value(SNAPSHOT, TARGETS)) == digest(value(SNAPSHOT, TARGETS))


def test_value__after_a_plan__is_of_the_changed_balances_and_names_them() -> None:
    changed = replace(SNAPSHOT, balances=(Amount(WETH, 12 * ETHER), Amount(USDC, 20_000 * 10**6)))
    after = value(changed, TARGETS)
    assert [p.weight_ppm for p in after.positions] == [300_000, 200_000, 500_000]
    assert after.parent == digest(changed) != digest(SNAPSHOT)


def test_value__pool_pushed_off_the_oracle__nav_stays_and_spot_tells() -> None:
    pushed = replace(PAIR, reserve0=PAIR.reserve0 * 4, reserve1=PAIR.reserve1 // 4)
    before, after = (
        value(replace(SNAPSHOT, pairs=(pair,)), TARGETS).position(LP) for pair in (PAIR, pushed)
    )
    assert after.value_e8 == before.value_e8
    assert after.lp is not None
    assert after.lp.spot_value_e8 == 100_000 * E8 + 6_250 * E8


def test_value__targeted_but_not_held__counts_nothing() -> None:
    targets = (*TARGETS, Target("DAI", 0), Target("sushiswap:USDC/WETH", 100_000))
    valuation = value(SNAPSHOT, targets)
    assert valuation.nav_e8 == 100_000 * E8
    assert valuation.position("DAI") == PositionValue("DAI", 0, 0, 0, 0, None)
    assert valuation.position("sushiswap:USDC/WETH") == PositionValue(
        "sushiswap:USDC/WETH", 0, 0, 100_000, -10_000 * E8, None
    )


def test_value__pair_of_the_same_name_elsewhere__is_not_taken_for_it() -> None:
    sushi = replace(PAIR, address="0xsushi", amm="sushiswap")
    holdings = (LpHolding("0xsushi", 10**9, None), *SNAPSHOT.holdings)
    snapshot = replace(SNAPSHOT, pairs=(sushi, PAIR), holdings=holdings)
    valuation = value(snapshot, (Target(LP, 0), Target("sushiswap:USDC/WETH", 0)))
    assert [p.value_e8 for p in valuation.positions] == [50_000 * E8, 5_000 * E8]


def test_value__entry_not_known__leaves_the_loss_open() -> None:
    holdings = (LpHolding("0xpair", 10**10, None),)
    lp = value(replace(SNAPSHOT, holdings=holdings), TARGETS).position(LP).lp
    assert lp is not None
    assert (lp.held_value_e8, lp.il_e8, lp.fees_e8) == (None, None, None)
    assert lp.spot_value_e8 == 50_000 * E8


def test_value__token_held_only_through_the_pair__is_an_exposure() -> None:
    valuation = value(SNAPSHOT, (Target(LP, PPM),))
    assert valuation.exposures == (
        Exposure("USDC", 25_000 * 10**6, 25_000 * E8, 500_000),
        Exposure("WETH", 10 * ETHER, 25_000 * E8, 500_000),
    )


def test_drift__fraction_of_a_unit__is_rounded_towards_zero() -> None:
    snapshot = replace(
        SNAPSHOT,
        balances=(Amount(WETH, 4), Amount(USDC, 3)),
        prices=(Price(WETH, 1, 1, "feed", 0), Price(USDC, 1, 1, "feed", 0)),
    )
    valuation = value(snapshot, (Target("WETH", 500_000), Target("USDC", 500_000)))
    assert [p.drift_e8 for p in valuation.positions] == [0, 0]  # 0.5 and -0.5
    assert [p.weight_ppm for p in valuation.positions] == [571_429, 428_571]


def test_value__fraction_of_a_unit__is_rounded_down() -> None:
    snapshot = replace(
        SNAPSHOT,
        balances=(Amount(WETH, 5), Amount(USDC, 0)),
        prices=(Price(WETH, 1, 2, "feed", 0), *SNAPSHOT.prices[1:]),
        native=Price(WETH, 1, 2, "feed", 0),
        native_wei=7,
    )
    valuation = value(snapshot, (Target("USDC", 0), Target("WETH", PPM)))
    assert (valuation.nav_e8, valuation.native_value_e8) == (2, 3)
    # What is not held is a position of 0, but no exposure.
    assert valuation.exposures == (Exposure("WETH", 5, 2, PPM),)


@pytest.mark.parametrize(
    ("values", "shares"),
    [
        ((1, 1, 1), [333_334, 333_333, 333_333]),
        ((2, 1), [666_667, 333_333]),
        ((0, 5, 0), [0, 1_000_000, 0]),
        ((0, 0), [0, 0]),
        ((), []),
    ],
)
def test_shares__add_up_by_largest_remainder(values: tuple[int, ...], shares: list[int]) -> None:
    assert shares_ppm(values) == shares


def test_value__nothing_held__is_refused_in_one_line() -> None:
    empty = replace(SNAPSHOT, balances=(Amount(WETH, 0), Amount(WBTC, 10**8)), holdings=())
    with pytest.raises(PlanError, match=f"none of WETH, USDC, {LP} is held") as caught:
        value(empty, TARGETS)
    assert caught.value.hint
    assert caught.value.block == 100
    with pytest.raises(PlanError, match="worth nothing"):
        value(SNAPSHOT, ())


def test_value__position_targeted_twice__is_refused() -> None:
    with pytest.raises(PlanError, match="WETH is targeted twice"):
        value(SNAPSHOT, (*TARGETS, Target("WETH", 0)))


@pytest.mark.parametrize("missing", ["WETH", "USDC"])
def test_value__no_price__is_refused_by_name(missing: str) -> None:
    prices = tuple(p for p in SNAPSHOT.prices if p.token.symbol != missing)
    for targets in (TARGETS, (Target(LP, PPM),)):
        with pytest.raises(ReadError, match=f"no price for {missing} at block 100"):
            value(replace(SNAPSHOT, prices=prices), targets)


def test_value__price_that_is_none__is_refused() -> None:
    prices = (replace(SNAPSHOT.prices[0], numerator=0), *SNAPSHOT.prices[1:])
    for position in ("WETH", LP):
        with pytest.raises(ReadError, match="WETH from feed is not positive"):
            value(replace(SNAPSHOT, prices=prices), (Target(position, PPM),))


def test_value__holding_that_contradicts_the_pairs__is_refused() -> None:
    with pytest.raises(ReadError, match="0xpair is held but was not read"):
        value(replace(SNAPSHOT, pairs=()), TARGETS)
    short = replace(PAIR, total_supply=10**10 - 1)
    with pytest.raises(ReadError, match=r"10000000000 shares .* 9999999999 exist"):
        value(replace(SNAPSHOT, pairs=(short,)), TARGETS)
