"""``make bench``: one line of JSON per figure; exits 1 when a target is missed."""

from __future__ import annotations

import sys

from scripts.bench import (
    backtest,
    gas,
    gas_planned,
    hostile,
    logs,
    orders,
    planner,
    reads,
    snapshot,
    startup,
    submission,
)

GROUPS = (
    startup,
    snapshot,
    hostile,
    reads,
    logs,
    gas,
    gas_planned,
    planner,
    backtest,
    orders,
    submission,
)


def main() -> int:
    missed = 0
    for group in GROUPS:
        for figure in group.figures():
            print(figure.line(), flush=True)
            missed += figure.met is False
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
