"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PortfolioOption = Annotated[
    Path, typer.Option("--portfolio", "-p", help="The portfolio file.", metavar="FILE")
]
NetworksOption = Annotated[
    Path | None,
    typer.Option("--networks", help="networks.yaml, if not beside the portfolio.", metavar="FILE"),
]
RpcUrlOption = Annotated[
    str | None,
    typer.Option(
        "--rpc-url", help="RPC endpoint instead of those in .env; 'a,b' for several.", metavar="URL"
    ),
]
LedgerOption = Annotated[
    str | None,
    typer.Option("--ledger", help="Ledger file or database URL.", metavar="PATH"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
ExecuteOption = Annotated[
    bool, typer.Option("--execute", help="Sign and send. Without it nothing leaves this machine.")
]
RaiseOption = Annotated[
    str | None,
    typer.Option(
        "--raise",
        help="Sell so that the wallet holds this much beside the portfolio.",
        metavar='"AMOUNT TOKEN"',
    ),
]
BlockOption = Annotated[
    int | None, typer.Option("--at", help="Read at this block instead of the head.", min=0)
]

PORTFOLIO = Path("portfolio.yaml")


def seconds_of(text: str) -> int:
    """Read ``30m``, ``2h`` or ``1d``; raises ConfigError for anything else."""
    from rebalancer.config.quantities import parse_duration
    from rebalancer.errors import ConfigError

    try:
        return parse_duration(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a time", hint="write 30m, 2h or 1d") from None
