"""From the portfolio file, the ledger and the question to the circumstances of a decision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ledger_world import NOW, USDC, WETH, hold, open_ledger, snapshot, valuation

from rebalancer.config.load import load_portfolio
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.errors import ConfigError
from rebalancer.keeper.circumstances import circumstances, withdrawal_of
from rebalancer.model import Amount, Price, Target

ROOT = Path(__file__).resolve().parents[2]
TARGETS = (Target("WETH", 500_000), Target("USDC", 500_000))
DAY = 86_400


def resolved(tmp_path: Path, *lines: str, drop: tuple[str, ...] = ()) -> ResolvedPortfolio:
    """The example portfolio with lines of policy put in."""
    text = (ROOT / "portfolio.example.yaml").read_text()
    kept = [x for x in text.splitlines() if not x.strip().startswith(drop or ("\0",))]
    body = "\n".join(kept).replace(
        "\npolicy:", "\npolicy:" + "".join(f"\n  {line}" for line in lines), 1
    )
    path = tmp_path / "portfolio.yaml"
    path.write_text(body)
    return load_portfolio(path, ROOT / "networks.yaml")


def test_without_a_ledger_nothing_is_known_of_the_past(tmp_path):
    found = circumstances(resolved(tmp_path), snapshot(), TARGETS, None, None)
    assert (found.deposits, found.turnover_e8, found.volatilities) == ((), 0, ())
    assert found.calendar_due_ts is None


def test_cron__the_next_time_after_the_last_rebalance(tmp_path):
    made = resolved(tmp_path, 'cron: "0 9 * * 1"', drop=("every:",))
    assert circumstances(made, snapshot(), TARGETS, None, None).calendar_due_ts is None
    # 14 November 2023 was a Tuesday.
    due = circumstances(made, snapshot(), TARGETS, NOW, None).calendar_due_ts
    assert due == 1_700_470_800  # Monday the 20th, 9:00 UTC


def test_deposits__what_came_on_top_of_the_record(tmp_path):
    made = resolved(tmp_path)
    name = made.portfolio.name
    with open_ledger(tmp_path) as ledger:
        first = snapshot(100)
        ledger.record_decision(name, "dry-run", first, valuation(first), hold(first))
        more = tuple(
            Amount(a.token, a.raw + (5_000 * 10**6 if a.token == USDC else -1))
            for a in first.balances
        )
        found = circumstances(made, snapshot(110, balances=more), TARGETS, None, ledger)
        assert found.deposits == (Amount(USDC, 5_000 * 10**6),)
        only_weth = TARGETS[:1]  # what is no position is no deposit
        assert (
            circumstances(made, snapshot(110, balances=more), only_weth, None, ledger).deposits
            == ()
        )


def test_volatility__from_the_ledgers_prices_up_to_the_block(tmp_path):
    made = resolved(
        tmp_path, "volatility: 60%", "volatility_half_life: 2d", "risk_aversion: 4",
        drop=("drift_aversion:",),
    )  # fmt: skip
    name = made.portfolio.name
    step = DAY // 12 // 4  # blocks of 12 s: a quarter of a day

    def at(i: int, factor: int) -> object:
        seen = snapshot(100 + i * step)
        prices = tuple(
            Price(p.token, p.numerator * factor // 100, p.denominator, p.source, p.updated_at)
            if p.token == WETH
            else p
            for p in seen.prices
        )
        return snapshot(100 + i * step, prices=prices)

    with open_ledger(tmp_path) as ledger:
        for i in range(30):
            seen = at(i, 102 if i % 2 else 100)
            ledger.record_decision(name, "dry-run", seen, valuation(seen), hold(seen))
        now = at(30, 100)
        found = dict(circumstances(made, now, TARGETS, None, ledger).volatilities)
        # 2 % every quarter of a day, four of them a day.
        assert found["WETH"] == pytest.approx(0.0198 * (4 * 365.25) ** 0.5 * 1e6, rel=0.01)
        assert found["USDC"] == found["WETH"]
        for i in (31, 32, 33):
            crash = at(i, 10)
            ledger.record_decision(name, "dry-run", crash, valuation(crash), hold(crash))
        assert dict(circumstances(made, now, TARGETS, None, ledger).volatilities) == found
        young = at(10, 100)
        assert circumstances(made, young, TARGETS, None, ledger).volatilities == ()


def test_covariances__of_tokens_and_those_in_pools_where_risk_is_measured(tmp_path):
    made = resolved(tmp_path, "risk: {half_life: 2d}")
    name, step = made.portfolio.name, DAY // 12 // 4
    targets = (Target("USDC", 500_000), Target("uniswap_v2:USDC/WETH", 500_000))

    def at(i: int):
        prices = tuple(
            replace(p, numerator=p.numerator * (102 if i % 2 else 100) // 100)
            if p.token == WETH
            else p
            for p in snapshot().prices
        )
        return snapshot(100 + i * step, prices=prices)

    with open_ledger(tmp_path) as ledger:
        for i in range(30):
            ledger.record_decision(name, "dry-run", at(i), valuation(at(i)), hold(at(i)))
        found = circumstances(made, at(30), targets, None, ledger).covariances
        assert [row[:2] for row in found] == [("USDC", "USDC"), ("USDC", "WETH"), ("WETH", "WETH")]
        assert [found[0][2], found[1][2]] == [0, 0]
        assert found[2][2] == pytest.approx(0.0198**2 * 4 * 365.2425 * 1e18, rel=0.01)
        plain = resolved(tmp_path)
        assert circumstances(plain, at(30), targets, None, ledger).covariances == ()


def test_costs__of_the_portfolios_tokens_where_a_tax_on_gains_asks(tmp_path):
    made = resolved(tmp_path, "tax: {rate: 25%, costs: {WETH: 1200}}")
    untaxed = resolved(tmp_path)
    with open_ledger(tmp_path) as ledger:
        first = snapshot(100)
        ledger.record_decision(made.portfolio.name, "dry-run", first, valuation(first), hold(first))
        found = circumstances(made, snapshot(110), TARGETS, None, ledger)
        assert found.costs == (("USDC", 10**18), ("WETH", 1_200 * 10**18))  # WBTC is no target
        assert circumstances(untaxed, snapshot(110), TARGETS, None, ledger).costs == ()
    assert circumstances(made, snapshot(110), TARGETS, None, None).costs == ()


@pytest.mark.parametrize(
    ("text", "raw"), [("50000 USDC", 5 * 10**10), ("0.5  USDC", 500_000), (" 1,000 USDC ", 10**9)]
)
def test_withdrawal__read(tmp_path, text, raw):
    assert withdrawal_of(resolved(tmp_path), text).raw == raw


@pytest.mark.parametrize("text", ["", "50000", "USDC", "x USDC", "0 USDC", "-5 USDC", "1 NOPE"])
def test_withdrawal__mistakes(tmp_path, text):
    with pytest.raises(ConfigError, match="--raise"):
        withdrawal_of(resolved(tmp_path), text)
