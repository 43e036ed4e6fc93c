"""EIP-1559 fees under the ceiling that the plan set."""

from __future__ import annotations

from dataclasses import dataclass

from rebalancer.errors import LimitBreached, ReadError
from rebalancer.evm.rpc import Rpc
from rebalancer.model import format_units


@dataclass(frozen=True, slots=True)
class Fees:
    """In wei per gas; ``base_fee_wei`` is the base fee of the next block."""

    base_fee_wei: int
    max_fee_wei: int
    max_priority_fee_wei: int


def choose_fees(base_fee_wei: int, tip_wei: int, ceiling_wei: int) -> Fees:
    """Offer ``min(ceiling, 2 * base + tip)``: room for six full blocks (9/8 each) in a row.

    Raises LimitBreached when the next block would already cost more than the ceiling: the plan's
    costs no longer hold.
    """
    if base_fee_wei + tip_wei > ceiling_wei:
        raise LimitBreached(
            f"gas costs {gwei(base_fee_wei + tip_wei)} now"
            f" (base {gwei(base_fee_wei)} + tip {gwei(tip_wei)}),"
            f" the plan allows {gwei(ceiling_wei)}",
            hint="wait for cheaper blocks, or raise the policy's gas price ceiling",
        )
    return Fees(base_fee_wei, min(ceiling_wei, 2 * base_fee_wei + tip_wei), tip_wei)


def read_fees(rpc: Rpc, ceiling_wei: int) -> Fees:
    """Fees for the next block from the node.

    The next base fee is taken from ``eth_feeHistory``, which lists one more block than asked for,
    because its formula differs between chains. Raises LimitBreached as ``choose_fees`` does, and
    ReadError on a chain without EIP-1559.
    """
    history = rpc.call("eth_feeHistory", "0x1", "latest", [])
    base_fees = (history or {}).get("baseFeePerGas") or []
    if not base_fees or int(base_fees[-1], 16) == 0:
        raise ReadError(
            "the chain has no base fee", hint="only chains with EIP-1559 fees can be traded on"
        )
    tip_wei = int(rpc.call("eth_maxPriorityFeePerGas"), 16)
    return choose_fees(int(base_fees[-1], 16), tip_wei, ceiling_wei)


def gwei(wei: int) -> str:
    """Write wei as gwei, exactly."""
    return f"{format_units(wei, 9)} gwei"
