"""The schedule: each portfolio's cycle by cron or interval, one at a time, until told to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Lock

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from rebalancer.config.calendar import cron_trigger
from rebalancer.config.portfolio import Schedule


@dataclass(frozen=True, slots=True)
class Job:
    """A portfolio's name, its schedule, and what to do; ``run`` handles its own errors."""

    name: str
    schedule: Schedule
    run: Callable[[], None]


def trigger(schedule: Schedule) -> BaseTrigger:
    """APScheduler's trigger for a schedule, in UTC."""
    if schedule.cron is not None:
        return cron_trigger(schedule.cron)
    return IntervalTrigger(seconds=schedule.every, timezone="UTC")


def _due_together(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs of each schedule, in their order."""
    found: dict[tuple[str | None, int | None], list[Job]] = {}
    for job in jobs:
        found.setdefault((job.schedule.cron, job.schedule.every), []).append(job)
    return list(found.values())


def run_schedule(
    jobs: Sequence[Job], stop: Event, begin: Callable[[Sequence[str]], None] = lambda _: None
) -> None:
    """Run every job once now and then by its schedule; returns after ``stop`` and the last cycle.

    Cycles never overlap, not even of two portfolios: they share one lock. Jobs of one schedule are
    due together and run one after the other; ``begin`` is told their names before the first of
    them. A cycle that is missed because another took long is made up for once, not once per miss.
    """
    scheduler = BackgroundScheduler(timezone="UTC")
    turn = Lock()

    def cycles(due: Sequence[Job]) -> None:
        with turn:
            begin([job.name for job in due])
            for job in due:
                if not stop.is_set():
                    job.run()

    cycles(jobs)
    for due in _due_together(jobs):
        scheduler.add_job(
            cycles,
            trigger(due[0].schedule),
            args=[due],
            id=due[0].name,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
    scheduler.start()
    try:
        stop.wait()
    finally:
        scheduler.shutdown(wait=True)
