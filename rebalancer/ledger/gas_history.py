"""What the newest rebalances used of gas, for the next plan."""

from __future__ import annotations

from sqlalchemy import select

from rebalancer.ledger import log
from rebalancer.ledger.queries import RebalanceRecord, rebalances
from rebalancer.ledger.schema import decisions
from rebalancer.ledger.store import Ledger
from rebalancer.model import Snapshot
from rebalancer.planner.gas_correction import MOST_REBALANCES, GasSample

#: What of an execution lets the executor take tokens: a Safe's approvals, and permits.
_APPROVING = frozenset({"approval", "permits"})


def gas_samples(
    ledger: Ledger,
    portfolio: str,
    chain_id: int,
    until_ts: int | None = None,
    up_to_block: int | None = None,
) -> tuple[GasSample, ...]:
    """The newest rebalances that were executed, newest first.

    With ``until_ts`` those that were decided on a block of that time or before, with
    ``up_to_block`` those that were executed by the end of that block.
    """
    columns = decisions.c
    statement = (
        select(columns.plan_id, columns.snapshot)
        .where(
            columns.event.in_(log.executed(portfolio, up_to_block)),
            columns.chain_id == chain_id,
        )
        .order_by(columns.event.desc())
        .limit(MOST_REBALANCES)
    )
    if until_ts is not None:
        statement = statement.where(columns.block_ts <= until_ts)
    with ledger.reading() as connection:
        snapshots = {
            row.plan_id: log.get(connection, Snapshot, row.snapshot)
            for row in connection.execute(statement)
            if row.plan_id is not None
        }
    records = {r.plan_id: r for r in rebalances(ledger, portfolio, snapshots.keys())}
    return tuple(
        _sample(records[plan_id], snapshot)
        for plan_id, snapshot in snapshots.items()
        if plan_id in records
    )


def _sample(record: RebalanceRecord, snapshot: Snapshot) -> GasSample:
    execution = approvals = 0
    for outcome in (tx.outcome for tx in record.transactions):
        if outcome is None or outcome.status != 1:
            continue
        within = sum(part.gas for part in outcome.components if part.name in _APPROVING)
        if outcome.purpose == "execute":
            execution += outcome.gas_used - within
            approvals += within
        elif outcome.purpose == "approve":
            approvals += outcome.gas_used
    return GasSample(snapshot, record.plan.legs, execution, approvals)
