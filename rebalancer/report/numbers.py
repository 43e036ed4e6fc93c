"""Numbers as a person reads them; amounts are cut towards zero, so that none shows too much."""

from __future__ import annotations

from datetime import UTC, datetime

from rebalancer.model import E8, VALUE_DECIMALS, Token, format_units, mul_div_nearest


def money(value_e8: int, numeraire: str, signed: bool = False) -> str:
    """``1,234.56`` for USD; six places for a token numeraire."""
    places = 2 if numeraire == "USD" else 6
    text = format_units(value_e8, VALUE_DECIMALS, places)
    if text.strip("-0.,") == "":  # never "-0.00"
        text = text.lstrip("-")
        return text if not value_e8 else f"<{text[:-1]}1" if value_e8 > 0 else f">-{text[:-1]}1"
    return f"+{text}" if signed and value_e8 > 0 else text


def unit_price(value_e8: int) -> str:
    """Price of one whole token: six places below 100, so that a stablecoin off its peg shows."""
    return format_units(value_e8, VALUE_DECIMALS, 2 if value_e8 >= 100 * E8 else 6)


def percent(ppm: int, signed: bool = False) -> str:
    """``44.50 %`` from parts per million, to the nearest hundredth."""
    text = format_units(mul_div_nearest(ppm, 1, 100), 2, 2)
    if text.strip("-0.") == "":
        text = text.lstrip("-")
    elif signed and ppm > 0:
        text = f"+{text}"
    return f"{text} %"


def points(ppm: int) -> str:
    """Signed percentage points from parts per million of NAV."""
    return percent(ppm, signed=True).replace(" %", " pt")


def amount(raw: int, token: Token) -> str:
    """A token amount with enough digits to tell cents apart."""
    return f"{quantity(raw, token)} {token.symbol}"


def quantity(raw: int, token: Token) -> str:
    """A token amount without its symbol: 2 places from 1,000 on, else 6, at most its decimals."""
    whole = abs(raw) // 10**token.decimals
    return format_units(raw, token.decimals, min(2 if whole >= 1_000 else 6, token.decimals))


def gwei(wei: int) -> str:
    return f"{format_units(wei, 9, 3)} gwei"


def age(seconds: int) -> str:
    """``45s``, ``12m``, ``3h 05m``, ``2d 4h``."""
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3_600:
        return f"{seconds // 60}m"
    if seconds < 86_400:
        return f"{seconds // 3_600}h {seconds % 3_600 // 60:02d}m"
    return f"{seconds // 86_400}d {seconds % 86_400 // 3_600}h"


def utc(timestamp: int) -> str:
    """``2026-11-20 17:00:00 UTC`` from unix seconds."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def short(identifier: str, digits: int = 10) -> str:
    """The first digits of a hash or address, enough to recognise it."""
    return identifier if len(identifier) <= digits else f"{identifier[:digits]}…"
