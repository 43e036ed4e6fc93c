"""How to wait for a chain, and when to stop waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rebalancer.bundler.head import Head
from rebalancer.errors import RpcUnavailable
from rebalancer.evm.rpc import RpcError


@dataclass(frozen=True, slots=True)
class Pace:
    """How to wait. ``clock`` and ``sleep`` are in seconds; only the chain's time ends a bundle.

    ``silence_s`` is how long the chain may show no new block before waiting is given up; the
    bundle stays open then.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    poll_s: float = 1.0
    silence_s: float = 180.0

    def rest(self) -> None:
        """Wait until it is time for the next look."""
        self.sleep(self.poll_s)


class Watch:
    """Gives up when nothing new was heard of the chain for too long."""

    def __init__(self, pace: Pace, tx_hash: str) -> None:
        self._pace = pace
        self._tx_hash = tx_hash
        self._head = ""
        self._since = pace.clock()

    def saw(self, head: Head) -> None:
        """The node shows this head; raises RpcUnavailable when it has not moved for too long."""
        if head.hash != self._head:
            self._head, self._since = head.hash, self._pace.clock()
        self.failed(
            RpcUnavailable(
                f"the chain shows no new block; transaction {self._tx_hash} stays open",
                hint="run again when the node follows the chain: it is looked up first",
                tx_hash=self._tx_hash,
            )
        )

    def failed(self, error: RpcUnavailable | RpcError) -> None:
        """The node failed; raises ``error`` when that lasts."""
        if self._pace.clock() - self._since > self._pace.silence_s:
            raise error
