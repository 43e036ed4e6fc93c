"""Averages of past rounds: exact, from the feed's own history, for the trigger alone."""

from __future__ import annotations

import csv
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from readers_fake_node import (
    ANSWERS,
    NOW,
    REVERT,
    ROOT,
    FakeNode,
    mainnet,
    network,
    portfolio,
    put_feed,
    word,
)

from rebalancer.config.smoothing import Smoothing
from rebalancer.model import E8, Snapshot, to_json
from rebalancer.readers.multicall import multicall
from rebalancer.readers.smoothing import ROUNDS, Round, ema, read_rounds, sma
from rebalancer.readers.snapshot import read_snapshot
from rebalancer.readers.sources import latest_round

NET = network()
ETH_FEED = NET.feeds["ETH/USD"].address
HOUR = 3_600
PHASE = 6 << 64


def past(*rounds: tuple[int, int]) -> list[Round]:
    """Rounds, newest first, as (answer, seconds ago)."""
    return [Round(answer, NOW - ago) for answer, ago in rounds]


def test_sma__weighs_each_answer_by_its_time() -> None:
    rounds = past((10, 600), (40, 2_400), (7, 9_999))
    mean = Fraction(10 * 600 + 40 * 1_800 + 7 * 1_200, HOUR)
    assert sma(rounds, NOW, HOUR) == mean
    assert sma(rounds, NOW, 600) == 10
    assert sma(rounds, NOW, 601) == Fraction(10 * 600 + 40, 601)


def test_sma__of_a_short_history__is_of_what_is_known() -> None:
    assert sma(past((10, 600), (40, 1_800)), NOW, HOUR) == Fraction(10 * 600 + 40 * 1_200, 1_800)
    assert sma(past((10, 0)), NOW, HOUR) == 10
    assert sma(past((10, 600)), NOW, HOUR) == 10


def test_ema__is_the_textbook_recursion() -> None:
    rounds = past((100, 1_800), (200, 9_999))
    average = 0.0
    for step in range(20):
        ago = 3_600 - step * 3_600 / 19
        price = 100 if ago <= 1_800 else 200
        average = price if step == 0 else average + 2 / 21 * (price - average)
    found = ema(rounds, NOW, HOUR)
    assert abs(float(found) - average) < 1e-9
    assert 100 < found < 150  # nearer to what stands now than the mean of 150 is


def test_ema__an_answer_counts_from_its_very_second_on() -> None:
    """Samples are 100 s apart: the newest three see the new answer, the second of them at once."""
    weight, average = Fraction(2, 21), Fraction(0)
    for _ in range(3):
        average += weight * (1 - average)
    assert ema(past((1, 200), (0, 9_999)), NOW, 1_900) == average
    assert ema(past((1, 199), (0, 9_999)), NOW, 1_900) < average


def test_ema__of_what_always_stood__is_it() -> None:
    assert ema(past((100, 1)), NOW, HOUR) == 100
    assert ema(past((100, 5), (100, 700), (100, 7_000)), NOW, HOUR) == 100


def put_history(node: FakeNode, feed: str, rounds: list[tuple[int, int]]) -> None:
    """Rounds, newest first, as (answer, time)."""
    newest = PHASE + 500
    for back, (answer, time) in enumerate(rounds):
        row = word(newest - back, answer, time, time, newest - back)
        node.put(feed, "getRoundData(uint80)", (newest - back,), row)
        if back == 0:
            node.put(feed, "latestRoundData()", (), row)


def read(node: FakeNode, *, numeraire: str = "USD", **how: Any) -> Snapshot:
    resolved = portfolio(numeraire=numeraire)
    calm = resolved.portfolio.model_copy(update={"smoothing": Smoothing.model_validate(how)})
    return read_snapshot(node, resolved.model_copy(update={"portfolio": calm}))


def whole(snapshot: Snapshot, symbol: str, smoothed: bool = True) -> Fraction:
    prices = snapshot.trigger_prices if smoothed else snapshot.prices
    price = next(p for p in prices if p.token.symbol == symbol)
    return Fraction(price.numerator * 10**price.token.decimals, price.denominator * E8)


