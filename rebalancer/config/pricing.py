"""How a token is priced: sources made of parts, and how many of them must agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from rebalancer.config.quantities import Duration, Number, Share
from rebalancer.config.strict import Strict

USD = "USD"


class PricePart(Strict):
    """One ratio: a Chainlink ``feed``, a pool's ``twap`` over a ``window`` or its ``spot``, or a
    ``fixed`` number of USD. Pools are written ``amm:A/B``, which gives the price of A in B.
    """

    feed: str | None = None
    twap: str | None = None
    spot: str | None = None
    fixed: Number | None = None
    window: Duration | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> PricePart:
        kinds = (self.feed, self.twap, self.spot, self.fixed)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("a part of a price is one of feed, twap, spot and fixed")
        if (self.twap is None) != (self.window is None):
            raise ValueError("a twap needs a window, like window: 20m, and nothing else has one")
        if self.window == 0:
            raise ValueError("a window must be at least a second")
        if self.fixed is not None and self.fixed <= 0:
            raise ValueError("a fixed price must be positive")
        return self

    @property
    def pool(self) -> str | None:
        """The pool that a twap or spot part is about, ``amm:A/B``."""
        return self.twap or self.spot

    @property
    def units(self) -> tuple[str, str]:
        """What is priced and in what, as the name says: ``ETH/USD``; a fixed price is in USD."""
        name = self.feed or (self.pool or "").partition(":")[2]
        base, _, quote = name.partition("/")
        return (base, quote) if name else ("", USD)


def _as_parts(value: Any) -> Any:
    """A source of one part may be written without the list."""
    if isinstance(value, (list, tuple)):
        return [[part] if isinstance(part, dict) else part for part in value]
    return value


Source = Annotated[tuple[PricePart, ...], Field(min_length=1)]


class PriceSpec(Strict):
    """Sources in the order of trust, each a part or a list of parts whose ratios are multiplied.

    The price is the median of what they say, if at least ``quorum`` of them, and more than half of
    those that answer, are within ``max_deviation`` of it.
    """

    sources: Annotated[tuple[Source, ...], BeforeValidator(_as_parts), Field(min_length=1)]
    quorum: Annotated[int, Field(ge=1)] = 1
    max_deviation: Share = 10_000

    @model_validator(mode="after")
    def _enough(self) -> PriceSpec:
        if self.quorum > len(self.sources):
            raise ValueError(
                f"a quorum of {self.quorum} needs more than {len(self.sources)} source"
            )
        return self

    @classmethod
    def of_feed(cls, feed: str) -> PriceSpec:
        """What the shorthand ``feed: ETH/USD`` stands for."""
        return cls(sources=((PricePart(feed=feed),),))

    def parts(self) -> Iterator[PricePart]:
        for source in self.sources:
            yield from source


def unit_fault(symbol: str, source: Sequence[PricePart]) -> str:
    """Why the parts of a source do not lead from ``symbol`` to USD; empty when they do.

    ``WETH`` and ``ETH`` are one asset here, and so is every pair of names that differ by a leading
    W: wrapped at one to one. A feed at the start may have any name: what it prices is the file's
    choice (WBTC by BTC/USD, a bridged token by the original's feed).
    """
    first = source[0]
    if first.pool and not _same(first.units[0], symbol):
        return f"{first.pool}, which is not a price of {symbol}"
    for part, following in pairwise(source):
        if part.fixed is not None or not _same(part.units[1], following.units[0]):
            return f"{_name(part)} and then {_name(following)}, which do not fit together"
    if source[-1].units[1] != USD:
        return f"{_name(source[-1])}, which is not a feed in {USD}"
    return ""


def _same(a: str, b: str) -> bool:
    return bool(a) and (a == b or a == f"W{b}" or b == f"W{a}")


def _name(part: PricePart) -> str:
    return part.feed or part.pool or "a fixed price"
