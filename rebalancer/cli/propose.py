"""``rebalancer propose``: a Safe's rebalance as a proposal for its owners."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rebalancer.cli.options import (
    PORTFOLIO,
    JsonOption,
    LedgerOption,
    NetworksOption,
    PortfolioOption,
    RpcUrlOption,
)

OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Write a file for Safe's Transaction Builder.", dir_okay=False),
]


def propose(
    portfolio: PortfolioOption = PORTFOLIO,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    ledger: LedgerOption = None,
    out: OutOption = None,
    json: JsonOption = False,
) -> None:
    """Plan and simulate, then show what a Safe's owners must sign; sends and signs nothing.

    With the policy's deadline long enough for the owners to sign and execute it.
    """
    import json as format_json
    import time

    from rebalancer.bundler.propose import propose as make
    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.session import Session
    from rebalancer.errors import ConfigError
    from rebalancer.keeper.cycle import evaluate
    from rebalancer.model import Rebalance
    from rebalancer.report.plan import decision_document, decision_view

    session = Session.open(portfolio, networks, rpc_url, ledger)
    if session.resolved.portfolio.mode != "safe":
        raise ConfigError(
            "only a Safe's rebalance is proposed",
            hint="set mode: safe and the Safe's address as wallet, or run `rebalancer rebalance`",
        )
    evaluation = evaluate(session.rpc, session.resolved, session.last_rebalance_ts())
    decision = evaluation.decision
    document: dict[str, Any] = decision_document(decision)
    if isinstance(decision, Rebalance):
        proposed = make(session.rpc, decision.plan, approvals=session.resolved.portfolio.approvals)
        builder = proposed.proposal.builder_document(int(time.time() * 1_000))
        document["proposal"] = proposed.proposal.service_document()
        document["transaction_builder"] = builder
        if out is not None:
            out.write_text(format_json.dumps(builder, indent=1) + "\n", encoding="utf-8")
    if json:
        show_json(document)
        return
    show(decision_view(decision, evaluation.valuation.numeraire))
    if isinstance(decision, Rebalance):
        proposal, safe = proposed.proposal, proposed.safe
        for number, call in enumerate(proposal.calls, start=1):
            show(f"{number}. {call.label}: {call.to}")
        show(
            f"{safe.threshold} of {len(safe.owners)} owners sign {proposal.hash}"
            f" (nonce {proposal.nonce}), before {decision.plan.deadline_ts} (unix time)"
        )
        show(f"written to {out}" if out else "add --out FILE for Safe's Transaction Builder")
