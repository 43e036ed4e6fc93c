"""Integer arithmetic and units; rounding is always in the name."""

from __future__ import annotations

import re
from fractions import Fraction

BPS = 10_000
PPM = 1_000_000
#: Values are integers in 1e-8 of the numeraire, the resolution of Chainlink's USD feeds.
VALUE_DECIMALS = 8
E8 = 10**VALUE_DECIMALS

_NUMBER = re.compile(
    r"(?P<sign>[+-]?)"
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9][0-9_]*)?"
    r"(?:\.(?P<fraction>[0-9_]*))?"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,3}))?"
)
#: The largest amounts have 78 digits.
_LONGEST = 200


def mul_div_down(a: int, b: int, denominator: int) -> int:
    """Return ``a * b / denominator`` rounded towards minus infinity."""
    return a * b // denominator


def mul_div_up(a: int, b: int, denominator: int) -> int:
    """Return ``a * b / denominator`` rounded towards plus infinity."""
    return -(-a * b // denominator)


def mul_div_nearest(a: int, b: int, denominator: int) -> int:
    """Return ``a * b / denominator`` rounded to nearest, ties to even; for display shares only."""
    return round(Fraction(a * b, denominator))


def parse_units(text: str, decimals: int) -> int:
    """Read a decimal number as an integer of 10**-decimals, exactly, however many digits it has.

    Thousands may be set off by commas or underscores: ``1,234.5``. Raises ValueError for anything
    else, also for ``1,5``, and for what does not fit.
    """
    match = _NUMBER.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{text[:_LONGEST]!r} is not a number")
    whole, fraction = (re.sub("[,_]", "", part or "") for part in match.group("whole", "fraction"))
    if not whole + fraction:
        raise ValueError(f"{text!r} is not a number")
    raw = int(f"{match['sign']}{whole}{fraction}")
    shift = decimals - len(fraction) + int(match["exponent"] or 0)
    unit = int(10 ** abs(shift))
    if shift >= 0:
        return raw * unit
    if raw % unit:
        raise ValueError(f"{text!r} has more than {decimals} decimals")
    return raw // unit


def format_units(raw: int, decimals: int, places: int | None = None) -> str:
    """Write an integer of 10**-decimals as a decimal number.

    ``places`` cuts towards zero (never shows more than there is); without it, all digits are shown.
    """
    sign, raw = ("-", -raw) if raw < 0 else ("", raw)
    whole, fraction = divmod(raw, 10**decimals)
    digits = str(fraction).rjust(decimals, "0") if decimals else ""
    digits = digits.rstrip("0") if places is None else digits[:places].ljust(places, "0")
    return f"{sign}{whole:,}" + (f".{digits}" if digits else "")
