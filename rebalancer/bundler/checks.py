"""What must hold before anything is signed: one function per condition, with its numbers."""

from __future__ import annotations

from typing import Any

from rebalancer.bundler.fees import Fees, gwei
from rebalancer.bundler.head import Head
from rebalancer.errors import (
    ConfigError,
    ExecutionError,
    InsufficientGas,
    NonceConflict,
    RpcUnavailable,
    StalePlan,
)
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Plan, format_units

#: EIP-7825 (in force on mainnet since Osaka): the most gas that one transaction may have. Anvil
#: does not refuse more, so it is enforced here.
TX_GAS_CAP = 2**24


def check_signer(plan: Plan, address: str) -> None:
    """Raise ConfigError unless the key is the wallet's."""
    if address.lower() != plan.wallet.lower():
        raise ConfigError(
            f"the key is that of {address}, the portfolio's wallet is {plan.wallet}",
            hint="use the wallet's own keystore or key",
        )


def check_fresh(rpc: Rpc, plan: Plan, head: Head) -> None:
    """Raise StalePlan for a plan that is too old, expired, or of a block that was reorganised away.

    Raises RpcUnavailable when the node is behind the plan's block.
    """
    age = head.number - plan.block_number
    if age < 0:
        raise RpcUnavailable(
            f"the node is at block {head.number}, the plan was made on block {plan.block_number}",
            hint="wait until the node has caught up, or use another endpoint",
            block=head.number,
        )
    if age > plan.max_age_blocks:
        raise _stale(
            f"the plan is {age} blocks old (block {plan.block_number}, head {head.number}),"
            f" {plan.max_age_blocks} are allowed",
            head,
        )
    if head.timestamp >= plan.deadline_ts:
        late_s = head.timestamp - plan.deadline_ts
        raise _stale(f"the plan's deadline passed {late_s} s before block {head.number}", head)
    block: Any = rpc.call("eth_getBlockByNumber", hex(plan.block_number), False)
    if block is None or block["hash"] != plan.block_hash:
        raise _stale(f"block {plan.block_number} of the plan was reorganised away", head)


def read_nonce(rpc: Rpc, wallet: str) -> int:
    """The wallet's next nonce; raises NonceConflict while it has pending transactions."""
    mined, pending = (
        int(rpc.call("eth_getTransactionCount", wallet, tag), 16) for tag in ("latest", "pending")
    )
    if pending > mined:
        raise NonceConflict(
            f"the wallet has {pending - mined} pending transactions, from nonce {mined} on",
            hint="wait until they are mined, or replace them by sending 0 ETH from the wallet to"
            " itself with those nonces and both fees at least 10 % higher",
        )
    return mined


def check_gas_limits(
    gas_limits: tuple[int, ...], head: Head, tx_gas_cap: int | None = TX_GAS_CAP
) -> None:
    """Raise ExecutionError when a transaction needs more gas than it may have.

    ``tx_gas_cap`` is the chain's limit per transaction, None where it has none.
    """
    cap = head.gas_limit if tx_gas_cap is None else min(tx_gas_cap, head.gas_limit)
    for gas_limit in gas_limits:
        if gas_limit > cap:
            raise ExecutionError(
                f"a transaction would need {gas_limit:,} gas, at most {cap:,} are possible",
                hint="plan fewer legs at once",
                block=head.number,
            )


def check_ether(rpc: Rpc, wallet: str, value_wei: int, head: Head) -> None:
    """Raise InsufficientGas unless the wallet has the ether that a plan wraps."""
    if not value_wei:
        return
    balance_wei = int(rpc.call("eth_getBalance", wallet, head.at), 16)
    if balance_wei < value_wei:
        raise InsufficientGas(
            f"the wallet {wallet} has {format_units(balance_wei, 18)} of the native currency,"
            f" the plan wraps {format_units(value_wei, 18)} of it",
            hint=f"send it {format_units(value_wei - balance_wei, 18)} more, and gas beside it",
            block=head.number,
        )


def check_purse(
    rpc: Rpc,
    wallet: str,
    gas_limits: tuple[int, ...],
    fees: Fees,
    head: Head,
    value_wei: int = 0,
) -> int:
    """The most that the transactions can cost in wei; raises InsufficientGas if that is not there.

    Every node asks for ``gas limit * max fee`` up front, so that is what must be there, and with it
    the ``value_wei`` of ether that they move.
    """
    cost_wei = sum(gas_limits) * fees.max_fee_wei
    needed_wei = cost_wei + value_wei
    balance_wei = int(rpc.call("eth_getBalance", wallet, head.at), 16)
    if balance_wei < needed_wei:
        wrapped = f" and {format_units(value_wei, 18)} are to be wrapped" if value_wei else ""
        raise InsufficientGas(
            f"the wallet {wallet} has {format_units(balance_wei, 18)} of the native currency,"
            f" gas needs up to {format_units(cost_wei, 18)}"
            f" ({sum(gas_limits):,} gas at {gwei(fees.max_fee_wei)}){wrapped}",
            hint=f"send it {format_units(needed_wei - balance_wei, 18)} more",
            block=head.number,
        )
    return cost_wei


def _stale(message: str, head: Head) -> StalePlan:
    return StalePlan(message, hint="plan again on the newest block", block=head.number)
