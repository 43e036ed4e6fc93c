"""The policy section of a portfolio file: every layer is a few lines, every contradiction named."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from rebalancer.config.calendar import cron_trigger, next_fire_ts
from rebalancer.config.policy import PolicySpec
from rebalancer.model import E8, PPM, to_plain


def policy(**keys):
    return PolicySpec.model_validate(keys).to_policy()


def ts(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_an_old_file_gives_the_old_policy():
    plain = to_plain(policy())
    assert len(plain) == 16  # nothing that was added later
    assert plain["drift_aversion_ppm"] == 500_000


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"cron": "0 9 * * 1"}, {"calendar_cron": "0 9 * * 1"}),
        ({"cooldown": "6h"}, {"cooldown_s": 21_600}),
        (
            {"trigger": "cost_aware", "cost_margin": "50%"},
            {"trigger": "cost_aware", "cost_margin_ppm": 500_000},
        ),
        ({"reset": "full"}, {"reset": "share", "reset_ppm": PPM}),
        ({"reset": "50%"}, {"reset": "share", "reset_ppm": 500_000}),
        ({"reset": "edge"}, {"reset": "edge", "reset_edge_ppm": PPM}),
        ({"reset": "edge", "reset_edge": "40%"}, {"reset": "edge", "reset_edge_ppm": 400_000}),
        ({"planner": "optimal"}, {"planner": "optimal", "reset": "share"}),
        ({"planner": "optimal", "reset": "100%"}, {"planner": "optimal", "reset_ppm": PPM}),
        ({"planner": "greedy", "reset": "50%"}, {"planner": "greedy", "reset_ppm": 500_000}),
        (
            {"reset": "optimal", "risk_aversion": 4, "volatility": "60%"},
            {
                "reset": "optimal",
                "planner": "optimal",
                "risk_aversion_ppm": 4 * PPM,
                "volatility_ppm": 600_000,
            },
        ),
        (
            {"reset": "optimal", "risk_aversion": 2.5, "volatility": "60%", "planner": "greedy"},
            {"planner": "greedy", "risk_aversion_ppm": 2_500_000},
        ),
        (
            {"volatility": "60%", "volatility_half_life": "30d", "band_volatility": "50%"},
            {"volatility_half_life_s": 2_592_000, "band_volatility_ppm": 500_000},
        ),
        (
            {"max_trade": 5_000, "max_turnover": "20%", "max_pool_share": "1%"},
            {
                "max_trade_e8": 5_000 * E8,
                "max_turnover_ppm": 200_000,
                "max_pool_share_ppm": 10_000,
            },
        ),
        (
            {"max_price_age": "1h", "max_stale_gain": "30bp", "extreme_drift": "20%"},
            {
                "max_price_age_s": 3_600,
                "max_stale_gain_ppm": 3_000,
                "extreme_drift_ppm": 200_000,
            },
        ),
    ],
)
def test_layers(keys, expected):
    made = policy(**keys)
    assert {name: getattr(made, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"cron": "0 9 * * 1", "every": "1h"}, "either every or cron"),
        ({"cron": "0 9 * *"}, "not a cron line"),
        ({"cron": "0 9 1 * 1"}, "a day of the month and one of the week"),
        ({"reset": "optimal"}, "needs risk_aversion and volatility"),
        ({"reset": "optimal", "risk_aversion": 4}, "needs a volatility"),
        ({"reset": "half"}, "not a ratio"),
        ({"reset": "50%", "planner": "optimal"}, "reset: 50% has no meaning with planner: optimal"),
        ({"reset": "edge", "planner": "optimal"}, "leave reset away, or set planner: greedy"),
        ({"reset": "150%"}, "more than 100%"),
        ({"reset_edge": "50%"}, "belongs to reset: edge"),
        (
            {"risk_aversion": 4, "volatility": "60%", "drift_aversion": "50%"},
            "give one of them",
        ),
        ({"risk_aversion": 0, "volatility": "60%"}, "not between 0 and 100"),
        ({"risk_aversion": "many"}, "not a risk aversion"),
        ({"volatility_half_life": "30d"}, "needs a volatility"),
        ({"volatility_half_life": "0s", "volatility": "60%"}, "at least a second"),
        ({"band_volatility": "60%"}, "needs a volatility"),
        ({"band_volatility": "0%", "volatility": "60%"}, "needs a volatility"),
        ({"max_trade": 50, "min_trade": 100}, "nothing could ever be traded"),
        ({"planner": "best"}, "planner"),
    ],
)
def test_contradictions(keys, says):
    with pytest.raises(ValidationError, match=says):
        policy(**keys)


@pytest.mark.parametrize(
    ("line", "after", "due"),
    [
        ("0 9 * * 1", "2026-11-20T09:00:00", "2026-11-23T09:00:00"),  # 1 is Monday, as in cron
        ("0 9 * * mon", "2026-11-20T09:00:00", "2026-11-23T09:00:00"),
        ("0 9 * * 0", "2026-11-20T09:00:00", "2026-11-22T09:00:00"),
        ("0 9 * * 7", "2026-11-20T09:00:00", "2026-11-22T09:00:00"),
        ("0 9 * * 1-5", "2026-11-20T09:00:00", "2026-11-23T09:00:00"),
        ("0 9 * * 5-7", "2026-11-20T09:00:00", "2026-11-21T09:00:00"),
        ("0 9 * * */3", "2026-11-20T09:00:00", "2026-11-21T09:00:00"),  # sun, wed, sat
        ("*/15 * * * *", "2026-11-20T09:00:00", "2026-11-20T09:15:00"),
        ("0 0 1 * *", "2026-11-20T09:00:00", "2026-12-01T00:00:00"),
        ("59 23 31 12 *", "2026-12-31T23:59:00", "2027-12-31T23:59:00"),
    ],
)
def test_the_first_time_after(line, after, due):
    assert next_fire_ts(line, ts(after)) == ts(due)


def test_a_time_that_never_comes():
    with pytest.raises(ValueError, match="never fires"):
        next_fire_ts("0 0 30 2 *", ts("2026-11-20T09:00:00"))


def test_a_time_that_is_years_away():
    assert next_fire_ts("0 0 29 2 *", ts("2028-03-01T00:00:00")) == ts("2032-02-29T00:00:00")


@pytest.mark.parametrize("line", ["0 9 * * 8", "0 9 * * 5-2", "61 * * * *", "", "a b * * e"])
def test_no_cron_line(line):
    with pytest.raises(ValueError, match=r"cron line|backwards"):
        cron_trigger(line)
