"""The J-band: closed forms, optimality, and the published table of one dimension."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.planner.jband import best_band, calendar_cost, kappa, yearly_cost

#: 12 % a year, A = 1, F = 1 bp, eps = 30 bp.
TABLE = {"variance": 0.12**2, "aversion": 1.0, "fixed": 1e-4, "rate": 30e-4}
#: The published figures were simulated in hours: between two looks the drift overshoots its
#: trigger by 0.5826 standard deviations (Chernoff; Siegmund 1985), here of an hour.
OVERSHOOT = 0.5826 * 0.12 / sqrt(24 * 365)


def test_without_a_fixed_cost_it_is_the_cube_root_band():
    band = best_band(0.0144, 1.5, 0.0, 0.003)
    classic = (3 * 0.003 * 0.0144 / (2 * 1.5)) ** (1 / 3)
    assert band.trigger == band.reset == pytest.approx(classic, rel=1e-14)
    # From above, where l and b are apart, the cost falls towards the limit that is used there.
    apart = yearly_cost(classic * (1 + 1e-6), classic * (1 - 1e-6), 0.0144, 1.5, 0.0, 0.003)
    assert band.cost == pytest.approx(apart, rel=1e-9)


def test_without_a_rate_it_goes_back_to_target():
    band = best_band(0.0144, 1.5, 1e-4, 0.0)
    assert band.reset == 0
    assert band.trigger == pytest.approx((12 * 1e-4 * 0.0144 / 1.5) ** 0.25, rel=1e-14)


def test_the_published_optimum():
    band = best_band(**TABLE)
    assert (round(band.trigger * 1e3), round(band.reset * 1e3)) == (75, 18)  # 7.5 % back to 1.8 %
    assert round(band.cost * 1e5) == 123  # 12.3 bp, published 12.4
    assert kappa(band, TABLE["variance"]) == 2 * band.cost / TABLE["variance"]


@pytest.mark.parametrize(
    ("trigger", "reset", "published_bp"),
    [(0.075, 0.018, 12.4), (0.05, 0.02, 15.3), (0.05, 0.0, 16.3), (0.02, 0.0, 54.6)],
)
def test_the_published_bands(trigger, reset, published_bp):
    cost = yearly_cost(trigger + OVERSHOOT, reset, **TABLE)
    assert cost * 1e4 == pytest.approx(published_bp, rel=0.01)


@pytest.mark.parametrize(
    ("period", "published_bp"), [(90 / 365, 18.6), (1 / 12, 24.9), (7 / 365, 73.5)]
)
def test_the_published_calendars(period, published_bp):
    assert calendar_cost(period, **TABLE) * 1e4 == pytest.approx(published_bp, rel=0.01)


def test_ninety_days_is_about_the_best_calendar():
    costs = {days: calendar_cost(days / 365, **TABLE) for days in range(30, 181, 10)}
    best = min(costs, key=costs.__getitem__)
    assert 70 <= best <= 110
    assert costs[best] == pytest.approx(costs[90], rel=0.01)
    assert best_band(**TABLE).cost < costs[best]


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1e-6, 1.0),
    st.floats(1e-3, 50.0),
    st.floats(0.0, 0.05) | st.just(0.0),
    st.floats(1e-5, 0.05),
)
def test_no_other_band_costs_less(variance, aversion, fixed, rate):
    band = best_band(variance, aversion, fixed, rate)
    assert 0 <= band.reset <= band.trigger
    for step in (1e-4, 0.01, 0.3):
        for up, down in ((step, 0), (-step, 0), (0, step), (0, -step), (step, step)):
            trigger, reset = band.trigger * (1 + up), band.reset * (1 + down)
            if reset < trigger:
                other = yearly_cost(trigger, reset, variance, aversion, fixed, rate)
                assert other >= band.cost * (1 - 1e-12)


@pytest.mark.parametrize(
    "wrong", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 0), (1, 1, -1, 1), (1, 1, 1, -1)]
)
def test_there_is_no_band_for_what_cannot_be(wrong):
    with pytest.raises(ValueError, match="a band needs"):
        best_band(*wrong)
