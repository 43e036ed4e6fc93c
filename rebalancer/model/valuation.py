"""What a snapshot is worth, position by position, against its targets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Wanted share of NAV of one position.

    ``position`` is a token symbol or a pair's name (``uniswap_v2:USDC/WETH``). ``band_abs_ppm`` is
    in parts per million of NAV, ``band_rel_ppm`` in parts per million of the target; None: the
    policy's.
    """

    position: str
    weight_ppm: int
    band_abs_ppm: int | None = None
    band_rel_ppm: int | None = None


@dataclass(frozen=True, slots=True)
class LpDetail:
    """How an LP position is made up; values in 1e-8 of the numeraire.

    ``amount0`` and ``amount1`` are what burning the shares would pay, after the protocol-fee mint
    that it triggers. ``value = held + il + fees`` holds exactly, ``held`` being the entry amounts
    at today's prices; the three are None when the entry is not known.
    """

    pair: str
    shares: int
    amount0: int
    amount1: int
    spot_value_e8: int
    held_value_e8: int | None
    il_e8: int | None
    fees_e8: int | None


@dataclass(frozen=True, slots=True)
class PositionValue:
    """One position; ``drift_e8 = value_e8 - target share of NAV``, rounded towards zero drift."""

    name: str
    value_e8: int
    weight_ppm: int
    target_ppm: int
    drift_e8: int
    lp: LpDetail | None

    @property
    def drift_ppm(self) -> int:
        """Absolute drift in parts per million of NAV (points = ppm / 10_000)."""
        return self.weight_ppm - self.target_ppm


@dataclass(frozen=True, slots=True)
class Exposure:
    """Value per underlying token, LP positions looked through; ``raw`` smallest units of it."""

    symbol: str
    raw: int
    value_e8: int
    weight_ppm: int


@dataclass(frozen=True, slots=True)
class Valuation:
    """A snapshot valued against its targets; ``parent`` is the digest of the snapshot.

    ``nav_e8`` is the sum of the positions, LP at the fair price. The native balance is the gas
    purse: it is valued beside the portfolio and is no part of it.
    """

    parent: str
    block_number: int
    block_hash: str
    numeraire: str
    nav_e8: int
    positions: tuple[PositionValue, ...]
    exposures: tuple[Exposure, ...]
    native_value_e8: int

    def position(self, name: str) -> PositionValue:
        """The position called ``name``; raises KeyError when there is none."""
        for position in self.positions:
            if position.name == name:
                return position
        raise KeyError(name)
