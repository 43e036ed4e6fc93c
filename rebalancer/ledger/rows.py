"""The rows that repeat an object in columns; written once, derived again by the audit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rebalancer.ledger.codec import Evaluation
from rebalancer.model import (
    Amount,
    Bundle,
    Decision,
    Fill,
    Rebalance,
    Snapshot,
    TransactionOutcome,
    digest,
)

Row = dict[str, Any]


def decision_row(
    event: int, decision_id: str, evaluation: Evaluation, snapshot: Snapshot, decision: Decision
) -> Row:
    """Row of ``decisions``."""
    rebalance = isinstance(decision, Rebalance)
    return {
        "event": event,
        "decision_id": decision_id,
        "portfolio": evaluation.portfolio,
        "mode": evaluation.mode,
        "action": "rebalance" if rebalance else "hold",
        "snapshot": evaluation.snapshot,
        "valuation": evaluation.valuation,
        "decision": evaluation.decision,
        "plan_id": digest(decision.plan) if isinstance(decision, Rebalance) else None,
        "chain_id": snapshot.block.chain_id,
        "wallet": snapshot.wallet,
        "block_number": snapshot.block.number,
        "block_hash": snapshot.block.hash,
        "block_ts": snapshot.block.timestamp,
    }


def submission_row(event: int, bundle_id: str, bundle: Bundle, position: int) -> Row:
    """Row of ``submissions`` for the transaction at ``position`` of the bundle."""
    transaction = bundle.transactions[position]
    return {
        "event": event,
        "tx_hash": transaction.tx_hash,
        "plan_id": bundle.plan_id,
        "bundle_id": bundle_id,
        "position": position,
        "chain_id": bundle.chain_id,
        "wallet": bundle.wallet,
        "nonce": transaction.nonce,
        "purpose": transaction.purpose,
    }


def outcome_row(event: int, outcome: TransactionOutcome) -> Row:
    """Row of ``outcomes``."""
    return {
        "event": event,
        "tx_hash": outcome.tx_hash,
        "block_number": outcome.block_number,
        "block_hash": outcome.block_hash,
        "status": outcome.status,
        "gas_used": outcome.gas_used,
        "effective_gas_price_wei": outcome.effective_gas_price_wei,
    }


def fill_rows(event: int, outcome: TransactionOutcome) -> list[Row]:
    """Rows of ``fills``, in the order of the outcome.

    What has two tokens on a side has a row for each, with nothing on the other side of the second:
    sums by token are right whatever kind of leg it was.
    """
    halves = [(fill, half) for fill in outcome.fills for half in _halves(fill)]
    return [
        {
            "event": event,
            "position": position,
            "leg": fill.index,
            "pair": fill.pair,
            "token_in": taken.token.address,
            "token_out": paid.token.address,
            "amount_in": taken.raw,
            "amount_out": paid.raw,
        }
        for position, (fill, (taken, paid)) in enumerate(halves)
    ]


def _halves(fill: Fill) -> Iterator[tuple[Amount, Amount]]:
    yield Amount(fill.token_in, fill.amount_in), Amount(fill.token_out, fill.amount_out)
    if fill.more_in is not None:
        yield fill.more_in, Amount(fill.token_out, 0)
    if fill.more_out is not None:
        yield Amount(fill.token_in, 0), fill.more_out


def gas_rows(event: int, outcome: TransactionOutcome) -> list[Row]:
    """Rows of ``gas_components``, in the order of the outcome."""
    return [
        {"event": event, "position": position, "name": component.name, "gas": component.gas}
        for position, component in enumerate(outcome.components)
    ]
