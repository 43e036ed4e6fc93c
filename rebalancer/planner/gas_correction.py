"""What past rebalances used beside what the schedule says of them, as a correction of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rebalancer.model import (
    PPM,
    GasCorrection,
    GasSchedule,
    Leg,
    PlannedGas,
    Snapshot,
    format_units,
    mul_div_nearest,
)
from rebalancer.planner.wallet import first_and_due

#: Fewer say nothing; more than the newest twenty are not asked.
LEAST_REBALANCES: Final = 3
MOST_REBALANCES: Final = 20
#: A batch that uses less or more than this of what is planned is not what the schedule is about.
LEAST_EXECUTION_PPM, MOST_EXECUTION_PPM = PPM * 8 // 10, PPM * 13 // 10
#: A wallet whose allowances stand, or whose own code trades, needs no approvals at all.
MOST_APPROVAL_PPM = MOST_EXECUTION_PPM


@dataclass(frozen=True, slots=True)
class GasSample:
    """What one rebalance used: its batch, and what let the executor take the tokens.

    ``snapshot`` is the one that it was decided on, ``legs`` those of its plan.
    """

    snapshot: Snapshot
    legs: tuple[Leg, ...]
    execution: int
    approvals: int


def corrected_by(schedule: GasSchedule, samples: Sequence[GasSample]) -> GasCorrection | None:
    """How far ``schedule`` was off; None where fewer than ``LEAST_REBALANCES`` say so.

    The median of the ratios, so that one odd rebalance (a pool's first swap ever) moves nothing,
    and within bounds. Planned is what this schedule says of the legs now, whatever it said when
    they were decided: what a correction did then, or a newer schedule does better, is not counted
    twice.
    """
    batches = [
        (
            sample.execution,
            schedule.execution(sample.legs, *first_and_due(sample.snapshot, sample.legs)),
        )
        for sample in samples
    ]
    approved = [(sample.approvals, schedule.approvals(sample.legs)) for sample in samples]
    execution = _median_ppm(batches)
    if execution is None:
        return None
    approval = _median_ppm(approved)
    return GasCorrection(
        execution_ppm=min(max(execution, LEAST_EXECUTION_PPM), MOST_EXECUTION_PPM),
        approval_ppm=PPM if approval is None else min(approval, MOST_APPROVAL_PPM),
        rebalances=len(samples),
    )


def _median_ppm(used_and_planned: Sequence[tuple[int, int]]) -> int | None:
    """The middle one of used over planned; of two, what lies between, rounded up."""
    ratios = sorted(
        mul_div_nearest(used, PPM, planned) for used, planned in used_and_planned if planned > 0
    )
    if len(ratios) < LEAST_REBALANCES:
        return None
    middle = len(ratios) // 2
    return ratios[middle] if len(ratios) % 2 else -(-(ratios[middle - 1] + ratios[middle]) // 2)


def is_at_bound(correction: GasCorrection) -> bool:
    """Whether batches use so much more or less than planned that the rest is not believed."""
    return not LEAST_EXECUTION_PPM < correction.execution_ppm < MOST_EXECUTION_PPM


def told(planned: PlannedGas) -> str:
    """Where a plan's gas comes from, in words."""
    by = planned.correction
    if by is None:
        return (
            f"planned from {planned.schedule}, not corrected before {LEAST_REBALANCES} rebalances"
        )
    approvals = f" (approvals x{_times(by.approval_ppm)})" if by.approval_ppm != PPM else ""
    times = f"x{_times(by.execution_ppm)}{approvals}"
    return f"planned from {planned.schedule}, corrected {times} by {by.rebalances} rebalances"


def _times(ppm: int) -> str:
    return format_units(mul_div_nearest(ppm, 100, PPM), 2, 2)
