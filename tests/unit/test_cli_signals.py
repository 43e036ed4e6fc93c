"""Told to stop: at whatever line, and never by a lock that the interrupted line holds."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from threading import Thread

from rebalancer.cli.signals import Stop

WORKER = """
import time
from rebalancer.cli.signals import stop_event
stop = stop_event("left at once")
print("ready", flush=True)
{waits}
print("in good order", flush=True)
"""


def run(waits: str, *presses_after_s: float) -> tuple[int, str, list[str]]:
    """Exit code, output and errors of a worker that is interrupted so often."""
    command = [sys.executable, "-c", WORKER.format(waits=waits)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        for pause in presses_after_s:
            time.sleep(pause)
            worker.send_signal(signal.SIGINT)
        out, err = worker.communicate(timeout=60)
    return worker.returncode, out, err.splitlines()


def test_tell__whoever_holds_the_events_lock__does_not_wait_for_it() -> None:
    """A signal handler runs in the thread that it interrupts: waiting there is for ever."""
    stop = Stop()

    def interrupted() -> None:
        with stop._cond:  # type: ignore[attr-defined]
            stop.tell()

    thread = Thread(target=interrupted, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert stop.wait(30)
    assert stop.told_s() is not None


def test_first__the_work_ends_in_good_order() -> None:
    code, out, err = run("stop.wait()", 0.0)
    assert (code, out) == (0, "in good order\n")
    assert err == ["stopping: what is at work has some seconds; once more leaves at once"]


def test_second__leaves_at_once__one_press_that_comes_twice_does_not() -> None:
    code, out, err = run("stop.wait(); time.sleep(60)", 0.0, 1.0)
    assert (code, out) == (130, "")
    assert err[-1] == "left at once"
    code, out, _ = run("stop.wait(); time.sleep(1)", 0.0, 0.0)
    assert (code, out) == (0, "in good order\n")
