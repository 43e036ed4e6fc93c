"""A plan is signed while it is worth its gas, at the price of that moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bundler_fakes import TWO_HOPS

from rebalancer.bundler.worth import check_worth
from rebalancer.errors import LimitBreached
from rebalancer.model import Costs, Plan

GWEI = 10**9


def plan(benefit_e8: int, off_oracle_e8: int = 0) -> Plan:
    """Gas of 200,000 units at 20 gwei is 12.00 of a total of 15.00 (and what is off the oracle)."""
    costs = Costs(
        traded_e8=10**12,
        fee_e8=2 * 10**8,
        impact_e8=10**8,
        off_oracle_e8=off_oracle_e8,
        gas_e8=12 * 10**8,
        total_e8=15 * 10**8 + off_oracle_e8,
        gas_units=200_000,
        gas_price_wei=20 * GWEI,
    )
    return replace(TWO_HOPS, costs=costs, benefit_e8=benefit_e8)


@pytest.mark.parametrize(
    ("benefit_e8", "gas_units", "price_gwei", "worth"),
    [
        (27 * 10**8 + 1, 200_000, 40, True),  # gas doubled: 24 + 3
        (27 * 10**8, 200_000, 40, False),  # must be above, not equal
        (27 * 10**8 + 1, 400_000, 20, True),
        (27 * 10**8, 400_000, 20, False),
        (1, 200_000, 20, True),  # nothing is dearer than when the planner decided
        (1, 100_000, 40, True),
        (15 * 10**8, 200_001, 20, False),
    ],
)
def test_the_benefit_must_cover_the_cost_of_now(
    benefit_e8: int, gas_units: int, price_gwei: int, worth: bool
) -> None:
    if worth:
        check_worth(plan(benefit_e8), gas_units, price_gwei * GWEI)
        return
    with pytest.raises(LimitBreached, match="the plan would cost"):
        check_worth(plan(benefit_e8), gas_units, price_gwei * GWEI)


def test_tax_and_the_reserve_are_in_what_a_plan_must_be_worth() -> None:
    taxed = plan(30 * 10**8 + 1)
    taxed = replace(taxed, costs=replace(taxed.costs, tax_e8=2 * 10**8, reserve_e8=10**8))
    check_worth(taxed, 400_000, 20 * GWEI)
    with pytest.raises(LimitBreached, match="would cost 30"):
        check_worth(replace(taxed, benefit_e8=30 * 10**8), 400_000, 20 * GWEI)


def test_the_value_of_gas_is_rounded_up() -> None:
    """One wei more a unit is 12 * 10^8 / (20 * 10^9) = 0.06 of a unit of value: one unit."""
    check_worth(plan(15 * 10**8 + 2), 200_000, 20 * GWEI + 1)
    with pytest.raises(LimitBreached):
        check_worth(plan(15 * 10**8 + 1), 200_000, 20 * GWEI + 1)


def test_a_pools_gift_pays_for_no_gas() -> None:
    generous = plan(27 * 10**8, off_oracle_e8=-5 * 10**8)
    with pytest.raises(LimitBreached):
        check_worth(generous, 200_000, 40 * GWEI)
    dear = plan(27 * 10**8 + 1, off_oracle_e8=10**8)
    with pytest.raises(LimitBreached):
        check_worth(dear, 200_000, 40 * GWEI)


def test_the_refusal_says_all_numbers() -> None:
    with pytest.raises(LimitBreached) as caught:
        check_worth(plan(20 * 10**8), 200_000, 40 * GWEI)
    assert str(caught.value) == (
        "the plan would cost 27 USD now, 24 of it gas (200,000 at 40 gwei), and brings 20"
    )


def test_a_plan_that_assumes_no_gas_is_not_judged_by_it() -> None:
    check_worth(TWO_HOPS, 10**6, 10**12)


@pytest.mark.parametrize(
    ("most_e8", "price_gwei", "worth"),
    [
        (24 * 10**8, 40, True),  # gas doubled: 24, and as much is left of the order
        (24 * 10**8 - 1, 40, False),
        (0, 20, True),  # as the planner decided, who knew the order
    ],
)
def test_a_slices_gas_must_be_left_of_its_order__whatever_it_brings(
    most_e8: int, price_gwei: int, worth: bool
) -> None:
    slice_ = replace(plan(1), order="ab" * 32, most_gas_e8=most_e8)
    if worth:
        check_worth(slice_, 200_000, price_gwei * GWEI)
        return
    with pytest.raises(LimitBreached, match=r"would cost 24 USD now, its order has 23\.99999999"):
        check_worth(slice_, 200_000, price_gwei * GWEI)
