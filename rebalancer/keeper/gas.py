"""What a portfolio's gas is planned from."""

from __future__ import annotations

from collections.abc import Iterable

from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.ledger.gas_history import gas_samples
from rebalancer.ledger.store import Ledger
from rebalancer.model import GasSchedule, PlannedGas, Token
from rebalancer.planner.gas_correction import corrected_by


def schedule_for(resolved: ResolvedPortfolio, tokens: Iterable[Token]) -> GasSchedule:
    """The network's schedule with what it has of ``tokens``, before any correction.

    No approvals where there will be none: a wallet that is its own executor takes from itself, and
    one that approves nothing has allowances that stand.
    """
    schedule, portfolio = resolved.network.gas_schedule(tokens), resolved.portfolio
    none = portfolio.mode == "eip7702" or portfolio.approvals == "never"
    return schedule.unapproved() if none else schedule


def next_gas(resolved: ResolvedPortfolio, ledger: Ledger | None) -> PlannedGas:
    """What the next plan's gas comes from, for who asks without planning."""
    network = resolved.network
    schedule = schedule_for(resolved, (network.token(symbol) for symbol in network.tokens))
    if ledger is None:
        return PlannedGas(schedule.name)
    samples = gas_samples(ledger, resolved.portfolio.name, network.chain_id)
    return PlannedGas(schedule.name, corrected_by(schedule, samples))
