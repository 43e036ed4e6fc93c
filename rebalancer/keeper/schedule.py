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


def run_schedule(jobs: Sequence[Job], stop: Event) -> None:
    """Run every job once now and then by its schedule; returns after ``stop`` and the last cycle.

    Cycles never overlap, not even of two portfolios: they share one lock. A cycle that is missed
    because another took long is made up for once, not once per miss.
    """
    scheduler = BackgroundScheduler(timezone="UTC")
    turn = Lock()

    def cycle(job: Job) -> None:
        with turn:
            if not stop.is_set():
                job.run()

    for job in jobs:
        cycle(job)
        scheduler.add_job(
            cycle,
            trigger(job.schedule),
            args=[job],
            id=job.name,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
    scheduler.start()
    try:
        stop.wait()
    finally:
        scheduler.shutdown(wait=True)
