"""One of several endpoints: its transport, its health, and the checks each answer has to pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Protocol, TypeVar

from rebalancer.evm.answers import (
    Verdict,
    block_hashes,
    describe,
    is_header,
    judge,
    lacks_block_hash,
)
from rebalancer.evm.health import Bucket, Health, Limits
from rebalancer.evm.rpc import Call, RequestTooLarge, RpcError, Unanswered

_CHAIN_ID: Call = ("eth_chainId", ())
_HEAD: Call = ("eth_getBlockByNumber", ("latest", False))
_IDENTITY: Call = ("anvil_metadata", ())
#: State of a block that never was: only a node that does not understand the question answers it.
_NOWHERE: Call = ("eth_getBalance", ("0x" + "00" * 20, {"blockHash": "0x" + "00" * 31 + "01"}))
#: "Resource not found" (EIP-1474): what a node says of a block hash that it does not have.
NOT_FOUND = -32001
#: Calls in a batch that the well-known providers take; their callers know it too.
_BATCH = 100
_HEADERS = ("eth_getBlockByNumber", "eth_getBlockByHash")

T = TypeVar("T")


class Transport(Protocol):
    """The way to one endpoint; ``where`` is its name without any secret."""

    where: str

    def call(self, method: str, *params: Any) -> Any: ...

    def ask(self, calls: Sequence[Call], timeout_s: float | None = None) -> list[Any]: ...


class Lagging(Unanswered):
    """The endpoint is behind a block that another one has shown."""


class Endpoint:
    """A transport under watch. Safe to use from several threads.

    ``clock`` and ``sleep`` are in seconds, ``chance`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        transport: Transport,
        name: str,
        chain_id: int,
        limits: Limits,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        chance: Callable[[], float],
    ) -> None:
        self.name = name
        self.health = Health()
        self.identity: str | None = None
        self.in_flight = 0
        self.looking = False
        self._transport = transport
        self._chain_id = chain_id
        self._limits = limits
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._bucket = Bucket(limits.rate_per_s)
        self._by_number = False
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Endpoint({self.name})"

    @property
    def resting(self) -> bool:
        return self.health.resting(self._clock())

    @property
    def wait_s(self) -> float:
        """Seconds until the rate limit lets a request through."""
        with self._lock:
            return self._bucket.wait_s(self._clock())

    def knows(self, hashes: frozenset[str]) -> bool:
        """Whether it has shown all these blocks."""
        with self._lock:
            return all(self.health.number_of(block_hash) is not None for block_hash in hashes)

    def has(self, hashes: frozenset[str]) -> bool:
        """Whether it has all these blocks; asks for those that it has not shown."""
        if not self.knows(hashes):
            self.read([("eth_getBlockByHash", (item, False)) for item in sorted(hashes)], None)
        return self.knows(hashes)

    def look(self) -> None:
        """Look at chain and head; the first time also at what kind of node it is.

        Marks it admitted, or refused for good when it serves another chain. Raises Unanswered.
        """
        first = not self.health.admitted
        asked = [_CHAIN_ID, _HEAD, *((_IDENTITY, _NOWHERE) if first else ())]
        answers = self._ask(asked, self._limits.survey_time_limit_s)
        self._check(asked[:3], answers[:3], 0)
        if first:
            if isinstance(answers[2], Mapping):
                self.identity = str(answers[2].get("instanceId"))
            self._by_number = lacks_block_hash(answers[3])
            self.health.admitted = True

    def read(self, calls: Sequence[Call], floor: int | None) -> list[Any]:
        """Answers of ``calls``, RpcErrors among them; with ``floor``, of a head that far at least.

        The head is read ahead of the rest, so that what comes after it is no older; in the same
        request, unless that would make it larger than many a provider allows. Raises Unanswered,
        and Lagging with the endpoint's health otherwise unharmed.
        """
        guards = [] if floor is None else [c for c in (_CHAIN_ID, _HEAD) if not _has(calls, c)]
        limit_s = max(self._limits.time_limit(method) for method, _ in calls)
        if guards and len(guards) + len(calls) > _BATCH:
            both = [_CHAIN_ID, _HEAD]
            self._check(both, self._ask(both, limit_s), floor)
            guards, floor = [], None
        asked = [*guards, *calls]
        answers = self._ask(asked, limit_s)
        self._check(asked, answers, floor)
        return answers[len(guards) :]

    def send(self, method: str, *params: Any) -> Any:
        """Ask once, whatever comes of it; raises RpcError for the node's no, else Unanswered."""
        call = (method, params)
        try:
            answer = self._watched(1, lambda: self._transport.call(method, *params))
        except RpcError as error:
            # A node that is overrun has not said no to the transaction.
            self._check([call], [error], None)
            raise
        self._check([call], [answer], None)
        return answer

    def fail(self, fault: str) -> None:
        """What it said was no use: let it rest."""
        with self._lock:
            self.health.failed(fault, self._clock(), self._chance())

    def refuse(self, reason: str) -> None:
        """Never use it again."""
        self.health.refused = reason

    def _ask(self, calls: Sequence[Call], timeout_s: float) -> list[Any]:
        if self._by_number and block_hashes(calls):
            return self._ask_by_number(calls, timeout_s)
        return self._watched(len(calls), lambda: self._transport.ask(calls, timeout_s))

    def _ask_by_number(self, calls: Sequence[Call], timeout_s: float) -> list[Any]:
        """The same of a node that cannot read by block hash: by number, the hash looked at twice.

        The block stands at its number before and after, so it stood there in between. One that
        does not is answered like a hash that the node does not have.
        """

        def ask(some: Sequence[Call]) -> list[Any]:
            return self._watched(len(some), lambda: self._transport.ask(some, timeout_s))

        def stand() -> bool:
            asked: list[Call] = [
                ("eth_getBlockByNumber", (hex(n), False)) for n in numbers.values()
            ]
            found = ask(asked)
            return all(
                is_header(header) and header["hash"].lower() == block_hash
                for block_hash, header in zip(numbers, found, strict=True)
            )

        hashes = {block_hash.lower() for block_hash in block_hashes(calls)}
        numbers = {
            block_hash: number
            for block_hash in sorted(hashes)
            if (number := self._number_of(block_hash, ask)) is not None
        }
        if len(numbers) == len(hashes) and stand():
            answers = ask([(method, _by_number(params, numbers)) for method, params in calls])
            if stand():
                return answers
        return [RpcError(m, NOT_FOUND, "the block is not part of the chain") for m, _ in calls]

    def _number_of(self, block_hash: str, ask: Callable[[Sequence[Call]], list[Any]]) -> int | None:
        known = self.health.number_of(block_hash)
        if known is not None:
            return known
        (header,) = ask([("eth_getBlockByHash", (block_hash, False))])
        return int(header["number"], 16) if is_header(header) else None

    def _watched(self, requests: int, send: Callable[[], T]) -> T:
        """Send within the rate limit, and note how it went."""
        with self._lock:
            now = self._clock()
            wait_s = self._bucket.wait_s(now)
            self._bucket.take(now, requests)
            self.in_flight += 1
            start = now
        try:
            if wait_s > 0:
                self._sleep(wait_s)
                start = self._clock()
            return send()
        except RequestTooLarge:
            raise
        except Unanswered as error:
            self.fail(error.fault)
            raise
        finally:
            with self._lock:
                self.health.took(self._clock() - start)
                self.in_flight -= 1

    def _check(self, calls: Sequence[Call], answers: Sequence[Any], floor: int | None) -> None:
        """Raise Unanswered unless the answers make sense and are of this chain and a head so far.

        Learns blocks from them on the way.
        """
        for call, answer in zip(calls, answers, strict=True):
            if judge(call, answer) is Verdict.FAULT:
                raise self._useless(call[0], describe(call, answer))
        right_chain, head = False, -1
        for (method, params), answer in zip(calls, answers, strict=True):
            if method == "eth_chainId" and isinstance(answer, str):
                right_chain = self._check_chain(int(answer, 16))
            elif method in _HEADERS and is_header(answer):
                with self._lock:
                    self.health.saw(answer, is_head=params[0] == "latest", now=self._clock())
                head = int(answer["number"], 16) if params[0] == "latest" else head
        if floor is not None and not (right_chain and head >= 0):
            raise self._useless("eth_getBlockByNumber", "shows no chain id or no head")
        with self._lock:
            self.health.did_well()
        if floor is not None and head < floor:
            fault = f"is {floor - head} block(s) behind"
            raise Lagging(self.name, fault, "eth_getBlockByNumber")

    def _check_chain(self, served: int) -> bool:
        if served != self._chain_id:
            self.refuse(f"serves chain {served}, chain {self._chain_id} is wanted")
            raise Unanswered(self.name, self.health.refused, "eth_chainId")
        return True

    def _useless(self, method: str, fault: str) -> Unanswered:
        self.fail(fault)
        return Unanswered(self.name, fault, method)


def _has(calls: Sequence[Call], wanted: Call) -> bool:
    return any((method, tuple(params)) == wanted for method, params in calls)


def _by_number(params: Sequence[Any], numbers: Mapping[str, int]) -> list[Any]:
    return [
        hex(numbers[str(p["blockHash"]).lower()])
        if isinstance(p, Mapping) and "blockHash" in p
        else p
        for p in params
    ]
