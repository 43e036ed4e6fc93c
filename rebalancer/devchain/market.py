"""A market that moves: oracle prices change, and an arbitrageur takes every pool along.

The trades are real swaps on the real pairs, each to the edge of the pool's fee band around the
oracle price, where nothing more is to be earned. So whoever provides liquidity suffers the true
impermanent loss of the move and earns the true fees of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from rebalancer.amm import amount_to_fee_band, get_amount_out
from rebalancer.config.networks import Feed, Network, sort_tokens
from rebalancer.devchain.accounts import ARBITRAGEUR
from rebalancer.devchain.calls import transfer
from rebalancer.devchain.cheats import Call, call_of, has_code, mine_block, view
from rebalancer.devchain.feeds import feed_answer, feed_code, install_feed
from rebalancer.devchain.funding import deal
from rebalancer.errors import ConfigError
from rebalancer.evm.rpc import Rpc
from rebalancer.model import PPM, VALUE_DECIMALS, Amount, PairState, Price, Token, mul_div_nearest


@dataclass(frozen=True, slots=True)
class FeedMove:
    """A feed's answers in 10**-decimals, before and after."""

    feed: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Arbitrage:
    """What the arbitrageur sold to and bought from the pair ``pair`` (its name)."""

    pair: str
    sold: Amount
    bought: Amount


@dataclass(frozen=True, slots=True)
class MarketMove:
    """The one block in which the feeds were set and the pools followed."""

    block_number: int
    feeds: tuple[FeedMove, ...]
    trades: tuple[Arbitrage, ...]


def move(rpc: Rpc, network: Network, changes_ppm: Mapping[str, int]) -> MarketMove:
    """Change prices by parts per million: ``{"WETH": 250_000}`` is ETH up by a quarter.

    Keys are token symbols, or the native one's. Every feed that answers is updated to the time of
    the block, also where its price stays, so that none is stale; pools of two priced tokens are
    arbitraged whether their price changed or not. Feeds that cannot be set (real ones, on a fork)
    are replaced. Raises ConfigError for an unknown symbol or a price that would not be positive.
    """
    answers = _answers(rpc, network)
    new = dict(answers)
    for symbol, change_ppm in changes_ppm.items():
        name = _feed_of(network, symbol, answers)
        new[name] = mul_div_nearest(answers[name], PPM + change_ppm, PPM)
    return _set(rpc, network, answers, new)


def set_prices(rpc: Rpc, network: Network, prices: Mapping[str, int]) -> MarketMove:
    """Set prices in the feeds' own units (1e-8 USD): ``{"WETH": 3_000 * E8}``; else as ``move``."""
    answers = _answers(rpc, network)
    new = {_feed_of(network, symbol, answers): price for symbol, price in prices.items()}
    return _set(rpc, network, answers, answers | new)


def pools(rpc: Rpc, network: Network) -> tuple[PairState, ...]:
    """Every pool with reserves of two of the network's tokens, for trading alone: the LP fields
    (supply, kLast, protocol fee) are left at zero."""
    tokens = [network.token(symbol) for symbol in network.tokens]
    found: list[PairState] = []
    for name, amm in network.amms.items():
        for token0, token1 in (sort_tokens(a, b) for a, b in combinations(tokens, 2)):
            pair = amm.pair_address(token0, token1)
            if not has_code(rpc, pair):
                continue
            types = ("uint112", "uint112", "uint32")
            raw0, raw1, _ = view(rpc, pair, "getReserves()", types)
            if raw0 and raw1:
                found.append(
                    PairState(pair, name, token0, token1, amm.fee, raw0, raw1, 0, 0, False)
                )
    return tuple(found)


def oracle_price(feed: Feed, token: Token, answer: int) -> Price:
    """A feed's answer as the price of one smallest unit of ``token``; exact."""
    numerator = answer * 10**VALUE_DECIMALS
    denominator = 10 ** (feed.decimals + token.decimals)
    return Price(token, numerator, denominator, feed.address, 0)


