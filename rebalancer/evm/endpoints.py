"""Several endpoints of one network as one ``Rpc``: the right answer, or a clear refusal.

Reads go to one endpoint after the other, best first, until one of them has the chain's word, and
are tried again with pauses that grow. What is sent goes out once to each endpoint and is never
tried again. Who may be asked is the ``roster``'s business. docs/endpoints.md has the rules and
their reasons.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from functools import partial
from typing import Any, Self

from rebalancer.errors import ConfigError
from rebalancer.evm.abi import from_hex, to_hex
from rebalancer.evm.answers import Verdict, block_hashes, is_read, is_send, judge, needs_head
from rebalancer.evm.background import start
from rebalancer.evm.endpoint import NOT_FOUND, Endpoint, Lagging, Transport
from rebalancer.evm.health import Limits
from rebalancer.evm.roster import EndpointStatus, Roster
from rebalancer.evm.rpc import Call, HttpRpc, RequestTooLarge, RpcError, Unanswered

_SEND = "eth_sendRawTransaction"
#: Mean of the first pause between rounds; it doubles with each.
_FIRST_PAUSE_S = 0.25


class Endpoints:
    """An ``Rpc`` over several transports, the preferred ones first. Safe for several threads.

    ``clock`` and ``sleep`` are in seconds, ``chance`` gives numbers from 0 to 1. Raises Unanswered
    or RpcUnavailable when nothing answers, ChainMismatch when every endpoint serves another chain,
    ConfigError when they are not all of one chain, RpcError when the chain itself says no.
    """

    def __init__(
        self,
        transports: Sequence[Transport],
        chain_id: int,
        limits: Limits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not transports:
            raise ConfigError("there is no RPC endpoint", hint="set its URL in .env or --rpc-url")
        self._limits = limits or Limits()
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._roster = Roster(transports, chain_id, self._limits, clock, sleep, chance)

    @classmethod
    def at(cls, urls: Iterable[str], chain_id: int, limits: Limits | None = None) -> Self:
        """Endpoints at ``urls``, each once; raises RpcUnavailable for what is no URL."""
        limits = limits or Limits()
        transports = [HttpRpc(url, limits.time_limit_s) for url in dict.fromkeys(urls)]
        return cls(transports, chain_id, limits)

    def __repr__(self) -> str:
        return f"Endpoints({', '.join(self._roster.names)})"

    def call(self, method: str, *params: Any) -> Any:
        if is_send(method) or not is_read(method):
            return self._once(method, params)
        (answer,) = self._read([(method, params)])
        return _result(answer)

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        if not calls:
            return []
        if not all(is_read(method) for method, _ in calls):
            return [self.call(method, *params) for method, params in calls]
        return [_result(answer) for answer in self._read(calls)]

    def statuses(self) -> tuple[EndpointStatus, ...]:
        """How every endpoint is doing, after a look at each."""
        return self._roster.statuses()

    def _read(self, calls: Sequence[Call]) -> list[Any]:
        """Answers of ``calls`` from one endpoint, RpcErrors among them."""
        start = self._clock()
        told: list[Any] | RequestTooLarge | None = None
        for turn in range(self._limits.rounds):
            self._roster.survey()
            said, may_tell = self._ask_around(calls)
            if said is not None:
                told = said
                if not may_tell:
                    break
            out_of_time = self._clock() - start > self._limits.patience_s
            if turn + 1 == self._limits.rounds or out_of_time or self._roster.all_refused:
                break
            self._sleep(_FIRST_PAUSE_S * 2.0**turn * (0.5 + self._chance()))
        if isinstance(told, list):
            return told
        raise told or self._roster.exhausted(calls)

    def _ask_around(self, calls: Sequence[Call]) -> tuple[list[Any] | RequestTooLarge | None, bool]:
        """Ask one endpoint after the other for the chain's word.

        Returns it, or the best there was: an error or "nothing" that another one might have known
        better, or a RequestTooLarge; and whether one that failed might still tell.
        """
        floor = self._roster.floor if needs_head(calls) else None
        best: list[Any] | RequestTooLarge | None = None
        may_tell = False
        hashes = block_hashes(calls)
        for endpoint, promising in self._roster.order(hashes):
            if best is not None and not promising:
                break
            try:
                if not self._roster.alone and not endpoint.has(hashes):
                    best = best or [RpcError(m, NOT_FOUND, "block not found") for m, _ in calls]
                    continue
                answers = endpoint.read(calls, floor)
            except RequestTooLarge as error:
                best = best or error
            except Lagging:
                pass
            except Unanswered:
                may_tell = True
            else:
                if all(judge(*pair) is Verdict.ANSWER for pair in zip(calls, answers, strict=True)):
                    return answers, False
                best = best if isinstance(best, list) else answers
        return best, may_tell

    def _once(self, method: str, params: Sequence[Any]) -> Any:
        """Send to every endpoint at once (raw transactions) or to the best one; never again."""
        self._roster.survey()
        targets = self._roster.targets()
        if not targets:
            raise self._roster.exhausted([(method, params)])
        if method != _SEND:
            return targets[0].send(method, *params)
        if len(targets) == 1:
            return _send_raw(targets[0], params)
        return self._broadcast(targets, params)

    def _broadcast(self, targets: Sequence[Endpoint], params: Sequence[Any]) -> Any:
        """The same bytes to all; the hash as soon as one has taken them.

        An endpoint that gave no answer may have taken them: then there is no RpcError, which would
        say that nobody has.
        """
        sending = [start(partial(_send_raw, endpoint, params)) for endpoint in targets]
        lost: Unanswered | None = None
        refusal: RpcError | None = None
        for future in as_completed(sending):
            try:
                return future.result()
            except Unanswered as error:
                lost = lost or error
            except RpcError as error:
                refusal = refusal or error
        raise lost or refusal or self._roster.exhausted([(_SEND, params)])


def _send_raw(endpoint: Endpoint, params: Sequence[Any]) -> Any:
    """Send a raw transaction; an answer that is not its hash is as good as none."""
    answer = endpoint.send(_SEND, *params)
    if not isinstance(answer, str) or answer.lower() != _hash_of(params[0]):
        endpoint.fail("answered a transaction with what is not its hash")
        raise Unanswered(endpoint.name, endpoint.health.fault, _SEND)
    return answer


def _hash_of(raw: str) -> str:
    from eth_utils.crypto import keccak

    return to_hex(keccak(from_hex(raw)))


def _result(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise answer
    return answer
