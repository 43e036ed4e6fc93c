"""Prices as exact ratios in the numeraire of the portfolio, each with what every source said.

networks.yaml says how a token is priced: by one Chainlink feed, or by several sources, each a part
or a product of parts, of which enough must agree. See docs/prices.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, prod

from rebalancer.config.networks import Network, sort_tokens
from rebalancer.config.pricing import USD, PricePart, PriceSpec, unit_fault
from rebalancer.config.quantities import NATIVE_DECIMALS
from rebalancer.errors import ConfigError, PriceDisagreement, ReadError
from rebalancer.model import E8, BlockRef, Price, Quote, Token, format_units
from rebalancer.readers.call import Call
from rebalancer.readers.past import Past
from rebalancer.readers.quorum import judge
from rebalancer.readers.sources import Chainlink, Fixed, Part, Reading, Spot, State, Twap
from rebalancer.readers.tokens import Answers

ZERO_ADDRESS = "0x" + "00" * 20

#: Parts whose ratios are multiplied.
Source = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Pricing:
    """A token, the sources of its price in USD, and how many of them must agree."""

    token: Token
    sources: tuple[Source, ...]
    quorum: int
    max_deviation_ppm: int


@dataclass(frozen=True, slots=True)
class PriceList:
    """One price per token in the order of ``tokens``, and the price of the chain's own currency."""

    native: Price
    prices: tuple[Price, ...]


@dataclass(frozen=True, slots=True)
class Quotes:
    """What has to be priced: the tokens, the chain's own currency, the numeraire if a token."""

    native: Pricing
    tokens: tuple[Pricing, ...]
    numeraire: Pricing | None

    def parts(self) -> Iterable[Part]:
        numeraire = (self.numeraire,) if self.numeraire else ()
        for pricing in (self.native, *self.tokens, *numeraire):
            for source in pricing.sources:
                yield from source


def quotes(network: Network, tokens: Sequence[Token], numeraire: str) -> Quotes:
    """Find the sources that are needed; raises ConfigError for one that does not lead to USD."""
    native = Token(ZERO_ADDRESS, network.native.symbol, NATIVE_DECIMALS)

    def of_token(token: Token) -> Pricing:
        return _pricing(network, token, network.tokens[token.symbol].pricing)

    return Quotes(
        native=_pricing(network, native, network.native.pricing),
        tokens=tuple(map(of_token, tokens)),
        numeraire=None if numeraire == USD else of_token(network.token(numeraire)),
    )


def price_calls(wanted: Quotes) -> Iterable[Call]:
    """What has to be asked at the block that is read."""
    for part in wanted.parts():
        yield from part.calls()


def past_calls(wanted: Quotes) -> dict[int, tuple[Call, ...]]:
    """What has to be asked how many seconds before it; empty without a twap."""
    windows: dict[int, dict[Call, None]] = {}
    for part in wanted.parts():
        if window := part.window():
            windows.setdefault(window, {}).update(dict.fromkeys(part.past_calls()))
    return {window: tuple(calls) for window, calls in windows.items()}


def read_prices(
    answers: Answers, wanted: Quotes, block: BlockRef, past: Mapping[int, Past] | None = None
) -> PriceList:
    """Prices in the numeraire.

    In USD, ``value_e8 = raw * ratio * 10^8 / 10^token decimals``. In a token, the same divided
    exactly by that token's own USD price. Ratios are reduced. Raises ReadError for a single source
    that cannot be read, StalePrice for its answer that is too old or is none, PriceDisagreement
    with every number where too few of several agree.
    """
    state = State(block, answers, past or {})
    return _in_numeraire(wanted, lambda pricing: _usd_price(pricing, state))


def feeds_of(wanted: Quotes) -> tuple[str, ...]:
    """Addresses of the Chainlink feeds that are needed."""
    feeds = (part.feed.address for part in wanted.parts() if isinstance(part, Chainlink))
    return tuple(dict.fromkeys(feeds))


def smoothed_prices(
    answers: Answers,
    wanted: Quotes,
    block: BlockRef,
    past: Mapping[int, Past],
    smoothed: Mapping[str, Fraction],
) -> tuple[Price, ...]:
    """The tokens' prices from the same sources as ``read_prices`` takes them from, with averages
    in place of the answers of the feeds (by address, in their own decimals).

    An average over a window is smooth already, and a spot price has no history: they stay.
    """
    state = State(block, answers, past)
    calm = replace(state, smoothed=smoothed)

    def priced(pricing: Pricing) -> Price:
        now = _usd_price(pricing, state)
        source = next(s for s in pricing.sources if _name(s) == now.source)
        price = _price(pricing.token, _product(source, calm), ())
        return replace(price, source=f"{now.source}, smoothed")

    return _in_numeraire(wanted, priced).prices


def _in_numeraire(wanted: Quotes, in_usd: Callable[[Pricing], Price]) -> PriceList:
    unit = wanted.numeraire and in_usd(wanted.numeraire)

    def priced(pricing: Pricing) -> Price:
        price = in_usd(pricing)
        return _in_token(price, unit) if unit else price

    return PriceList(priced(wanted.native), tuple(map(priced, wanted.tokens)))


def _pricing(network: Network, token: Token, spec: PriceSpec) -> Pricing:
    for source in spec.sources:
        if fault := unit_fault(token.symbol, source):
            raise ConfigError(
                f"{network.name}: {token.symbol} is priced by {fault}",
                hint=f"give {token.symbol} sources in networks.yaml that lead to USD",
            )
    sources = tuple(tuple(_part(network, part) for part in source) for source in spec.sources)
    return Pricing(token, sources, spec.quorum, spec.max_deviation)


