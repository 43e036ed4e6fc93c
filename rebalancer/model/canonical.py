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
from typing import Any, Final

#: ``dataclasses.field(default=..., metadata=ADDED_LATER)``.
ADDED_LATER: Final[Mapping[str, bool]] = {"added_later": True}


def to_plain(value: Any) -> Any:
    """Turn dataclasses into dicts, lists and scalars; refuses floats and unknown types."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: to_plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not (f.metadata.get("added_later") and getattr(value, f.name) == f.default)
        }
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} has no canonical form")


def to_json(value: Any) -> str:
    """Canonical JSON text of ``value``."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hex digits."""
    return hashlib.sha256(to_json(value).encode()).hexdigest()
