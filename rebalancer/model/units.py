"""Integer arithmetic and units; rounding is always in the name."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

BPS = 10_000
PPM = 1_000_000
#: Values are integers in 1e-8 of the numeraire, the resolution of Chainlink's USD feeds.
VALUE_DECIMALS = 8
E8 = 10**VALUE_DECIMALS


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
    """Read a decimal number as an integer of 10**-decimals; refuses what does not fit exactly."""
    try:
        scaled = Decimal(text.replace("_", "").replace(",", "")).scaleb(decimals)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise ValueError(f"{text!r} has more than {decimals} decimals")
    return int(scaled)


def format_units(raw: int, decimals: int, places: int | None = None) -> str:
    """Write an integer of 10**-decimals as a decimal number.

    ``places`` cuts towards zero (never shows more than there is); without it, all digits are shown.
    """
    sign, raw = ("-", -raw) if raw < 0 else ("", raw)
    whole, fraction = divmod(raw, 10**decimals)
    digits = str(fraction).rjust(decimals, "0") if decimals else ""
    digits = digits.rstrip("0") if places is None else digits[:places].ljust(places, "0")
    return f"{sign}{whole:,}" + (f".{digits}" if digits else "")
