"""Tokens and amounts of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Token:
    """An ERC-20 token; ``address`` is EIP-55 checksummed, ``decimals`` as the contract has them."""

    address: str
    symbol: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Amount:
    """``raw`` smallest units of a token; amounts of two tokens do not add."""

    token: Token
    raw: int

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.token, self.raw + self._same(other).raw)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.token, self.raw - self._same(other).raw)

    def _same(self, other: Amount) -> Amount:
        if other.token != self.token:
            raise ValueError(f"amounts of {self.token.symbol} and {other.token.symbol} do not add")
        return other
