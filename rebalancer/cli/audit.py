"""``rebalancer audit``: what it cost, and whether the ledger tells the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rebalancer.cli.options import JsonOption, Place, at_place

if TYPE_CHECKING:
    from rebalancer.cli.session import Session
    from rebalancer.ledger.store import Ledger

app = typer.Typer(no_args_is_help=True, help="What it cost, and whether the ledger is true.")


@app.command("gas")
@at_place
def gas(place: Place, json: JsonOption = False) -> None:
    """Gas of every rebalance: by transaction, by component, against plan and traded value."""
    from rebalancer.cli.output import show, show_json
    from rebalancer.keeper.gas import next_gas
    from rebalancer.ledger.gas_audit import gas_audit
    from rebalancer.model import to_plain
    from rebalancer.planner.gas_correction import told
    from rebalancer.report.audit import gas_view

    session = place.open()
    with _existing(session) as book:
        audit = gas_audit(book, session.resolved.portfolio.name)
        planned = next_gas(session.resolved, book)
    if json:
        show_json(to_plain(audit) | {"next": to_plain(planned)})
    else:
        show(gas_view(audit))
        show(f"The next plan's gas is {told(planned)}")


@app.command("reconcile")
@at_place
def reconcile(place: Place, json: JsonOption = False) -> None:
    """Compare the ledger with the chain, to the wei; exits 6 when they differ."""
    from rebalancer.cli.output import show, show_json
    from rebalancer.errors import ReconciliationMismatch
    from rebalancer.ledger.reconcile import reconcile as compare
    from rebalancer.report.audit import reconciliation_document, reconciliation_view

    session = place.open()
    with _existing(session) as book:
        result = compare(book, session.rpc, session.resolved.portfolio.name)
    if json:
        show_json(reconciliation_document(result))
    else:
        show(reconciliation_view(result))
    if not result.ok:
        raise typer.Exit(ReconciliationMismatch.exit_code)


def _existing(session: Session) -> Ledger:
    """The ledger, which must exist: a mistyped path must not audit an empty one."""
    return session.ledger(create=False)
