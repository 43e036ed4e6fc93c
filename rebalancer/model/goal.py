"""What a portfolio file asks for: shares of positions, of buckets of them, or of exposures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Goal:
    """A wanted share that one position, or the ``members`` of a bucket, fill together.

    ``members`` are names of positions, in order of preference. Units as in ``Target``.
    """

    name: str
    weight_ppm: int
    members: tuple[str, ...]
    band_abs_ppm: int | None = None
    band_rel_ppm: int | None = None

    @property
    def bucket(self) -> str | None:
        """The name, if it is a bucket's."""
        return None if self.members == (self.name,) else self.name


@dataclass(frozen=True, slots=True)
class Scheme:
    """All goals of a portfolio and the positions they are about, in the file's order.

    ``on`` says of what the goals are shares. ``positions``: of NAV, every position is a member of
    one goal. ``exposures``: of the notional exposure, LP positions looked through; members are
    tokens, LP positions belong to no goal. ``multipliers`` are by token symbol, in parts per
    million, where they are not 1.
    """

    on: Literal["positions", "exposures"]
    positions: tuple[str, ...]
    goals: tuple[Goal, ...]
    multipliers: tuple[tuple[str, int], ...] = ()

    def multiplier_ppm(self, symbol: str) -> int:
        """Exposure that a unit of value of ``symbol`` gives."""
        return dict(self.multipliers).get(symbol, 1_000_000)
