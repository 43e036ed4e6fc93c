"""The rows that repeat an object in columns; written once, derived again by the audit."""

from __future__ import annotations

from typing import Any

from rebalancer.ledger.codec import Evaluation
from rebalancer.model import Bundle, Decision, Rebalance, Snapshot, TransactionOutcome, digest

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
    """Rows of ``fills``, in the order of the outcome."""
    return [
        {
            "event": event,
            "position": position,
            "leg": fill.index,
            "pair": fill.pair,
            "token_in": fill.token_in.address,
            "token_out": fill.token_out.address,
            "amount_in": fill.amount_in,
            "amount_out": fill.amount_out,
        }
        for position, fill in enumerate(outcome.fills)
    ]


def gas_rows(event: int, outcome: TransactionOutcome) -> list[Row]:
    """Rows of ``gas_components``, in the order of the outcome."""
    return [
        {"event": event, "position": position, "name": component.name, "gas": component.gas}
        for position, component in enumerate(outcome.components)
    ]
