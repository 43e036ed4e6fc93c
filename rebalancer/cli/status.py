"""``rebalancer status``: what I have, what it is worth, how far it drifted."""

from __future__ import annotations

from rebalancer.cli.options import (
    PORTFOLIO,
    BlockOption,
    JsonOption,
    NetworksOption,
    PortfolioOption,
    RpcUrlOption,
)


def status(
    portfolio: PortfolioOption = PORTFOLIO,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    at: BlockOption = None,
    json: JsonOption = False,
) -> None:
    """Read and value the portfolio at one block; changes nothing."""
    from rebalancer.amm.valuation import value
    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.session import Session
    from rebalancer.planner.bands import drifts
    from rebalancer.readers.snapshot import read_snapshot
    from rebalancer.report.status import status_document, status_view

    session = Session.open(portfolio, networks, rpc_url)
    resolved = session.resolved
    snapshot = read_snapshot(session.rpc, resolved, at)
    valuation = value(snapshot, resolved.targets)
    found = drifts(valuation, resolved.targets, resolved.policy)
    if json:
        show_json(status_document(snapshot, valuation, found))
    else:
        show(status_view(snapshot, valuation, found))
