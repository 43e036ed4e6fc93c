"""What the wallet has of whatever a leg moves, and what that is worth.

Tokens are worth the oracle's price, ether the native one, LP shares the fair price that the
snapshot has of them: one price per share, whatever the plan does to the pool on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.amm.fair import value_of_root_k_e8
from rebalancer.amm.liquidity import effective_total_supply
from rebalancer.model import Leg, PairState, Price, Snapshot, Token
from rebalancer.model.leg import forwards as feeds_next
from rebalancer.model.leg import moved_tokens, net_moves, share_token

__all__ = [
    "balance",
    "counted",
    "feeds_next",
    "first_and_due",
    "liquid_shares",
    "moved_tokens",
    "net_moves",
    "pair_of",
    "price_of",
    "priced_tokens",
    "share_of",
    "value_down",
    "value_up",
]


def share_of(pair: PairState) -> Token:
    """The pair's shares as a token."""
    return share_token(pair.address, pair.amm, pair.token0, pair.token1)


def pair_of(snapshot: Snapshot, token: Token) -> PairState | None:
    """The pair whose shares ``token`` is; None for any other token."""
    if any(amount.token == token for amount in snapshot.balances):
        return None
    return next((p for p in snapshot.pairs if share_of(p) == token), None)


def liquid_shares(snapshot: Snapshot, pair: str) -> int:
    """Shares of the pair at ``pair`` that the wallet itself holds: neither staked nor watched."""
    return sum(holding.liquid for holding in snapshot.holdings if holding.pair == pair)


def balance(snapshot: Snapshot, token: Token) -> int:
    """What the wallet could pay of ``token``, LP shares and ether included; 0 if not read."""
    if pair_of(snapshot, token) is not None:
        return liquid_shares(snapshot, token.address)
    read = any(amount.token == token for amount in snapshot.balances)
    if token == snapshot.native.token and not read:
        return snapshot.native_wei
    return snapshot.balance(token)


def counted(snapshot: Snapshot, token: Token) -> int:
    """What of ``token`` counts in NAV: the balance, and ether above a gas reserve as wrapped."""
    could_be = snapshot.owned(token) - snapshot.balance(token)
    return balance(snapshot, token) + could_be


def value_down(snapshot: Snapshot, token: Token, raw: int) -> int:
    """Value of ``raw`` smallest units in 1e-8 of the numeraire, rounded down.

    LP shares at the fair price, the supply with the protocol's pending ones; there may be more of
    them than the snapshot's supply. Raises KeyError for a token without a price.
    """
    pair = pair_of(snapshot, token)
    if pair is not None:
        supply = effective_total_supply(pair)
        if supply == 0 or raw == 0:
            return 0
        k = pair.reserve0 * pair.reserve1
        prices = snapshot.price(pair.token0), snapshot.price(pair.token1)
        return value_of_root_k_e8(k, raw, supply, *prices)
    return price_of(snapshot, token).value_down(raw)


def value_up(snapshot: Snapshot, token: Token, raw: int) -> int:
    """As ``value_down``, rounded up; of LP shares at most one unit more than exactly that."""
    if pair_of(snapshot, token) is not None:
        return value_down(snapshot, token, raw) + (1 if raw else 0)
    return price_of(snapshot, token).value_up(raw)


def price_of(snapshot: Snapshot, token: Token) -> Price:
    """The price of a token, or of ether; raises KeyError where there is none.

    Ether above a gas reserve counts as its wrapped token, and has its price.
    """
    native = snapshot.native
    if token != native.token or any(p.token == token for p in snapshot.prices):
        return snapshot.price(token)
    reserve = snapshot.gas_reserve
    return native if reserve is None else snapshot.price(reserve.wrapped)


def priced_tokens(snapshot: Snapshot, token: Token) -> tuple[Token, ...]:
    """The tokens whose prices say what ``token`` is worth: a pair's two for its shares."""
    pair = pair_of(snapshot, token)
    return (token,) if pair is None else (pair.token0, pair.token1)


def first_and_due(snapshot: Snapshot, legs: Sequence[Leg]) -> tuple[set[Token], set[str]]:
    """What costs more gas: tokens of ``legs`` that the wallet has nothing of, and pairs whose
    protocol takes a share when liquidity moves, by address."""
    without = {token for token in moved_tokens(legs) if not balance(snapshot, token)}
    return without, {pair.address for pair in snapshot.pairs if pair.protocol_fee_on}
