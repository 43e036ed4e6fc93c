"""Work beside the caller, in threads that do not hold up the end of the process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
#: Name of every thread made here.
THREAD_NAME = "rpc"


def start(work: Callable[[], T]) -> Future[T]:
    """Run ``work`` in a daemon thread.

    A pool of concurrent.futures would be waited for at the end of the process: one endpoint that
    hangs would keep a finished command from returning.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is handed to whoever asks the future
            future.set_exception(error)

    Thread(target=run, name=THREAD_NAME, daemon=True).start()
    return future
