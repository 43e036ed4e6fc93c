"""``rebalancer plan``: whether to trade, what, and why; sends and records nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rebalancer.cli.options import PORTFOLIO, BlockOption, JsonOption, Place, RaiseOption, at_place
from rebalancer.errors import ConfigError, PlanError

if TYPE_CHECKING:
    from rebalancer.cli.session import Session


@at_place
def plan(
    place: Place,
    at: BlockOption = None,
    raise_: RaiseOption = None,
    why_not: Annotated[
        bool, typer.Option("--why-not", help="Every question asked, and what would happen else.")
    ] = False,
    verify: Annotated[
        Path | None,
        typer.Option("--verify", help="Recompute what plan --json wrote.", metavar="FILE"),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="With --verify: trust the file's snapshot.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show the decision for this block with its reasons; the same input gives the same bytes."""
    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.past import of_block
    from rebalancer.cli.rebalance import would_wait
    from rebalancer.cli.slices import at_work
    from rebalancer.keeper.orders import slicing_of
    from rebalancer.model import to_plain
    from rebalancer.planner.explain import drifting, why
    from rebalancer.report.orders import order_document, progress, slicing_document, slicing_view
    from rebalancer.report.plan import decision_document, decision_view
    from rebalancer.report.why import (
        waiting_document,
        waiting_view,
        why_document,
        why_view,
    )

    if verify is None and offline:
        raise ConfigError("--offline is about a file", hint="name it with --verify FILE")
    if verify is not None and (at is not None or raise_ is not None or why_not):
        raise ConfigError(
            "--verify recomputes what is in the file; --at, --raise and --why-not plan anew",
            hint="leave them away, or --verify",
        )
    if verify is not None and place.portfolio == PORTFOLIO and not PORTFOLIO.exists():
        if not offline:
            raise ConfigError(
                f"{PORTFOLIO} does not exist, and it says what of the chain is read again",
                hint="name one with --portfolio, or trust the file's own snapshot with --offline",
            )
        _verify(None, verify, offline, json)
        return
    session = place.open()
    if verify is not None:
        _verify(session, verify, offline, json)
        return
    withdrawal = session.withdrawal(raise_)
    with of_block(at):
        evaluation = session.evaluate(at, withdrawal)
    decision, inputs = evaluation.decision, evaluation.inputs
    readable = not evaluation.valuation.unread
    order = at_work(session)
    sliced = slicing_of(session.resolved, inputs, evaluation.valuation, decision)
    if json:
        document: dict[str, Any] = decision_document(decision) | {"inputs": to_plain(inputs)}
        if readable:
            document["waiting"] = waiting_document(drifting(inputs))
        if order is not None:
            document["order"] = order_document(order)
        if sliced is not None:
            document["slices"] = slicing_document(sliced)
        if why_not:
            document["why"] = why_document(why(inputs))
        show_json(document)
        return
    show(decision_view(decision, evaluation.valuation.numeraire))
    if wait := would_wait(session, decision):
        show(wait)
    if order is not None:
        show(f"\nThis is what would be done without it: {progress(order)}")
    elif sliced is not None:
        show(slicing_view(sliced, evaluation.valuation.numeraire))
    if readable:
        show(waiting_view(drifting(inputs), evaluation.valuation.numeraire))
    if why_not:
        show(why_view(why(inputs)))


def _verify(session: Session | None, path: Path, offline: bool, json: bool) -> None:
    """Recompute a plan; raises PlanError when it is not what its inputs, or the portfolio, give."""
    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.replay import PORTFOLIO as OF_PORTFOLIO
    from rebalancer.cli.replay import findings, read_claim
    from rebalancer.model import to_plain
    from rebalancer.report.why import findings_view

    found = findings(session, read_claim(path), offline=offline)
    wrong = [finding for finding in found if not finding.ok]
    if json:
        show_json({"ok": not wrong, "findings": to_plain(found)})
    else:
        show(findings_view(found))
    blamed = {finding.what: finding.detail for finding in wrong}
    # Of another wallet's portfolio another snapshot is read: no wonder, and not the file's fault.
    if OF_PORTFOLIO in blamed and blamed.keys() <= {OF_PORTFOLIO, "snapshot"}:
        raise PlanError(
            f"{path} is true to itself, but not of this portfolio: {blamed[OF_PORTFOLIO]}",
            hint="plan again, or name the portfolio file that it was made by: --portfolio FILE",
        )
    for finding in wrong:
        raise PlanError(
            f"{path} is not what its inputs give: {finding.what}: {finding.detail}",
            hint="do not act on it; plan again",
        )
