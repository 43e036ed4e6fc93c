"""Drift attribution by hand: each cause alone, then all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.amm import value
from rebalancer.amm.attribution import Attribution, Parts, attribute
from rebalancer.errors import ReadError
from rebalancer.model import (
    E8,
    PPM,
    Amount,
    BlockRef,
    Flow,
    FlowKind,
    GasReserve,
    LpHolding,
    PairState,
    Price,
    Reward,
    Snapshot,
    Target,
    Token,
    Watched,
)

ETHER = 10**18
USDC = Token("0x" + "1" * 40, "USDC", 6)
WETH = Token("0x" + "2" * 40, "WETH", 18)
LINK = Token("0x" + "3" * 40, "LINK", 18)
POOL = PairState(
    address="0xpair",
    amm="v2",
    token0=USDC,
    token1=WETH,
    fee_ppm=3_000,
    reserve0=2_000_000 * 10**6,
    reserve1=1_000 * ETHER,
    total_supply=10**15,
    k_last=0,
    protocol_fee_on=False,
)
LP = POOL.name
NAMES = ("WETH", "USDC", LP)


def snapshot(
    number: int = 100,
    *,
    dollars: int = 2_000,
    weth: int = 10 * ETHER,
    usdc: int = 20_000 * 10**6,
    shares: int = 10**13,
    pool: PairState = POOL,
    reward: int | None = None,
) -> Snapshot:
    """10 WETH, 20,000 USDC and 1 % of the pool: 20,000, 20,000 and 40,000 dollars."""
    farm = {"farm": "0xfarm", "reward": Reward(LINK.address, LINK, reward)} if reward else {}
    return Snapshot(
        block=BlockRef(1, number, hex(number), 12 * number, 0),
        wallet="0xwallet",
        numeraire="USD",
        native=Price(WETH, 1, 1, "feed", 0),
        native_wei=0,
        balances=(Amount(WETH, weth), Amount(USDC, usdc)),
        holdings=(LpHolding(pool.address, shares, None, **farm),),  # type: ignore[arg-type]
        pairs=(pool,),
        prices=(
            Price(WETH, dollars * E8, ETHER, "feed", 0),
            Price(USDC, E8, 10**6, "feed", 0),
            Price(LINK, 10 * E8, ETHER, "feed", 0),
        ),
        priority_fee_wei=0,
    )


def grown(percent: int, pool: PairState = POOL) -> PairState:
    """The pool after fees of so many per cent of sqrt(k)."""
    return replace(
        pool,
        reserve0=pool.reserve0 * (100 + percent) // 100,
        reserve1=pool.reserve1 * (100 + percent) // 100,
    )


def at_price(dollars: int) -> PairState:
    """The pool moved along its curve."""
    return replace(
        POOL,
        reserve0=isqrt(POOL.reserve0**2 * dollars // 2_000),
        reserve1=isqrt(POOL.reserve1**2 * 2_000 // dollars),
    )


def flow(kind: FlowKind, asset: str, raw: int, farm: str | None = None) -> Flow:
    return Flow(150, "0xtx", kind, asset, raw, farm)


def change(found: Attribution, name: str) -> Parts:
    return next(c.value for c in found.positions if c.name == name)


def explain(before: Snapshot, after: Snapshot, flows: Sequence[Flow] = ()) -> Attribution:
    """The attribution, after everything that must hold of any has been looked at."""
    found = attribute(before, after, NAMES, flows)
    targets = [Target(name, weight) for name, weight in zip(NAMES, (0, 0, PPM), strict=True)]
    then, now = value(before, targets), value(after, targets)
    assert found.nav.total == now.nav_e8 - then.nav_e8
    for item in found.positions:
        at, to = then.position(item.name), now.position(item.name)
        assert (item.before_e8, item.after_e8) == (at.value_e8, to.value_e8)
        assert (item.before_ppm, item.after_ppm) == (at.weight_ppm, to.weight_ppm)
        assert item.value.total == item.after_e8 - item.before_e8
        assert item.weight.total == item.after_ppm - item.before_ppm
    return found


def test_price_alone__quadruples__the_pool_at_its_new_price() -> None:
    found = explain(snapshot(), snapshot(200, dollars=8_000, pool=at_price(8_000)))
    assert change(found, "WETH") == Parts(60_000 * E8, 0, 0, 0, 0, 0)
    assert change(found, "USDC") == Parts(0, 0, 0, 0, 0, 0)
    # Held: 20,000 USDC and 10 WETH at 8,000; in the pool 40,000 * sqrt(4).
    assert change(found, LP) == Parts(60_000 * E8, -20_000 * E8, 0, 0, 0, 0)
    assert found.nav == Parts(120_000 * E8, -20_000 * E8, 0, 0, 0, 0)
    assert (found.from_block, found.to_block, found.to_ts - found.from_ts) == (100, 200, 1_200)


def test_weights__price_alone__each_step_adds_up_to_nothing() -> None:
    found = explain(snapshot(), snapshot(200, dollars=8_000, pool=at_price(8_000)))
    weights = {
        item.name: (item.before_ppm, item.weight, item.after_ppm) for item in found.positions
    }
    assert (weights["WETH"][0], weights["WETH"][2]) == (250_000, 444_445)
    assert weights["USDC"] == (250_000, Parts(-150_000, 11_111, 0, 0, 0, 0), 111_111)
    assert weights[LP] == (500_000, Parts(0, -55_556, 0, 0, 0, 0), 444_444)
    for part in ("price", "composition", "fees", "deposits", "trades", "other"):
        assert sum(getattr(item.weight, part) for item in found.positions) == 0


def test_fees_alone() -> None:
    found = explain(snapshot(), snapshot(200, pool=grown(5)))
    assert change(found, LP) == Parts(0, 0, 2_000 * E8, 0, 0, 0)
    assert found.nav.fees == 2_000 * E8


def test_pool_that_was_pushed__shows_up_nowhere() -> None:
    """A flash swap without fees: ten times the USDC, a tenth of the WETH."""
    pushed = replace(POOL, reserve0=POOL.reserve0 * 10, reserve1=POOL.reserve1 // 10)
    for before, after in (
        (snapshot(), snapshot(200, pool=pushed)),
        (snapshot(pool=pushed), snapshot(200)),
    ):
        assert explain(before, after).nav == Parts(0, 0, 0, 0, 0, 0)


def test_flows__deposit__trade__and_what_nobody_explains() -> None:
    after = snapshot(200, weth=12 * ETHER, usdc=17_000 * 10**6)
    found = explain(
        snapshot(),
        after,
        [
            flow("deposit", WETH.address, 2 * ETHER),
            flow("withdrawal", WETH.address, -ETHER),
            flow("trade", WETH.address, ETHER),
            flow("trade", USDC.address, -2_000 * 10**6),
            flow("deposit", "0xnone of the portfolio's", 10**30),
        ],
    )
    assert change(found, "WETH") == Parts(0, 0, 0, 2_000 * E8, 2_000 * E8, 0)
    assert change(found, "USDC") == Parts(0, 0, 0, 0, -2_000 * E8, -1_000 * E8)
    assert found.nav == Parts(0, 0, 0, 2_000 * E8, 0, -1_000 * E8)
    assert found.nav.flows == 1_000 * E8


def test_flows__are_valued_where_they_ended_up() -> None:
    after = snapshot(200, dollars=3_000, weth=11 * ETHER, pool=at_price(3_000))
    found = explain(snapshot(), after, [flow("deposit", WETH.address, ETHER)])
    assert change(found, "WETH") == Parts(10_000 * E8, 0, 0, 3_000 * E8, 0, 0)


def test_shares__added_and_withdrawn() -> None:
    after = snapshot(200, shares=15 * 10**12, weth=5 * ETHER, usdc=10_000 * 10**6)
    found = explain(
        snapshot(),
        after,
        [
            flow("trade", POOL.address, 5 * 10**12),
            flow("trade", WETH.address, -5 * ETHER),
            flow("trade", USDC.address, -10_000 * 10**6),
        ],
    )
    assert change(found, LP) == Parts(0, 0, 0, 0, 20_000 * E8, 0)
    assert found.nav == Parts(0, 0, 0, 0, 0, 0)


def test_shares__withdrawn_from_what_was_added_meanwhile() -> None:
    """On the way through the flows there are fewer than none."""
    after = snapshot(200, shares=6 * 10**12)
    flows = [
        flow("withdrawal", POOL.address, -4 * 10**12),
        flow("trade", POOL.address, 10**13),
    ]
    found = explain(snapshot(shares=0), after, flows)
    assert change(found, LP) == Parts(0, 0, 0, -16_000 * E8, 40_000 * E8, 0)


def test_claim__of_a_token_that_is_a_position__is_a_trade_there() -> None:
    after = snapshot(200, usdc=20_007 * 10**6)
    found = explain(snapshot(), after, [flow("claim", USDC.address, 7 * 10**6, "0xelsewhere")])
    assert change(found, "USDC") == Parts(0, 0, 0, 0, 7 * E8, 0)


def test_pool__that_was_emptied__is_explained_by_the_trade() -> None:
    after = replace(snapshot(200, shares=0), pairs=(), holdings=())
    found = explain(snapshot(), after, [flow("trade", POOL.address, -(10**13))])
    assert change(found, LP) == Parts(0, 0, 0, 0, -40_000 * E8, 0)


def test_position__that_is_new_or_gone() -> None:
    gone = snapshot(200, shares=0)
    assert change(
        explain(snapshot(), gone, [flow("withdrawal", "0xpair", -(10**13))]), LP
    ) == Parts(0, 0, 0, -40_000 * E8, 0, 0)
    unread = replace(snapshot(), holdings=())
    assert change(explain(unread, snapshot(200)), LP) == Parts(0, 0, 0, 0, 0, 40_000 * E8)
    assert attribute(unread, replace(gone, holdings=()), (LP,), ()).nav.total == 0


def test_reward__earned_is_income__claimed_is_moved() -> None:
    before = snapshot(reward=3 * ETHER)
    after = snapshot(200, reward=2 * ETHER)
    found = explain(before, after, [flow("claim", LINK.address, 4 * ETHER, "0xfarm")])
    # 3 were owed, 3 more came, 4 were paid: LINK is at 10 dollars.
    assert change(found, LP) == Parts(0, 0, 30 * E8, 0, -40 * E8, 0)
    elsewhere = explain(before, after, [flow("claim", LINK.address, 4 * ETHER, "0xother")])
    assert change(elsewhere, LP) == Parts(0, 0, -10 * E8, 0, 0, 0)


def test_all_at_once__to_the_last_unit() -> None:
    before = snapshot(weth=10 * ETHER + 1, usdc=20_000 * 10**6 + 7, shares=10**13 + 3)
    after = snapshot(
        200,
        dollars=3_333,
        weth=7 * ETHER + 11,
        usdc=1,
        shares=10**13 - 9,
        pool=grown(3, at_price(3_331)),
    )
    found = explain(before, after, [flow("trade", WETH.address, -(3 * ETHER) + 5)])
    assert min(abs(part) for part in (found.nav.price, found.nav.composition, found.nav.fees)) > 0


def test_watched_wallet__counts_and_its_flows_too() -> None:
    def other(weth: int, shares: int) -> tuple[Watched, ...]:
        lp = LpHolding(POOL.address, shares, None)
        return (Watched("0xother", (Amount(WETH, weth), Amount(USDC, 0)), (lp,)),)

    before = replace(snapshot(), watched=other(5 * ETHER, 10**13))
    after = replace(
        snapshot(200, dollars=8_000, pool=at_price(8_000)), watched=other(6 * ETHER, 10**13)
    )
    found = explain(before, after, [flow("deposit", WETH.address, ETHER)])
    assert change(found, "WETH") == Parts(90_000 * E8, 0, 0, 8_000 * E8, 0, 0)
    assert change(found, LP) == Parts(120_000 * E8, -40_000 * E8, 0, 0, 0, 0)


def test_what_does_not_belong_together__is_refused() -> None:
    with pytest.raises(ValueError, match="wrong order"):
        attribute(snapshot(200), snapshot(100), NAMES, ())
    with pytest.raises(ValueError, match="two portfolios"):
        attribute(snapshot(), replace(snapshot(200), wallet="0xother"), NAMES, ())
    with pytest.raises(ReadError, match="no price for WETH at block 200"):
        attribute(snapshot(), replace(snapshot(200), prices=snapshot().prices[1:]), NAMES, ())


# With a gas reserve: ether above it is WETH


GAS = 10**15
ETH = Token("0x" + "0" * 40, "ETH", 18)


def with_ether(native_wei: int, **more: Any) -> Snapshot:
    """A fifth of an ether stays for gas."""
    return replace(
        snapshot(**more),
        native=Price(ETH, 2_000 * E8, ETHER, "feed", 0),
        native_wei=native_wei,
        gas_reserve=GasReserve(WETH, ETHER // 5),
    )


def test_gas__is_a_part_of_its_own() -> None:
    before, after = with_ether(2 * ETHER), with_ether(2 * ETHER - GAS, number=200)
    found = explain(before, after, [flow("gas", ETH.address, -GAS)])
    assert change(found, "WETH") == Parts(0, 0, 0, 0, 0, 0, gas=-2 * E8)
    assert found.nav_before_e8 - found.nav_after_e8 == 2 * E8


def test_gas__of_what_is_below_the_reserve__moves_no_position() -> None:
    before, after = with_ether(ETHER // 5 + 1), with_ether(ETHER // 5 - GAS, number=200)
    found = explain(before, after, [flow("gas", ETH.address, -GAS - 1)])
    assert found.nav.total == 0
    assert found.nav_before_e8 == found.nav_after_e8


def test_wrapping__is_no_change() -> None:
    before, after = with_ether(3 * ETHER), with_ether(ETHER, number=200, weth=12 * ETHER)
    flows = [flow("trade", ETH.address, -2 * ETHER), flow("trade", WETH.address, 2 * ETHER)]
    assert change(explain(before, after, flows), "WETH") == Parts(0, 0, 0, 0, 0, 0)


def test_ether_sold_and_ether_that_came__are_a_trade_and_a_deposit() -> None:
    before = with_ether(3 * ETHER)
    after = with_ether(4 * ETHER - GAS, number=200, usdc=22_000 * 10**6)
    flows = [
        flow("trade", ETH.address, -ETHER),
        flow("trade", USDC.address, 2_000 * 10**6),
        flow("gas", ETH.address, -GAS),
        flow("deposit", ETH.address, 2 * ETHER),
    ]
    found = explain(before, after, flows)
    assert change(found, "WETH") == Parts(0, 0, 0, 4_000 * E8, -2_000 * E8, 0, gas=-2 * E8)
    assert change(found, "USDC") == Parts(0, 0, 0, 0, 2_000 * E8, 0)


@given(
    native=st.tuples(*[st.integers(0, 10**18)] * 2),
    raws=st.tuples(*[st.integers(0, 10**19)] * 2),
    dollars=st.integers(1, 10**5),
    moved=st.lists(
        st.tuples(
            st.sampled_from(["deposit", "withdrawal", "trade", "gas"]),
            st.sampled_from([ETH.address, WETH.address]),
            st.integers(-(10**18), 10**18),
        ),
        max_size=5,
    ),
)
@settings(max_examples=200)
def test_whatever_moved__the_parts_add_up_to_the_unit(
    native: tuple[int, int], raws: tuple[int, int], dollars: int, moved: list[Any]
) -> None:
    """Flows that explain too much, too little or nothing: the rest is the other part."""
    before = with_ether(native[0], weth=raws[0])
    after = with_ether(native[1], number=200, weth=raws[1], dollars=dollars)
    found = explain(before, after, [flow(*one) for one in moved])
    (weth,) = [c for c in found.positions if c.name == "WETH"]
    assert weth.after_e8 == after.price(WETH).value_down(after.owned(WETH))


def test_two_gas_reserves__refused() -> None:
    before = with_ether(ETHER)
    with pytest.raises(ValueError, match="two gas reserves"):
        attribute(before, replace(before, gas_reserve=None), NAMES, ())
