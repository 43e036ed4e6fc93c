"""What a plan does step by step: swaps, liquidity added and removed, ether wrapped and unwrapped.

Every leg says in the same words what it ``takes`` from the wallet, what it ``pays`` if nothing else
trades, and what it pays at ``least``, below which the contract reverts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rebalancer.model.token import Amount, Token

#: Every pair's shares have as many decimals.
SHARE_DECIMALS = 18


@dataclass(frozen=True, slots=True)
class SwapLeg:
    """Exact-in swap on one pair.

    ``chained`` says that the leg before pays its output straight into this pair, so that
    ``amount_in`` is that leg's ``amount_out`` and nothing is taken from the wallet. ``amount_out``
    is exact if nothing else trades; the contract reverts below ``min_amount_out``.
    """

    pair: str
    amm: str
    token_in: Token
    token_out: Token
    fee_ppm: int
    amount_in: int
    amount_out: int
    min_amount_out: int
    chained: bool

    @property
    def kind(self) -> Literal["swap"]:
        return "swap"

    @property
    def takes(self) -> tuple[Amount, ...]:
        """What comes from the wallet: nothing where the leg before pays."""
        return () if self.chained else (Amount(self.token_in, self.amount_in),)

    @property
    def pays(self) -> tuple[Amount, ...]:
        return (Amount(self.token_out, self.amount_out),)

    @property
    def least(self) -> tuple[Amount, ...]:
        return (Amount(self.token_out, self.min_amount_out),)


@dataclass(frozen=True, slots=True)
class AddLeg:
    """Both tokens into a pair, for ``shares`` of it; never more than the two amounts.

    The contract takes all of one and as much of the other as the reserves then ask for, and reverts
    below ``min_shares``; if nothing else trades it takes both whole.
    """

    pair: str
    amm: str
    token0: Token
    token1: Token
    amount0: int
    amount1: int
    shares: int
    min_shares: int
    kind: Literal["add"] = "add"

    @property
    def share(self) -> Token:
        return share_token(self.pair, self.amm, self.token0, self.token1)

    @property
    def takes(self) -> tuple[Amount, ...]:
        return Amount(self.token0, self.amount0), Amount(self.token1, self.amount1)

    @property
    def pays(self) -> tuple[Amount, ...]:
        return (Amount(self.share, self.shares),)

    @property
    def least(self) -> tuple[Amount, ...]:
        return (Amount(self.share, self.min_shares),)


@dataclass(frozen=True, slots=True)
class RemoveLeg:
    """``shares`` of a pair redeemed for both of its tokens, at least the two minimums."""

    pair: str
    amm: str
    token0: Token
    token1: Token
    shares: int
    amount0: int
    amount1: int
    min_amount0: int
    min_amount1: int
    kind: Literal["remove"] = "remove"

    @property
    def share(self) -> Token:
        return share_token(self.pair, self.amm, self.token0, self.token1)

    @property
    def takes(self) -> tuple[Amount, ...]:
        return (Amount(self.share, self.shares),)

    @property
    def pays(self) -> tuple[Amount, ...]:
        return Amount(self.token0, self.amount0), Amount(self.token1, self.amount1)

    @property
    def least(self) -> tuple[Amount, ...]:
        return Amount(self.token0, self.min_amount0), Amount(self.token1, self.min_amount1)


@dataclass(frozen=True, slots=True)
class WrapLeg:
    """``amount`` wei of the ``native`` token into as much of its ``wrapped`` ERC-20."""

    native: Token
    wrapped: Token
    amount: int
    kind: Literal["wrap"] = "wrap"

    @property
    def takes(self) -> tuple[Amount, ...]:
        return (Amount(self.native, self.amount),)

    @property
    def pays(self) -> tuple[Amount, ...]:
        return (Amount(self.wrapped, self.amount),)

    @property
    def least(self) -> tuple[Amount, ...]:
        return self.pays


@dataclass(frozen=True, slots=True)
class UnwrapLeg:
    """``amount`` of the ``wrapped`` ERC-20 into as much of the ``native`` token."""

    native: Token
    wrapped: Token
    amount: int
    kind: Literal["unwrap"] = "unwrap"

    @property
    def takes(self) -> tuple[Amount, ...]:
        return (Amount(self.wrapped, self.amount),)

    @property
    def pays(self) -> tuple[Amount, ...]:
        return (Amount(self.native, self.amount),)

    @property
    def least(self) -> tuple[Amount, ...]:
        return self.pays


Leg = SwapLeg | AddLeg | RemoveLeg | WrapLeg | UnwrapLeg


def contract_of(leg: Leg) -> str:
    """Address of the contract whose events tell what a leg did: its pair, or the wrapped token."""
    return leg.wrapped.address if isinstance(leg, WrapLeg | UnwrapLeg) else leg.pair


def forwards(legs: Sequence[Leg], index: int) -> bool:
    """Whether a leg pays straight into the pair of the next one instead of the wallet."""
    following = legs[index + 1] if index + 1 < len(legs) else None
    return isinstance(following, SwapLeg) and following.chained


def moved_tokens(legs: Iterable[Leg]) -> tuple[Token, ...]:
    """Every token, ether and LP shares included, that ``legs`` move, in order of first use."""
    found: dict[Token, None] = {}
    for leg in legs:
        if isinstance(leg, SwapLeg):
            found |= dict.fromkeys((leg.token_in, leg.token_out))
        else:
            found |= dict.fromkeys(amount.token for amount in (*leg.takes, *leg.pays))
    return tuple(found)


def net_moves(legs: Sequence[Leg]) -> dict[Token, int]:
    """What the wallet gets (negative: gives) of every token by ``legs``, in order of first use."""
    net = dict.fromkeys(moved_tokens(legs), 0)
    for index, leg in enumerate(legs):
        for amount in leg.takes:
            net[amount.token] -= amount.raw
        if not forwards(legs, index):
            for amount in leg.pays:
                net[amount.token] += amount.raw
    return net


def share_token(pair: str, amm: str, token0: Token, token1: Token) -> Token:
    """The shares of a pair as a token; the symbol is the position's name in portfolio files."""
    return Token(pair, f"{amm}:{token0.symbol}/{token1.symbol}", SHARE_DECIMALS)
