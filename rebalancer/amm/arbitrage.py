"""How far an arbitrageur pushes a pool: to the edge of the fee band around the oracle price."""

from __future__ import annotations

from math import isqrt

from rebalancer.amm.checks import check_prices
from rebalancer.amm.swap import UINT112_MAX, get_amount_out
from rebalancer.model import PPM, Amount, PairState, Price


def amount_to_fee_band(pair: PairState, price0: Price, price1: Price) -> Amount:
    """What to sell into the pair so that its last unit still just pays at the oracle's prices.

    The token sold is the one that is dearer in the pool than at the oracle. Selling ``a`` of x for
    y earns at the margin ``gamma * Rx * Ry / (Rx + gamma * a)**2`` of y, ``gamma = 1 - fee``; the
    answer is the largest integer ``a`` at which that is worth at least one x:

        a = (sqrt(gamma * Rx * Ry * py / px) - Rx) / gamma

    in integers and exact (the arbitrage of Angeris et al., arXiv 2204.05238). An amount of 0 (of
    token0) inside the band, or where the answer would buy nothing. Never more than the pair's
    uint112 reserve can take. The output's own floor may cost a trade of a few units its profit.
    Raises ReadError for a price that is not positive or is of another token.
    """
    check_prices(pair, price0, price1)
    raw = _sellable(
        pair.reserve0,
        pair.reserve1,
        pair.fee_ppm,
        price1.numerator * price0.denominator,
        price1.denominator * price0.numerator,
    )
    if raw:
        return Amount(pair.token0, raw)
    raw = _sellable(
        pair.reserve1,
        pair.reserve0,
        pair.fee_ppm,
        price0.numerator * price1.denominator,
        price0.denominator * price1.numerator,
    )
    return Amount(pair.token1, raw) if raw else Amount(pair.token0, 0)


def _sellable(
    reserve_in: int, reserve_out: int, fee_ppm: int, ratio_out: int, ratio_in: int
) -> int:
    """Largest ``a`` with ``(Rx + gamma a)^2 <= gamma Rx Ry * ratio_out / ratio_in``, or 0.

    Scaled by PPM^2 the left side is an integer squared, so comparing it with the floored right
    side, and its root with the floored root, decides exactly as the reals would.
    """
    if reserve_in <= 0 or reserve_out <= 0 or fee_ppm >= PPM:
        return 0
    gamma = PPM - fee_ppm
    root = isqrt(gamma * PPM * reserve_in * reserve_out * ratio_out // ratio_in)
    amount_in = min((root - reserve_in * PPM) // gamma, UINT112_MAX - reserve_in)
    if amount_in <= 0 or get_amount_out(amount_in, reserve_in, reserve_out, fee_ppm) == 0:
        return 0
    return amount_in
