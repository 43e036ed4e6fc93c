"""The parts that prices are made of: each a ratio with its age, or a ReadError that says why not.

A part gives the price of one whole unit of something in whole units of something else. What it has
to ask, it names before; what it was answered, it checks. Chainlink's checks are those that its
AggregatorV3Interface calls for: a round says in which round it was answered, an unfinished one has
no time, and a feed that is not written to any more does not say so: only its age does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from rebalancer.config.networks import Feed, Sequencer
from rebalancer.config.quantities import NUMBER_DECIMALS
from rebalancer.errors import ReadError, StalePrice
from rebalancer.model import BlockRef, Token
from rebalancer.readers.call import Call
from rebalancer.readers.pairs import get_reserves
from rebalancer.readers.past import Past
from rebalancer.readers.tokens import Answers, decimals, read_uint
from rebalancer.readers.twap import Accumulator, average


@dataclass(frozen=True, slots=True)
class State:
    """What was answered at the block, and at the blocks a window before it.

    ``smoothed`` holds averages, in the feed's own decimals, that stand in for a feed's answer.
    """

    block: BlockRef
    answers: Answers
    past: Mapping[int, Past]
    smoothed: Mapping[str, Fraction] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """A ratio of whole units; ``block_number`` is the oldest block that it depends on."""

    ratio: Fraction
    updated_at: int
    block_number: int


class Part(Protocol):
    """One way to a ratio."""

    @property
    def name(self) -> str:
        """What is shown as the source."""

    def calls(self) -> Iterable[Call]:
        """What has to be asked at the block that is read."""

    def window(self) -> int:
        """How many seconds before that block ``past_calls`` must be asked; 0 for not at all."""

    def past_calls(self) -> Iterable[Call]:
        """What has to be asked there."""

    def read(self, state: State) -> Reading:
        """The ratio; raises ReadError (StalePrice) where there is none."""


class Present:
    """A part that needs nothing of the past."""

    __slots__ = ()

    def window(self) -> int:
        return 0

    def past_calls(self) -> Iterable[Call]:
        return ()


@dataclass(frozen=True, slots=True)
class Fixed(Present):
    """A number that somebody wrote down, in units of 1e-18."""

    value: int

    @property
    def name(self) -> str:
        return "fixed"

    def calls(self) -> Iterable[Call]:
        return ()

    def read(self, state: State) -> Reading:
        block = state.block
        return Reading(Fraction(self.value, 10**NUMBER_DECIMALS), block.timestamp, block.number)


@dataclass(frozen=True, slots=True)
class Chainlink(Present):
    """The latest round of a feed, where it can be believed."""

    feed_name: str
    feed: Feed
    sequencer: Sequencer | None = None
    _round: Call = field(init=False, repr=False, compare=False)
    _decimals: Call = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_round", latest_round(self.feed.address))
        object.__setattr__(self, "_decimals", decimals(self.feed.address))

    @property
    def name(self) -> str:
        return f"chainlink {self.feed_name}"

    def calls(self) -> Iterable[Call]:
        yield self._round
        yield self._decimals
        if self.sequencer is not None:
            yield latest_round(self.sequencer.address)

    def read(self, state: State) -> Reading:
        feed, block = self.feed, state.block
        values = _ask(state, self._round, self._what, self._hint)
        (told,) = _ask(state, self._decimals, self._what, self._hint)
        if told != feed.decimals:
            raise ReadError(
                f"{self._what()} has {told} decimals, networks.yaml says {feed.decimals}",
                hint=f"set the decimals of {self.feed_name} to {told} if the address is the right "
                "one",
                block=block.number,
            )
        round_id, answer, _, updated_at, answered_in = values
        fault = _fault(round_id, answer, updated_at, answered_in, feed.max_age, block.timestamp)
        if fault := fault or _bound_fault(answer, feed):
            raise StalePrice(
                f"feed {self.feed_name} {fault}",
                hint="wait for the feed's next round; on a fork, let the market move; max_age, min "
                "and max of the feed in networks.yaml are the limits",
                block=block.number,
            )
        if self.sequencer is not None:
            _require_sequencer(self.sequencer, state)
        taken = state.smoothed.get(feed.address)
        unit = 10**feed.decimals
        ratio = Fraction(answer, unit) if taken is None else taken / unit
        return Reading(ratio, updated_at, block.number)

    def _what(self) -> str:
        return f"feed {self.feed_name} at {self.feed.address}"

    def _hint(self) -> str:
        return f"check the address of {self.feed_name} in networks.yaml"


@dataclass(frozen=True, slots=True)
class Spot(Present):
    """The ratio of a pool's reserves: what a trade could have put there a moment ago."""

    pool: str
    pair: str
    base: Token
    quote: Token
    base_is_token0: bool

    @property
    def name(self) -> str:
        return f"spot {self.pool}"

    def calls(self) -> Iterable[Call]:
        yield get_reserves(self.pair)

    def read(self, state: State) -> Reading:
        of_base, of_quote, last_ts = _reserves(state.answers, self, state.block.number)
        ratio = Fraction(of_quote * 10**self.base.decimals, of_base * 10**self.quote.decimals)
        return Reading(ratio, _last_trade(last_ts, state.block), state.block.number)


