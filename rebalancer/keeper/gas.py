"""What the next plan's gas is planned from, for who asks without planning."""

from __future__ import annotations

from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.ledger.gas_history import gas_samples
from rebalancer.ledger.store import Ledger
from rebalancer.model import PlannedGas
from rebalancer.planner.gas_correction import corrected_by


def next_gas(resolved: ResolvedPortfolio, ledger: Ledger | None) -> PlannedGas:
    """The network's schedule, and its correction by all that the ledger has of the portfolio."""
    network = resolved.network
    schedule = network.gas_schedule(network.token(symbol) for symbol in network.tokens)
    if ledger is None:
        return PlannedGas(schedule.name)
    samples = gas_samples(ledger, resolved.portfolio.name, network.chain_id)
    return PlannedGas(schedule.name, corrected_by(schedule, samples))
