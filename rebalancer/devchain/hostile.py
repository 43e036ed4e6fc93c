"""Tokens that misbehave when they are read, by kind, among good ones: a chain to be tested on.

None of them does anything but misbehave, so each is a few bytes of code put at an address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rebalancer.config.networks import Network, TokenSpec
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.config.pricing import PricePart, PriceSpec
from rebalancer.devchain.accounts import MARKET_MAKER
from rebalancer.devchain.artifacts import init_code, own
from rebalancer.devchain.cheats import call_of, mine_block, runtime_of, write_all
from rebalancer.evm.abi import checksum
from rebalancer.evm.rpc import Rpc
from rebalancer.model import PPM

#: Runtime code by what it does to whoever asks it anything.
KINDS: Mapping[str, str] = {
    "REVERTS": "0x60006000fd",  # revert without data
    "REVERTS_LOUDLY": "0x7f" + "41" * 32 + "60005260206000fd",  # revert with data
    "NOTHING": "0x00",  # stop: success without data
    "NO_CODE": "0x",
    "GARBAGE": "0x60036000f3",  # three bytes
    "LOOPS": "0x5b600056",  # jumps in place until the gas is gone
    "INVALID": "0xfe",  # takes all gas at once
    "BOMB": "0x63ffffffff6000f3",  # returns four gigabytes
    "FLOOD": "0x620400006000f3",  # returns a quarter of a megabyte of zeros: no decimals
}
_DIGITS = "0123456789"
GOOD_DECIMALS = 18
#: Smallest units that the owner has of each good token.
GOOD_RAW = 10**GOOD_DECIMALS


@dataclass(frozen=True, slots=True)
class Zoo:
    """A network with more tokens, a portfolio of them all, and which of them are good."""

    network: Network
    portfolio: ResolvedPortfolio
    good: tuple[str, ...]
    bad: tuple[str, ...]


def open_zoo(
    rpc: Rpc, network: Network, owner: str, good: int = 49, bad: Sequence[str] = tuple(KINDS)
) -> Zoo:
    """Put ``good`` plain tokens and one of each kind in ``bad`` on a development chain.

    ``owner`` has some of every good one. The bad ones stand evenly among them in order of address,
    which is the order of reading. Several of a kind are told apart by a number behind its name.
    """
    gap = max(good // (len(bad) + 1), 1)
    goods = {f"G{i}": _address(i + 1, 0) for i in range(good)}
    bads = {kind: _address(gap * (i + 1), 1) for i, kind in enumerate(bad)}
    args = ("Good", "GOOD", GOOD_DECIMALS, MARKET_MAKER)
    types = ("string", "string", "uint8", "address")
    plain = runtime_of(rpc, init_code(own("DevToken")["bytecode"], types, args))
    codes = {address: plain for address in goods.values()}
    codes |= {address: KINDS[kind.rstrip(_DIGITS)] for kind, address in bads.items()}
    write_all(rpc, [("anvil_setCode", item) for item in codes.items()])
    mint = "mint(address,uint256)"
    mints = [call_of(a, mint, owner, GOOD_RAW, gas=100_000) for a in goods.values()]
    mine_block(rpc, MARKET_MAKER, mints)
    larger = _with_tokens(network, {**goods, **bads})
    portfolio = _equal_parts(larger, owner, (*goods, *bads))
    return Zoo(larger, portfolio, tuple(goods), tuple(bads))


def _with_tokens(network: Network, addresses: Mapping[str, str]) -> Network:
    """The network with more tokens, each worth a dollar because the file says so."""
    dollar = PriceSpec(sources=((PricePart.model_validate({"fixed": 1}),),))
    more = {
        symbol: TokenSpec(address=address, decimals=GOOD_DECIMALS, price=dollar)
        for symbol, address in addresses.items()
    }
    return network.model_copy(update={"tokens": {**network.tokens, **more}, "intermediates": ()})


def _equal_parts(network: Network, owner: str, symbols: Iterable[str]) -> ResolvedPortfolio:
    names = list(symbols)
    share = PPM // len(names)
    shares = [share] * (len(names) - 1)
    shares.append(PPM - sum(shares))
    positions = [
        {"token": name, "target": f"{ppm / 10_000:.4f}%"}
        for name, ppm in zip(names, shares, strict=True)
    ]
    body = {"name": "zoo", "network": network.name, "wallet": owner, "positions": positions}
    return resolve(Portfolio.model_validate(body), network)


def _address(place: int, side: int) -> str:
    return checksum(f"0x70{place:034x}{side:04x}")
