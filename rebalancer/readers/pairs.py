"""Pools: those the portfolio holds shares of, and those that a route may pass through.

Every AMM of the network is asked for pairs of the needed tokens at the address that its factory
gives it (CREATE2), so no factory is searched and no list of pools can be out of date.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from rebalancer.config.networks import Amm, Network, sort_tokens
from rebalancer.config.portfolio import LpSpec
from rebalancer.errors import ReadError
from rebalancer.model import PairState, Token
from rebalancer.readers.call import Call
from rebalancer.readers.tokens import Answers, balance_of

#: Among so many tokens every pair is looked for: 66 pairs on each AMM.
DIRECT_PAIRS_UP_TO = 12


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pool that may or may not exist; tokens in the pair's order."""

    amm: str
    factory: str
    fee_ppm: int
    address: str
    token0: Token
    token1: Token

    @property
    def name(self) -> str:
        return f"{self.amm}:{self.token0.symbol}/{self.token1.symbol}"


def candidates(network: Network, tokens: Sequence[Token]) -> tuple[Candidate, ...]:
    """Every AMM of the network times every unordered pair of ``tokens``, by AMM and tokens."""
    return tuple(
        _candidate(name, network.amms[name], a, b)
        for name in sorted(network.amms)
        for a, b in combinations(tokens, 2)
    )


def route_pools(
    network: Network, tokens: Sequence[Token], lps: Sequence[LpSpec]
) -> tuple[Candidate, ...]:
    """The candidates that are read: those of ``lps``, and those that a route may pass through.

    Of many tokens only pairs with an intermediate of the network: their number grows with that of
    the tokens and not with its square, and on constant-product AMMs that is where the liquidity is.
    ``tokens`` holds the intermediates and the tokens of ``lps``.
    """
    if len(tokens) <= DIRECT_PAIRS_UP_TO or not network.intermediates:
        return candidates(network, tokens)
    place = {token.address: i for i, token in enumerate(tokens)}
    hubs = {place[network.token(symbol).address] for symbol in network.intermediates}
    wanted = {(min(i, hub), max(i, hub)) for hub in hubs for i in place.values() if i != hub}
    for lp in lps:
        i, j = place[lp.token0.address], place[lp.token1.address]
        wanted.add((min(i, j), max(i, j)))
    return tuple(
        _candidate(name, network.amms[name], tokens[i], tokens[j])
        for name in sorted(network.amms)
        for i, j in sorted(wanted)
    )


def pair_calls(pools: Sequence[Candidate]) -> Iterable[Call]:
    """State of every pool, and where each factory sends the protocol fee."""
    for pool in pools:
        yield fee_to(pool.factory)
        yield get_reserves(pool.address)
        yield total_supply(pool.address)
        yield k_last(pool.address)


def read_pairs(
    answers: Answers, pools: Sequence[Candidate], lps: Sequence[LpSpec], block: int
) -> tuple[PairState, ...]:
    """Pools with liquidity, in the order of ``pools``; raises ReadError for an LP without."""
    held = {lp.pair for lp in lps}
    pairs = (_pair(answers, pool, pool.address in held, block) for pool in pools)
    return tuple(pair for pair in pairs if pair is not None)


def read_shares(answers: Answers, lp: LpSpec, wallet: str, block: int) -> int:
    """LP shares that ``wallet`` holds of a pair."""
    result = answers[balance_of(lp.pair, wallet)]
    values = result.values()
    if values is None:
        raise _unreadable(lp.name, lp.pair, result.failure, block)
    return int(values[0])


def get_reserves(pair: str) -> Call:
    return Call(pair, "getReserves()", (), ("uint112", "uint112", "uint32"))


def total_supply(pair: str) -> Call:
    return Call(pair, "totalSupply()")


def k_last(pair: str) -> Call:
    return Call(pair, "kLast()")


def fee_to(factory: str) -> Call:
    return Call(factory, "feeTo()", (), ("address",))


def _candidate(name: str, amm: Amm, a: Token, b: Token) -> Candidate:
    token0, token1 = sort_tokens(a, b)
    return Candidate(name, amm.factory, amm.fee, amm.pair_address(a, b), token0, token1)


def _pair(answers: Answers, pool: Candidate, held: bool, block: int) -> PairState | None:
    """The pool's state; None for one that cannot be traded, an error if it is also held."""

    def ask(call: Call) -> tuple[Any, ...] | None:
        values = answers[call].values()
        if values is None and held:
            raise _unreadable(pool.name, pool.address, answers[call].failure, block)
        return values

    reserves, supply = ask(get_reserves(pool.address)), ask(total_supply(pool.address))
    k = ask(k_last(pool.address))
    if reserves is None or supply is None or k is None:
        return None
    if 0 in reserves[:2] or (held and supply[0] == 0):
        if held:
            raise _unreadable(pool.name, pool.address, "the pair is empty", block)
        return None
    return PairState(
        address=pool.address,
        amm=pool.amm,
        token0=pool.token0,
        token1=pool.token1,
        fee_ppm=pool.fee_ppm,
        reserve0=int(reserves[0]),
        reserve1=int(reserves[1]),
        total_supply=int(supply[0]),
        k_last=int(k[0]),
        protocol_fee_on=_protocol_fee_on(answers, pool, block),
    )


def _protocol_fee_on(answers: Answers, pool: Candidate, block: int) -> bool:
    call = fee_to(pool.factory)
    values = answers[call].values()
    if values is None:
        raise ReadError(
            f"the factory of {pool.amm} at {pool.factory}: {answers[call].failure}",
            hint=f"check the factory of {pool.amm} in networks.yaml",
            block=block,
        )
    return int(values[0], 16) != 0


def _unreadable(name: str, address: str, why: str, block: int) -> ReadError:
    return ReadError(
        f"LP position {name} at {address}: {why}",
        hint="check the position in the portfolio, and factory and init_code_hash of its amm "
        "in networks.yaml",
        block=block,
    )
