"""``policy.tax`` and ``slippage_reserve``: what is understood, and what is refused and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from rebalancer.config.load import load_portfolio
from rebalancer.config.policy import PolicySpec
from rebalancer.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
NUMBER = 10**18


def policy(**keys):
    return PolicySpec.model_validate(keys).to_policy()


def test_tax_on_gains_with_what_tokens_cost():
    made = policy(tax={"rate": "25%", "costs": {"WETH": 1800, "WBTC": "31_000.5"}})
    assert made.tax_rate_ppm == 250_000
    assert made.tax_costs == (("WBTC", 31_000_500 * NUMBER // 1_000), ("WETH", 1_800 * NUMBER))
    assert made.tax_tiers == ()


def test_a_schedule_by_token():
    tiers = [{"above": 0, "rate": "2%"}, {"above": 1.5, "rate": "4%"}]
    made = policy(tax={"schedule": {"WETH": tiers, "USDC": [{"above": 0, "rate": "1bp"}]}})
    assert made.tax_rate_ppm == 0
    assert made.tax_tiers == (
        ("USDC", 0, 100), ("WETH", 0, 20_000), ("WETH", 15 * NUMBER // 10, 40_000),
    )  # fmt: skip


def test_slippage_reserve():
    assert policy(slippage_reserve="5bp").slippage_reserve_ppm == 500
    assert policy(slippage="30bp", slippage_reserve="30bp").slippage_reserve_ppm == 3_000


ONE = [{"above": 0, "rate": "1%"}]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"tax": {}}, "a tax has a rate on gains, like 25%, or a schedule"),
        ({"tax": {"rate": "0%"}}, "above 0% and below 100%"),
        ({"tax": {"rate": "100%"}}, "above 0% and below 100%"),
        ({"tax": {"rate": 0.25}}, "write it like 40% or 30bp"),
        ({"tax": {"costs": {"WETH": 1}, "schedule": {"UNI": ONE}}}, "need a rate"),
        ({"tax": {"rate": "25%", "costs": {"WETH": -1}}}, "WETH cannot have cost less"),
        ({"tax": {"rate": "9%", "costs": {"A": 1}, "schedule": {"A": ONE}}}, "A has a schedule"),
        ({"tax": {"schedule": {"WETH": []}}}, "at least 1 item"),
        ({"tax": {"schedule": {"WETH": [{"above": -1, "rate": "1%"}]}}}, "start at 0 or above"),
        (
            {"tax": {"schedule": {"W": [{"above": 1, "rate": "1%"}, {"above": 1, "rate": "2%"}]}}},
            "tiers of W start at 0 or above, each after",
        ),
        (
            {"tax": {"schedule": {"W": [{"above": 0, "rate": "2%"}, {"above": 5, "rate": "1%"}]}}},
            "the tax on W falls above 5; it can only rise",
        ),
        ({"tax": {"schedule": {"W": [{"above": 0, "rate": "100%"}]}}}, "hold it out"),
        ({"tax": {"rates": "25%"}}, "Extra inputs"),
        ({"slippage": "30bp", "slippage_reserve": "31bp"}, "slippage_reserve is above slippage"),
    ],
)  # fmt: skip
def test_refused(keys, text):
    with pytest.raises(ValidationError, match=text):
        policy(**keys)


def load(tmp_path: Path, line: str):
    text = (ROOT / "portfolio.example.yaml").read_text()
    path = tmp_path / "portfolio.yaml"
    path.write_text(text.replace("\npolicy:", f"\npolicy:\n  {line}", 1))
    return load_portfolio(path, ROOT / "networks.yaml")


def test_the_file_says_it_in_one_line(tmp_path):
    made = load(tmp_path, "tax: {rate: 25%, costs: {WETH: 1800}}")
    assert made.policy.tax_costs == (("WETH", 1_800 * NUMBER),)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "tax: {rate: 25%, costs: {WETHH: 1}}",
            "policy.tax.costs: 'WETHH' is no token of the portfolio: WETH, WBTC, USDC",
        ),
        (
            "tax: {schedule: {LINK: [{above: 0, rate: 1%}]}}",
            "policy.tax.schedule: 'LINK' is no token of the portfolio",
        ),
        ("tax: {rat: 25%}", "policy.tax.rat: unknown key; did you mean 'rate'?"),
        ("tax: {schedule: {WETH: [{above: 0, rate: 1}]}}", "policy.tax.schedule.WETH.0.rate: 1 is"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path, line, text):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, line)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
