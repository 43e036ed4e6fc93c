"""Legs of the solver: swaps and moves of liquidity, in integers, by keys of the statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Swap:
    """Exact-in swap; ``chained`` if the leg before pays straight into this pool."""

    pool: str
    sold: str
    bought: str
    amount_in: int
    amount_out: int
    chained: bool
    kind: Literal["swap"] = "swap"


@dataclass(frozen=True, slots=True)
class Liquidity:
    """``shares`` burned or minted for ``amount0`` and ``amount1`` of the pool's assets."""

    pool: str
    shares: int
    amount0: int
    amount1: int
    kind: Literal["burn", "mint"]


Leg = Swap | Liquidity
