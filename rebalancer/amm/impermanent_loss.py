"""An LP position against having held what went into it, at once or in several lots.

Three values of the same shares at today's prices, and their two differences:

    held        what the entry's reserves per share would be worth
    fee-less    the fair value had ``sqrt(k)`` per share stayed what it was at entry
    value       the fair value now

``il = fee-less - held`` (never above 0), ``fees = value - fee-less``. With ``rho`` the price ratio
since entry ``fee-less / held = 2 * sqrt(rho) / (1 + rho)`` if the pool stood at the oracle's price
then, and ``value / fee-less`` is the fee growth ``g = (sqrt(k)/S now) / (sqrt(k)/S at entry)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rebalancer.amm.checks import check_prices
from rebalancer.amm.fair import fair_value_e8, value_of_root_k_e8
from rebalancer.errors import ReadError
from rebalancer.model import LpEntry, LpLot, PairState, Price


@dataclass(frozen=True, slots=True)
class LpResult:
    """``value_e8 = held_e8 + il_e8 + fees_e8``, exactly; in 1e-8 of the numeraire."""

    value_e8: int
    held_e8: int
    il_e8: int
    fees_e8: int


def against_entry(
    pair: PairState, shares: int, entry: LpEntry, price0: Price, price1: Price
) -> LpResult:
    """Split the fair value of ``shares`` into held, impermanent loss and fees.

    ``held``, ``fee-less`` and ``value`` are each exact but for one rounding down; the parts are
    their differences, so they add up. ``entry.total_supply`` is that after the mint, when no
    protocol-fee shares are pending. Raises ReadError for an entry without reserves or supply.
    """
    check_prices(pair, price0, price1)
    _check_entry(pair, entry)
    value = fair_value_e8(pair, shares, price0, price1)
    entry_k = entry.reserve0 * entry.reserve1
    feeless = value_of_root_k_e8(entry_k, shares, entry.total_supply, price0, price1)
    side0 = entry.reserve0 * price0.numerator * price1.denominator
    side1 = entry.reserve1 * price1.numerator * price0.denominator
    held = (
        shares * (side0 + side1) // (entry.total_supply * price0.denominator * price1.denominator)
    )
    return LpResult(value, held, il_e8=feeless - held, fees_e8=value - feeless)


def against_lots(pair: PairState, lots: Sequence[LpLot], price0: Price, price1: Price) -> LpResult:
    """Split the fair value of all the lots' shares into held, impermanent loss and fees.

    ``held`` is what went in for the shares that are left, lot by lot in proportion; ``fee-less``
    is the sum of what each lot would be worth with ``sqrt(k)`` per share as it was at its entry.
    Each lot's part is rounded down, the value once; the parts are differences, so they add up.
    Raises ReadError for a lot whose pair had no reserves or that has more shares than it entered.
    """
    check_prices(pair, price0, price1)
    held = feeless = 0
    for lot in lots:
        _check_entry(pair, lot.entry)
        if not 0 < lot.shares <= lot.entered or min(lot.amount0, lot.amount1) < 0:
            raise ReadError(f"{lot.shares} of {lot.entered} entered shares of {pair.name} are left")
        side0 = lot.amount0 * price0.numerator * price1.denominator
        side1 = lot.amount1 * price1.numerator * price0.denominator
        scale = lot.entered * price0.denominator * price1.denominator
        held += lot.shares * (side0 + side1) // scale
        k = lot.entry.reserve0 * lot.entry.reserve1
        feeless += value_of_root_k_e8(k, lot.shares, lot.entry.total_supply, price0, price1)
    value = fair_value_e8(pair, sum(lot.shares for lot in lots), price0, price1)
    return LpResult(value, held, il_e8=feeless - held, fees_e8=value - feeless)


def _check_entry(pair: PairState, entry: LpEntry) -> None:
    if min(entry.reserve0, entry.reserve1, entry.total_supply) <= 0:
        raise ReadError(
            f"the entry of {pair.name} at block {entry.block_number} has no reserves or no shares",
            hint="name the block that the position was entered in, not an earlier one",
            block=entry.block_number,
        )
