"""LP positions that are held and not listed, with the lines that list them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rebalancer.model import to_plain
from rebalancer.readers.discovery import Found


def discovery_document(found: Sequence[Found]) -> list[Any]:
    """Every position found as plain data, with its line."""
    return [{**to_plain(item), "line": item.line} for item in found]


def discovery_view(found: Sequence[Found]) -> RenderableType:
    """The lines to put into the portfolio file, and what networks.yaml lacks for the others."""
    if not found:
        return Text("No LP position is held that the portfolio does not list.", style="dim")
    parts: list[RenderableType] = []
    lines = [item.line for item in found if item.line is not None and not item.listed]
    if lines:
        parts.append(Text("Held, but not listed; put these under positions:", style="bold"))
        parts += [Text(f"  {line}") for line in lines]
    staked = [item for item in found if item.listed]
    if staked:
        parts.append(Text("Listed, but part of it lies in a farm; add to its line:", style="bold"))
        parts += [Text(f"  {item.name}: {item.line}") for item in staked]
    unnamed = [item for item in found if item.line is None]
    if unnamed:
        parts.append(Text("Held, but networks.yaml does not know them:", style="bold"))
        parts += [Text(f"  {item.pair}: {item.missing}") for item in unnamed]
    return Group(*parts)
