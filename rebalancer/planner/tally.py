"""What there is and what it is worth, by arithmetic that verification does not share.

Neither the AMM room nor the rest of the planner is asked, so that a mistake over there does not
vouch for itself. All is rounded down.
"""

from __future__ import annotations

from math import isqrt

from rebalancer.model import PairState, Snapshot, Token


def holds(snapshot: Snapshot) -> dict[Token, int]:
    """What the wallet has: tokens, ether, and LP shares as tokens at their pair's address."""
    found = {share(p): liquid(snapshot, p) for p in snapshot.pairs}
    found[snapshot.native.token] = snapshot.native_wei
    return found | {amount.token: amount.raw for amount in snapshot.balances}


def share(pair: PairState) -> Token:
    return Token(pair.address, pair.name, 18)


def liquid(snapshot: Snapshot, pair: PairState) -> int:
    return sum(h.shares - h.staked for h in snapshot.holdings if h.pair == pair.address)


def supply(pair: PairState) -> int:
    """All shares, with those that the protocol is due (UniswapV2Pair._mintFee)."""
    root, last = isqrt(pair.reserve0 * pair.reserve1), isqrt(pair.k_last)
    if not pair.protocol_fee_on or not 0 < last < root:
        return pair.total_supply
    return pair.total_supply + pair.total_supply * (root - last) // (5 * root + last)


def worth(snapshot: Snapshot, token: Token, raw: int) -> int:
    """Value of a balance at the snapshot's prices, LP shares at the fair one; rounded down."""
    pair = next((p for p in snapshot.pairs if share(p) == token), None)
    if pair is not None and not raw:
        return 0
    if pair is not None:
        p0, p1 = snapshot.price(pair.token0), snapshot.price(pair.token1)
        square = 4 * raw * raw * pair.reserve0 * pair.reserve1 * p0.numerator * p1.numerator
        return isqrt(square // (supply(pair) ** 2 * p0.denominator * p1.denominator))
    price = snapshot.native
    if token == price.token and snapshot.gas_reserve is not None:
        price = snapshot.price(snapshot.gas_reserve.wrapped)
    elif token != price.token:
        price = snapshot.price(token)
    return raw * price.numerator // price.denominator