def test_snapshot__has_both__the_present_and_the_smoothed_price() -> None:
    node = mainnet()
    put_history(node, ETH_FEED, [(3_000 * E8, NOW - 900), (2_000 * E8, NOW - HOUR)])
    snapshot = read(node, sma="1h")
    assert whole(snapshot, "WETH", smoothed=False) == 3_000
    assert whole(snapshot, "WETH") == 2_250
    smoothed = next(p for p in snapshot.trigger_prices if p.token.symbol == "WETH")
    assert (smoothed.source, smoothed.quotes) == ("chainlink ETH/USD, smoothed", ())
    # A feed without a history is what it is now.
    assert whole(snapshot, "WBTC") == whole(snapshot, "WBTC", smoothed=False)
    assert {p.token for p in snapshot.trigger_prices} == {p.token for p in snapshot.prices}
    in_weth = read(node, numeraire="WETH", sma="1h")
    assert whole(in_weth, "WBTC") == Fraction(ANSWERS["BTC/USD"], E8) / 2_250


def test_snapshot__without_smoothing__is_what_it_was() -> None:
    node = mainnet()
    plain = read_snapshot(node, portfolio())
    requests = len(node.requests)
    assert plain.trigger_prices == ()
    assert "trigger_prices" not in to_json(plain)
    read(node, ema="2h")
    assert len(node.requests) - requests == requests + 1  # the rounds


def rounds_of(node: FakeNode) -> tuple[Round, ...]:
    at = read_snapshot(node, portfolio()).block
    call = latest_round(ETH_FEED)
    (result,) = multicall(node, NET.multicall3, [call], at.hash)
    found = read_rounds(node, NET.multicall3, {call: result}, [ETH_FEED, ETH_FEED], at)
    return found[ETH_FEED]


@pytest.mark.parametrize(
    "broken",
    [REVERT, b"", word(0, 0, 0, 0, 0), word(1, -5, NOW - 300, NOW - 300, 1), word(1, 5, 0, 0, 1)],
)
def test_rounds__end_where_one_is_missing(broken: bytes | None) -> None:
    node = mainnet()
    put_history(node, ETH_FEED, [(3, NOW - 100), (4, NOW - 200), (5, NOW - 300), (6, NOW - 400)])
    node.put(ETH_FEED, "getRoundData(uint80)", (PHASE + 498,), broken)
    assert rounds_of(node) == (Round(3, NOW - 100), Round(4, NOW - 200))


def test_rounds__end_where_time_does_not_go_back() -> None:
    node = mainnet()
    put_history(node, ETH_FEED, [(3, NOW - 100), (4, NOW - 200), (5, NOW - 200)])
    assert rounds_of(node) == (Round(3, NOW - 100), Round(4, NOW - 200))


def test_rounds__are_so_many_at_most__and_none_before_the_aggregators_first() -> None:
    node = mainnet()
    put_history(node, ETH_FEED, [(3, NOW - 10 - i) for i in range(100)])
    assert len(rounds_of(node)) == ROUNDS + 1
    put_feed(node, "ETH/USD", 3, round_id=PHASE + 1)
    node.put(ETH_FEED, "getRoundData(uint80)", (PHASE,), word(PHASE, 9, NOW - 99, NOW - 99, PHASE))
    assert len(rounds_of(node)) == 1


def test_real_rounds__the_smoothed_price_lies_between_theirs() -> None:
    """A day of real ETH/USD rounds, read as a node would tell them."""
    folder = Path(os.environ.get("REBALANCER_DATA", ROOT.parent / "shared" / "data")) / "chainlink"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set REBALANCER_DATA to run this test")
    (path,) = folder.glob("ETH_USD_0x*.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))[5_000:5_030]
    shift = NOW - 60 - int(rows[-1]["updated_at"])
    told = [(int(r["answer_raw"]), int(r["updated_at"]) + shift) for r in reversed(rows)]
    node = mainnet()
    put_history(node, ETH_FEED, told)
    window = 6 * HOUR
    inside = [answer for answer, time in told if time > NOW - window]
    inside.append(next(answer for answer, time in told if time <= NOW - window))
    simple, exponential = read(node, sma="6h"), read(node, ema="6h")
    for snapshot in (simple, exponential):
        assert min(inside) <= whole(snapshot, "WETH") * E8 <= max(inside)
        assert whole(snapshot, "WETH", smoothed=False) * E8 == told[0][0]
    # Independently: a sample each second.
    seconds = range(NOW - window, NOW)
    stood = [next(a for a, time in told if time <= second) for second in seconds]
    assert whole(simple, "WETH") * E8 == Fraction(sum(stood), window)


@pytest.mark.parametrize("how", [{}, {"sma": "1h", "ema": "1h"}, {"sma": "0s"}, {"wma": "1h"}])
def test_smoothing__is_one_of_two__over_some_time(how: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Smoothing.model_validate(how)
