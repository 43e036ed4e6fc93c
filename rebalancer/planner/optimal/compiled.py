"""Compile to machine code once and keep it, where there is a place to keep it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

# More takes a third longer to compile and makes the solver no faster.
os.environ.setdefault("NUMBA_OPT", "1")

import numba
from numba.core import event

_Function = TypeVar("_Function", bound=Callable[..., object])
_NO_WAY_IN: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
#: The modules whose functions are compiled into each other.
_KERNEL = (
    "case",
    "terms",
    "holdings",
    "dual",
    "newton",
    "recover",
    "rest",
    "charging",
    "through",
    "search",
    "supports",
    "links",
)
_TOGETHER = ("compiled", "graph", *_KERNEL)


def compiled(function: _Function) -> _Function:
    """``function`` compiled by Numba at its first call.

    The code is cached on disk beside the module, or in the user's cache folder. In an install where
    neither can be written it is compiled once per process.
    """
    return _compiled(function)


def inner(function: _Function) -> _Function:
    """As ``compiled``, for a function that only compiled ones call: Python cannot."""
    return _compiled(function, **_NO_WAY_IN)


def _compiled(function: _Function, **more: Any) -> _Function:
    try:
        made: Any = numba.njit(cache=True, error_model="numpy", **more)(function)
    except RuntimeError:  # "no locator available": nowhere to write
        return cast(_Function, numba.njit(error_model="numpy", **more)(function))
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


class _Notice(event.Listener):
    """Says once, where warnings go, why the first plan takes a while."""

    def on_start(self, event: event.Event) -> None:
        """The first thing that is not found in the cache."""
        if self in _waiting:
            _waiting.remove(self)
            _log.warning("compiling the solver, once per installation: half a minute...")

    def on_end(self, event: event.Event) -> None:
        """Nothing."""


_log = logging.getLogger(__name__)
_waiting = [_Notice()]
event.register("numba:compile", _waiting[0])  # type: ignore[no-untyped-call]
