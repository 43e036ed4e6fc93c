"""At most once: two processes on one wallet for 200 rounds, and the crash matrix.

Both are tests; here they run at full length, and what they count is a figure.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator

from scripts.bench.figure import Figure

ROUNDS = 200


def run(*args: str) -> tuple[bool, str, float]:
    """Whether the tests passed, what they printed, and how long they took."""
    start = time.perf_counter()
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", "-q", *args],
        env={**os.environ, "REBALANCER_ROUNDS": str(ROUNDS)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout, time.perf_counter() - start


def figures() -> Iterator[Figure]:
    passed, _, seconds = run("tests/fork/test_bundler_two_processes.py", "-k", "with_the_lease")
    unit = f"failures in {ROUNDS} rounds"
    yield Figure("submission.two_processes", 0 if passed else 1, unit, target=0)
    yield Figure("submission.round", round(seconds / ROUNDS, 3), "s", target=None)
    passed, printed, _ = run("tests/e2e/test_crash_matrix.py")
    found = re.search(r"(\d+) kills: 0 double sends", printed)
    unit = f"failures in {found.group(1) if found else 'no'} kills"
    yield Figure("submission.crash_matrix", 0 if passed and found else 1, unit, target=0)
