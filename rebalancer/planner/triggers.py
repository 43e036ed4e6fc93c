"""Whether it is time to consider trading: bands, calendar, both, and the dead band below all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rebalancer.model import Policy, Reason
from rebalancer.planner.bands import Drift
from rebalancer.planner.texts import duration, percent, points, signed_points, told_apart


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the trigger fired, and what made it fire or kept it from firing."""

    fired: bool
    reasons: tuple[Reason, ...]


def evaluate(
    drifts: Sequence[Drift], policy: Policy, now_ts: int, last_rebalance_ts: int | None
) -> Verdict:
    """Apply the policy's trigger to drifts as ``bands.drifts`` orders them, at ``now_ts``.

    ``hybrid`` asks for both: the calendar due and a position outside its band. Below the dead band
    nothing fires, whatever the calendar says. Times are unix seconds of blocks.
    """
    in_bands, band_reasons = _bands(drifts)
    due, calendar_reason = _calendar(policy, now_ts, last_rebalance_ts)
    fired, reasons = {
        "threshold": (not in_bands, band_reasons),
        "calendar": (due, (calendar_reason,)),
        "hybrid": (due and not in_bands, _hybrid(in_bands, due, band_reasons, calendar_reason)),
    }[policy.trigger]
    largest = drifts[0]
    if abs(largest.drift_ppm) > policy.dead_band_ppm:
        return Verdict(fired, reasons)
    return Verdict(False, (_dead_band(largest, policy), *(() if fired else reasons)))


def _bands(drifts: Sequence[Drift]) -> tuple[bool, tuple[Reason, ...]]:
    """Whether all are inside their bands; the reasons name the outliers, or everyone if none is."""
    outside = [drift for drift in drifts if drift.outside]
    return not outside, tuple(_band_reason(drift) for drift in outside or drifts)


def _band_reason(drift: Drift) -> Reason:
    moved, band = told_apart(points, abs(drift.drift_ppm), drift.band_ppm, most_places=4)
    sign = "-" if drift.drift_ppm < 0 else "+"
    weights = f"{percent(drift.weight_ppm)} against a target of {percent(drift.target_ppm)}"
    return Reason(
        code="outside_band_ppm" if drift.outside else "inside_band_ppm",
        text=(
            f"{drift.position} drifted {sign}{moved} points, its band is {band}: {weights}, "
            f"{'outside' if drift.outside else 'inside'}"
        ),
        measured=abs(drift.drift_ppm),
        limit=drift.band_ppm,
    )


def _calendar(policy: Policy, now_ts: int, last_ts: int | None) -> tuple[bool, Reason]:
    every = duration(policy.calendar_s)
    if last_ts is None:
        return True, Reason(
            "never_rebalanced", f"Never rebalanced yet, so the {every} calendar is due"
        )
    elapsed = now_ts - last_ts
    due = elapsed >= policy.calendar_s
    verdict = f"the calendar of every {every} is {'due' if due else 'not due yet'}"
    return due, Reason(
        code="calendar_due_s" if due else "calendar_not_due_s",
        text=f"Last rebalanced {duration(elapsed)} ago, {verdict}",
        measured=elapsed,
        limit=policy.calendar_s,
    )


def _hybrid(
    in_bands: bool, due: bool, band_reasons: tuple[Reason, ...], calendar: Reason
) -> tuple[Reason, ...]:
    """Both when both fired; else only what kept it from firing, the calendar first."""
    if due and not in_bands:
        return (*band_reasons, calendar)
    kept = () if due else (calendar,)
    return (*kept, *(band_reasons if in_bands else ()))


def _dead_band(largest: Drift, policy: Policy) -> Reason:
    return Reason(
        code="dead_band_ppm",
        text=(
            f"The largest drift, {largest.position} at {signed_points(largest.drift_ppm)} points, "
            f"is within the dead band of {points(policy.dead_band_ppm)} in which nothing trades"
        ),
        measured=abs(largest.drift_ppm),
        limit=policy.dead_band_ppm,
    )
