"""The command ``rebalancer``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

import typer

from rebalancer import __version__
from rebalancer.cli import (
    approve,
    audit,
    delegate,
    demo,
    deploy,
    doctor,
    fork,
    init,
    keeper,
    order,
    pause,
    plan,
    propose,
    rebalance,
    status,
)
from rebalancer.cli.output import show_error
from rebalancer.errors import ConfigError, RebalancerError

INTERRUPTED, BROKEN_PIPE = 130, 141
#: What Click raises for a wrong command line; whose package it is in depends on Typer's version.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: Rich alone would take half of the start-up time
    help="Keeps an on-chain portfolio at its target weights. Nothing is sent without --execute.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks; may stand anywhere."),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True),
) -> None:
    pass


app.command("init", short_help="Write the files that you then edit.")(init.init)
app.command("doctor", short_help="Would a rebalance work from here?")(doctor.doctor)
app.command("fork", short_help="A chain to try anything on, free of charge.")(fork.fork)
app.command("status", short_help="What I have, its worth, and its drift.")(status.status)
app.command("plan", short_help="Whether to trade, what, why, at what cost.")(plan.plan)
app.command("rebalance", short_help="One cycle; sends with --execute alone.")(rebalance.rebalance)
app.command("keeper", short_help="Cycles by schedule, until told to stop.")(keeper.keeper)
app.command("approve", short_help="Let a large plan go, exactly as it is.")(approve.approve)
app.command("pause", short_help="Stop the trading; --all stops everything at once.")(pause.pause)
app.command("resume", short_help="Trade again.")(pause.resume)
app.add_typer(order.app, name="order")
app.add_typer(audit.app, name="audit")
app.command("deploy", short_help="Put the executor contract on a chain.")(deploy.deploy)
app.command("propose", short_help="A Safe's rebalance, for its owners to sign.")(propose.propose)
app.command("delegate", short_help="Trade from the wallet itself (EIP-7702).")(delegate.delegate)
app.command("delegation", short_help="What the wallet delegates to.")(delegate.delegation)
app.command("revoke", short_help="Take the delegation back.")(delegate.revoke)
app.command("demo", short_help="From nothing to an audited rebalance.")(demo.demo)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the code of the README's table, or 130 for Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    as_json = "--json" in args
    args = [arg for arg in args if arg != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(app(args, standalone_mode=False))
    except _UsageError as error:
        sys.exit(_misused(error, as_json))
    except BrokenPipeError:
        # Who reads has seen enough (`| head`); the interpreter must not try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except RebalancerError as error:
        if debug:
            raise
        show_error(error, as_json)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)
    except OSError as error:
        if debug:
            raise
        refused = RebalancerError(
            f"the system says no: {error.strerror or error}"
            + (f": {error.filename}" if error.filename else ""),
            hint="check that the place exists, is yours and has room; --debug shows what wanted it",
        )
        show_error(refused, as_json)
        sys.exit(refused.exit_code)
    except Exception as error:
        if debug:
            raise
        unexpected = RebalancerError(
            f"this should not have happened: {type(error).__name__}",
            hint="run the same command with --debug, and report what it prints",
        )
        show_error(unexpected, as_json)
        sys.exit(unexpected.exit_code)


def _misused(error: Any, as_json: bool) -> int:
    """Say what is wrong with the command line; returns the exit code."""
    command = error.ctx.command_path if error.ctx is not None else "rebalancer"
    message = str(error.format_message())
    if not as_json:
        error.show()
    elif "\n" in message:  # no command at all: the message is the help
        show_error(ConfigError(f"{command}: a command is missing", hint=_help(command)), True)
    else:
        show_error(ConfigError(message, hint=_help(command)), True)
    return int(error.exit_code)


def _help(command: str) -> str:
    return f"`{command} --help` lists what it takes"
