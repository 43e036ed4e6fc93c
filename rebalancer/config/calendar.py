"""Cron lines as cron reads them, in UTC; no clock: times are arguments."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: A line that fires at all fires after it, 29 February of a leap year included.
_ANY_TIME = datetime(2024, 1, 1, tzinfo=UTC)


@cache
def cron_trigger(line: str) -> CronTrigger:
    """APScheduler's trigger for a crontab line: minute, hour, day, month, day of the week.

    Days of the week count as cron counts them, 0 and 7 for Sunday; APScheduler 3 begins at Monday.
    A line with both a day and a day of the week is refused: cron fires on either, APScheduler on
    both. Raises ValueError for what is no cron line, or one that never fires.
    """
    from apscheduler.triggers.cron import CronTrigger

    fields = line.split()
    if len(fields) != 5:
        raise ValueError(f"{line!r} is not a cron line: it has {len(fields)} fields, not 5")
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        raise ValueError(
            f"{line!r} names a day of the month and one of the week; use one of the two"
        )
    try:
        trigger = CronTrigger(
            minute=minute,
            hour=hour,
            day=day,
            month=month,
            day_of_week=",".join(_weekday(part) for part in weekday.split(",")),
            timezone="UTC",
        )
    except ValueError as error:
        raise ValueError(f"{line!r} is not a cron line: {error}") from None
    if trigger.get_next_fire_time(None, _ANY_TIME) is None:
        raise ValueError(f"{line!r} never fires: no month of these has such a day")
    return trigger


def next_fire_ts(line: str, after_ts: int) -> int:
    """The first time of the cron line after ``after_ts``, unix seconds."""
    moment = datetime.fromtimestamp(after_ts + 1, UTC)
    found: datetime = cron_trigger(line).get_next_fire_time(None, moment)
    return int(found.timestamp())


def _weekday(part: str) -> str:
    """One item of the day-of-week field with its numbers as names: ``1-5`` is ``mon-fri``.

    A range that passes Sunday, and one with a step, is written out.
    """
    match = re.fullmatch(r"(?:(\*)|([0-7])(?:-([0-7]))?)(?:/(\d+))?", part)
    if match is None:
        return part  # names, or what APScheduler will refuse
    star, first, last, step = match.groups()
    if star and not step:
        return "*"
    if star:
        low, high = 0, 6
    else:
        low = int(first)
        high = int(last) if last else 6 if step else low
    if high < low:
        raise ValueError(f"the days {part} run backwards")
    days = [_DAYS[day] for day in range(low, high + 1, max(int(step or 1), 1))]
    return ",".join(dict.fromkeys(days))
