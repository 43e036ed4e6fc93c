"""Quantities as people write them in the files: ``3%``, ``30bp``, ``5m``, ``50 gwei``, ``$250``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from rebalancer.model import PPM, VALUE_DECIMALS, parse_units

#: What ``Number`` counts in: 1e-18.
NUMBER_DECIMALS = 18
#: Every chain of the EVM counts its own currency in 1e-18.
NATIVE_DECIMALS = 18

_LONGEST_S, _DIGITS = 10 * 365 * 86_400, 9
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Coin:
    """An amount of a chain's own currency, as a file names it."""

    wei: int
    symbol: str


def parse_ratio(value: Any) -> int:
    """Read ``40%``, ``0.3%`` or ``30bp`` as parts per million."""
    match = (
        re.fullmatch(r"\s*([0-9][0-9_.]*)\s*(%|bp)\s*", value) if isinstance(value, str) else None
    )
    if match is None:
        raise ValueError(f"{value!r} is not a ratio; write it like 40% or 30bp")
    digits = 4 if match[2] == "%" else 2  # 1 % = 10_000 ppm, 1 bp = 100 ppm
    try:
        return parse_units(match[1], digits)
    except ValueError:
        raise ValueError(f"{value!r} is finer than a part per million") from None


def parse_share(value: Any) -> int:
    """Read a ratio of at most 100 % as parts per million."""
    ppm = parse_ratio(value)
    if ppm > PPM:
        raise ValueError(f"{value!r} is more than 100%")
    return ppm


def parse_correlation(value: Any) -> int:
    """Read ``80%`` or ``-20%``, at most 100 % either way, as parts per million."""
    negative = isinstance(value, str) and value.lstrip().startswith("-")
    ppm = parse_share(value.lstrip()[1:] if negative else value)
    return -ppm if negative else ppm


def parse_duration(value: Any) -> int:
    """Read ``30s``, ``5m``, ``1h``, ``7d`` or ``2w`` as seconds."""
    match = re.fullmatch(r"\s*(\d+)\s*([smhdw])\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write it like 30s, 5m, 1h or 7d")
    seconds = int(match[1][:_DIGITS]) * _SECONDS[match[2]]
    if len(match[1]) > _DIGITS or seconds > _LONGEST_S:
        raise ValueError(f"{value[:20]!r} is longer than ten years")
    return seconds


def parse_gas_price(value: Any) -> int:
    """Read ``50 gwei`` as wei."""
    match = re.fullmatch(r"\s*([0-9][0-9_.]*)\s*gwei\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a gas price; write it like '50 gwei'")
    return parse_units(match[1], 9)


def parse_value(value: Any) -> int:
    """Read an amount of the numeraire, ``250`` or ``0.05``, as 1e-8 units of it."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is not an amount of the numeraire; write it like 250")
    raw = parse_units(str(value), VALUE_DECIMALS)
    if raw < 0:
        raise ValueError(f"{value!r} is negative")
    return raw


def parse_coin(value: Any) -> Coin:
    """Read an amount of a chain's own currency above 0, ``0.05 ETH``."""
    match = (
        re.fullmatch(r"\s*([0-9][0-9_.]*)\s+([A-Za-z][A-Za-z0-9]*)\s*", value)
        if isinstance(value, str)
        else None
    )
    if match is None:
        raise ValueError(f"{value!r} is not an amount; write it like 0.05 ETH")
    coin = Coin(parse_units(match[1], NATIVE_DECIMALS), match[2])
    if coin.wei <= 0:
        raise ValueError(f"{value!r} leaves nothing to pay gas with; write it like 0.05 ETH")
    return coin


def parse_multiplier(value: Any) -> int:
    """Read ``2`` or ``1.5``, at least 0.1 and at most 10, as parts per million."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is not a multiplier; write it like 2 or 1.5")
    try:
        ppm = parse_units(str(value), 6)
    except ValueError:
        raise ValueError(f"{value!r} is not a multiplier; write it like 2 or 1.5") from None
    if not PPM // 10 <= ppm <= 10 * PPM:
        raise ValueError(f"{value!r} is not between 0.1 and 10")
    return ppm


def parse_aversion(value: Any) -> int:
    """Read a risk aversion, ``4`` or ``2.5``, above 0 and at most 100, as parts per million."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is not a risk aversion; write it like 4")
    try:
        ppm = parse_units(str(value), 6)
    except ValueError:
        raise ValueError(f"{value!r} is not a risk aversion; write it like 4") from None
    if not 0 < ppm <= 100 * PPM:
        raise ValueError(f"{value!r} is not between 0 and 100")
    return ppm


def parse_number(value: Any) -> int:
    """Read a decimal number, ``0.998`` or ``"100"``, as units of 1e-18, exactly."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is not a number; write it like 0.998")
    return parse_units(str(value), NUMBER_DECIMALS)


Ratio = Annotated[int, BeforeValidator(parse_ratio)]
Share = Annotated[int, BeforeValidator(parse_share)]
Correlation = Annotated[int, BeforeValidator(parse_correlation)]
Duration = Annotated[int, BeforeValidator(parse_duration)]
GasPrice = Annotated[int, BeforeValidator(parse_gas_price)]
Value = Annotated[int, BeforeValidator(parse_value)]
Number = Annotated[int, BeforeValidator(parse_number)]
Aversion = Annotated[int, BeforeValidator(parse_aversion)]
NativeAmount = Annotated[Coin, BeforeValidator(parse_coin)]
Multiplier = Annotated[int, BeforeValidator(parse_multiplier)]
