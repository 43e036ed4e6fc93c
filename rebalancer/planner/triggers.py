"""Whether it is time to consider trading: bands, calendar, cooldown, the dead band below all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rebalancer.errors import PlanError
from rebalancer.model import Policy, Reason
from rebalancer.planner.bands import Drift
from rebalancer.planner.texts import duration, percent, points, signed_points, told_apart


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the trigger fired, and what made it fire or kept it from firing."""

    fired: bool
    reasons: tuple[Reason, ...]


def evaluate(
    drifts: Sequence[Drift],
    policy: Policy,
    now_ts: int,
    last_rebalance_ts: int | None,
    calendar_due_ts: int | None = None,
) -> Verdict:
    """Apply the policy's trigger to drifts as ``bands.drifts`` orders them, at ``now_ts``.

    ``hybrid`` asks for both: the calendar due and a position outside its band. ``cost_aware`` asks
    for neither; whether a plan is worth it is seen once there is one. Below the dead band and
    within the cooldown nothing fires, whatever else says. Times are unix seconds of blocks;
    ``calendar_due_ts`` is when a cron line is due. Raises PlanError where it is asked for and not
    given.
    """
    in_bands, band_reasons = _bands(drifts)
    due, calendar_reason = True, band_reasons[0]
    if policy.trigger in ("calendar", "hybrid"):
        due, calendar_reason = _calendar(policy, now_ts, last_rebalance_ts, calendar_due_ts)
    largest = drifts[0]
    fired, reasons = {
        "threshold": (not in_bands, band_reasons),
        "calendar": (due, (calendar_reason,)),
        "hybrid": (due and not in_bands, _hybrid(in_bands, due, band_reasons, calendar_reason)),
        "cost_aware": (True, (_any_drift(largest, policy),)),
    }[policy.trigger]
    kept = []
    if abs(largest.drift_ppm) <= policy.dead_band_ppm:
        kept.append(_dead_band(largest, policy))
    if cooling := _cooldown(policy, now_ts, last_rebalance_ts):
        kept.append(cooling)
    if not kept:
        return Verdict(fired, reasons)
    return Verdict(False, (*kept, *(() if fired else reasons)))


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


def _any_drift(largest: Drift, policy: Policy) -> Reason:
    moved, dead = told_apart(points, abs(largest.drift_ppm), policy.dead_band_ppm, most_places=4)
    sign = "-" if largest.drift_ppm < 0 else "+"
    text = (
        f"{largest.position} drifted {sign}{moved} points, beyond the dead band of {dead}; "
        "it trades as soon as that is worth its cost"
    )
    return Reason("cost_aware_ppm", text, abs(largest.drift_ppm), policy.dead_band_ppm)


def _cooldown(policy: Policy, now_ts: int, last_ts: int | None) -> Reason | None:
    """Why nothing trades yet so soon after the last rebalance; None where it may."""
    if not policy.cooldown_s or last_ts is None or now_ts - last_ts >= policy.cooldown_s:
        return None
    text = (
        f"Last rebalanced {duration(now_ts - last_ts)} ago, within the cooldown of "
        f"{duration(policy.cooldown_s)}"
    )
    return Reason("cooldown_s", text, now_ts - last_ts, policy.cooldown_s)


def _cron(policy: Policy, now_ts: int, last_ts: int, due_ts: int | None) -> tuple[bool, Reason]:
    if due_ts is None:
        raise PlanError(
            f"nobody worked out when the calendar {policy.calendar_cron!r} is next due",
            hint="give decide the circumstances with calendar_due_ts",
        )
    elapsed, due = now_ts - last_ts, now_ts >= due_ts
    verdict = "is due" if due else f"is not due for another {duration(due_ts - now_ts)}"
    return due, Reason(
        code="calendar_due_s" if due else "calendar_not_due_s",
        text=(
            f"Last rebalanced {duration(elapsed)} ago, the calendar {policy.calendar_cron!r} "
            f"(UTC) {verdict}"
        ),
        measured=elapsed,
        limit=due_ts - last_ts,
    )


def _calendar(
    policy: Policy, now_ts: int, last_ts: int | None, due_ts: int | None
) -> tuple[bool, Reason]:
    if policy.calendar_cron is not None and last_ts is not None:
        return _cron(policy, now_ts, last_ts, due_ts)
    every = duration(policy.calendar_s)
    if last_ts is None:
        named = policy.calendar_cron or every
        return True, Reason(
            "never_rebalanced", f"Never rebalanced yet, so the {named} calendar is due"
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
