"""How long a person waits: for --help, and for the whole demo."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from scripts.bench.figure import Figure

COMMAND = str(Path(sys.executable).parent / "rebalancer")


def seconds(*args: str) -> float:
    start = time.perf_counter()
    subprocess.run([COMMAND, *args], check=True, capture_output=True)  # noqa: S603
    return time.perf_counter() - start


def figures() -> Iterator[Figure]:
    seconds("--help")  # the first start compiles bytecode
    runs = [seconds("--help") for _ in range(9)]
    yield Figure("startup.help", round(median(runs), 3), "s", target=0.3)
    yield Figure("startup.demo", round(seconds("demo", "--json"), 2), "s", target=60)