@dataclass(frozen=True, slots=True)
class Twap:
    """A pool's average price over at least ``window_s`` seconds up to the block."""

    pool: str
    pair: str
    base: Token
    quote: Token
    base_is_token0: bool
    window_s: int

    @property
    def name(self) -> str:
        return f"twap of {self.window_s} s on {self.pool}"

    def calls(self) -> Iterable[Call]:
        yield get_reserves(self.pair)
        yield cumulative(self.pair, self.base_is_token0)

    def window(self) -> int:
        return self.window_s

    def past_calls(self) -> Iterable[Call]:
        return self.calls()

    def read(self, state: State) -> Reading:
        past = state.past[self.window_s]
        if past.block is None:
            raise ReadError(f"{self.name}: {past.fault}", block=state.block.number)
        old = self._accumulator(past.answers, past.block)
        new = self._accumulator(state.answers, state.block)
        numerator, denominator = average(old, new)
        if numerator == 0:
            raise ReadError(f"{self.name}: the accumulator stands still", block=state.block.number)
        scaled = numerator * 10**self.base.decimals, denominator * 10**self.quote.decimals
        updated_at = _last_trade(new.last_ts, state.block)
        return Reading(Fraction(*scaled), updated_at, past.block.number)

    def _accumulator(self, answers: Answers, block: BlockRef) -> Accumulator:
        of_base, of_quote, last_ts = _reserves(answers, self, block.number)
        call = cumulative(self.pair, self.base_is_token0)
        what = f"pool {self.pool} at {self.pair}"
        total = read_uint(answers, call, what, block.number)
        return Accumulator(total, of_base, of_quote, last_ts, block.timestamp)


def latest_round(feed: str) -> Call:
    returns = ("uint80", "int256", "uint256", "uint256", "uint80")
    return Call(feed, "latestRoundData()", (), returns)


def cumulative(pair: str, of_token0: bool) -> Call:
    return Call(pair, f"price{0 if of_token0 else 1}CumulativeLast()")


def _ask(
    state: State, call: Call, what: Callable[[], str], hint: Callable[[], str]
) -> tuple[int, ...]:
    """The integers that were answered; ``what`` did not answer otherwise, and ``hint`` says more.

    The words are only found where they are needed: a thousand feeds are read for one that fails.
    """
    result = state.answers[call]
    values = result.values()
    if values is None:
        raise ReadError(f"{what()}: {result.failure}", hint=hint(), block=state.block.number)
    return values


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


def _bound_fault(answer: int, feed: Feed) -> str:
    """Why an answer is not inside the feed's bounds; empty when it is, or there are none."""
    value, unit = answer * 10**NUMBER_DECIMALS, 10**feed.decimals
    if feed.min is not None and value <= feed.min * unit:
        return f"answers {answer}, which is at or below its min in networks.yaml"
    if feed.max is not None and value >= feed.max * unit:
        return f"answers {answer}, which is at or above its max in networks.yaml"
    return ""


def _require_sequencer(sequencer: Sequencer, state: State) -> None:
    """Raise StalePrice while the rollup's sequencer is down, and for the grace period after.

    The uptime feed answers 0 while it is up; ``startedAt`` is since when.
    """
    _, answer, started_at, _, _ = _ask(
        state,
        latest_round(sequencer.address),
        lambda: f"the sequencer's uptime feed at {sequencer.address}",
        lambda: "check the address of the sequencer in networks.yaml",
    )
    up_s = state.block.timestamp - started_at
    if answer == 0 and started_at and up_s > sequencer.grace:
        return
    fault = f"is up for {up_s} s, feeds are believed after {sequencer.grace} s"
    if answer != 0 or not started_at:
        fault = "is down, so no feed is believed"
    raise StalePrice(f"the sequencer {fault}", hint="try again later", block=state.block.number)


def _last_trade(last_ts: int, block: BlockRef) -> int:
    """When the pool's reserves last changed: its own clock runs modulo 2**32."""
    return block.timestamp - (block.timestamp - last_ts) % 2**32


def _reserves(answers: Answers, part: Spot | Twap, block: int) -> tuple[int, int, int]:
    """Reserves of base and quote, and the time of the last trade modulo 2**32."""
    result = answers[get_reserves(part.pair)]
    values = result.values()
    if values is None:
        raise ReadError(f"pool {part.pool} at {part.pair}: {result.failure}", block=block)
    reserve0, reserve1, last_ts = (int(value) for value in values)
    if not reserve0 or not reserve1:
        raise ReadError(f"pool {part.pool} at {part.pair} is empty", block=block)
    if part.base_is_token0:
        return reserve0, reserve1, last_ts
    return reserve1, reserve0, last_ts
