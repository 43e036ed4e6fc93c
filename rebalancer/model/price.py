"""Prices as exact ratios that say where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field

from rebalancer.model.canonical import ADDED_LATER
from rebalancer.model.token import Token
from rebalancer.model.units import mul_div_down, mul_div_up


@dataclass(frozen=True, slots=True)
class Quote:
    """What one source says a token is worth, or why it says nothing.

    ``numerator / denominator`` in the unit of ``Price``; both 0 with a ``fault``. ``block_number``
    is the oldest block that the answer depends on, ``updated_at`` when it last changed (unix
    seconds). ``agrees`` says whether it is within the allowed deviation of the price taken.
    """

    source: str
    numerator: int
    denominator: int
    block_number: int
    updated_at: int
    agrees: bool
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """``numerator / denominator`` 1e-8 units of the numeraire for one smallest unit of ``token``.

    ``source`` names where it was read, ``updated_at`` when the source last changed (unix seconds).
    ``quotes`` is what every source of the price said, in the order of the configuration.
    """

    token: Token
    numerator: int
    denominator: int
    source: str
    updated_at: int
    quotes: tuple[Quote, ...] = field(default=(), metadata=ADDED_LATER)

    def value_down(self, raw: int) -> int:
        """Value of ``raw`` units in 1e-8 of the numeraire, rounded down: what we own."""
        return mul_div_down(raw, self.numerator, self.denominator)

    def value_up(self, raw: int) -> int:
        """Value of ``raw`` units in 1e-8 of the numeraire, rounded up: what we owe."""
        return mul_div_up(raw, self.numerator, self.denominator)

    def raw_down(self, value_e8: int) -> int:
        """How many smallest units ``value_e8`` buys, rounded down."""
        return mul_div_down(value_e8, self.denominator, self.numerator)
