"""What a rule of rebalancing costs over real prices: trades, gas, and the drift that it leaves.

Each hour of a price series moves the weights; each hour a rule looks at them. What is added up, as
a share of NAV a year, is what the rule pays (the pool's fee, the gas of the day) and what an
investor of risk aversion eta would pay to be rid of the drift it leaves, ``eta / 2`` times the
square of what the drift made the portfolio gain or lose against its targets in that hour: measured,
no model. The J-band, with its kappa, is the planner's own, from volatility that looks only back.
"""

from __future__ import annotations

import csv
import gzip
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import sqrt
from pathlib import Path

from rebalancer.config.load import PROJECT_ROOT
from rebalancer.model import PPM
from rebalancer.planner.gas_schedule import PRAGUE
from rebalancer.planner.jband import best_band, kappa
from rebalancer.planner.reset import back_to_edges
from rebalancer.planner.volatility import Observation, relative_volatilities
from scripts.bench.figure import Figure

DATA = Path(os.environ.get("REBALANCER_DATA", PROJECT_ROOT.parent / "shared" / "data"))
DAY_S = 86_400
YEAR_S = 31_556_952
NAV, ETA, FEE = 100_000.0, 4.0, 0.003
HALF_LIFE_DAYS = 30
#: Days of prices before the first one that counts: what a volatility looks back on.
WARM_UP_DAYS = 8 * HALF_LIFE_DAYS
#: Weights are rounded to this where the planner's integers are used.
_E8 = 10**8
#: The bands that the best in hindsight is chosen from: triggers, and resets as shares of them.
_TRIGGERS, _RESETS = (0.03, 0.05, 0.07, 0.1, 0.14), (0.0, 0.25, 0.5)
PEER, HINDSIGHT = "best of the other rules", "best fixed band in hindsight"
NAMES = ("eth_usd", "eth_btc", "six")
USD = "USD"


@dataclass(frozen=True)
class Hour:
    """One look: prices of the positions in order, and a unit of gas as a share of NAV."""

    ts: int
    prices: tuple[float, ...]
    gas_unit: float


@dataclass(frozen=True)
class Band:
    """Drift at which a position triggers, and the drift that trading back leaves."""

    trigger: float
    reset: float


@dataclass(frozen=True)
class Market:
    """A series with its target weights, and what the planner derives by day.

    ``optimal`` are trigger and reset of the J-band, ``to_kappa`` its trigger with the reset that
    the optimal planner finds on a pair, ``kappa_alone`` that planner's without a trigger of bands.
    """

    name: str
    weights: tuple[float, ...]
    hours: tuple[Hour, ...]
    optimal: Mapping[int, tuple[Band, ...]]
    to_kappa: Mapping[int, tuple[Band, ...]]
    kappa_alone: Mapping[int, tuple[Band, ...]]


@dataclass(frozen=True)
class Rule:
    """When to trade and how far back.

    ``bands`` of a day are one per position, or one for all; nothing is looked at ``every_s``
    seconds after a trade.
    """

    name: str
    bands: Callable[[int], tuple[Band, ...]]
    every_s: int = 0


@dataclass(frozen=True)
class Cost:
    """Shares of NAV a year; trades a year."""

    traded: float
    tracking: float
    trades: float

    @property
    def total(self) -> float:
        return self.traded + self.tracking


def markets() -> Iterator[Market]:
    """A coin against the dollar, two coins, and six positions in the years of the wide file."""
    eth, btc = (
        _column(f"hourly_ohlcv_{name}_2017_2023.csv.gz", "close") for name in ("ETH", "BTC")
    )
    both = sorted(set(eth) & set(btc))
    yield _market(NAMES[0], {"ETH": 0.5, USD: 0.5}, {t: (eth[t], 1.0) for t in eth})
    yield _market(NAMES[1], {"ETH": 0.5, "BTC": 0.5}, {t: (eth[t], btc[t]) for t in both})
    coins = ("BTC", "ETH", "LINK", "UNI", "AAVE")
    wide = [_column("hourly_close_2021_2023.csv.gz", name) for name in coins]
    times = set.intersection(*(set(column) for column in wide))
    weights = dict(zip(coins, (0.3, 0.3, 0.1, 0.05, 0.05), strict=True)) | {USD: 0.2}
    yield _market(NAMES[2], weights, {t: (*(column[t] for column in wide), 1.0) for t in times})


