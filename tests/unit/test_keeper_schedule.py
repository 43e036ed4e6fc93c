"""The schedule: once at start, then by its trigger, never two cycles at a time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from rebalancer.config.portfolio import Schedule
from rebalancer.keeper.schedule import Job, run_schedule, trigger


def schedule(**keys: str) -> Schedule:
    return Schedule.model_validate(keys)


def test_trigger__cron__fires_in_utc() -> None:
    now = datetime(2026, 1, 1, 0, 7, tzinfo=UTC)
    fire = trigger(schedule(cron="*/15 * * * *")).get_next_fire_time(None, now)
    assert fire == datetime(2026, 1, 1, 0, 15, tzinfo=UTC)


def test_trigger__interval__counts_from_the_last() -> None:
    last = datetime(2026, 1, 1, tzinfo=UTC)
    fire = trigger(schedule(every="5m")).get_next_fire_time(last, last)
    assert fire == last + timedelta(minutes=5)


def test_run__every_job_once_at_start__then_stops() -> None:
    stop, ran = threading.Event(), []

    def second() -> None:
        ran.append("b")
        stop.set()

    hourly = schedule(every="1h")
    run_schedule([Job("a", hourly, lambda: ran.append("a")), Job("b", hourly, second)], stop)
    assert ran == ["a", "b"]


def test_run__stopped_during_the_first__does_not_start_the_second() -> None:
    stop, ran = threading.Event(), []
    hourly = schedule(every="1h")
    run_schedule([Job("a", hourly, stop.set), Job("b", hourly, lambda: ran.append("b"))], stop)
    assert ran == []


def test_run__interval__repeats_and_never_overlaps() -> None:
    stop = threading.Event()
    inside, overlaps, runs = threading.Lock(), [], []

    def cycle() -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(1)
            return
        runs.append(1)
        stop.wait(0.05)
        inside.release()
        if len(runs) >= 4:
            stop.set()

    every = schedule(every="1s")
    run_schedule([Job("a", every, cycle), Job("b", every, cycle)], stop)
    assert len(runs) >= 4
    assert not overlaps


def test_run__jobs_of_one_schedule__begin_and_run_together() -> None:
    stop, told, ran = threading.Event(), [], []

    def begin(names: object) -> None:
        told.append(names)
        if len(told) == 3:
            stop.set()

    often, hourly = schedule(every="1s"), schedule(every="1h")
    jobs = [
        Job("a", often, lambda: ran.append("a")),
        Job("x", hourly, lambda: ran.append("x")),
        Job("b", often, lambda: ran.append("b")),
    ]
    run_schedule(jobs, stop, begin)
    assert told == [["a", "x", "b"], *[["a", "b"]] * 2]
    assert ran == ["a", "x", "b", "a", "b"]
