"""Canonical JSON of frozen dataclasses, and the hash by which a child names its parent.

Keys are sorted, separators are minimal, integers are written in full (never as floats), tuples are
arrays: the same object gives the same bytes everywhere. A field that was added to a class later is
marked ADDED_LATER and left out while it has its default, so what older versions wrote and signed
with its digest is still canonical.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

#: ``dataclasses.field(default=..., metadata=ADDED_LATER)``.
ADDED_LATER: Final[Mapping[str, bool]] = {"added_later": True}


def to_plain(value: Any) -> Any:
    """Turn dataclasses into dicts, lists and scalars; refuses floats and unknown types."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {}
        for name, added_later, default in _fields(type(value)):
            item = getattr(value, name)
            if not (added_later and item == default):
                plain[name] = to_plain(item)
        return plain
    raise TypeError(f"{type(value).__name__} has no canonical form")


@cache
def _fields(cls: type[Any]) -> tuple[tuple[str, bool, Any], ...]:
    """Name, whether it was added later, and default of each field of a dataclass."""
    return tuple(
        (f.name, bool(f.metadata.get("added_later")), f.default) for f in dataclasses.fields(cls)
    )


def to_json(value: Any) -> str:
    """Canonical JSON text of ``value``."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hex digits."""
    return hashlib.sha256(to_json(value).encode()).hexdigest()
