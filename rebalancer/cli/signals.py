"""Ctrl-C and SIGTERM as an event: what is at work ends in good order, whatever line it is at."""

from __future__ import annotations

import os
import signal
import time
from _thread import start_new_thread
from contextlib import suppress
from threading import Event
from types import FrameType

#: A wrapper may pass the signal on that the terminal sent to us too: that is one press.
_SAME_PRESS_S = 0.5
_INTERRUPTED = 130
_STOPPING = "stopping: what is at work has some seconds; once more leaves at once"


class Stop(Event):
    """Set once somebody wants this process to end."""

    def __init__(self) -> None:
        super().__init__()
        self._told_at: float | None = None

    def told_s(self) -> float | None:
        """Seconds since somebody wanted it; None before."""
        return None if self._told_at is None else time.monotonic() - self._told_at

    def tell(self) -> None:
        """Want it; safe in a signal handler."""
        if self._told_at is None:
            self._told_at = time.monotonic()
        # Not set() itself: the thread that is interrupted may hold the event's lock just now.
        start_new_thread(self.set, ())


def stop_event(at_once: str | None = None) -> Stop:
    """An event that SIGINT and SIGTERM set from now on, instead of interrupting.

    With ``at_once`` a second one ends the process where it stands, with that line: for work that
    may be killed at any point, and goes on with the next run.
    """
    stop = Stop()

    def heard(number: int, frame: FrameType | None) -> None:
        told_s = stop.told_s()
        stop.tell()
        if at_once is None:
            return
        if told_s is None:
            _say(_STOPPING)
        elif told_s > _SAME_PRESS_S:
            _say(at_once)
            os._exit(_INTERRUPTED)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, heard)
    return stop


def _say(text: str) -> None:
    """A line on stderr; past its buffer, which the thread that is interrupted may be writing to."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())
