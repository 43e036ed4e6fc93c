"""What the ledger knows of the past for the next decision, and what the keeper makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_world import (
    NOW,
    USDC,
    WBTC,
    WETH,
    decide,
    execute,
    hold,
    open_ledger,
    plan,
    snapshot,
    valuation,
)

from rebalancer.ledger.history import expected_balances, past_prices, turnover_e8
from rebalancer.ledger.store import Ledger
from rebalancer.model import E8, Amount


@pytest.fixture
def ledger(tmp_path: Path):
    with open_ledger(tmp_path) as opened:
        yield opened


def look(ledger: Ledger, number: int, portfolio: str = "main", **changes) -> None:
    """Record a hold at block ``number``."""
    seen = snapshot(number, **changes)
    ledger.record_decision(portfolio, "dry-run", seen, valuation(seen), hold(seen))


def ts(number: int) -> int:
    return snapshot(number).block.timestamp


def test_turnover__counts_what_was_executed_in_the_window(ledger):
    traded = plan(snapshot(100)).costs.traded_e8
    execute(ledger, 100)
    execute(ledger, 200, nonce=9)
    decide(ledger, 300)  # decided, never sent
    assert turnover_e8(ledger, "main", ts(100) - 1, ts(300)) == 2 * traded
    assert turnover_e8(ledger, "main", ts(100), ts(300)) == traded  # after, not at
    assert turnover_e8(ledger, "main", ts(100) - 1, ts(200) - 1) == traded
    assert turnover_e8(ledger, "other", 0, ts(300)) == 0
    # As it was at the end of a block: a plan sells when it is mined, not when it is decided.
    by_then = [turnover_e8(ledger, "main", 0, ts(300), number) for number in (100, 101, 200, 201)]
    assert by_then == [0, traded, traded, 2 * traded]
    assert traded == 90_000 * E8


def test_past_prices__the_newest_of_each_interval(ledger):
    for number in (100, 101, 102, 150, 151, 200):
        look(ledger, number)
    look(ledger, 103, portfolio="other")
    every_s = 600  # fifty blocks
    found = past_prices(ledger, "main", 1, 0, ts(200), every_s)
    buckets: dict[int, int] = {}
    for number in (100, 101, 102, 150, 151, 200):
        buckets[ts(number) // every_s] = ts(number)
    assert [p.block_ts for p in found] == sorted(buckets.values())
    assert found[0].prices == snapshot(102).prices


def test_past_prices__nothing_of_the_future_nor_of_long_ago(ledger):
    for number in (100, 200, 300):
        look(ledger, number)
    found = past_prices(ledger, "main", 1, ts(100), ts(200), 1)
    assert [p.block_ts for p in found] == [ts(200)]
    assert past_prices(ledger, "main", 5, 0, ts(300), 1) == []  # another chain


def test_expected_balances__the_first_look_then_the_last_rebalance(ledger):
    assert expected_balances(ledger, "main", NOW * 2) == {}
    poor = tuple(Amount(t, 1) for t in (WETH, USDC, WBTC))
    look(ledger, 100, balances=poor)
    look(ledger, 110)
    assert expected_balances(ledger, "main", NOW * 2) == {WETH: 1, USDC: 1, WBTC: 1}
    made = execute(ledger, 120)
    before = {a.token: a.raw for a in snapshot(120).balances}
    net = {a.token: a.raw for a in made.net}
    after = {token: raw + net.get(token, 0) for token, raw in before.items()}
    assert expected_balances(ledger, "main", NOW * 2) == after
    assert expected_balances(ledger, "main", ts(119)) == {WETH: 1, USDC: 1, WBTC: 1}
    assert expected_balances(ledger, "main", ts(120), 120) == {WETH: 1, USDC: 1, WBTC: 1}
    assert expected_balances(ledger, "main", ts(120), 121) == after
