"""``rebalancer pause`` and ``resume``: stop the trading, also that of processes that run now."""

from __future__ import annotations

from typing import Annotated

import typer

from rebalancer.cli.options import JsonOption, Place, at_place
from rebalancer.errors import ConfigError, Paused

AllOption = Annotated[
    bool, typer.Option("--all", help="The kill switch: every portfolio of this user, at once.")
]


@at_place
def pause(
    place: Place,
    every: AllOption = False,
    reason: Annotated[
        str, typer.Option("--reason", help="Why.", metavar="TEXT")
    ] = "a person said so",
    json: JsonOption = False,
) -> None:
    """Trade nothing new until `resume`, also after a restart.

    What was sent before is followed to its end. With --all nothing is signed or sent any more by
    any process of this user, not even again; what is out may still be mined.
    """
    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.session import state_folder
    from rebalancer.keeper.stop import stop_all
    from rebalancer.ledger.consent import pause as record

    name = None
    if every:
        stop_all(state_folder(), reason)
    else:
        session = place.open()
        name = session.resolved.portfolio.name
        with session.ledger() as book:
            record(book, name, reason)
    if json:
        show_json({"paused": True, "portfolio": name, "reason": reason})
    else:
        show(f"{name or 'everything'} is paused: {reason}")


@at_place
def resume(
    place: Place,
    every: AllOption = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="The wallet's positions are this portfolio's now.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Take a pause back; --all releases the kill switch, pauses of portfolios stay.

    With --take-over also hand the wallet's positions over to this portfolio: another one that
    wants other shares of them, in whatever process, trades no more.
    """
    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.session import state_folder
    from rebalancer.keeper.stop import kill_guard, release_all
    from rebalancer.ledger.consent import resume as record

    name, lost = None, []
    if every and take_over:
        raise ConfigError("--take-over is about one portfolio", hint="leave --all away")
    if every:
        release_all(state_folder())
    else:
        session = place.open()
        name = session.resolved.portfolio.name
        if take_over:
            with session.leases(None):
                lost = [claim.portfolio for claim in session.tenure.take_over()]
        with session.ledger() as book:
            record(book, name)
    if json:
        show_json({"paused": False, "portfolio": name, "taken_over_from": lost})
        return
    show(f"{name or 'the kill switch'} is released")
    try:
        kill_guard(state_folder())()
    except Paused as error:
        show(f"but {error}; {error.hint}")
    if take_over:
        wallet = session.resolved.portfolio.wallet
        from_whom = f", no longer by {', '.join(lost)}" if lost else ""
        show(f"{wallet} is kept by {name} now{from_whom}")
