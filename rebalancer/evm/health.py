"""How an endpoint is doing: its head, its speed, its rests, and how much it may still be asked.

Pure book-keeping; time is an argument (seconds of a monotonic clock), and so is chance.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Rest after the first failure; it doubles with each further one in a row.
_FIRST_REST_S = 1.0
_LONGEST_REST_S = 60.0
#: Block hashes that are remembered per endpoint.
_HASHES = 256
#: Weight of the newest answer in the mean latency, as 1/n.
_SMOOTHING = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """What every endpoint of a network is held to.

    ``time_limit_s`` is for one request, ``slow_time_limit_s`` for logs, traces and simulations,
    ``survey_time_limit_s`` for a look at the head. ``rate_per_s`` requests may be made to one
    endpoint, each of a batch counting (None: any number), after a burst of as many as in two
    seconds. An endpoint further than ``max_lag_blocks`` or ``max_lag_s`` behind the most advanced
    one is not used. Heads are compared every ``survey_every_s``. A read is tried in ``rounds``
    over all endpoints, and no more once ``patience_s`` have passed.
    """

    time_limit_s: float = 10.0
    slow_time_limit_s: float = 30.0
    survey_time_limit_s: float = 5.0
    rate_per_s: int | None = None
    max_lag_blocks: int = 3
    max_lag_s: int = 60
    survey_every_s: float = 5.0
    rounds: int = 4
    patience_s: float = 40.0

    def time_limit(self, method: str) -> float:
        """Seconds for one request of ``method``."""
        slow = method.startswith(("debug_", "trace_")) or method in (
            "eth_getLogs",
            "eth_simulateV1",
        )
        return self.slow_time_limit_s if slow else self.time_limit_s


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block of an endpoint."""

    number: int
    timestamp: int
    hash: str

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Head:
        """From a header that was checked."""
        number, timestamp = int(header["number"], 16), int(header["timestamp"], 16)
        return cls(number, timestamp, header["hash"].lower())


@dataclass(slots=True)
class Bucket:
    """A token bucket: ``rate_per_s`` on average, at most two seconds' worth at once."""

    rate_per_s: int | None
    _tokens: float = field(init=False)
    _at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._tokens = self._most

    def wait_s(self, now: float) -> float:
        """Seconds until a request may go out."""
        if self.rate_per_s is None:
            return 0.0
        return max(0.0, 1.0 - self._filled(now)) / self.rate_per_s

    def take(self, now: float, requests: int) -> None:
        """Book ``requests``; a batch may overdraw, what follows then waits longer."""
        self._tokens = self._filled(now) - requests
        self._at = now

    @property
    def _most(self) -> float:
        return 2.0 * max(self.rate_per_s or 0, 1)

    def _filled(self, now: float) -> float:
        return min(self._most, self._tokens + (now - self._at) * (self.rate_per_s or 0))


@dataclass(slots=True)
class Health:
    """What is known of one endpoint.

    ``admitted`` once it has shown that it serves the right chain; ``refused`` says why it never
    will be used. ``head_at`` is when it showed ``head``. ``fault`` is what it did wrong last, and
    empty while it does well.
    """

    admitted: bool = False
    refused: str = ""
    fault: str = ""
    head: Head | None = None
    head_at: float = 0.0
    resting_until: float = 0.0
    latency_ms: int | None = None
    _failures: int = 0
    _numbers: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def took(self, seconds: float) -> None:
        """A request took that long, whatever came of it."""
        took_ms = int(seconds * 1000)
        mean = took_ms if self.latency_ms is None else self.latency_ms
        self.latency_ms = mean + (took_ms - mean) // _SMOOTHING

    def did_well(self) -> None:
        """What it answered made sense."""
        self._failures, self.fault, self.resting_until = 0, "", 0.0

    def failed(self, fault: str, now: float, chance: float) -> None:
        """It did not answer: let it rest, twice as long each time, spread by ``chance`` (0 to 1).

        Spread, so that many keepers that lost one endpoint do not come back to it in step.
        """
        rest_s = min(_LONGEST_REST_S, _FIRST_REST_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self.fault = fault
        self.resting_until = now + rest_s * (0.5 + chance / 2)

    def resting(self, now: float) -> bool:
        return now < self.resting_until

    def saw(self, header: Mapping[str, Any], *, is_head: bool, now: float) -> None:
        """Remember a block that the endpoint has shown."""
        block = Head.of(header)
        if is_head:
            self.head, self.head_at = block, now
        self._numbers[block.hash] = block.number
        self._numbers.move_to_end(block.hash)
        if len(self._numbers) > _HASHES:
            self._numbers.popitem(last=False)

    def number_of(self, block_hash: str) -> int | None:
        """Number of a block that the endpoint has shown, None for any other."""
        return self._numbers.get(block_hash.lower())

    def lag(self, leader: Head | None, limits: Limits) -> str:
        """Why it is too far behind ``leader`` to be used; empty when it is not."""
        if leader is None or self.head is None:
            return ""
        blocks = leader.number - self.head.number
        seconds = leader.timestamp - self.head.timestamp
        if blocks > limits.max_lag_blocks:
            return f"is {blocks} blocks behind"
        if blocks >= 0 and seconds > limits.max_lag_s:
            return f"has a head {seconds} s older"
        return ""
