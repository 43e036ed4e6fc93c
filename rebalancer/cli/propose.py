"""``rebalancer propose``: a Safe's rebalance, for its owners to sign; or signed here, and sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rebalancer.cli.options import JsonOption, Place, at_place

if TYPE_CHECKING:
    from rebalancer.bundler.propose import Proposed
    from rebalancer.cli.session import Session
    from rebalancer.errors import RebalancerError

OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Write a file for Safe's Transaction Builder.",
        dir_okay=False,
        metavar="FILE",
    ),
]
HereOption = Annotated[
    bool,
    typer.Option("--execute", help="Sign with the owners' keys that are at hand, and send."),
]


@at_place
def propose(
    place: Place,
    out: OutOption = None,
    execute: HereOption = False,
    json: JsonOption = False,
) -> None:
    """Plan and simulate, then show what a Safe's owners must sign; signs and sends nothing.

    With --execute, and the keys of enough owners at hand, it is one cycle of `rebalance --execute`.
    The policy's deadline must be long enough for the owners to sign and execute it.
    """
    from rebalancer.errors import ConfigError

    session = place.open()
    if session.resolved.portfolio.mode != "safe":
        raise ConfigError(
            "only a Safe's rebalance is proposed",
            hint="set mode: safe and the Safe's address as wallet, or run `rebalancer rebalance`",
        )
    if execute and out is not None:
        raise ConfigError(
            "what --execute sends is not for --out: the owners would sign something else",
            hint="leave one of them away",
        )
    if execute:
        _execute(session, json)
    else:
        _propose(session, out, json)


def _execute(session: Session, json: bool) -> None:
    """One cycle; raises ConfigError before it when there are too few keys to execute."""
    from rebalancer.bundler.safe import read_safe
    from rebalancer.cli.keys import MORE_KEYS, open_keys
    from rebalancer.cli.output import show_json
    from rebalancer.cli.rebalance import cycle_document, show_cycle
    from rebalancer.errors import ConfigError

    keys = open_keys(session)
    safe = read_safe(session.rpc, session.resolved.portfolio.wallet)
    if keys.signer is None or len(keys.owners) < safe.threshold:
        raise ConfigError(
            f"the Safe {safe.address} asks for {safe.threshold} of its {len(safe.owners)} owners,"
            f" keys of {len(keys.owners)} are at hand",
            hint=MORE_KEYS,
        )
    result = session.cycle(execute=True)
    if json:
        show_json(cycle_document(result))
    else:
        show_cycle(result)


def _propose(session: Session, out: Path | None, json: bool) -> None:
    import json as format_json
    import time

    from rebalancer.bundler.propose import propose as make
    from rebalancer.cli.output import show, show_json
    from rebalancer.errors import ConfigError, ExecutionError, PlanError
    from rebalancer.model import Rebalance
    from rebalancer.report.plan import decision_document, decision_view

    evaluation = session.evaluate()
    decision = evaluation.decision
    document: dict[str, Any] = decision_document(decision)
    if isinstance(decision, Rebalance):
        approvals = session.resolved.portfolio.approvals
        try:
            proposed = make(session.rpc, decision.plan, approvals=approvals)
        except (ConfigError, ExecutionError, PlanError) as error:
            if not json:
                show(decision_view(decision, evaluation.valuation.numeraire))
            raise _refused(error, document if json else None) from None
        builder = proposed.proposal.builder_document(int(time.time() * 1_000))
        document["proposal"] = proposed.proposal.service_document()
        document["transaction_builder"] = builder
        if out is not None:
            try:
                out.write_text(format_json.dumps(builder, indent=1) + "\n", encoding="utf-8")
            except OSError as error:
                raise ConfigError(
                    f"{out} cannot be written: {error.strerror}", hint="name another --out"
                ) from None
    if json:
        show_json(document)
        return
    show(decision_view(decision, evaluation.valuation.numeraire))
    if isinstance(decision, Rebalance):
        for number, call in enumerate(proposed.proposal.calls, start=1):
            show(f"{number}. {call.label}: {call.to}")
        show(to_sign(proposed))
        show(f"written to {out}" if out else "add --out FILE for Safe's Transaction Builder")


def _refused(error: RebalancerError, document: dict[str, Any] | None) -> typer.Exit:
    """Say why a plan cannot be proposed, below it or in its document; the exit to raise."""
    from rebalancer.cli.output import error_document, show_error, show_json

    if document is not None:
        show_json({**document, "error": error_document(error)})
    show_error(error, as_json=False)
    return typer.Exit(error.exit_code)


def to_sign(proposed: Proposed) -> str:
    """Who signs what, and until when."""
    from datetime import UTC, datetime

    proposal, safe = proposed.proposal, proposed.safe
    until = datetime.fromtimestamp(proposed.plan.deadline_ts, UTC)
    return (
        f"{safe.threshold} of {len(safe.owners)} owners sign {proposal.hash}"
        f" (nonce {proposal.nonce}) and execute it before {until:%Y-%m-%d %H:%M:%S} UTC"
    )
