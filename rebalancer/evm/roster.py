"""Who may be asked: endpoints that serve the right chain, keep up with it, and are not at rest.

An endpoint is used once it has shown that it serves the chain that is wanted. Heads are compared
every few seconds, and with every answer that depends on the head; the most advanced block wins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from threading import Lock
from urllib.parse import urlsplit

from rebalancer.errors import ChainMismatch, ConfigError, RpcUnavailable
from rebalancer.evm.background import start
from rebalancer.evm.endpoint import Endpoint, Transport
from rebalancer.evm.health import Head, Limits
from rebalancer.evm.rpc import Call, Unanswered

#: What an endpoint once showed of the head counts against the others for so long.
_MEMORY_S = 600.0
#: How long a survey waits for the others once one endpoint has answered.
_GRACE_S = 1.0
_FAST_MS, _FAIR_MS = 150, 1_000


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What a person wants to know of one endpoint; ``name`` is scheme and host.

    ``head`` is its newest block as last seen, ``speed`` the class of ``latency_ms``, the mean time
    of its answers: fast (under 150 ms), fair (under 1 s), slow, or unknown. ``trouble`` says why it
    is not used at the moment; empty when it is.
    """

    name: str
    head: int | None
    latency_ms: int | None
    speed: str
    trouble: str


