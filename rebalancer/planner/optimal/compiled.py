"""Compile to machine code once and keep it, where there is a place to keep it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """``function`` compiled by Numba at its first call.

    The code is cached on disk beside the module, or in the user's cache folder. In an install where
    neither can be written it is compiled once per process, which takes some seconds.
    """
    try:
        return cast(_Function, numba.njit(cache=True, error_model="numpy")(function))
    except RuntimeError:  # "no locator available": nowhere to write
        return cast(_Function, numba.njit(error_model="numpy")(function))
