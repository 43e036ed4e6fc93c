"""Options that several verbs share, and the place where a verb works, which is four of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rebalancer.cli.session import Session

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
    int | None,
    typer.Option("--at", help="Read at this block instead of the head.", min=0, metavar="BLOCK"),
]

PORTFOLIO = Path("portfolio.yaml")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a verb works: which portfolio, networks, node and ledger. Its fields are options."""

    portfolio: PortfolioOption = PORTFOLIO
    networks: NetworksOption = None
    rpc_url: RpcUrlOption = None
    ledger: LedgerOption = None

    def open(self) -> Session:
        """The portfolio there, with everything around it."""
        from rebalancer.cli.session import Session

        return Session.open(self.portfolio, self.networks, self.rpc_url, self.ledger)


def at_place(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb whose first parameter is a ``Place``, as Typer wants it: with the options of one."""
    options = inspect.signature(Place, eval_str=True).parameters
    _, *own = inspect.signature(verb, eval_str=True).parameters.values()

    @wraps(verb)
    def command(**given: Any) -> None:
        place = Place(**{name: given.pop(name) for name in options})
        verb(place, **given)

    # Those that have to be given come first, as in any signature.
    parameters = sorted((*options.values(), *own), key=lambda p: p.default is not p.empty)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def seconds_of(text: str) -> int:
    """Read ``30m``, ``2h`` or ``1d``; raises ConfigError for anything else."""
    from rebalancer.config.quantities import parse_duration
    from rebalancer.errors import ConfigError

    try:
        return parse_duration(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a time", hint="write 30m, 2h or 1d") from None
