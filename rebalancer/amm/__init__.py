"""Constant-product mathematics: an exact integer mirror of the Uniswap V2 pair, for any fee.

Swaps, mints and burns to the wei, the fair value of LP shares, impermanent loss against entry, the
arbitrage that keeps a pool near the oracle, and the valuation of a snapshot. Pure functions over
``rebalancer.model``: no I/O, no floats. ``Infeasible`` stands where the contract would revert.
"""

from rebalancer.amm.arbitrage import amount_to_fee_band
from rebalancer.amm.swap import (
    UINT112_MAX,
    amount_out_at_spot,
    apply_swap,
    get_amount_in,
    get_amount_out,
    invariant_holds,
    max_amount_out,
    price_impact_ppm,
    spot_price,
)

__all__ = [
    "UINT112_MAX",
    "amount_out_at_spot",
    "amount_to_fee_band",
    "apply_swap",
    "get_amount_in",
    "get_amount_out",
    "invariant_holds",
    "max_amount_out",
    "price_impact_ppm",
    "spot_price",
]
