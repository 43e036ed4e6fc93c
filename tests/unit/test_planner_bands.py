"""Bands and triggers as literal tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import NOW, POLICY, TARGETS, holding

from rebalancer.amm.valuation import value
from rebalancer.model import Target
from rebalancer.planner.bands import Drift, band_ppm, drifts
from rebalancer.planner.triggers import evaluate


@pytest.mark.parametrize(
    ("target", "policy_rel", "rule", "expected"),
    [
        (Target("X", 400_000), None, "tighter", 30_000),  # absolute alone
        (Target("X", 400_000), 50_000, "tighter", 20_000),  # 5 % of 40 %
        (Target("X", 400_000), 50_000, "wider", 30_000),
        (Target("X", 400_000), 200_000, "tighter", 30_000),
        (Target("X", 400_000), 200_000, "wider", 80_000),
        (Target("X", 0), 50_000, "tighter", 30_000),  # a share of nothing is no band
        (Target("X", 0), 50_000, "wider", 30_000),
        (Target("X", 400_000, band_abs_ppm=10_000), None, "wider", 10_000),
        (Target("X", 400_000, band_abs_ppm=10_000), 50_000, "wider", 20_000),
        (Target("X", 400_000, band_rel_ppm=10_000), None, "tighter", 4_000),
        (Target("X", 400_000, band_rel_ppm=10_000), 50_000, "tighter", 4_000),
        (Target("X", 400_000, 0, 0), 50_000, "wider", 0),
        (Target("X", 333_333, band_rel_ppm=100_001), None, "tighter", 30_000),
        (Target("X", 133_333, band_rel_ppm=100_001), None, "tighter", 13_333),  # rounded down
    ],
)
def test_band(target, policy_rel, rule, expected):
    policy = replace(POLICY, band_rel_ppm=policy_rel, band_rule=rule)
    assert band_ppm(target, policy) == expected


@pytest.mark.parametrize(
    ("weight", "outside"),
    [(430_000, False), (430_001, True), (370_000, False), (369_999, True), (400_000, False)],
)
def test_the_edge_of_the_band_is_inside(weight, outside):
    assert Drift("X", weight, 400_000, 30_000).outside is outside


def test_drifts_are_ordered_by_size_then_name():
    valuation = value(holding(600_000, 200_000, 200_000), TARGETS)
    assert [(d.position, d.drift_ppm) for d in drifts(valuation, TARGETS, POLICY)] == [
        ("WETH", 100_000),
        ("USDC", -50_000),
        ("WBTC", -50_000),
    ]


IN = (Drift("A", 521_000, 500_000, 30_000), Drift("B", 479_000, 500_000, 30_000))
OUT = (Drift("A", 545_000, 500_000, 30_000), Drift("B", 455_000, 500_000, 50_000))
STILL = (Drift("A", 505_000, 500_000, 1_000), Drift("B", 495_000, 500_000, 1_000))
DUE, EARLY, NEVER = NOW - 3_600, NOW - 3_599, None


@pytest.mark.parametrize(
    ("trigger", "at", "last_ts", "fired", "codes"),
    [
        ("threshold", OUT, EARLY, True, ["outside_band_ppm"]),
        ("threshold", IN, DUE, False, ["inside_band_ppm", "inside_band_ppm"]),
        ("calendar", IN, DUE, True, ["calendar_due_s"]),
        ("calendar", IN, NEVER, True, ["never_rebalanced"]),
        ("calendar", OUT, EARLY, False, ["calendar_not_due_s"]),
        ("calendar", IN, NOW + 60, False, ["calendar_not_due_s"]),
        ("hybrid", OUT, DUE, True, ["outside_band_ppm", "calendar_due_s"]),
        ("hybrid", OUT, NEVER, True, ["outside_band_ppm", "never_rebalanced"]),
        ("hybrid", OUT, EARLY, False, ["calendar_not_due_s"]),
        ("hybrid", IN, DUE, False, ["inside_band_ppm", "inside_band_ppm"]),
        ("hybrid", IN, EARLY, False, ["calendar_not_due_s", "inside_band_ppm", "inside_band_ppm"]),
        ("threshold", STILL, DUE, False, ["dead_band_ppm"]),
        ("calendar", STILL, DUE, False, ["dead_band_ppm"]),
        ("calendar", STILL, EARLY, False, ["dead_band_ppm", "calendar_not_due_s"]),
        ("hybrid", STILL, NEVER, False, ["dead_band_ppm"]),
    ],
)
def test_trigger(trigger, at, last_ts, fired, codes):
    verdict = evaluate(at, replace(POLICY, trigger=trigger), NOW, last_ts)
    assert (verdict.fired, [reason.code for reason in verdict.reasons]) == (fired, codes)


def test_the_dead_band_ends_above_its_edge():
    policy = replace(POLICY, trigger="calendar", dead_band_ppm=5_000)
    assert not evaluate([Drift("A", 505_000, 500_000, 0)], policy, NOW, None).fired
    assert not evaluate([Drift("A", 495_000, 500_000, 0)], policy, NOW, None).fired
    assert evaluate([Drift("A", 505_001, 500_000, 0)], policy, NOW, None).fired
    assert evaluate([Drift("A", 494_999, 500_000, 0)], policy, NOW, None).fired


def test_reasons_carry_their_numbers():
    inside, _, *_ = evaluate(IN, replace(POLICY, trigger="threshold"), NOW, None).reasons
    assert (inside.measured, inside.limit) == (21_000, 30_000)
    assert inside.text == (
        "A drifted +2.10 points, its band is 3.00: 52.10% against a target of 50.00%, inside"
    )
    due = evaluate(OUT, POLICY, NOW, NOW - 90_000).reasons
    assert [(r.measured, r.limit) for r in due] == [(45_000, 30_000), (90_000, 3_600)]
    assert due[1].text == "Last rebalanced 1 d 1 h ago, the calendar of every 1 h is due"


def test_a_drift_just_outside_is_not_written_as_its_band():
    drift = Drift("A", 469_999, 500_000, 30_000)
    (reason,) = evaluate([drift], replace(POLICY, trigger="threshold"), NOW, None).reasons
    assert reason.text.startswith("A drifted -3.0001 points, its band is 3.0000: ")
