"""What the ledger knows of the past for the next decision, and what the keeper makes of it."""

from __future__ import annotations

from dataclasses import replace
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

from rebalancer.ledger.history import (
    average_costs,
    expected_balances,
    past_prices,
    turnover_e8,
)
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


def whole(dollars: int) -> int:
    return dollars * 10**18


def repriced(number: int, weth: int, **changes):
    """The world at ``number`` with WETH at so many dollars."""
    prices = tuple(
        replace(p, numerator=weth * E8) if p.token == WETH else p for p in snapshot(number).prices
    )
    return snapshot(number, prices=prices, **changes)


def test_average_costs__opening_then_purchases_at_the_price_of_their_plan(ledger):
    assert average_costs(ledger, "main", snapshot(90), {})["WETH"] == whole(3_000)
    look(ledger, 95)
    # A look that is recorded later changes nothing: WETH was there at 3,000, or at what one says.
    now = repriced(300, 4_000)
    assert average_costs(ledger, "main", now, {}) == {
        "WETH": whole(3_000), "USDC": whole(1), "WBTC": whole(60_000),
    }  # fmt: skip
    assert average_costs(ledger, "main", now, {"WETH": whole(1_000)})["WETH"] == whole(1_000)
    execute(ledger, 100)  # sells 90,000 USDC, buys 9.95 WETH and 0.98 WBTC
    bought = plan(snapshot(100)).net
    held = tuple(
        Amount(a.token, a.raw + sum(c.raw for c in bought if c.token == a.token))
        for a in snapshot(100).balances
    )
    after = repriced(300, 4_000, balances=held)
    found = average_costs(ledger, "main", after, {"WETH": whole(1_000)})
    # 100 WETH at 1,000 and 9.95 at 3,000; what is sold of USDC leaves its average alone
    assert found["WETH"] == (100 * whole(1_000) + whole(29_850)) * 100 // 10_995
    assert found["USDC"] == whole(1)
    # A deposit comes at the price at which it is first seen.
    more = tuple(Amount(a.token, a.raw * 2) if a.token == WETH else a for a in held)
    doubled = average_costs(ledger, "main", repriced(300, 4_000, balances=more), {})
    assert doubled["WETH"] == whole(3_500)
    # A withdrawal leaves the average, and what is all gone has none.
    less = tuple(Amount(a.token, a.raw // 3 if a.token == WETH else 0) for a in held)
    assert average_costs(ledger, "main", repriced(300, 4_000, balances=less), {}) == {
        "WETH": whole(3_000)
    }


def test_average_costs__nothing_of_the_future_nor_of_another_currency(ledger):
    execute(ledger, 100)
    execute(ledger, 200, nonce=9)
    early = average_costs(ledger, "main", repriced(150, 4_000), {}, up_to_block=99)
    assert early["WETH"] == whole(3_000)
    assert average_costs(ledger, "other", repriced(300, 4_000), {})["WETH"] == whole(4_000)
    in_ether = repriced(300, 4_000, numeraire="WETH")
    assert average_costs(ledger, "main", in_ether, {})["WETH"] == whole(4_000)
