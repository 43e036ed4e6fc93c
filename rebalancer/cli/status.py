"""``rebalancer status``: what I have, what it is worth, how far it drifted."""

from __future__ import annotations

from typing import Annotated

import typer

from rebalancer.cli.options import (
    PORTFOLIO,
    BlockOption,
    JsonOption,
    LedgerOption,
    NetworksOption,
    PortfolioOption,
    RpcUrlOption,
)

SinceOption = Annotated[
    int | None,
    typer.Option("--since", help="Tell why it moved since this block.", min=0),
]
DiscoverOption = Annotated[
    bool, typer.Option("--discover", help="List LP positions held but not in the file.")
]
DiscoverSinceOption = Annotated[
    int | None,
    typer.Option("--discover-since", help="The same, searching the logs from this block.", min=1),
]


def status(
    portfolio: PortfolioOption = PORTFOLIO,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    ledger: LedgerOption = None,
    at: BlockOption = None,
    since: SinceOption = None,
    discover: DiscoverOption = False,
    discover_since: DiscoverSinceOption = None,
    json: JsonOption = False,
) -> None:
    """Read and value the portfolio at one block; changes nothing."""
    from rebalancer.amm.goals import exposed
    from rebalancer.amm.valuation import value
    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.past import attribution, with_lots
    from rebalancer.cli.session import Session
    from rebalancer.planner.bands import drifts
    from rebalancer.readers.discovery import discover as search
    from rebalancer.readers.history import LotReader
    from rebalancer.readers.inspect import inspect
    from rebalancer.readers.snapshot import read_snapshot
    from rebalancer.report.discovery import discovery_document, discovery_view
    from rebalancer.report.status import Past, status_document, status_view

    session = Session.open(portfolio, networks, rpc_url, ledger)
    resolved = session.resolved
    snapshot = inspect(session.rpc, read_snapshot(session.rpc, resolved, at))
    lots = LotReader(session.rpc, resolved.network, resolved.portfolio.wallet)
    snapshot, notes = with_lots(session, snapshot, lots)
    targets = resolved.targets_at(snapshot)
    valuation = value(snapshot, targets)
    found = drifts(valuation, targets, resolved.policy)
    why, happened, more = attribution(session, snapshot, since)
    past = Past(why, happened, (*notes, *more), session.exchanged(snapshot))
    goals = exposed(valuation, resolved.scheme) if resolved.scheme.on == "exposures" else ()
    unlisted = (
        search(session.rpc, resolved, snapshot.block, discover_since)
        if discover or discover_since is not None
        else None
    )
    if json:
        document = status_document(snapshot, valuation, found, past, goals)
        if unlisted is not None:
            document["unlisted"] = discovery_document(unlisted)
        show_json(document)
    else:
        show(status_view(snapshot, valuation, found, past, goals))
        if unlisted is not None:
            show(discovery_view(unlisted))
