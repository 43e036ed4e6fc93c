"""Who is examined, and what is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.evm.endpoints import Endpoints
from rebalancer.keeper.signing import Keys
from rebalancer.ledger.store import Ledger


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; ``exit_code`` is 0 when a rebalance would work with it.

    ``warning`` when it would, but something deserves a look.
    """

    name: str
    detail: str
    hint: str
    exit_code: int
    warning: bool = False

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined; all but ``rpc`` and ``resolved`` raise when something is wrong with them.

    ``keys`` are those at hand. ``ledger`` says where the ledger is; ``book`` opens it, None where
    there is none yet. ``lane`` says which way transactions take. ``kill_guard`` raises Paused while
    the kill switch is set, ``lease`` LeaseHeld while another process acts for the wallet,
    ``claim`` ConfigError while its positions are another portfolio's.
    """

    rpc: Endpoints
    resolved: ResolvedPortfolio
    keys: Callable[[], Keys]
    ledger: Callable[[], str]
    book: Callable[[], Ledger | None]
    lane: Callable[[], str]
    kill_guard: Callable[[], None]
    lease: Callable[[], None]
    claim: Callable[[], None]
