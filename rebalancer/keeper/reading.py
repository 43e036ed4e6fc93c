"""Who reads for a cycle: itself, or a pass over several portfolios that are due together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.errors import ConfigError, ReadError
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Snapshot
from rebalancer.readers.snapshot import read_many, read_snapshot


class Reads(Protocol):
    """What a cycle asks for its portfolio."""

    def snapshot(self) -> Snapshot:
        """The portfolio at the head, or at the block that others were just read at."""

    def forget(self) -> None:
        """Something was sent, or may have been: what was read for others is of another time."""


@dataclass(frozen=True, slots=True)
class Due:
    """A portfolio that is due; ``nodes`` tells those apart that ask other nodes.

    ``rpc`` is called when its turn comes: a portfolio whose nodes cannot be used fails by itself.
    """

    resolved: ResolvedPortfolio
    nodes: Hashable
    rpc: Callable[[], Rpc]


@dataclass(slots=True)
class SharedReads:
    """Portfolios that are due together, read in one pass at one block, each for its own turn.

    The first one's turn reads for all that are still to come and ask the same nodes. Once something
    was sent they are read anew, again together.
    """

    _due: dict[str, Due] = field(default_factory=dict)
    _read: dict[str, Snapshot] = field(default_factory=dict)

    def begin(self, due: Iterable[Due]) -> None:
        """These are due now, and nobody else; nothing that was read before counts."""
        self._due = {one.resolved.portfolio.name: one for one in due}
        self._read.clear()

    def forget(self) -> None:
        """What was read for those that are still to come is of another time."""
        self._read.clear()

    def turn(self, one: Due) -> Snapshot:
        """The snapshot of a portfolio whose turn it is; raises what ``read_snapshot`` raises."""
        name = one.resolved.portfolio.name
        is_due = self._due.pop(name, None) is not None
        if name in self._read:
            return self._read.pop(name)
        rpc = one.rpc()
        mates = [mate for mate in self._due.values() if _same_nodes(mate, one)]
        if is_due and mates:
            portfolios = (one.resolved, *(mate.resolved for mate in mates))
            try:
                own, *others = read_many(rpc, portfolios)
            except (ConfigError, ReadError):
                # One of them cannot be read: that is its own cycle's to say, and no other's. So
                # each reads by itself this time.
                self._due.clear()
                return read_snapshot(rpc, one.resolved)
            names = (mate.resolved.portfolio.name for mate in mates)
            self._read.update(zip(names, others, strict=True))
            return own
        return read_snapshot(rpc, one.resolved)


@dataclass(frozen=True, slots=True)
class Turn:
    """The reads of one portfolio's cycle."""

    reads: SharedReads
    due: Due

    def snapshot(self) -> Snapshot:
        return self.reads.turn(self.due)

    def forget(self) -> None:
        self.reads.forget()


def _same_nodes(a: Due, b: Due) -> bool:
    return a.nodes == b.nodes and a.resolved.network == b.resolved.network
