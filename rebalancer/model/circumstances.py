"""What bears on a decision besides the snapshot and the rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from rebalancer.model.canonical import ADDED_LATER
from rebalancer.model.gas import GasCorrection, GasSchedule
from rebalancer.model.token import Amount


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the calendar, the ledger and the person who asks say at the time of a block.

    ``calendar_due_ts`` is the first time of the policy's cron line after the last rebalance (unix
    seconds). ``turnover_e8`` is what was sold in the 24 hours before the block, in 1e-8 of the
    numeraire. ``deposits`` came in since the last decision. Of the ``withdrawal`` the wallet is to
    hold as much when the plan is done. ``volatilities`` are those of positions, or whole buckets,
    against the rest of the portfolio, in ppm a year, measured on what was known at the block.
    ``costs`` are what tokens cost on average by the ledger, by symbol, in 1e-18 of the numeraire
    for a whole token. ``covariances`` are those of tokens' returns in a year, by two symbols and in
    1e-18, measured like the volatilities.
    """

    calendar_due_ts: int | None = None
    turnover_e8: int = 0
    deposits: tuple[Amount, ...] = ()
    withdrawal: Amount | None = None
    volatilities: tuple[tuple[str, int], ...] = ()
    costs: tuple[tuple[str, int], ...] = field(default=(), metadata=ADDED_LATER)
    covariances: tuple[tuple[str, str, int], ...] = field(default=(), metadata=ADDED_LATER)
    #: What gas is planned from, None: Prague's figures for plain tokens; and what past rebalances
    #: used beside it, None while too few of them are known.
    gas: GasSchedule | None = field(default=None, metadata=ADDED_LATER)
    gas_correction: GasCorrection | None = field(default=None, metadata=ADDED_LATER)

    def volatility_ppm(self, name: str) -> int | None:
        """The measured volatility of ``name``; None where there is none."""
        return dict(self.volatilities).get(name)
