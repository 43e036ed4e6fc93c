"""Trading back no further than to a band's edge, or to whatever drift may stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence


def back_to_edges(
    names: Sequence[str],
    values: Sequence[int],
    fulls: Sequence[int],
    edges: Mapping[str, int],
    total: int,
) -> list[int]:
    """Wanted values that together make ``total``, each group at most its edge away from its full.

    ``names`` say which position or bucket a value belongs to; a bucket moves as one, its members
    all by the same share of their way. What is further off than its edge comes back to it. What
    that brings in goes to the most underweight, what it takes comes from the most overweight, up or
    down to a common drift: so nobody leaves his target. All in 1e-8 of the numeraire; the sum is
    short of ``total`` by less than a unit a position.
    """
    groups = list(dict.fromkeys(names))
    value, full = _sums(names, values), _sums(names, fulls)
    clipped = {
        g: min(max(value[g], full[g] - edges.get(g, 0)), full[g] + edges.get(g, 0)) for g in groups
    }
    if sum(clipped.values()) <= total:
        level = _largest(-total, total, lambda x: sum(_raised(clipped, full, x).values()) <= total)
        wanted = _raised(clipped, full, level)
    else:
        level = _largest(-total, total, lambda x: sum(_lowered(clipped, full, x).values()) <= total)
        wanted = _lowered(clipped, full, level)
    found = []
    for name, have, goal in zip(names, values, fulls, strict=True):
        way, whole = wanted[name] - value[name], full[name] - value[name]
        found.append(have + (goal - have) * way // whole if whole else have)
    return found


def _sums(names: Sequence[str], amounts: Sequence[int]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, amount in zip(names, amounts, strict=True):
        sums[name] = sums.get(name, 0) + amount
    return sums


def _raised(clipped: Mapping[str, int], full: Mapping[str, int], level: int) -> dict[str, int]:
    return {g: max(c, full[g] + level) for g, c in clipped.items()}


def _lowered(clipped: Mapping[str, int], full: Mapping[str, int], level: int) -> dict[str, int]:
    return {g: max(min(c, full[g] + level), 0) for g, c in clipped.items()}


def _largest(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Largest integer of ``low..high`` for which ``holds``, true up to some point, at least low."""
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low
