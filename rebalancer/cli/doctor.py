"""``rebalancer doctor``: would a rebalance work from here, and if not, what is missing?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rebalancer.cli.options import JsonOption, Place, at_place

if TYPE_CHECKING:
    from rebalancer.cli.session import Session
    from rebalancer.keeper.patient import Patient


@at_place
def doctor(place: Place, json: JsonOption = False) -> None:
    """Check node, chain, feeds, pools, executor, key, gas, ledger, what is out and who said stop.

    Changes nothing, and exits with the code of the first check that fails.
    """
    from rich.text import Text

    from rebalancer.cli.output import show, show_json
    from rebalancer.keeper.doctor import examine

    checks = list(examine(_patient(place.open())))
    if json:
        show_json({"ok": all(check.ok for check in checks), "checks": checks})
    else:
        for check in checks:
            mark = ("warn", "yellow") if check.warning else ("ok  ", "green")
            mark = mark if check.ok else ("FAIL", "bold red")
            show(Text.assemble(mark, f" {check.name:<11} {check.detail}"))
            if check.hint:
                show(Text(f"                 way out: {check.hint}", style="dim"))
    failed = next((check.exit_code for check in checks if not check.ok), 0)
    if failed:
        raise typer.Exit(failed)


def _patient(session: Session) -> Patient:
    from rebalancer.cli.keys import open_keys
    from rebalancer.cli.lane import described
    from rebalancer.cli.session import state_folder
    from rebalancer.keeper.patient import Patient
    from rebalancer.keeper.stop import kill_guard

    def lease() -> None:
        """Taken and given back at once: a process that has it is left alone."""
        with session.leases(None):
            pass

    return Patient(
        rpc=session.rpc,
        resolved=session.resolved,
        keys=lambda: open_keys(session),
        ledger=lambda: _ledger(session),
        book=session.ledger_if_any,
        lane=lambda: described(session),
        kill_guard=kill_guard(state_folder()),
        lease=lease,
        claim=session.tenure.check,
    )


def _ledger(session: Session) -> str:
    """Whether the ledger opens; one that does not exist yet is not made."""
    import os
    from pathlib import Path

    from rebalancer.errors import LedgerError

    place = session.ledger_place()
    if "://" not in place and not Path(place).exists():
        if not os.access(Path(place).parent, os.W_OK | os.X_OK):
            raise LedgerError(
                f"{place} cannot be made: its folder cannot be written",
                hint="name another place with --ledger",
            )
        return f"{place} will be made by the first run"
    with session.ledger():
        return f"{place} opens"
