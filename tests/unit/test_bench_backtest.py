"""The backtest's sums against numbers worked out by hand, and what it says without its data."""

from __future__ import annotations

from math import exp, sqrt
from pathlib import Path
from random import Random

import pytest

from rebalancer.planner import PRAGUE
from rebalancer.planner.jband import yearly_cost
from scripts.bench import backtest
from scripts.bench.backtest import ETA, FEE, YEAR_S, Hour, Market, fixed, run

#: Where a band between hourly looks truly lies, in standard deviations of an hour.
OVERSHOOT = 0.5826


def market(prices: list[float], gas_unit: float, step_s: int = 3_600) -> Market:
    hours = tuple(Hour(i * step_s, (price, 1.0), gas_unit) for i, price in enumerate(prices))
    return Market("made", (0.5, 0.5), hours, {}, {}, {})


def test_hold__pays_for_the_drift_alone() -> None:
    found = run(market([1.0, 3.0, 4.5], 1e-9, YEAR_S), fixed("hold", 2.0, 0.0))
    # On target it gains and loses as the target does; at 3/4 of coins it gains 1/4 of 50 % more.
    assert found.traded == found.trades == 0
    assert found.tracking == pytest.approx(ETA / 2 * (0.25 * 0.5) ** 2 / 2)


def test_band__pays_fee_and_gas_of_what_it_trades() -> None:
    gas_unit = 1e-9
    found = run(market([1.0, 3.0, 3.0], gas_unit, YEAR_S), fixed("band", 0.2, 0.1))
    units = PRAGUE.trade()
    # From 75 % back to 60 %.
    assert found.trades == 0.5
    assert found.traded == pytest.approx((FEE * 0.15 + units * gas_unit) / 2)
    assert found.tracking == 0


@pytest.mark.parametrize(
    ("trigger", "every_s", "trades"), [(0.25, 0, 0), (0.24, 0, 1), (0.0, 3, 0), (0.0, 2, 1)]
)
def test_rule__when(trigger: float, every_s: int, trades: int) -> None:
    found = run(market([1.0, 1.0, 3.0], 0.0, 1), fixed("", trigger, 0.0, every_s))
    assert found.trades * 2 / YEAR_S == pytest.approx(trades)


def test_random_walk__costs_what_the_formula_says() -> None:
    sigma, years, gas_unit = 0.7, 30, 2e-4 / PRAGUE.trade()
    draw, price, prices = Random(5), 1.0, [1.0]  # noqa: S311
    step = sigma / sqrt(YEAR_S / 3_600)
    for _ in range(years * YEAR_S // 3_600):
        price *= exp(draw.gauss(0, step))
        prices.append(price)
    found = run(market(prices, gas_unit), fixed("band", 0.03, 0.01))
    drift = 0.25 * sigma
    trigger = 0.03 + OVERSHOOT * drift / sqrt(YEAR_S / 3_600)
    expected = yearly_cost(trigger, 0.01, drift**2, ETA * sigma**2, 2e-4, FEE)
    assert found.total == pytest.approx(expected, rel=0.05)


def test_figures__null_without_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backtest, "DATA", tmp_path)
    found = list(backtest.figures())
    assert [f.name for f in found] == [f"backtest.{name}.optimal" for name in backtest.NAMES]
    assert all(f.value is None and f.met is None and '"value": null' in f.line() for f in found)
