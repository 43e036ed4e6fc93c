"""An outcome is the planned one, or it is refused with the numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bundler_fakes import TWO_HOPS, USDC, USDC_WETH, WBTC, WETH, leg, plan_of
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.bundler.compare import check_fills, check_net, leg_name
from rebalancer.bundler.simulate import gas_limit_for
from rebalancer.errors import SimulationMismatch
from rebalancer.model import Fill, Plan, Token

PLANNED = tuple(
    Fill(i, leg.pair, leg.token_in, leg.token_out, leg.amount_in, leg.amount_out)
    for i, leg in enumerate(TWO_HOPS.legs)
)


def with_out(index: int, amount_out: int) -> list[Fill]:
    fills = list(PLANNED)
    fills[index] = replace(fills[index], amount_out=amount_out)
    return fills


def test_the_planned_outcome_passes_without_any_tolerance() -> None:
    check_fills(TWO_HOPS, PLANNED, 0)


@pytest.mark.parametrize("off", [-5_000, 5_000])
def test_the_edge_of_the_tolerance_passes_and_one_unit_more_does_not(off: int) -> None:
    """0.1 % of 5,000,000 units is 5,000 of them; better is refused like worse."""
    check_fills(TWO_HOPS, with_out(1, 5_000_000 + off), 1_000)
    beyond = off + (1 if off > 0 else -1)
    with pytest.raises(SimulationMismatch, match=r"leg 2 of 2 \(WETH -> WBTC on uniswap_v2\)"):
        check_fills(TWO_HOPS, with_out(1, 5_000_000 + beyond), 1_000)


def test_without_tolerance_one_unit_is_too_much() -> None:
    with pytest.raises(SimulationMismatch):
        check_fills(TWO_HOPS, with_out(0, 10**18 + 1), 0)


def test_what_is_paid_counts_like_what_is_bought() -> None:
    fills = [replace(PLANNED[0], amount_in=PLANNED[0].amount_in * 2), PLANNED[1]]
    with pytest.raises(SimulationMismatch, match="would pay 6,000 USDC instead of 3,000 USDC"):
        check_fills(TWO_HOPS, fills, 1_000)


def test_the_message_has_the_numbers() -> None:
    with pytest.raises(SimulationMismatch) as caught:
        check_fills(TWO_HOPS, with_out(1, 4_900_000), 1_000, 77)
    assert str(caught.value) == (
        "leg 2 of 2 (WETH -> WBTC on uniswap_v2) would bring 0.049 WBTC instead of 0.05 WBTC"
        " (-2 %); the tolerance is 0.1 %"
    )
    assert caught.value.hint
    assert caught.value.block == 77


def test_net_changes_as_planned_pass() -> None:
    check_net(TWO_HOPS, {USDC: -3_000_000_000, WETH: 0, WBTC: 5_000_000}, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {WETH: 1},  # only passes from pair to pair: must not change at all
        {WETH: -1},
        {WBTC: 4_994_999},  # a fee on the way out
        {WBTC: 5_005_001},
        {USDC: -3_003_000_001},  # more taken than sold
        {Token("0x" + "99" * 20, "NEW", 18): 1},  # nothing in the plan
    ],
)
def test_any_other_change_is_refused(changes: dict[Token, int]) -> None:
    with pytest.raises(SimulationMismatch, match="the wallet's balance would change by"):
        check_net(TWO_HOPS, changes, 1_000)


@pytest.fixture
def there_and_back() -> Plan:
    """Sells 1 WETH, buys 0.999 back: a net of almost nothing."""
    return plan_of(
        leg(USDC_WETH, WETH, USDC, 10**18, 3_000_000_000),
        leg(USDC_WETH, USDC, WETH, 3_000_000_000, 999 * 10**15),
    )


def test_the_tolerance_is_of_what_moves_not_of_the_net(there_and_back: Plan) -> None:
    moved = 10**18 + 999 * 10**15
    allowed = moved // 1_000
    check_net(there_and_back, {WETH: -(10**15) - allowed}, 1_000)
    with pytest.raises(SimulationMismatch):
        check_net(there_and_back, {WETH: -(10**15) - allowed - 1}, 1_000)


def test_a_plan_whose_net_is_not_that_of_its_legs_is_refused() -> None:
    lying = plan_of(*TWO_HOPS.legs, net=())
    with pytest.raises(SimulationMismatch):
        check_net(lying, {USDC: -3_000_000_000, WETH: 0, WBTC: 5_000_000}, 1_000)


def test_legs_are_counted_from_one() -> None:
    assert leg_name(TWO_HOPS, 0) == "leg 1 of 2 (USDC -> WETH on uniswap_v2)"


def needs(frame: tuple[int, list[object]]) -> tuple[int, int]:
    """Gas that nested frames spend, and the least limit they run with, by EIP-150's own rule.

    A frame spends ``own`` gas, then makes its calls one after the other; each is given at most
    63/64 of what is left, rounded as the EVM does.
    """
    own, calls = frame
    spent, least = own, own
    for call in calls:
        inner_spent, inner_least = needs(call)  # type: ignore[arg-type]
        # The least x with x - x // 64 >= inner_least.
        left = inner_least + max(0, inner_least - 1) // 63
        least = max(least, spent + left)
        spent += inner_spent
    return spent, max(least, spent)


FRAMES = st.recursive(
    st.tuples(st.integers(0, 100_000), st.just([])),
    lambda inner: st.tuples(st.integers(0, 100_000), st.lists(inner, max_size=3)),
    max_leaves=12,
)


def depth(frame: tuple[int, list[object]]) -> int:
    return max((1 + depth(call) for call in frame[1]), default=0)  # type: ignore[arg-type]


@given(FRAMES.filter(lambda frame: depth(frame) <= 4), st.integers(0, 20))
def test_the_gas_limit_is_enough_for_any_calls_of_that_depth_and_any_refund(
    frame: tuple[int, list[object]], refund_percent: int
) -> None:
    spent, least = needs(frame)
    spent, least = spent + 21_000, least + 21_000
    gas_used = spent - spent * refund_percent // 100
    assert gas_limit_for(gas_used) >= least