def _part(network: Network, spec: PricePart) -> Part:
    if spec.feed is not None:
        return Chainlink(spec.feed, network.feeds[spec.feed], network.sequencer)
    if spec.pool is None:
        return Fixed(spec.fixed or 0)
    base, quote = map(network.token, spec.units)
    pair = network.amms[spec.pool.partition(":")[0]].pair_address(base, quote)
    first = sort_tokens(base, quote)[0] == base
    if spec.window is None:
        return Spot(spec.pool, pair, base, quote, first)
    return Twap(spec.pool, pair, base, quote, first, spec.window)


def _usd_price(pricing: Pricing, state: State) -> Price:
    """The price that the sources agree on, in 1e-8 USD for one smallest unit."""
    if len(pricing.sources) == 1:
        name, reading = _name(pricing.sources[0]), _product(pricing.sources[0], state)
        quote = _quote(pricing.token, name, reading, True)
        numbers = quote.numerator, quote.denominator
        return Price(pricing.token, *numbers, name, reading.updated_at, (quote,))
    readings = [_try(source, state) for source in pricing.sources]
    ratios = [None if isinstance(r, ReadError) else r.ratio for r in readings]
    verdict = judge(ratios, pricing.quorum, pricing.max_deviation_ppm)
    said = tuple(
        _quote(pricing.token, _name(source), reading, agrees)
        for source, reading, agrees in zip(pricing.sources, readings, verdict.agrees, strict=True)
    )
    taken = None if verdict.taken is None else readings[verdict.taken]
    if taken is None or isinstance(taken, ReadError) or verdict.taken is None:
        raise _disagreement(pricing, said, state.block)
    return replace(_price(pricing.token, taken, said), source=said[verdict.taken].source)


def _product(source: Source, state: State) -> Reading:
    """As old as its oldest part."""
    if len(source) == 1:
        return source[0].read(state)
    parts = [part.read(state) for part in source]
    return Reading(
        prod((part.ratio for part in parts), start=Fraction(1)),
        min(part.updated_at for part in parts),
        min(part.block_number for part in parts),
    )


def _try(source: Source, state: State) -> Reading | ReadError:
    try:
        return _product(source, state)
    except ReadError as error:
        return error


def _name(source: Source) -> str:
    return source[0].name if len(source) == 1 else " x ".join(part.name for part in source)


def _quote(token: Token, name: str, reading: Reading | ReadError, agrees: bool) -> Quote:
    if isinstance(reading, ReadError):
        return Quote(name, 0, 0, 0, 0, False, str(reading))
    numbers = _per_unit(token, reading.ratio)
    return Quote(name, *numbers, reading.block_number, reading.updated_at, agrees)


def _price(token: Token, reading: Reading, said: tuple[Quote, ...]) -> Price:
    source = said[0].source if said else ""
    numbers = _per_unit(token, reading.ratio)
    return Price(token, *numbers, source, reading.updated_at, said)


def _per_unit(token: Token, ratio: Fraction) -> tuple[int, int]:
    """1e-8 USD of one smallest unit, reduced, from USD of one whole unit."""
    numerator, denominator = ratio.numerator * E8, ratio.denominator * 10**token.decimals
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


def _in_token(price: Price, unit: Price) -> Price:
    """Divide a USD price by that of one whole ``unit.token``; as old as the older of the two."""
    # 1e-8 of the token for 1e-8 USD.
    factor = Fraction(unit.denominator * E8, unit.numerator * 10**unit.token.decimals)
    ratio = Fraction(price.numerator, price.denominator) * factor
    return Price(
        price.token,
        ratio.numerator,
        ratio.denominator,
        f"{price.source} over {unit.source.removeprefix('chainlink ')}",
        min(price.updated_at, unit.updated_at),
        tuple(_quote_in_token(quote, factor, unit.updated_at) for quote in price.quotes),
    )


def _quote_in_token(quote: Quote, factor: Fraction, unit_updated_at: int) -> Quote:
    if quote.fault:
        return quote
    ratio = Fraction(quote.numerator, quote.denominator) * factor
    return replace(
        quote,
        numerator=ratio.numerator,
        denominator=ratio.denominator,
        updated_at=min(quote.updated_at, unit_updated_at),
    )


def _disagreement(pricing: Pricing, said: Sequence[Quote], block: BlockRef) -> PriceDisagreement:
    """Every source's number, and what would have been enough."""
    unit = 10**pricing.token.decimals
    numbers = ", ".join(
        f"{quote.source}: {quote.fault}"
        if quote.fault
        else f"{quote.source}: {format_units(quote.numerator * unit // quote.denominator, 8, 8)}"
        for quote in said
    )
    answered = sum(not quote.fault for quote in said)
    needed = max(pricing.quorum, answered // 2 + 1)
    within = format_units(pricing.max_deviation_ppm, 4, 2)
    return PriceDisagreement(
        f"the sources of {pricing.token.symbol}'s price do not agree: {numbers} (USD); "
        f"{needed} of {len(said)} must be within {within} % of their median",
        hint="nothing is traded on a price that may be a lie: look at the sources; quorum and "
        f"max_deviation of {pricing.token.symbol} in networks.yaml are the limits",
        block=block.number,
    )
