"""A receipt, read as the outcome of a transaction of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rebalancer.bundler.calls import EXECUTE
from rebalancer.bundler.fills import decode_fills
from rebalancer.bundler.gas import gas_components
from rebalancer.bundler.reverts import decode_revert
from rebalancer.bundler.safe import has_executed, is_through_safe, trader_of
from rebalancer.errors import ExecutionError, RpcUnavailable
from rebalancer.evm.abi import from_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import Fill, Plan, SignedTransaction, TransactionOutcome


def read_outcome(
    rpc: Rpc, plan: Plan, transaction: SignedTransaction, receipt: Mapping[str, Any]
) -> TransactionOutcome:
    """Outcome with fills (of a successful execution) and gas by component.

    The fills are empty when the logs are not those of the plan, or the Safe does not say that it
    succeeded: what happened is recorded all the same, and ``check_outcome`` raises afterwards.
    """
    status = int(receipt["status"], 16)
    gas_used = int(receipt["gasUsed"], 16)
    fills: tuple[Fill, ...] = ()
    logs = receipt["logs"]
    swallowed = is_through_safe(plan, transaction) and not has_executed(plan.wallet, logs)
    if status == 1 and transaction.purpose == EXECUTE and not swallowed:
        try:
            fills = decode_fills(plan, logs, trader_of(plan, transaction))
        except ExecutionError:
            fills = ()
    return TransactionOutcome(
        tx_hash=transaction.tx_hash,
        purpose=transaction.purpose,
        block_number=int(receipt["blockNumber"], 16),
        block_hash=str(receipt["blockHash"]),
        status=status,
        gas_used=gas_used,
        effective_gas_price_wei=int(receipt["effectiveGasPrice"], 16),
        components=gas_components(rpc, transaction, gas_used),
        fills=fills,
    )


def revert_reason(rpc: Rpc, tx_hash: str) -> str:
    """Why a mined transaction reverted, where the node can trace it; else empty."""
    try:
        top = rpc.call("debug_traceTransaction", tx_hash, {"tracer": "callTracer"})
        return decode_revert(from_hex(top.get("output") or "0x"))
    except (RpcError, RpcUnavailable, ValueError, AttributeError):
        return ""
