"""Weights before, wanted and after as bars of characters."""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.model import ExpectedPosition

WIDTH = 30
LEGEND = "█ kept  ░ sold  ▒ bought  │ target"


def bars(positions: Sequence[ExpectedPosition]) -> list[str]:
    """One bar a position, all to the scale of the largest weight.

    The part that stays is full, what the plan sells or buys is shaded, the target is a mark.
    """
    weights = [w for p in positions for w in (p.before_ppm, p.target_ppm, p.after_ppm)]
    most = max(*weights, 1)
    return [_bar(p, most) for p in positions]


def _bar(position: ExpectedPosition, most: int) -> str:
    kept = _cells(min(position.before_ppm, position.after_ppm), most)
    longer = _cells(max(position.before_ppm, position.after_ppm), most)
    shade = "░" if position.after_ppm < position.before_ppm else "▒"
    cells = list("█" * kept + shade * (longer - kept) + " " * (WIDTH + 1 - longer))
    cells[_cells(position.target_ppm, most)] = "│"
    return "".join(cells).rstrip()


def _cells(weight_ppm: int, most: int) -> int:
    """Cells of a weight, rounded to nearest."""
    return (2 * weight_ppm * WIDTH + most) // (2 * most)
