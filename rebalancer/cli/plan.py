"""``rebalancer plan``: whether to trade, what, and why; sends and records nothing."""

from __future__ import annotations

from rebalancer.cli.options import (
    PORTFOLIO,
    BlockOption,
    JsonOption,
    LedgerOption,
    NetworksOption,
    PortfolioOption,
    RpcUrlOption,
)


def plan(
    portfolio: PortfolioOption = PORTFOLIO,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    ledger: LedgerOption = None,
    at: BlockOption = None,
    json: JsonOption = False,
) -> None:
    """Show the decision for this block with its reasons; the same input gives the same bytes."""
    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.session import Session
    from rebalancer.keeper.cycle import evaluate
    from rebalancer.report.plan import decision_document, decision_view

    session = Session.open(portfolio, networks, rpc_url, ledger)
    evaluation = evaluate(session.rpc, session.resolved, session.last_rebalance_ts(), at)
    if json:
        show_json(decision_document(evaluation.decision))
    else:
        show(decision_view(evaluation.decision, evaluation.valuation.numeraire))
