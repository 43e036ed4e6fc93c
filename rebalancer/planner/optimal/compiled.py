"""Compile to machine code once and keep it, where there is a place to keep it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., object])
#: The modules whose functions are compiled into each other.
_TOGETHER = ("compiled", "graph", "dual", "recover", "rest", "search")


def compiled(function: _Function) -> _Function:
    """``function`` compiled by Numba at its first call.

    The code is cached on disk beside the module, or in the user's cache folder. In an install where
    neither can be written it is compiled once per process, which takes half a minute.
    """
    try:
        made: Any = numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # "no locator available": nowhere to write
        return cast(_Function, numba.njit(error_model="numpy")(function))
    # Numba looks for changes in the function's own file, not in those that are compiled into it.
    index = getattr(getattr(made, "_cache", None), "_cache_file", None)
    if index is not None and hasattr(index, "_source_stamp"):
        index._source_stamp = _stamp()
    return cast(_Function, made)


@cache
def _stamp() -> tuple[tuple[str, int, int], ...]:
    """Name, time of change and size of every source that machine code is made of."""
    files = [(name, Path(__file__).with_name(f"{name}.py").stat()) for name in _TOGETHER]
    return tuple((name, file.st_mtime_ns, file.st_size) for name, file in files)
