"""Past prices, smoothed: so that a spike does not start a rebalance that its end would undo.

The history is Chainlink's own: a feed answers for its earlier rounds as well as for the latest, so
nothing has to be remembered between runs and no archive is needed. Only the trigger looks at
smoothed prices; what is traded, and whether it is worth it, goes by the present ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from rebalancer.config.smoothing import Smoothing
from rebalancer.evm.rpc import Rpc
from rebalancer.model import BlockRef
from rebalancer.readers.call import Call
from rebalancer.readers.multicall import multicall
from rebalancer.readers.sources import latest_round
from rebalancer.readers.tokens import Answers

#: Earlier rounds that are asked for: a day of a feed with an hourly heartbeat and some moves.
ROUNDS = 40
#: Samples of an exponential average.
SAMPLES = 20
#: A proxy's round id holds the phase of its aggregator above 64 bits of the aggregator's own.
_PHASE = 2**64


@dataclass(frozen=True, slots=True)
class Round:
    """What a feed answered from ``updated_at`` on, in its own decimals."""

    answer: int
    updated_at: int


def read_rounds(
    rpc: Rpc, multicall3: str, answers: Answers, feeds: Iterable[str], block: BlockRef
) -> dict[str, tuple[Round, ...]]:
    """The rounds of each feed, newest first, from the latest in ``answers`` back; one request.

    They end where a round is missing, has no answer, or is not older than the one after it: an
    aggregator's first round, for one. A feed without a latest round is left out.
    """
    latest: dict[str, tuple[int, ...]] = {}
    for feed in dict.fromkeys(feeds):
        values = answers[latest_round(feed)].values()
        if values is not None:
            latest[feed] = tuple(int(value) for value in values)
    calls = {
        feed: [
            past_round(feed, values[0] - back)
            for back in range(1, min(ROUNDS, values[0] % _PHASE - 1) + 1)
        ]
        for feed, values in latest.items()
    }
    asked = [call for of_feed in calls.values() for call in of_feed]
    results = {r.call: r.values() for r in multicall(rpc, multicall3, asked, block.hash)}
    found = {}
    for feed, values in latest.items():
        rounds = [Round(values[1], values[3])]
        for call in calls[feed]:
            told = results[call]
            if told is None or int(told[1]) <= 0 or not 0 < int(told[3]) < rounds[-1].updated_at:
                break
            rounds.append(Round(int(told[1]), int(told[3])))
        found[feed] = tuple(rounds)
    return found


def past_round(feed: str, round_id: int) -> Call:
    returns = ("uint80", "int256", "uint256", "uint256", "uint80")
    return Call(feed, "getRoundData(uint80)", (round_id,), returns)


def smooth(rounds: Sequence[Round], now: int, how: Smoothing) -> Fraction:
    """The average of ``rounds``, newest first, at time ``now``; exact."""
    return ema(rounds, now, how.ema) if how.ema is not None else sma(rounds, now, how.sma or 0)


def sma(rounds: Sequence[Round], now: int, window_s: int) -> Fraction:
    """Mean of the answers over the last ``window_s`` seconds, each for the time that it stood.

    Over the time that is known where the rounds do not reach as far; the latest answer where that
    is no time at all.
    """
    total, end = 0, now
    for past in rounds:
        start = max(past.updated_at, now - window_s)
        total += past.answer * (end - start)
        end = start
    return Fraction(total, now - end) if end < now else Fraction(rounds[0].answer)


def ema(rounds: Sequence[Round], now: int, window_s: int) -> Fraction:
    """Exponential average of SAMPLES answers, evenly spaced over the last ``window_s`` seconds.

    ``e = e + 2 / (SAMPLES + 1) * (p - e)`` from the oldest on, the span of the textbook. Before the
    oldest round, its answer stands.
    """
    average = Fraction(0)
    for index in range(SAMPLES):
        when = now - window_s * (SAMPLES - 1 - index) // (SAMPLES - 1)
        stood = next((past for past in rounds if past.updated_at <= when), rounds[-1])
        weight = Fraction(2, SAMPLES + 1) if index else Fraction(1)
        average += weight * (stood.answer - average)
    return average


def smoothed_feeds(
    rounds: Mapping[str, Sequence[Round]], now: int, how: Smoothing
) -> dict[str, Fraction]:
    """The smoothed answer of every feed, in its own decimals."""
    return {feed: smooth(of_feed, now, how) for feed, of_feed in rounds.items() if of_feed}
