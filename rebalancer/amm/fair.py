"""What LP shares are worth: the fair value that no swap can move, and the spot value beside it.

A swap within one block can push the reserves anywhere along their curve, and the sum of the two
sides at oracle prices with them. Their product it cannot push down, and up only by paying fees, so
the fair value takes the product from the pool and the price ratio from the oracle.
"""

from __future__ import annotations

from math import isqrt

from rebalancer.amm.checks import check_prices, check_shares
from rebalancer.amm.liquidity import effective_total_supply, redeemable
from rebalancer.model import PairState, Price, mul_div_down


def fair_value_e8(pair: PairState, shares: int, price0: Price, price1: Price) -> int:
    """Value of ``shares`` in 1e-8 of the numeraire, as if the pool stood at the oracle's prices.

    ``2 * sqrt(reserve0 * reserve1 * p0 * p1) * shares / supply`` [Alpha Homora], the supply with
    the pending protocol-fee shares; exact but for one rounding down at the end. Raises Infeasible
    for more shares than there are.
    """
    check_prices(pair, price0, price1)
    check_shares(pair, shares)
    if shares == 0:
        return 0
    k = pair.reserve0 * pair.reserve1
    return value_of_root_k_e8(k, shares, effective_total_supply(pair), price0, price1)


def spot_value_e8(pair: PairState, shares: int, price0: Price, price1: Price) -> int:
    """Value of what burning ``shares`` would pay, at the oracle's prices, each side rounded down.

    At least the fair value, but for the rounding of the amounts; the further above it, the further
    the pool is from the oracle. Anyone can raise it for the length of a transaction.
    """
    check_prices(pair, price0, price1)
    amount0, amount1 = redeemable(pair, shares)
    return price0.value_down(amount0) + price1.value_down(amount1)


def value_of_root_k_e8(k: int, shares: int, supply: int, price0: Price, price1: Price) -> int:
    """``2 * sqrt(k * p0 * p1) * shares / supply``, rounded down once: the root of the square."""
    square = 4 * shares**2 * k * price0.numerator * price1.numerator
    return isqrt(mul_div_down(square, 1, supply**2 * price0.denominator * price1.denominator))
