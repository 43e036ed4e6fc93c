"""What a snapshot is worth, position by position, against its targets."""

from __future__ import annotations

from dataclasses import dataclass, field

from rebalancer.model.canonical import ADDED_LATER
from rebalancer.model.units import PPM


@dataclass(frozen=True, slots=True)
class Target:
    """Wanted share of NAV of one position.

    ``position`` is a token symbol or a pair's name (``uniswap_v2:USDC/WETH``). ``band_abs_ppm`` is
    in parts per million of NAV, ``band_rel_ppm`` in parts per million of the target; None: the
    policy's. Targets with one ``bucket`` have its bands: what drifts is their sum.
    ``multiplier_ppm`` is how much exposure a unit of value of the token gives. A ``kept`` position
    has no target of its own: it is what others leave it to be, and is not traded for its weight.
    With targets on exposures ``goal_ppm`` is the share of the exposure that its goal has, which it
    fills together with its bucket and with what LP positions hold of them.
    """

    position: str
    weight_ppm: int
    band_abs_ppm: int | None = None
    band_rel_ppm: int | None = None
    bucket: str | None = field(default=None, metadata=ADDED_LATER)
    multiplier_ppm: int = field(default=PPM, metadata=ADDED_LATER)
    kept: bool = field(default=False, metadata=ADDED_LATER)
    goal_ppm: int | None = field(default=None, metadata=ADDED_LATER)


@dataclass(frozen=True, slots=True)
class LpDetail:
    """How an LP position is made up; values in 1e-8 of the numeraire.

    ``amount0`` and ``amount1`` are what burning the shares would pay, after the protocol-fee mint
    that it triggers. ``fair value = held + il + fees`` holds exactly, ``held`` being the entry
    amounts at today's prices; the three are None when the entry is not known. The position's value
    is the fair value and ``reward_value_e8``, what a farm owes. ``staked`` of the shares are there.
    """

    pair: str
    shares: int
    amount0: int
    amount1: int
    spot_value_e8: int
    held_value_e8: int | None
    il_e8: int | None
    fees_e8: int | None
    staked: int = field(default=0, metadata=ADDED_LATER)
    reward_value_e8: int = field(default=0, metadata=ADDED_LATER)


@dataclass(frozen=True, slots=True)
class PositionValue:
    """One position; ``drift_e8 = value_e8 - target share of NAV``, rounded towards zero drift.

    ``bucket`` is the one whose target it fills together with others.
    """

    name: str
    value_e8: int
    weight_ppm: int
    target_ppm: int
    drift_e8: int
    lp: LpDetail | None
    bucket: str | None = field(default=None, metadata=ADDED_LATER)

    @property
    def drift_ppm(self) -> int:
        """Absolute drift in parts per million of NAV (points = ppm / 10_000)."""
        return self.weight_ppm - self.target_ppm


@dataclass(frozen=True, slots=True)
class Exposure:
    """Value per underlying token, LP positions looked through; ``raw`` smallest units of it.

    ``raw`` is what burning would pay now. ``value_e8`` counts half of an LP position's fair value
    for each of its tokens, so that no trade in the pool moves it, and adds up to NAV.
    ``notional_e8`` is the value times the token's multiplier.
    """

    symbol: str
    raw: int
    value_e8: int
    weight_ppm: int
    notional_e8: int | None = field(default=None, metadata=ADDED_LATER)


@dataclass(frozen=True, slots=True)
class Valuation:
    """A snapshot valued against its targets; ``parent`` is the digest of the snapshot.

    ``nav_e8`` is the sum of the positions, LP at the fair price. The native balance, or what of it
    is the gas reserve, is the gas purse: valued beside the portfolio and no part of it. ``unread``
    names the positions that could not be read: they count 0, so the NAV is without them and no
    basis for a trade.
    """

    parent: str
    block_number: int
    block_hash: str
    numeraire: str
    nav_e8: int
    positions: tuple[PositionValue, ...]
    exposures: tuple[Exposure, ...]
    native_value_e8: int
    unread: tuple[str, ...] = field(default=(), metadata=ADDED_LATER)

    def position(self, name: str) -> PositionValue:
        """The position called ``name``; raises KeyError when there is none."""
        for position in self.positions:
            if position.name == name:
                return position
        raise KeyError(name)
