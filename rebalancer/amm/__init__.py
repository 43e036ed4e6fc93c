"""Constant-product mathematics: an exact integer mirror of the Uniswap V2 pair, for any fee.

Swaps, mints and burns to the wei, the fair value of LP shares, impermanent loss against entry, the
arbitrage that keeps a pool near the oracle, and the valuation of a snapshot. Pure functions over
``rebalancer.model``: no I/O, no floats. ``Infeasible`` stands where the contract would revert.
"""

from rebalancer.amm.arbitrage import amount_to_fee_band
from rebalancer.amm.fair import fair_value_e8, spot_value_e8
from rebalancer.amm.impermanent_loss import LpResult, against_entry
from rebalancer.amm.liquidity import (
    MINIMUM_LIQUIDITY,
    added_amounts,
    apply_burn,
    apply_mint,
    effective_total_supply,
    mint_shares,
    protocol_fee_shares,
    redeemable,
    whole_amounts,
)
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
from rebalancer.amm.valuation import shares_ppm, value

__all__ = [
    "MINIMUM_LIQUIDITY",
    "UINT112_MAX",
    "LpResult",
    "added_amounts",
    "against_entry",
    "amount_out_at_spot",
    "amount_to_fee_band",
    "apply_burn",
    "apply_mint",
    "apply_swap",
    "effective_total_supply",
    "fair_value_e8",
    "get_amount_in",
    "get_amount_out",
    "invariant_holds",
    "max_amount_out",
    "mint_shares",
    "price_impact_ppm",
    "protocol_fee_shares",
    "redeemable",
    "shares_ppm",
    "spot_price",
    "spot_value_e8",
    "value",
    "whole_amounts",
]
