"""What ``status`` tells of the time before: LP entries, and why the portfolio moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rebalancer.errors import ConfigError, ReadError, StalePrice

if TYPE_CHECKING:
    from rebalancer.amm.attribution import Attribution
    from rebalancer.cli.session import Session
    from rebalancer.model import LpHolding, Snapshot
    from rebalancer.readers.history import LotReader


@contextmanager
def of_block(number: int | str | None) -> Iterator[None]:
    """Errors of reading a block that somebody named by its number say which one it is."""
    try:
        yield
    except (ConfigError, ReadError) as error:
        if isinstance(number, int) and f"block {number}" not in str(error):
            error.args = (f"at block {number}: {error}",)
            error.hint = (
                "name another block, at which that feed was alive"
                if isinstance(error, StalePrice)
                else f"name a later block, if there was nothing yet; {error.hint}"
            )
        raise


def with_lots(
    session: Session, snapshot: Snapshot, readers: Mapping[str, LotReader]
) -> tuple[Snapshot, tuple[str, ...]]:
    """The snapshot with the lots of every position that has a ``since_block``, and what failed.

    ``readers`` are by wallet. What the logs cannot explain costs that position its impermanent loss
    and nothing else.
    """
    notes: list[str] = []
    holdings = _lots_of(session, snapshot, snapshot.holdings, readers[snapshot.wallet], notes)
    watched = tuple(
        replace(w, holdings=_lots_of(session, snapshot, w.holdings, readers[w.wallet], notes))
        for w in snapshot.watched
    )
    return replace(snapshot, holdings=holdings, watched=watched), tuple(dict.fromkeys(notes))


def _lots_of(
    session: Session,
    snapshot: Snapshot,
    holdings: Sequence[LpHolding],
    reader: LotReader,
    notes: list[str],
) -> tuple[LpHolding, ...]:
    """One wallet's holdings with their lots; what is not known is added to ``notes``."""
    lps = {lp.pair: lp for lp in session.resolved.lps}
    found: list[LpHolding] = []
    for holding in holdings:
        lp = lps[holding.pair]
        if holding.shares and lp.since_block is None and lp.entry_block is None:
            notes.append(
                f"give {lp.name} a since_block (or entry_block) to see its impermanent loss"
            )
        if lp.since_block is not None and holding.shares:
            whose = "" if reader.wallet == snapshot.wallet else f" in {reader.wallet}"
            try:
                lots = reader.lots(lp, holding.shares, snapshot.block)
                holding = replace(holding, lots=lots)
            except ReadError as error:
                notes.append(f"the impermanent loss of {lp.name}{whose} is not known: {error}")
        found.append(holding)
    return tuple(found)


def attribution(
    session: Session, snapshot: Snapshot, since: int | None
) -> tuple[Attribution | None, str, tuple[str, ...]]:
    """Why it moved since block ``since``, or since the last rebalance that the ledger knows.

    With what happened then, and notes. Without either block there is nothing to tell. Raises
    ReadError where the named block cannot be read; the ledger's own only costs a note.
    """
    from rebalancer.amm.attribution import attribute
    from rebalancer.model import UNREADABLE
    from rebalancer.readers.flows import read_flows
    from rebalancer.readers.snapshot import read_snapshot

    number = session.last_rebalance_block(snapshot.block.number) if since is None else since
    if number is None or number == snapshot.block.number:
        same = f"nothing moved since block {since}: it is the one that is read"
        return None, "", () if since is None else (same,)
    if number > snapshot.block.number:
        raise ConfigError(
            f"--since {number} is after block {snapshot.block.number}, which is read",
            hint="name an earlier block",
        )
    name = "the last rebalance" if since is None else f"block {since}"
    positions = session.resolved.scheme.positions
    try:
        with of_block(number):
            before = read_snapshot(session.rpc, session.resolved, number)
        # What one of the two snapshots could not read did not come and did not leave.
        lost = {
            item.name for s in (before, snapshot) for item in s.held_out if item.code == UNREADABLE
        }
        positions = tuple(name for name in positions if name not in lost)
        flows = read_flows(session.rpc, snapshot, positions, before.block)
        found = attribute(before, snapshot, positions, flows)
    except ReadError as error:
        if since is not None:
            raise
        return None, "", (f"why it moved since the last rebalance is not known: {error}",)
    return found, name, ()
