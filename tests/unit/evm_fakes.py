"""A chain in a few lines, endpoints to it that misbehave on order, and a clock that obeys."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_utils.crypto import keccak

from rebalancer.evm.background import THREAD_NAME
from rebalancer.evm.endpoints import Endpoints
from rebalancer.evm.health import Limits
from rebalancer.evm.rpc import Call, RpcError, Unanswered

CHAIN_ID = 1
GENESIS_TS = 1_700_000_000


def block_hash(number: int, branch: int = 0) -> str:
    return "0x" + f"{branch + 1:08x}" + f"{number:056x}"


class Clock:
    """Seconds that pass only by sleeping."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Chain:
    """Blocks with a balance that is their number, and a pool of transactions."""

    def __init__(self, head: int = 100, chain_id: int = CHAIN_ID) -> None:
        self.head = head
        self.chain_id = chain_id
        self.branch = 0
        self.anvil: str | None = None
        self.pool: set[str] = set()
        self.reads_by_hash = True
        self.missing: set[str] = set()
        self.answers: dict[str, Callable[..., Any]] = {}

    def answer(self, method: str, params: Sequence[Any]) -> Any:
        if method in self.answers:
            return self.answers[method](*params)
        name = f"_{method}"
        if method in self.missing or not hasattr(self, name):
            raise RpcError(method, -32601, "method not found")
        return getattr(self, name)(*params)

    def header(self, number: int) -> dict[str, Any] | None:
        if not 0 <= number <= self.head:
            return None
        timestamp = GENESIS_TS + 12 * number
        found = {"number": number, "timestamp": timestamp}
        return {k: hex(v) for k, v in found.items()} | {"hash": block_hash(number, self.branch)}

    def _eth_chainId(self) -> str:
        return hex(self.chain_id)

    def _eth_blockNumber(self) -> str:
        return hex(self.head)

    def _eth_getBlockByNumber(self, number: str, full: bool) -> Any:
        assert full is False
        return self.header(self.head if number == "latest" else int(number, 16))

    def _eth_getBlockByHash(self, wanted: str, full: bool) -> Any:
        assert full is False
        header = self.header(int(wanted[-16:], 16))
        return header if header and header["hash"] == wanted else None

    def _eth_getBalance(self, owner: str, at: Any) -> str:
        return hex(self._number(at))

    def _eth_call(self, transaction: Any, at: Any) -> str:
        return f"0x{self._number(at):064x}"

    def _number(self, at: Any) -> int:
        if not isinstance(at, dict):
            return self.head if at == "latest" else int(at, 16)
        if not self.reads_by_hash:
            raise RpcError("eth_call", -32602, "invalid argument 1")
        header = self._eth_getBlockByHash(at["blockHash"], False)
        if header is None:
            raise RpcError("eth_call", -32000, "header not found")
        return int(header["number"], 16)

    def _anvil_metadata(self) -> Any:
        if self.anvil is None:
            raise RpcError("anvil_metadata", -32601, "method not found")
        return {"instanceId": self.anvil}

    def _eth_getTransactionByHash(self, tx_hash: str) -> Any:
        return {"hash": tx_hash, "blockHash": None} if tx_hash in self.pool else None

    def _eth_sendRawTransaction(self, raw: str) -> str:
        tx_hash = hash_of(raw)
        if tx_hash in self.pool:
            raise RpcError("eth_sendRawTransaction", -32000, "already known")
        self.pool.add(tx_hash)
        return tx_hash


def hash_of(raw: str) -> str:
    return "0x" + keccak(bytes.fromhex(raw[2:])).hex()


@dataclass
class FakeTransport:
    """A way to ``chain``; ``fault`` sees the calls first and may raise or answer in its place.

    ``asked`` are the requests: each the calls of one HTTP request.
    """

    chain: Chain
    where: str
    clock: Clock
    takes_s: float = 0.01
    fault: Callable[[Sequence[Call]], list[Any] | None] | None = None
    asked: list[list[Call]] = field(default_factory=list)

    def call(self, method: str, *params: Any) -> Any:
        (answer,) = self.ask([(method, params)])
        if isinstance(answer, RpcError):
            raise answer
        return answer

    def ask(self, calls: Sequence[Call], timeout_s: float | None = None) -> list[Any]:
        self.asked.append(list(calls))
        self.clock.now += self.takes_s
        if self.fault is not None:
            told = self.fault(calls)
            if told is not None:
                return told
        return [self._one(method, params) for method, params in calls]

    def _one(self, method: str, params: Sequence[Any]) -> Any:
        try:
            return self.chain.answer(method, params)
        except RpcError as error:
            return error

    def down(self, fault: str = "did not answer in time") -> None:
        """From now on nothing comes back."""

        def silent(calls: Sequence[Call]) -> None:
            raise Unanswered(self.where, fault, calls[0][0])

        self.fault = silent

    def says(self, code: int, message: str = "no", data: Any = None) -> None:
        """From now on every call is answered with this error."""
        self.fault = lambda calls: [RpcError(m, code, message, data) for m, _ in calls]

    def well(self) -> None:
        self.fault = None

    def methods(self) -> list[list[str]]:
        return [[method for method, _ in calls] for calls in self.asked]


class World:
    """``count`` endpoints a, b, c, each with a chain of its own that is in the same state."""

    def __init__(self, count: int = 2, **limits: Any) -> None:
        self.clock = Clock()
        self.chains = [Chain() for _ in range(count)]
        self.transports = [
            FakeTransport(chain, f"https://{name}.example", self.clock)
            for name, chain in zip("abcdef", self.chains, strict=False)
        ]
        self.rpc = Endpoints(
            self.transports,
            CHAIN_ID,
            Limits(**limits),
            clock=self.clock,
            sleep=self.clock.sleep,
            chance=lambda: 0.5,
        )

    def forget(self) -> None:
        """Count requests from here."""
        for transport in self.transports:
            transport.asked.clear()

    def asked(self) -> list[int]:
        """How many requests each endpoint has had."""
        return [len(transport.asked) for transport in self.transports]

    def trouble(self) -> list[str]:
        return [status.trouble for status in self.rpc.statuses()]


def wait_for_threads() -> None:
    """Until what goes on in the background is done."""
    for thread in threading.enumerate():
        if thread.name == THREAD_NAME:
            thread.join()