def _set(
    rpc: Rpc, network: Network, before: Mapping[str, int], after: Mapping[str, int]
) -> MarketMove:
    for name, answer in after.items():
        if answer <= 0:
            raise ConfigError(f"{name} cannot be {answer}: a price is positive")
    _make_settable(rpc, network, before)
    trades = tuple(_arbitrages(pools(rpc, network), _prices(network, after)))
    _supply_arbitrageur(rpc, [trade.sold for _, trade in trades])
    calls = [
        call_of(network.feeds[name].address, "set_answer(int256)", answer, gas=100_000)
        for name, answer in after.items()
    ]
    for pair, trade in trades:
        calls += _swap(pair, trade)
    receipts = mine_block(rpc, ARBITRAGEUR, calls)
    return MarketMove(
        block_number=int(receipts[0]["blockNumber"], 16),
        feeds=tuple(FeedMove(name, before[name], after[name]) for name in after),
        trades=tuple(trade for _, trade in trades),
    )


def _answers(rpc: Rpc, network: Network) -> dict[str, int]:
    """What each feed of the network answers; those that do not are left out."""
    answers = {name: feed_answer(rpc, feed.address) for name, feed in network.feeds.items()}
    known = {name: answer for name, answer in answers.items() if answer is not None}
    if not known:
        raise ConfigError(
            f"no price feed of {network.name} answers on this chain",
            hint="start a development chain with `rebalancer fork`",
        )
    return known


def _feed_of(network: Network, symbol: str, answers: Mapping[str, int]) -> str:
    names = {symbol: spec.usd_feed for symbol, spec in network.tokens.items()}
    names.setdefault(network.native.symbol, network.native.usd_feed)
    names = {name: feed for name, feed in names.items() if feed}
    if symbol not in names:
        raise ConfigError(f"there is no price of {symbol!r} to move; there is {', '.join(names)}")
    if names[symbol] not in answers:
        raise ConfigError(f"the feed {names[symbol]} of {symbol} does not answer on this chain")
    return names[symbol]


def _make_settable(rpc: Rpc, network: Network, answers: Mapping[str, int]) -> None:
    """Put a MockFeed where something else answers; on a fork that is the real proxy."""
    for name, answer in answers.items():
        feed = network.feeds[name]
        code = feed_code(rpc, feed.decimals, name.replace("/", " / "))
        if rpc.call("eth_getCode", feed.address, "latest") != code:
            install_feed(rpc, feed.address, code, answer)


def _prices(network: Network, answers: Mapping[str, int]) -> dict[Token, Price]:
    """Prices of all tokens whose feed answers."""
    prices: dict[Token, Price] = {}
    for symbol, spec in network.tokens.items():
        if spec.usd_feed in answers:
            feed, token = spec.usd_feed, network.token(symbol)
            prices[token] = oracle_price(network.feeds[feed], token, answers[feed])
    return prices


def _arbitrages(
    states: Iterable[PairState], prices: Mapping[Token, Price]
) -> Iterable[tuple[PairState, Arbitrage]]:
    for pair in states:
        if pair.token0 not in prices or pair.token1 not in prices:
            continue
        sold = amount_to_fee_band(pair, prices[pair.token0], prices[pair.token1])
        if sold.raw == 0:
            continue
        raw_out = get_amount_out(sold.raw, *pair.reserves(sold.token), pair.fee_ppm)
        yield pair, Arbitrage(pair.name, sold, Amount(pair.other(sold.token), raw_out))


def _supply_arbitrageur(rpc: Rpc, sold: Iterable[Amount]) -> None:
    """Give the arbitrageur what he sells and does not own; he is never short of money."""
    needs: dict[Token, int] = {}
    for amount in sold:
        needs[amount.token] = needs.get(amount.token, 0) + amount.raw
    for token, raw in needs.items():
        (owned,) = view(rpc, token.address, "balanceOf(address)", ("uint256",), ARBITRAGEUR)
        if owned < raw:
            deal(rpc, Amount(token, raw), ARBITRAGEUR)


def _swap(pair: PairState, trade: Arbitrage) -> list[Call]:
    """Pay, then take: both transactions stand in one block with nobody between them."""
    out = trade.bought.raw
    outs = (out, 0) if trade.bought.token == pair.token0 else (0, out)
    signature = "swap(uint256,uint256,address,bytes)"
    return [
        transfer(trade.sold, pair.address),
        call_of(pair.address, signature, *outs, ARBITRAGEUR, b""),
    ]
