"""``rebalancer status``: what I have, what it is worth, how far it drifted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rebalancer.cli.options import (
    PORTFOLIO,
    BlockOption,
    JsonOption,
    LedgerOption,
    NetworksOption,
    RpcUrlOption,
)
from rebalancer.errors import ConfigError, ReadError

if TYPE_CHECKING:
    from rebalancer.cli.session import Session
    from rebalancer.model import Snapshot, Valuation

PortfoliosOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--portfolio",
        "-p",
        help="The portfolio file; again for more, all read at one block in one pass.",
        metavar="FILE",
        show_default=str(PORTFOLIO),
    ),
]
SinceOption = Annotated[
    int | None,
    typer.Option("--since", help="Tell why it moved since this block.", min=0, metavar="BLOCK"),
]
DiscoverOption = Annotated[
    bool, typer.Option("--discover", help="List LP positions held but not in the file.")
]
DiscoverSinceOption = Annotated[
    int | None,
    typer.Option(
        "--discover-since",
        help="The same, searching the logs from this block.",
        min=1,
        metavar="BLOCK",
    ),
]


WatchOption = Annotated[bool, typer.Option("--watch", help="Follow new blocks until Ctrl-C.")]


def status(
    portfolio: PortfoliosOption = None,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    ledger: LedgerOption = None,
    at: BlockOption = None,
    since: SinceOption = None,
    discover: DiscoverOption = False,
    discover_since: DiscoverSinceOption = None,
    watch: WatchOption = False,
    json: JsonOption = False,
) -> None:
    """Read and value the portfolio at one block; changes nothing."""
    from rebalancer.cli.session import Session

    if watch and at is not None:
        raise ConfigError("--watch follows new blocks and --at names an old one", hint="drop one")
    paths = portfolio or [PORTFOLIO]
    sessions = [Session.open(path, networks, rpc_url, ledger) for path in paths]
    searched = discover or discover_since is not None
    looks = [Look(session, since, searched, discover_since, json) for session in sessions]
    if len(looks) > 1:
        if watch:
            raise ConfigError("--watch follows one portfolio", hint="name one with --portfolio")
        show_many(sessions, looks, at, json)
    elif watch:
        follow(sessions[0], looks[0].show)
    else:
        looks[0].show(at)


def show_many(
    sessions: Sequence[Session], looks: Sequence[Look], at: int | None, as_json: bool
) -> None:
    """Read all at one block in one pass, through the nodes of the first, and print one by one."""
    from rich.text import Text

    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.past import of_block
    from rebalancer.readers.snapshot import read_many

    with of_block(at):
        read = read_many(sessions[0].rpc, [session.resolved for session in sessions], at)
    told = [look.tell(snapshot) for look, snapshot in zip(looks, read, strict=True)]
    names = [session.resolved.portfolio.name for session in sessions]
    if as_json:
        show_json([{"portfolio": n, **document} for n, document in zip(names, told, strict=True)])
        return
    for name, parts in zip(names, told, strict=True):
        show(Text(name, style="bold underline"), *parts)


class Look:
    """One look at a portfolio after the other: each tells what NAV did since the one before.

    The logs that were read are remembered between.
    """

    def __init__(
        self,
        session: Session,
        since: int | None,
        discover: bool,
        discover_since: int | None,
        as_json: bool,
    ) -> None:
        from rebalancer.readers.history import LotReader

        resolved = session.resolved
        self._session, self._since, self._as_json = session, since, as_json
        self._discover, self._discover_since = discover, discover_since
        self._before: Valuation | None = None
        self._lots = {
            wallet: LotReader(session.rpc, resolved.network, wallet)
            for wallet in (resolved.portfolio.wallet, *resolved.portfolio.watch)
        }

    def show(self, at: int | str | None) -> None:
        """Read everything at a block (None: the head) and print it."""
        from rebalancer.cli.output import show, show_json
        from rebalancer.cli.past import of_block
        from rebalancer.cli.slices import at_work
        from rebalancer.readers.snapshot import read_snapshot
        from rebalancer.report.orders import order_document, progress

        with of_block(at):
            read = read_snapshot(self._session.rpc, self._session.resolved, at)
        told = self.tell(read)
        order = None if isinstance(at, int) else at_work(self._session)
        if self._as_json:
            show_json(told if order is None else {**told, "order": order_document(order)})
        else:
            show(*told, *(() if order is None else (progress(order),)))

    def tell(self, read: Snapshot) -> Any:
        """Everything about the portfolio as it was read: a document, or what to show."""
        from rebalancer.amm.goals import exposed
        from rebalancer.amm.valuation import value
        from rebalancer.cli.bands import drifts_at
        from rebalancer.cli.past import attribution, with_lots
        from rebalancer.readers.discovery import discover
        from rebalancer.readers.inspect import inspect
        from rebalancer.report.discovery import discovery_document, discovery_view
        from rebalancer.report.status import Past, since_view, status_document, status_view

        session, resolved = self._session, self._session.resolved
        snapshot = inspect(session.rpc, read)
        snapshot, notes = with_lots(session, snapshot, self._lots)
        targets = resolved.targets_at(snapshot)
        valuation = value(snapshot, targets)
        found = drifts_at(session, snapshot, valuation, targets)
        why, happened, more = attribution(session, snapshot, self._since)
        past = Past(why, happened, (*notes, *more), session.exchanged(snapshot))
        goals = exposed(valuation, resolved.scheme) if resolved.scheme.on == "exposures" else ()
        unlisted = (
            discover(session.rpc, resolved, snapshot.block, self._discover_since)
            if self._discover
            else None
        )
        before, self._before = self._before, valuation
        if self._as_json:
            document = status_document(snapshot, valuation, found, past, goals)
            if unlisted is not None:
                document["unlisted"] = discovery_document(unlisted)
            return document
        views = [status_view(snapshot, valuation, found, past, goals)]
        if before is not None:
            views.insert(0, since_view(before, valuation))
        return (*views, *(() if unlisted is None else (discovery_view(unlisted),)))


def follow(session: Session, show: Callable[[str], None]) -> None:
    """Call ``show`` with the hash of the head, again for each new head, until Ctrl-C.

    A block that cannot be read, because it was reorganised away or a price in it is stale, costs a
    line on stderr; the next one is looked at again. A head of the same number with another hash is
    a new one too.
    """
    from rebalancer.cli.output import note
    from rebalancer.cli.signals import stop_event
    from rebalancer.readers.chain import read_block

    stop, pace, seen, said = stop_event(), session.pace(), "", ""
    while not stop.is_set():
        try:
            head = read_block(session.rpc, None, session.resolved.network)
            if head.hash != seen:
                seen, said = head.hash, ""
                show(head.hash)
        except ReadError as error:
            if str(error) != said:  # a node that is gone says the same at every look
                said = str(error)
                note(f"not read: {said}")
        stop.wait(pace.poll_s)
    note("stopped")
