"""EWMA volatility: known answers, no look-ahead, and what real prices say."""

from __future__ import annotations

import csv
import os
from datetime import UTC, datetime
from itertools import pairwise
from math import exp, log, sqrt
from pathlib import Path

import pytest

from rebalancer.model import PPM
from rebalancer.planner.volatility import MIN_RETURNS, YEAR_S, Observation, relative_volatilities

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("REBALANCER_DATA", ROOT / "../shared/data"))
DAY = 86_400
TWO = {"ETH": {"ETH": 0.5}, "USD": {"USD": 0.5}}


def steps(count, up, dt=DAY):
    """ETH goes up and down by ``up`` in logarithms, the dollar stays."""
    return [Observation(i * dt, {"ETH": 100 * exp(up * (i % 2)), "USD": 1.0}) for i in range(count)]


def test_a_steady_swing():
    found = relative_volatilities(steps(60, 0.02), TWO, 59 * DAY, 30 * DAY)
    # Either side moves against the rest by the same 2 % a day.
    assert found == {"ETH": round(0.02 * sqrt(YEAR_S / DAY) * PPM), "USD": found["ETH"]}


def test_uneven_times_are_weighed_by_their_length():
    even = steps(60, 0.02)
    gap = [o for i, o in enumerate(even) if not 20 <= i < 30]
    found = relative_volatilities(gap, TWO, 59 * DAY, 10**9)
    days = 59 - 0
    # One return spans eleven days and, by chance of the swing, is one step as well.
    assert found["ETH"] == pytest.approx(sqrt(49 * 0.02**2 / (days * DAY / YEAR_S)) * PPM, abs=2)


def test_the_half_life():
    calm, wild = steps(200, 0.01), steps(200, 0.05)
    series = calm[:100] + wild[100:]
    quick = relative_volatilities(series, TWO, 199 * DAY, 5 * DAY)["ETH"]
    slow = relative_volatilities(series, TWO, 199 * DAY, 1_000 * DAY)["ETH"]
    assert quick == pytest.approx(0.05 * sqrt(YEAR_S / DAY) * PPM, rel=0.001)
    assert slow < quick * 8 // 10


def test_what_comes_later_changes_nothing():
    series = steps(60, 0.02)
    crash = [Observation((60 + i) * DAY, {"ETH": 1.0 + i, "USD": 1.0}) for i in range(30)]
    assert relative_volatilities([*crash, *series], TWO, 59 * DAY, 30 * DAY) == (
        relative_volatilities(series, TWO, 59 * DAY, 30 * DAY)
    )


def test_too_little_is_known():
    assert relative_volatilities(steps(MIN_RETURNS, 0.02), TWO, 10**9, 10**9) == {}
    assert relative_volatilities(steps(MIN_RETURNS + 1, 0.02), TWO, 10**9, 10**9) != {}
    assert relative_volatilities(steps(60, 0.02), TWO, 10_000 * DAY, 30 * DAY) == {}  # long ago
    alone = {"ETH": {"ETH": 1.0}}
    assert relative_volatilities(steps(60, 0.02), alone, 59 * DAY, 30 * DAY) == {}
    unknown = {"ETH": {"ETH": 0.5}, "X": {"X": 0.5}}
    assert relative_volatilities(steps(60, 0.02), unknown, 59 * DAY, 30 * DAY) == {}


def test_a_bucket_moves_as_one():
    series = [Observation(o.ts, {**o.prices, "stETH": o.prices["ETH"]}) for o in steps(60, 0.02)]
    bucketed = {"eth": {"ETH": 0.25, "stETH": 0.25}, "USD": {"USD": 0.5}}
    found = relative_volatilities(series, bucketed, 59 * DAY, 30 * DAY)
    assert found["eth"] == relative_volatilities(series, TWO, 59 * DAY, 30 * DAY)["ETH"]
    apart = {"ETH": {"ETH": 0.5}, "stETH": {"stETH": 0.5}}
    assert relative_volatilities(series, apart, 59 * DAY, 30 * DAY) == {"ETH": 0, "stETH": 0}


@pytest.fixture(scope="module")
def daily() -> list[Observation]:
    path = DATA / "prices" / "daily_close_2015_2023.csv"
    if not path.exists():
        pytest.skip(f"no real prices: {path} is not there")
    with path.open() as lines:
        rows = list(csv.DictReader(lines))
    day = next(iter(rows[0]))
    return [
        Observation(
            int(datetime.fromisoformat(row[day]).replace(tzinfo=UTC).timestamp()),
            {name: float(text) for name, text in row.items() if name != day and text},
        )
        for row in rows
    ]


def test_real_prices__as_a_plain_estimate(daily):
    names = sorted(daily[-1].prices)
    eth = next(name for name in names if name.upper().startswith("ETH"))
    dollar = "numeraire"
    series = [Observation(o.ts, {**o.prices, dollar: 1.0}) for o in daily]
    groups = {eth: {eth: 0.5}, dollar: {dollar: 0.5}}
    now = int(datetime(2021, 6, 1, tzinfo=UTC).timestamp())
    window = [o for o in series if o.ts <= now and eth in o.prices][-1_000:]
    returns = [log(b.prices[eth] / a.prices[eth]) for a, b in pairwise(window)]
    weights = [0.5 ** ((now - o.ts) / (30 * DAY)) for o in window[1:]]
    variance = sum(w * r * r for w, r in zip(weights, returns, strict=True)) / sum(weights)
    found = relative_volatilities(series, groups, now, 30 * DAY)[eth]
    assert found == pytest.approx(sqrt(variance * YEAR_S / DAY) * PPM, rel=0.01)
    assert found > PPM  # the spring of 2021: above 100 % a year
    calm = int(datetime(2023, 8, 1, tzinfo=UTC).timestamp())
    assert relative_volatilities(series, groups, calm, 30 * DAY)[eth] < PPM // 2
