"""What loads when: the solver's libraries only with the solver; the checker without any of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def loaded(code: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | environment,
    ).stdout.strip()


@pytest.mark.parametrize("module", ["rebalancer.planner", "rebalancer.planner.optimal"])
def test_the_planner_starts_without_numpy_and_numba(module: str) -> None:
    code = f"import sys, {module}; print({{'numpy', 'numba'}} & set(sys.modules))"
    assert loaded(code) == "set()"


def test_the_checker_needs_no_solver() -> None:
    code = (
        "import sys, rebalancer.planner.optimal.verify; "
        "print(sorted(m for m in sys.modules if 'optimal.' in m or m in ('numpy', 'numba')))"
    )
    names = ("alone", "duality", "exact", "verify")
    only = [f"rebalancer.planner.optimal.{name}" for name in names]
    assert loaded(code) == str(only)


def test_without_a_place_for_the_cache_it_still_compiles(tmp_path: Path) -> None:
    """As in a read-only install without a home: Numba finds nowhere to put what it compiled."""
    module = tmp_path / "read_only.py"
    module.write_text(
        "from rebalancer.planner.optimal.compiled import compiled\n"
        "@compiled\n"
        "def twice(x: float) -> float:\n"
        "    return 2.0 * x\n"
    )
    code = (
        "import sys\n"
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import read_only\n"
        "print(read_only.twice(21.0), type(read_only.twice._cache).__name__)\n"
    )
    assert loaded(code) == "42.0 NullCache"
