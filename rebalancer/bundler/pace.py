"""How to wait for a chain, and when to stop waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rebalancer.bundler.head import Head
from rebalancer.errors import RpcUnavailable, Stopped
from rebalancer.evm.rpc import RpcError


@dataclass(frozen=True, slots=True)
class Pace:
    """How to wait. ``clock`` and ``sleep`` are in seconds; only the chain's time ends a bundle.

    ``silence_s`` is how long the chain may show no new block before waiting is given up; the
    bundle stays open then. ``told_s`` says for how long somebody has wanted the process to end,
    None while nobody does: what is out is followed for another ``grace_s``, nothing new begins.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    poll_s: float = 1.0
    silence_s: float = 180.0
    told_s: Callable[[], float | None] = lambda: None
    grace_s: float = 4.0

    def check(self) -> None:
        """Raise Stopped once somebody wants the process to end: asked before anything begins."""
        if self.told_s() is not None:
            raise Stopped("told to stop before anything was signed", hint="run it again")


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

    def rest(self) -> None:
        """Wait until it is time for the next look; raises Stopped when there is to be none."""
        told_s = self._pace.told_s()
        if told_s is not None and told_s > self._pace.grace_s:
            raise Stopped(
                f"told to stop while the chain was waited for; transaction {self._tx_hash} stays"
                " open",
                hint="it is in the ledger: the next run with --execute follows it to its end first",
                tx_hash=self._tx_hash,
            )
        self._pace.sleep(self._pace.poll_s)

    def failed(self, error: RpcUnavailable | RpcError) -> None:
        """The node failed; raises ``error`` when that lasts."""
        if self._pace.clock() - self._since > self._pace.silence_s:
            raise error
