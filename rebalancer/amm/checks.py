"""What the room refuses before it calculates.

``ValueError`` says that the caller is wrong, ``Infeasible`` that the pair contract would revert,
``ReadError`` that what was read cannot be.
"""

from __future__ import annotations

from rebalancer.errors import Infeasible, ReadError
from rebalancer.model import PPM, PairState, Price, Snapshot, Token


def check_pool(reserve_in: int, reserve_out: int, fee_ppm: int) -> None:
    """Both reserves hold something and the fee is a share."""
    if reserve_in <= 0 or reserve_out <= 0:
        raise Infeasible("the pool is empty", hint="use a pool that holds both tokens")
    if not 0 <= fee_ppm <= PPM:
        raise ValueError(f"a fee of {fee_ppm} ppm is not between 0 and {PPM}")


def check_amounts(*amounts: int) -> None:
    """No amount is negative."""
    for amount in amounts:
        if amount < 0:
            raise ValueError(f"an amount cannot be negative: {amount}")


def check_token(pair: PairState, token: Token) -> None:
    """The pair trades ``token``."""
    if not pair.has(token):
        raise ValueError(f"{token.symbol} ({token.address}) is not in {pair.name}")


def check_shares(pair: PairState, shares: int) -> None:
    """There are that many shares."""
    check_amounts(shares)
    if shares > pair.total_supply:
        raise Infeasible(
            f"{shares} shares of {pair.name} are more than the {pair.total_supply} there are",
            hint="check that balance and supply were read at one block",
        )


def check_price(price: Price, token: Token) -> None:
    """The price is positive and that of ``token``."""
    if price.token != token:
        raise ReadError(f"a price of {price.token.symbol} was given for {token.symbol}")
    if price.numerator <= 0 or price.denominator <= 0:
        raise ReadError(
            f"the price of {token.symbol} from {price.source} is not positive",
            hint="check the feed in networks.yaml",
        )


def check_prices(pair: PairState, price0: Price, price1: Price) -> None:
    """Both prices are positive and of the pair's own tokens, in its order."""
    check_price(price0, pair.token0)
    check_price(price1, pair.token1)


def price_of(snapshot: Snapshot, token: Token) -> Price:
    """The snapshot's price of ``token``; raises ReadError when there is none or it is no price."""
    try:
        price = snapshot.price(token)
    except KeyError:
        raise ReadError(
            f"there is no price for {token.symbol} at block {snapshot.block.number}",
            hint=f"give {token.symbol} a feed in networks.yaml",
            block=snapshot.block.number,
        ) from None
    check_price(price, token)
    return price
