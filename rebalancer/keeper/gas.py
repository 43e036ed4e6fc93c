"""What a portfolio's gas is planned from."""

from __future__ import annotations

from collections.abc import Iterable

from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.keeper.patient import Check, Patient
from rebalancer.ledger.gas_history import gas_samples
from rebalancer.ledger.store import Ledger
from rebalancer.model import GasSchedule, PlannedGas, Token
from rebalancer.planner.gas_correction import corrected_by, is_at_bound, told


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


def gas_figures(patient: Patient) -> str | Check:
    """From what gas is planned, for the doctor; a warning where that does not fit."""
    planned = next_gas(patient.resolved, patient.book())
    detail, correction = told(planned), planned.correction
    if correction is None or not is_at_bound(correction):
        return detail
    detail += ", which is as far as a correction goes: plans say too little or too much"
    hint = (
        "give the tokens their gas in networks.yaml, and the fork whose prices the chain has; "
        "see docs/planner.md"
    )
    return Check("gas figures", detail, hint, 0, warning=True)
