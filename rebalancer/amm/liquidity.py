"""Minting and burning LP shares, to the wei as Uniswap V2's pair contract does it.

Before each mint and burn the contract mints the protocol its sixth of the growth of ``sqrt(k)``
since the last one (``_mintFee``), so a share is worth less than ``reserve / totalSupply`` while
that is pending. The functions take a pair whose balances equal its reserves: tokens that someone
left lying in the pair are paid out by a burn as well, but anyone may take them first (``skim``).
``Infeasible`` says that the contract would revert, ``ValueError`` that the caller is wrong.
"""

from __future__ import annotations

from dataclasses import replace
from math import isqrt

from rebalancer.amm.checks import check_amounts, check_shares
from rebalancer.amm.swap import UINT112_MAX
from rebalancer.errors import Infeasible
from rebalancer.model import PairState, mul_div_down, mul_div_up

#: Shares that the first mint locks for ever, so that no later depositor can be rounded away.
MINIMUM_LIQUIDITY = 1_000


def protocol_fee_shares(pair: PairState) -> int:
    """Shares that the next mint or burn first mints to the protocol; 0 while its fee is off.

    ``supply * (sqrt(k) - sqrt(k_last)) / (5 * sqrt(k) + sqrt(k_last))``, both roots and the
    quotient rounded down (UniswapV2Pair._mintFee).
    """
    if not pair.protocol_fee_on or pair.k_last == 0:
        return 0
    root_k = isqrt(pair.reserve0 * pair.reserve1)
    root_k_last = isqrt(pair.k_last)
    if root_k <= root_k_last:
        return 0
    return mul_div_down(pair.total_supply, root_k - root_k_last, root_k * 5 + root_k_last)


def effective_total_supply(pair: PairState) -> int:
    """Shares that a burn now would divide by: those stored and those pending for the protocol."""
    return pair.total_supply + protocol_fee_shares(pair)


def redeemable(pair: PairState, shares: int) -> tuple[int, int]:
    """What burning ``shares`` would pay of token0 and token1, each rounded down.

    May be 0 of a token, where the burn itself would revert. Raises Infeasible for more shares than
    there are.
    """
    check_shares(pair, shares)
    if shares == 0:
        return 0, 0
    supply = effective_total_supply(pair)
    return (
        mul_div_down(shares, pair.reserve0, supply),
        mul_div_down(shares, pair.reserve1, supply),
    )


def mint_shares(pair: PairState, amount0: int, amount1: int) -> int:
    """Shares that paying in both amounts mints to the payer, rounded down.

    The scarcer side counts, what the other has too much is given away. The first mint gives
    ``sqrt(amount0 * amount1)`` less MINIMUM_LIQUIDITY. Raises Infeasible where it would be none
    (INSUFFICIENT_LIQUIDITY_MINTED).
    """
    check_amounts(amount0, amount1)
    supply = effective_total_supply(pair)
    if supply == 0:
        shares = isqrt(amount0 * amount1) - MINIMUM_LIQUIDITY
    elif pair.reserve0 == 0 or pair.reserve1 == 0:
        raise Infeasible(f"{pair.name} has shares but no reserves", hint="use another pool")
    else:
        shares = min(
            mul_div_down(amount0, supply, pair.reserve0),
            mul_div_down(amount1, supply, pair.reserve1),
        )
    if shares <= 0:
        raise Infeasible(
            f"{amount0} and {amount1} are too little to mint a share of {pair.name}",
            hint="add more of both tokens",
        )
    return shares


def added_amounts(pair: PairState, most0: int, most1: int) -> tuple[int, int]:
    """What the executor's add pays into the pair of at most ``most0`` and ``most1``.

    All of one token and as much of the other as the reserves ask for, rounded down; both whole to a
    pair without reserves (batch.vy, ``_add``).
    """
    check_amounts(most0, most1)
    if pair.reserve0 == 0 or pair.reserve1 == 0:
        return most0, most1
    amount1 = mul_div_down(most0, pair.reserve1, pair.reserve0)
    if amount1 <= most1:
        return most0, amount1
    return mul_div_down(most1, pair.reserve0, pair.reserve1), most1


def whole_amounts(reserve0: int, reserve1: int, most0: int, most1: int) -> tuple[int, int]:
    """The largest amounts within both that ``added_amounts`` takes whole: nothing is left over.

    These are the pairs with ``amount1 = amount0 * reserve1 // reserve0``. The coarser side leads,
    so that less than one of its units is given away; 0 and 0 where not one of it can be paid for.
    """
    check_amounts(reserve0, reserve1, most0, most1)
    if reserve0 == 0 or reserve1 == 0:
        return most0, most1
    if reserve0 < reserve1:
        amount0 = min(most0, ((most1 + 1) * reserve0 - 1) // reserve1)
        return amount0, mul_div_down(amount0, reserve1, reserve0)
    amount1 = min(most1, mul_div_down(most0, reserve1, reserve0))
    return mul_div_up(amount1, reserve0, reserve1), amount1


def apply_mint(pair: PairState, amount0: int, amount1: int) -> tuple[PairState, int]:
    """The pair after a mint of ``mint_shares``, and those shares.

    Raises Infeasible as ``mint_shares`` does, and where a reserve outgrows uint112 (OVERFLOW).
    """
    shares = mint_shares(pair, amount0, amount1)
    reserve0, reserve1 = pair.reserve0 + amount0, pair.reserve1 + amount1
    if max(reserve0, reserve1) > UINT112_MAX:
        raise Infeasible(f"{pair.name} cannot hold that much", hint="add less")
    supply = effective_total_supply(pair)
    locked = MINIMUM_LIQUIDITY if supply == 0 else 0
    return _after(pair, reserve0, reserve1, supply + locked + shares), shares


def apply_burn(pair: PairState, shares: int) -> tuple[PairState, int, int]:
    """The pair after a burn of ``shares``, and what it pays of token0 and token1.

    Raises Infeasible where it would pay nothing of a token (INSUFFICIENT_LIQUIDITY_BURNED).
    """
    amount0, amount1 = redeemable(pair, shares)
    if amount0 == 0 or amount1 == 0:
        raise Infeasible(
            f"{shares} shares of {pair.name} are too few to be redeemed",
            hint="burn more of them, or leave them",
        )
    supply = effective_total_supply(pair) - shares
    after = _after(pair, pair.reserve0 - amount0, pair.reserve1 - amount1, supply)
    return after, amount0, amount1


def _after(pair: PairState, reserve0: int, reserve1: int, total_supply: int) -> PairState:
    """The pair with new reserves; ``kLast`` their product, or 0 while the protocol fee is off."""
    return replace(
        pair,
        reserve0=reserve0,
        reserve1=reserve1,
        total_supply=total_supply,
        k_last=reserve0 * reserve1 if pair.protocol_fee_on else 0,
    )
