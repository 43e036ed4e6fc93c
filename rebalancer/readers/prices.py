"""Prices from Chainlink feeds, as exact ratios in the numeraire of the portfolio.

Source of the checks: Chainlink's AggregatorV3Interface. A round says in which round it was
answered, an unfinished one has no time, and a feed that is not written to any more does not say so:
only its age does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd

from rebalancer.config.networks import Feed, Network
from rebalancer.errors import ConfigError, ReadError, StalePrice
from rebalancer.model import E8, BlockRef, Price, Token
from rebalancer.readers.multicall import Call
from rebalancer.readers.tokens import Answers, decimals, read_uint

USD = "USD"
ZERO_ADDRESS = "0x" + "00" * 20
NATIVE_DECIMALS = 18


@dataclass(frozen=True, slots=True)
class Quote:
    """A token and the feed that prices it in USD."""

    token: Token
    feed_name: str
    feed: Feed


@dataclass(frozen=True, slots=True)
class PriceList:
    """One price per token in the order of ``tokens``, and the price of the chain's own currency."""

    native: Price
    prices: tuple[Price, ...]


@dataclass(frozen=True, slots=True)
class Quotes:
    """What has to be priced: the tokens, the chain's own currency, the numeraire if a token."""

    native: Quote
    tokens: tuple[Quote, ...]
    numeraire: Quote | None

    def all(self) -> tuple[Quote, ...]:
        return (self.native, *self.tokens, *((self.numeraire,) if self.numeraire else ()))


def quotes(network: Network, tokens: Sequence[Token], numeraire: str) -> Quotes:
    """Find the feeds that are needed; raises ConfigError for one that is not in USD."""
    native = Token(ZERO_ADDRESS, network.native.symbol, NATIVE_DECIMALS)

    def of_token(token: Token) -> Quote:
        return _quote(network, token, network.tokens[token.symbol].feed)

    return Quotes(
        native=_quote(network, native, network.native.feed),
        tokens=tuple(map(of_token, tokens)),
        numeraire=None if numeraire == USD else of_token(network.token(numeraire)),
    )


def price_calls(wanted: Quotes) -> Iterable[Call]:
    """Latest round and decimals of every feed that is needed."""
    for quote in wanted.all():
        yield latest_round(quote.feed.address)
        yield decimals(quote.feed.address)


def read_prices(answers: Answers, wanted: Quotes, block: BlockRef) -> PriceList:
    """Prices in the numeraire.

    In USD, ``value_e8 = raw * answer * 10^8 / (10^feed decimals * 10^token decimals)``. In a token,
    the same divided exactly by that token's own USD price. Ratios are reduced. Raises ReadError for
    a feed that cannot be read, StalePrice for an answer that is too old or is none.
    """
    unit = wanted.numeraire and _usd_price(answers, wanted.numeraire, block)

    def priced(quote: Quote) -> Price:
        price = _usd_price(answers, quote, block)
        return _in_token(price, unit) if unit else price

    return PriceList(priced(wanted.native), tuple(priced(quote) for quote in wanted.tokens))


def latest_round(feed: str) -> Call:
    returns = ("uint80", "int256", "uint256", "uint256", "uint80")
    return Call(feed, "latestRoundData()", (), returns)


def _quote(network: Network, token: Token, feed_name: str) -> Quote:
    if not feed_name.endswith(f"/{USD}"):
        raise ConfigError(
            f"{network.name}: {token.symbol} is priced by {feed_name}, which is not a feed in USD",
            hint=f"give {token.symbol} a feed in USD in networks.yaml",
        )
    return Quote(token, feed_name, network.feeds[feed_name])


def _usd_price(answers: Answers, quote: Quote, block: BlockRef) -> Price:
    answer, updated_at = _checked_round(answers, quote, block)
    numerator, denominator = answer * E8, 10 ** (quote.feed.decimals + quote.token.decimals)
    return _price(quote.token, numerator, denominator, f"chainlink {quote.feed_name}", updated_at)


def _in_token(price: Price, unit: Price) -> Price:
    """Divide a USD price by that of one whole ``unit.token``; as old as the older of the two."""
    return _price(
        price.token,
        price.numerator * unit.denominator * E8,
        price.denominator * unit.numerator * 10**unit.token.decimals,
        f"{price.source} over {unit.source.removeprefix('chainlink ')}",
        min(price.updated_at, unit.updated_at),
    )


def _price(token: Token, numerator: int, denominator: int, source: str, updated_at: int) -> Price:
    common = gcd(numerator, denominator)
    return Price(token, numerator // common, denominator // common, source, updated_at)


def _checked_round(answers: Answers, quote: Quote, block: BlockRef) -> tuple[int, int]:
    """Answer and time of a feed's latest round, when both can be believed at ``block``."""
    feed, what = quote.feed, f"feed {quote.feed_name} at {quote.feed.address}"
    values = answers[latest_round(feed.address)].values()
    hint = f"check the address of {quote.feed_name} in networks.yaml"
    if values is None:
        failure = answers[latest_round(feed.address)].failure
        raise ReadError(f"{what}: {failure}", hint=hint, block=block.number)
    told = read_uint(answers, decimals(feed.address), what, block.number, hint)
    if told != feed.decimals:
        raise ReadError(
            f"{what} has {told} decimals, networks.yaml says {feed.decimals}",
            hint=f"set the decimals of {quote.feed_name} to {told} if the address is the right one",
            block=block.number,
        )
    round_id, answer, _, updated_at, answered_in = (int(value) for value in values)
    fault = _fault(round_id, answer, updated_at, answered_in, feed.max_age, block.timestamp)
    if fault:
        raise StalePrice(
            f"feed {quote.feed_name} {fault}",
            hint="wait for the feed's next round; on a fork, let the market move; max_age of "
            "the feed in networks.yaml is the limit",
            block=block.number,
        )
    return answer, updated_at


def _fault(
    round_id: int, answer: int, updated_at: int, answered_in: int, max_age: int, now: int
) -> str:
    """Why a round is no price at time ``now``; empty when it is one."""
    if answer <= 0:
        return f"answers {answer}, which is no price"
    if updated_at == 0:
        return f"has no answer in its round {round_id} yet"
    if answered_in < round_id:
        return f"repeats round {answered_in} in its round {round_id}"
    if updated_at > now:
        return f"claims to be {updated_at - now} s younger than the block"
    if now - updated_at > max_age:
        return f"is {now - updated_at} s old, {max_age} s are allowed"
    return ""
