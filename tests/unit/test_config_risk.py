"""``policy.risk``: what is understood, and what is refused and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from rebalancer.config.load import load_portfolio
from rebalancer.config.policy import PolicySpec
from rebalancer.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
ALL = "{WETH: 70%, WBTC: 60%, USDC: 0%}"


def policy(**keys):
    return PolicySpec.model_validate({"risk": keys}).to_policy()


def test_volatilities_and_correlations():
    made = policy(
        volatilities={"WETH": "70%", "WBTC": "60%", "USDC": "0%"},
        correlations={"WETH/WBTC": "80%", "USDC/WETH": "-2.5%"},
    )
    assert made.risk_volatilities == (("USDC", 0), ("WBTC", 600_000), ("WETH", 700_000))
    assert made.risk_correlations == (("USDC", "WETH", -25_000), ("WBTC", "WETH", 800_000))
    assert made.risk_half_life_s is None


def test_measured_alone_or_with_what_stands_until_then():
    assert policy(half_life="30d").risk_half_life_s == 30 * 86_400
    both = policy(half_life="30d", volatilities={"A": "120%"})
    assert (both.risk_half_life_s, both.risk_volatilities) == (30 * 86_400, (("A", 1_200_000),))


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, "risk has volatilities"),
        ({"correlations": {"A/B": "1%"}}, "risk has volatilities"),
        ({"half_life": "0s"}, "at least a second"),
        ({"half_life": "1h", "correlations": {"A/B": "1%"}}, "needs a volatility of A"),
        ({"volatilities": {"A": "1%", "B": "0%"}, "correlations": {"A": "1%"}}, "write it like"),
        ({"volatilities": {"A": "1%"}, "correlations": {"A/A": "100%"}}, "of two tokens"),
        ({"volatilities": {"A": "1%"}, "correlations": {"A/B": "1%"}}, "needs a volatility of B"),
        (
            {"volatilities": {"A": "1%", "B": "1%"}, "correlations": {"A/B": "1%", "B/A": "1%"}},
            "the correlation of A and B is there twice",
        ),
        (
            {"volatilities": {"A": "1%", "B": "1%"}, "correlations": {"A/B": "101%"}},
            "more than 100%",
        ),
        (
            {"volatilities": {"A": "1%", "B": "1%"}, "correlations": {"A/B": "- 1%%"}},
            "is not a ratio",
        ),
        ({"volatilities": {"A": "0%"}}, "at least one volatility is above 0%"),
        (
            {
                "volatilities": {"A": "50%", "B": "50%", "C": "50%"},
                "correlations": {"A/B": "90%", "B/C": "90%", "A/C": "-90%"},
            },
            "the correlations contradict each other",
        ),
        ({"covariance": "x.csv"}, "Extra inputs"),
    ],
)
def test_refused(keys, text):
    with pytest.raises(ValidationError, match=text):
        policy(**keys)


def load(tmp_path: Path, line: str):
    text = (ROOT / "portfolio.example.yaml").read_text()
    path = tmp_path / "portfolio.yaml"
    path.write_text(text.replace("\npolicy:", f"\npolicy:\n  {line}", 1))
    return load_portfolio(path, ROOT / "networks.yaml")


def test_the_file_says_it_in_one_line(tmp_path):
    line = f"risk: {{volatilities: {ALL}, correlations: {{WETH/WBTC: 80%}}}}"
    made = load(tmp_path, line).policy
    assert made.risk_correlations == (("WBTC", "WETH", 800_000),)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "risk: {volatilities: {WETH: 70%, WBTC: 60%}}",
            "policy.risk.volatilities: USDC is missing",
        ),
        (
            "risk: {volatilities: {WETH: 70%, WBTC: 60%, USDC: 0%, LINK: 90%}}",
            "policy.risk.volatilities: 'LINK' is no token of the portfolio: WETH, WBTC, USDC",
        ),
        (f"risk: {{volatilities: {ALL}, halflife: 30d}}", "did you mean 'half_life'?"),
        (
            f"risk: {{volatilities: {ALL}, correlations: {{WETH/WBTC: 80}}}}",
            "policy.risk.correlations.WETH/WBTC: 80 is not a ratio",
        ),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path, line, text):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, line)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
