"""Transactions that several modules send: ERC-20 and Router02."""

from __future__ import annotations

from rebalancer.devchain import mainnet as m
from rebalancer.devchain.cheats import Call, call_of
from rebalancer.model import Amount, Token

#: Infinite for an allowance, and a deadline that never comes.
UINT256_MAX = 2**256 - 1


def approve_router(token: Token, raw: int) -> Call:
    return call_of(token.address, "approve(address,uint256)", m.UNISWAP_ROUTER02, raw, gas=100_000)


def transfer(amount: Amount, to: str) -> Call:
    return call_of(amount.token.address, "transfer(address,uint256)", to, amount.raw, gas=150_000)


def add_liquidity(a: Amount, b: Amount, to: str) -> Call:
    """Router02 puts in exactly these, or reverts; it creates the pair if there is none."""
    signature = "addLiquidity(address,address,uint256,uint256,uint256,uint256,address,uint256)"
    tokens = (a.token.address, b.token.address)
    args = (*tokens, a.raw, b.raw, a.raw, b.raw, to, UINT256_MAX)
    return call_of(m.UNISWAP_ROUTER02, signature, *args, gas=3_500_000)
