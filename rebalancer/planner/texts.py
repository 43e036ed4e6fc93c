"""Numbers as people read them in a reason; nothing is computed from what is written here."""

from __future__ import annotations

from collections.abc import Callable

from rebalancer.model import VALUE_DECIMALS, format_units, mul_div_nearest

#: Decimals of a percentage point that a part per million is.
_PPM_PLACES = 4
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def points(ppm: int, places: int = 2) -> str:
    """Parts per million as percentage points: 30_000 is ``3.00``; to the nearest."""
    if places >= _PPM_PLACES:
        return format_units(ppm, _PPM_PLACES, places)
    return format_units(mul_div_nearest(ppm, 1, 10 ** (_PPM_PLACES - places)), places, places)


def signed_points(ppm: int, places: int = 2) -> str:
    """As ``points``, with a plus sign where it is not negative."""
    return ("+" if ppm >= 0 else "") + points(ppm, places)


def percent(ppm: int, places: int = 2) -> str:
    """Parts per million as a percentage: 30_000 is ``3.00%``."""
    return points(ppm, places) + "%"


def money(value_e8: int, numeraire: str, places: int = 2) -> str:
    """1e-8 units of the numeraire with its name: ``1,234.56 USD``; cut towards zero."""
    return f"{format_units(value_e8, VALUE_DECIMALS, places)} {numeraire}"


def gwei(price_wei: int, places: int = 2) -> str:
    """A gas price: ``25.50 gwei``."""
    return f"{format_units(price_wei, 9, places)} gwei"


def duration(seconds: int) -> str:
    """Seconds in their two largest units: ``2 d 3 h``, ``45 s``."""
    parts = []
    rest = abs(seconds)
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return ("-" if seconds < 0 else "") + (" ".join(parts[:2]) or "0 s")


def told_apart(
    write: Callable[[int, int], str], first: int, second: int, most_places: int = 8
) -> tuple[str, str]:
    """Write two numbers with as few decimals, from two up, as show which is larger.

    A sentence that says "3.00 is outside 3.00" explains nothing.
    """
    places = 2
    while (
        first != second and places < most_places and write(first, places) == write(second, places)
    ):
        places += 1
    return write(first, places), write(second, places)