def _column(file: str, name: str) -> dict[int, float]:
    """Prices of one column by time in seconds, without the hours that have none."""
    with gzip.open(DATA / "prices" / file, "rt") as lines:
        rows = csv.DictReader(lines)
        return {_ts(row["open_time_utc"]): float(row[name]) for row in rows if row[name]}


def _gas_by_day() -> dict[int, float]:
    """A unit of gas as a share of NAV, by day."""
    with (DATA / "gas" / "daily_gas_2015_2023.csv").open() as lines:
        return {
            _ts(row["date"]) // DAY_S: int(row["avg_gas_price_wei"])
            / 1e18
            * float(row["eth_usd"])
            / NAV
            for row in csv.DictReader(lines)
            if row["eth_usd"]
        }


def _ts(written: str) -> int:
    return int(datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp())


def _market(
    name: str, weights: Mapping[str, float], prices: Mapping[int, tuple[float, ...]]
) -> Market:
    gas = _gas_by_day()
    times = sorted(t for t in prices if t // DAY_S in gas and t // DAY_S - 1 in gas)
    hours = tuple(Hour(t, prices[t], gas[t // DAY_S]) for t in times)
    closes = {t // DAY_S: Observation(t, dict(zip(weights, prices[t], strict=True))) for t in times}
    groups = {key: {key: weight} for key, weight in weights.items()}
    history = list(closes.values())
    ends = [o.ts for o in history]
    derived = {}
    for day in sorted({t // DAY_S for t in times if t - times[0] >= WARM_UP_DAYS * DAY_S}):
        midnight = day * DAY_S
        known = history[: bisect_right(ends, midnight - 1)][-WARM_UP_DAYS:]
        sigmas = relative_volatilities(known, groups, midnight, HALF_LIFE_DAYS * DAY_S)
        derived[day] = _derived(weights, sigmas, gas[day - 1])
    return Market(
        name,
        tuple(weights.values()),
        tuple(hour for hour in hours if hour.ts // DAY_S in derived),
        *({day: bands[i] for day, bands in derived.items()} for i in range(3)),
    )


def _derived(
    weights: Mapping[str, float], sigmas: Mapping[str, int], gas_unit: float
) -> tuple[tuple[Band, ...], tuple[Band, ...], tuple[Band, ...]]:
    """J-bands as ``planner.calibration`` makes them, and what their kappa does on a pair.

    On a pair drift ``x`` is charged ``kappa / 2 * 2 x^2``: it is traded back while a point of it
    costs more than the fee, ``b = fee / 2 kappa``, as soon as the gain pays the gas,
    ``l = b + sqrt(gas / kappa)``.
    """
    bands, kappas = [], []
    gas = gas_unit * PRAGUE.trade()
    for key, weight in weights.items():
        sigma = sigmas[key] / PPM
        variance = (weight * (1 - weight) * sigma) ** 2
        band = best_band(variance, ETA * sigma**2, gas, FEE)
        bands.append(Band(band.trigger, band.reset))
        kappas.append(kappa(band, variance))
    least = min(kappas)
    reset = FEE / (2 * least)
    alone = Band(reset + sqrt(gas / least), reset)
    to_kappa = tuple(Band(band.trigger, reset) for band in bands)
    return tuple(bands), to_kappa, (alone,) * len(bands)


def run(market: Market, rule: Rule) -> Cost:
    """What a rule costs over a market, starting on target."""
    weights = list(market.weights)
    targets = market.weights
    traded = tracking = 0.0
    trades = 0
    last, day = market.hours[0].ts, -1
    bands: tuple[Band, ...] = ()
    for before, hour in pairwise(market.hours):
        grown = [
            weight * now / then
            for weight, now, then in zip(weights, hour.prices, before.prices, strict=True)
        ]
        total = sum(grown)
        strayed = sum(
            (weight - target) * (now / then - 1.0)
            for weight, target, now, then in zip(
                weights, targets, hour.prices, before.prices, strict=True
            )
        )
        tracking += ETA / 2 * strayed**2
        weights = [value / total for value in grown]
        if hour.ts - last < rule.every_s:
            continue
        if hour.ts // DAY_S != day:
            day = hour.ts // DAY_S
            bands = rule.bands(day)
            bands = bands * (len(targets) // len(bands))
        if all(
            abs(weight - target) <= band.trigger
            for weight, target, band in zip(weights, targets, bands, strict=True)
        ):
            continue
        wanted = _back(weights, targets, bands)
        traded += _paid(weights, wanted, hour.gas_unit)
        weights, last, trades = wanted, hour.ts, trades + 1
    years = (market.hours[-1].ts - market.hours[0].ts) / YEAR_S
    return Cost(traded / years, tracking / years, trades / years)


def _back(weights: Sequence[float], targets: Sequence[float], bands: Sequence[Band]) -> list[float]:
    """Weights after the planner's own reset to the edges of ``bands``."""
    names = [str(i) for i in range(len(weights))]
    values = [round(weight * _E8) for weight in weights]
    fulls = [round(target * _E8) for target in targets]
    edges = {
        name: round(min(band.reset, band.trigger) * _E8)
        for name, band in zip(names, bands, strict=True)
    }
    wanted = back_to_edges(names, values, fulls, edges, sum(values))
    return [value / sum(wanted) for value in wanted]


def _paid(weights: Sequence[float], wanted: Sequence[float], gas_unit: float) -> float:
    """Fee of what changes hands, and gas: so many swaps as to settle all, each sale approved."""
    moved = [goal - weight for goal, weight in zip(wanted, weights, strict=True)]
    sales = sum(way < -1 / _E8 for way in moved)
    tokens = sales + sum(way > 1 / _E8 for way in moved)
    units = (
        PRAGUE.base
        + PRAGUE.per_swap * (tokens - 1)
        + PRAGUE.per_token * tokens
        + PRAGUE.per_approval * sales
    )
    return FEE * sum(map(abs, moved)) / 2 + gas_unit * units


def fixed(name: str, trigger: float, reset: float, every_s: int = 0) -> Rule:
    """One band for every position, looked at so many seconds after the last trade."""
    return Rule(name, lambda _: (Band(trigger, reset),), every_s)


def _figure(
    name: str,
    cost: Cost | None,
    target: float | None = None,
    peer: str | None = None,
    peer_cost: float | None = None,
) -> Figure:
    value = None if cost is None else _bp(cost.total)
    peer_value = None if peer_cost is None else _bp(peer_cost)
    return Figure(f"backtest.{name}", value, "bp of NAV a year", target, peer, peer_value)


def _bp(share: float) -> float:
    return round(share * 10_000, 2)


def figures() -> Iterator[Figure]:
    """Each rule's yearly cost; the J-band's beside the best other, and null without the data."""
    if not (DATA / "prices").is_dir() or not (DATA / "gas").is_dir():
        yield from (_figure(f"{name}.optimal", None, 1.0, PEER, None) for name in NAMES)
        return
    for market in markets():
        costs = {rule.name: run(market, rule) for rule in SIMPLE}
        for name, cost in costs.items():
            yield _figure(f"{market.name}.{name}", cost)
        best = min(cost.total for cost in costs.values())
        found = run(market, Rule("optimal", market.optimal.__getitem__))
        yield _figure(f"{market.name}.optimal", found, 1.0, PEER, best)
        yield Figure(
            f"backtest.{market.name}.optimal_trades", round(found.trades, 1), "a year", None
        )
        hindsight = min(
            run(market, fixed("", trigger, trigger * share)).total
            for trigger in _TRIGGERS
            for share in _RESETS
        )
        yield _figure(f"{market.name}.optimal_hindsight", found, None, HINDSIGHT, hindsight)
        if len(market.weights) == 2:
            for name, bands in (("to_kappa", market.to_kappa), ("kappa_alone", market.kappa_alone)):
                yield _figure(f"{market.name}.{name}", run(market, Rule(name, bands.__getitem__)))


SIMPLE = (
    fixed("hold", 2.0, 0.0),
    fixed("weekly", 0.0, 0.0, 7 * DAY_S),
    fixed("monthly", 0.0, 0.0, 30 * DAY_S),
    fixed("quarterly", 0.0, 0.0, 90 * DAY_S),
    fixed("band_3", 0.03, 0.0),
    fixed("band_5", 0.05, 0.0),
    fixed("band_5_edge_50", 0.05, 0.025),
    fixed("weekly_band_5", 0.05, 0.0, 7 * DAY_S),
    fixed("monthly_band_5", 0.05, 0.0, 30 * DAY_S),
)
