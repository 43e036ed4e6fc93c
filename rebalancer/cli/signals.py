"""Ctrl-C and SIGTERM as an event: what is at work ends in good order, whatever line it is at."""

from __future__ import annotations

import signal
from threading import Event


def stop_event() -> Event:
    """An event that SIGINT and SIGTERM set from now on, instead of interrupting."""
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