class Roster:
    """All endpoints of a network, and which of them to ask first. Safe for several threads."""

    def __init__(
        self,
        transports: Sequence[Transport],
        chain_id: int,
        limits: Limits,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        chance: Callable[[], float],
    ) -> None:
        self.names = _names([transport.where for transport in transports])
        self._limits = limits
        self._clock = clock
        self._endpoints = [
            Endpoint(transport, name, chain_id, _limits_of(transport, limits), clock, sleep, chance)
            for transport, name in zip(transports, self.names, strict=True)
        ]
        self._surveyed_at: float | None = None
        self._surveying = Lock()
        self._identities: list[str | None] = []

    @property
    def alone(self) -> bool:
        """Whether there is one endpoint only, and nothing to compare it with."""
        return len(self._endpoints) == 1

    @property
    def floor(self) -> int | None:
        """How far an endpoint has to be for its view of the head to count; None when alone."""
        leader = self._leader
        return None if self.alone or leader is None else leader.number

    @property
    def all_refused(self) -> bool:
        return all(endpoint.health.refused for endpoint in self._endpoints)

    def survey(self, force: bool = False) -> None:
        """Look at chain and head of every endpoint that is due, of all at once.

        Raises ConfigError when a local Anvil is mixed with other chains.
        """
        with self._surveying:
            if force or self._is_due():
                self._look_at([e for e in self._endpoints if self._may_look(e, force)])
                if self._admitted:
                    self._surveyed_at = self._clock()
            self._check_identities()

    def order(self, hashes: frozenset[str]) -> list[tuple[Endpoint, bool]]:
        """The endpoints to ask, best first; and whether each is promising.

        Those come first that are well, within their rate and idle; of them those that know the
        blocks with ``hashes`` (so that the reads of one snapshot stay together) and have the
        furthest head. One that is not well is asked when nobody else has said anything, or when it
        knows the block.
        """
        well = {e: self._is_well(e) for e in self._admitted}
        knows = {e: e.knows(hashes) for e in well}
        floor = self.floor or 0

        def rank(e: Endpoint) -> tuple[bool, bool, bool, bool, bool, int]:
            busy = e.in_flight > 0
            behind = e.health.head is not None and e.health.head.number < floor
            return not well[e], e.wait_s > 0, busy, not knows[e], behind, e.in_flight

        return [(e, well[e] or (knows[e] and bool(hashes))) for e in sorted(well, key=rank)]

    def targets(self) -> list[Endpoint]:
        """The endpoints to send to: all that are well; if none is, all that may be used."""
        order = self.order(frozenset())
        return [e for e, _ in order if self._is_well(e)] or [e for e, _ in order]

    def statuses(self) -> tuple[EndpointStatus, ...]:
        """How every endpoint is doing, after a look at each."""
        self.survey(force=True)
        return tuple(
            EndpointStatus(
                name=e.name,
                head=None if e.health.head is None else e.health.head.number,
                latency_ms=e.health.latency_ms,
                speed=_speed(e.health.latency_ms),
                trouble=self._trouble(e),
            )
            for e in self._endpoints
        )

    def exhausted(self, calls: Sequence[Call]) -> RpcUnavailable | ChainMismatch:
        """One line for everything that went wrong, each endpoint by its host."""
        troubles = [(e.name, self._trouble(e) or "is behind the others") for e in self._endpoints]
        if self.all_refused:
            return ChainMismatch(
                "; ".join(f"the RPC endpoint {name} {trouble}" for name, trouble in troubles),
                hint="correct the URL in .env or --rpc-url, or the network of the portfolio",
            )
        method = calls[0][0] if len(calls) == 1 else "batch"
        if len(troubles) == 1:
            return Unanswered(*troubles[0], method)
        listed = "; ".join(f"{name} {trouble}" for name, trouble in troubles)
        return RpcUnavailable(
            f"none of the {len(troubles)} RPC endpoints answered {method}: {listed}",
            hint="check that the nodes are up and the URLs in .env or --rpc-url are right",
        )

    @property
    def _admitted(self) -> list[Endpoint]:
        return [e for e in self._endpoints if e.health.admitted and not e.health.refused]

    @property
    def _leader(self) -> Head | None:
        """The most advanced block that any endpoint has shown of late."""
        since = self._clock() - _MEMORY_S
        heads = [
            e.health.head
            for e in self._endpoints
            if e.health.head is not None and not e.health.refused and e.health.head_at >= since
        ]
        return max(heads, key=lambda head: head.number, default=None)

    def _is_due(self) -> bool:
        if self._surveyed_at is None or not self._admitted:
            return True
        return not self.alone and self._clock() - self._surveyed_at >= self._limits.survey_every_s

    def _may_look(self, endpoint: Endpoint, force: bool) -> bool:
        """Not at what is refused or being looked at; at what rests if there is nothing else."""
        if endpoint.health.refused or endpoint.looking:
            return False
        return force or not self._admitted or not endpoint.resting

    def _look_at(self, due: Sequence[Endpoint]) -> None:
        """Look at all of ``due``; one that hangs holds up nobody once another has answered."""
        if len(due) == 1:
            _look(due[0])
            return
        waiting: set[Future[None]] = set()
        for endpoint in due:
            endpoint.looking = True
            waiting.add(start(partial(_look, endpoint)))
        while waiting and not self._admitted:
            _, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        wait(waiting, timeout=_GRACE_S)

    def _check_identities(self) -> None:
        """A local Anvil shares its chain id with the chain it forks: never take one for the other.

        Raises ConfigError when both are there from the start, refuses one that comes later.
        """
        admitted = self._admitted
        if admitted and not self._identities:
            if len({e.identity for e in admitted}) > 1:
                names = ", ".join(e.name for e in admitted)
                raise ConfigError(
                    f"the RPC endpoints {names} are not of one chain: a local Anvil is among them",
                    hint="give endpoints of the real chain, or of one Anvil, never of both",
                )
            self._identities = [admitted[0].identity]
        for endpoint in admitted:
            if endpoint.identity not in self._identities:
                endpoint.refuse("is not of the others' chain: one of them is a local Anvil")

    def _is_well(self, endpoint: Endpoint) -> bool:
        lags = endpoint.health.lag(self._leader, self._limits)
        return not (endpoint.resting or endpoint.looking or lags)

    def _trouble(self, endpoint: Endpoint) -> str:
        health = endpoint.health
        if endpoint.looking or not (health.admitted or health.refused or health.fault):
            return "has not answered yet"
        return health.refused or health.fault or health.lag(self._leader, self._limits)


def _look(endpoint: Endpoint) -> None:
    try:
        with suppress(Unanswered):  # its health says so
            endpoint.look()
    finally:
        endpoint.looking = False


def _limits_of(transport: Transport, limits: Limits) -> Limits:
    """One's own node, on this machine or in the same network, may be asked as much as it bears."""
    host = urlsplit(transport.where).hostname or ""
    try:
        own = ip_address(host).is_private
    except ValueError:
        own = host == "localhost"
    return replace(limits, rate_per_s=None) if own else limits


def _names(wheres: Sequence[str]) -> list[str]:
    """Names that tell endpoints of one host apart: the second is ``https://host #2``."""
    counts: Counter[str] = Counter()
    names = []
    for where in wheres:
        counts[where] += 1
        names.append(where if counts[where] == 1 else f"{where} #{counts[where]}")
    return names


def _speed(latency_ms: int | None) -> str:
    if latency_ms is None:
        return "unknown"
    return "fast" if latency_ms < _FAST_MS else "fair" if latency_ms < _FAIR_MS else "slow"
