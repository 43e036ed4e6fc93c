"""Swaps on a constant-product pair, to the wei as Uniswap V2's pair contract settles them.

The contract accepts a swap when, with ``b`` its balances afterwards and ``in`` what it was paid,

    (b0 - fee * in0) * (b1 - fee * in1) >= reserve0 * reserve1

(UniswapV2Pair.swap, 'UniswapV2: K'). Everything here follows from that line for any fee in parts
per million: the contract's 3 / 1000 is 3000 ppm, and scaling both sides by a constant moves no
floor. ``Infeasible`` says that the contract would revert, ``ValueError`` that the caller is wrong.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from rebalancer.amm.checks import check_amounts, check_pool, check_token
from rebalancer.errors import Infeasible
from rebalancer.model import PPM, PairState, Token, mul_div_down, mul_div_up

#: Largest reserve that a pair can store; beyond it the contract reverts with OVERFLOW.
UINT112_MAX = 2**112 - 1


def get_amount_out(amount_in: int, reserve_in: int, reserve_out: int, fee_ppm: int) -> int:
    """Most that ``amount_in`` buys, rounded down; one unit more would break the invariant.

    Amounts in the tokens' smallest units. The value of UniswapV2Library.getAmountOut, but 0 buys 0
    here. Whether the pair can hold the input is ``apply_swap``'s to say. Raises Infeasible for an
    empty pool.
    """
    check_pool(reserve_in, reserve_out, fee_ppm)
    check_amounts(amount_in)
    in_after_fee = amount_in * (PPM - fee_ppm)
    return mul_div_down(in_after_fee, reserve_out, reserve_in * PPM + in_after_fee)


def get_amount_in(amount_out: int, reserve_in: int, reserve_out: int, fee_ppm: int) -> int:
    """Least input that buys at least ``amount_out``, rounded up.

    Minimal: one unit less buys less. UniswapV2Library.getAmountIn rounds down and adds 1, which is
    one unit too many wherever the division has no remainder. Raises Infeasible when the pool does
    not hold more than ``amount_out``, or takes everything as its fee.
    """
    check_pool(reserve_in, reserve_out, fee_ppm)
    check_amounts(amount_out)
    if amount_out == 0:
        return 0
    if amount_out >= reserve_out:
        raise Infeasible(
            f"the pool holds {reserve_out} and cannot pay {amount_out}",
            hint="ask for less, or use a deeper pool",
        )
    if fee_ppm == PPM:
        raise Infeasible("a pool with a fee of 100 % sells nothing")
    return mul_div_up(amount_out, reserve_in * PPM, (reserve_out - amount_out) * (PPM - fee_ppm))


def max_amount_out(
    amount_in: int, reserve_in: int, reserve_out: int, fee_ppm: int, *, also_paid: int = 0
) -> int:
    """Most that a swap may take when it also pays ``also_paid`` of the very token that it takes.

    Such two-sided payments come from tokens left lying in the pair. ``also_paid`` bears the fee
    too. Never the whole reserve (INSUFFICIENT_LIQUIDITY), and ``get_amount_out`` when it is 0.
    """
    check_pool(reserve_in, reserve_out, fee_ppm)
    check_amounts(amount_in, also_paid)
    in_side = reserve_in * PPM + amount_in * (PPM - fee_ppm)
    out_side = mul_div_up(reserve_in * PPM, reserve_out * PPM, in_side)
    balance_out = mul_div_up(out_side + also_paid * fee_ppm, 1, PPM)
    return min(reserve_out + also_paid - balance_out, reserve_out - 1)


def invariant_holds(
    reserve0: int,
    reserve1: int,
    fee_ppm: int,
    *,
    amount0_in: int = 0,
    amount1_in: int = 0,
    amount0_out: int = 0,
    amount1_out: int = 0,
) -> bool:
    """Whether the pair's K-check passes: the line at the top of this module, in integers."""
    check_pool(reserve0, reserve1, fee_ppm)
    check_amounts(amount0_in, amount1_in, amount0_out, amount1_out)
    balance0 = reserve0 + amount0_in - amount0_out
    balance1 = reserve1 + amount1_in - amount1_out
    adjusted0 = balance0 * PPM - amount0_in * fee_ppm
    adjusted1 = balance1 * PPM - amount1_in * fee_ppm
    # Both sides below zero would multiply to a pass; the contract's SafeMath reverts there.
    return min(adjusted0, adjusted1) >= 0 and adjusted0 * adjusted1 >= reserve0 * reserve1 * PPM**2


def apply_swap(pair: PairState, token_in: Token, amount_in: int) -> tuple[PairState, int]:
    """The pair after ``amount_in`` of ``token_in`` was swapped for all it buys, and that amount.

    Raises Infeasible where the contract reverts: an empty pool, an input too small to buy one unit
    (INSUFFICIENT_OUTPUT_AMOUNT), a reserve that outgrows uint112 (OVERFLOW).
    """
    check_token(pair, token_in)
    reserve_in, reserve_out = pair.reserves(token_in)
    amount_out = get_amount_out(amount_in, reserve_in, reserve_out, pair.fee_ppm)
    if amount_out == 0:
        raise Infeasible(
            f"{amount_in} smallest units of {token_in.symbol} buy nothing on {pair.name}",
            hint="trade more, or not at all",
        )
    if reserve_in + amount_in > UINT112_MAX:
        raise Infeasible(
            f"{pair.name} cannot hold {amount_in} more smallest units of {token_in.symbol}",
            hint="trade less, or use another pool",
        )
    reserve_in, reserve_out = reserve_in + amount_in, reserve_out - amount_out
    if token_in == pair.token0:
        return replace(pair, reserve0=reserve_in, reserve1=reserve_out), amount_out
    return replace(pair, reserve0=reserve_out, reserve1=reserve_in), amount_out


def spot_price(pair: PairState, token: Token) -> Fraction:
    """Smallest units of the other token for one smallest unit of ``token``, without fee; exact."""
    check_token(pair, token)
    reserve, reserve_other = pair.reserves(token)
    check_pool(reserve, reserve_other, pair.fee_ppm)
    return Fraction(reserve_other, reserve)


def amount_out_at_spot(amount_in: int, reserve_in: int, reserve_out: int, fee_ppm: int = 0) -> int:
    """What ``amount_in`` would buy if it did not move the price, rounded down.

    Without ``fee_ppm`` what it is worth at the pool's spot price. The difference between the two is
    the fee, and the difference to ``get_amount_out`` the price impact, in units of the output.
    """
    check_pool(reserve_in, reserve_out, fee_ppm)
    check_amounts(amount_in)
    return mul_div_down(amount_in * (PPM - fee_ppm), reserve_out, reserve_in * PPM)


def price_impact_ppm(amount_in: int, reserve_in: int, reserve_out: int, fee_ppm: int) -> int:
    """How far below spot the trade's average price is, the fee apart, in ppm rounded up.

    With ``a`` the input after the fee it is ``a / (reserve_in + a)``; what a trade gets of its
    value at spot is ``(1 - fee) * (1 - impact)``, but for the floor of the output.
    """
    check_pool(reserve_in, reserve_out, fee_ppm)
    check_amounts(amount_in)
    in_after_fee = amount_in * (PPM - fee_ppm)
    return mul_div_up(in_after_fee, PPM, reserve_in * PPM + in_after_fee)
