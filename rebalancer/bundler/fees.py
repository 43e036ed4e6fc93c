"""EIP-1559 fees: from the newest blocks, under the plan's ceiling, and how much more to offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rebalancer.errors import LimitBreached, ReadError
from rebalancer.evm.rpc import Rpc
from rebalancer.model import format_units, mul_div_up

#: The tip is the median over so many blocks of what the median gas in each of them paid.
FEE_BLOCKS = 10
FEE_PERCENTILE = 50
#: Nodes take a transaction in place of another of the same nonce for 10 % more of both fees (Geth's
#: ``txpool.pricebump``, and every client's default).
BUMP_PERCENT = 10


@dataclass(frozen=True, slots=True)
class Fees:
    """In wei per gas; ``base_fee_wei`` is the base fee of the next block."""

    base_fee_wei: int
    max_fee_wei: int
    max_priority_fee_wei: int

    @property
    def next_price_wei(self) -> int:
        """What a unit of gas costs if the next block includes it."""
        return min(self.max_fee_wei, self.base_fee_wei + self.max_priority_fee_wei)


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


def raise_fees(before: Fees, now: Fees, ceiling_wei: int) -> Fees | None:
    """Fees that every node takes in place of ``before``; None when the ceiling leaves no room.

    Both are at least a tenth higher, rounded up, and at least what ``now`` a new transaction would
    offer. ``now`` brings the base fee.
    """
    tip_wei = max(_bumped(before.max_priority_fee_wei), now.max_priority_fee_wei)
    max_fee_wei = max(_bumped(before.max_fee_wei), now.max_fee_wei, tip_wei)
    if max_fee_wei > ceiling_wei:
        return None
    return Fees(now.base_fee_wei, max_fee_wei, tip_wei)


def market_fees(rpc: Rpc) -> Fees:
    """What to offer for the next block, with no ceiling.

    The next base fee is taken from ``eth_feeHistory``, which lists one more block than asked for,
    because its formula differs between chains. The tip is the median of what blocks that were not
    empty paid; where the node lists none, it is the node's own suggestion. Raises ReadError on a
    chain without EIP-1559.
    """
    history: Any = rpc.call("eth_feeHistory", hex(FEE_BLOCKS), "latest", [FEE_PERCENTILE]) or {}
    base_fees = history.get("baseFeePerGas") or []
    if not base_fees or int(base_fees[-1], 16) == 0:
        raise ReadError(
            "the chain has no base fee", hint="only chains with EIP-1559 fees can be traded on"
        )
    base_fee_wei = int(base_fees[-1], 16)
    tip_wei = paid_tip_wei(history.get("reward") or [], history.get("gasUsedRatio") or [])
    if tip_wei is None:
        tip_wei = int(rpc.call("eth_maxPriorityFeePerGas"), 16)
    return Fees(base_fee_wei, 2 * base_fee_wei + tip_wei, tip_wei)


def read_fees(rpc: Rpc, ceiling_wei: int) -> Fees:
    """Fees for the next block under a ceiling; raises as ``market_fees`` and ``choose_fees`` do."""
    now = market_fees(rpc)
    return choose_fees(now.base_fee_wei, now.max_priority_fee_wei, ceiling_wei)


def paid_tip_wei(rewards: Sequence[Any], used: Sequence[Any]) -> int | None:
    """Median of the blocks' percentile, the lower one of two; None when no block paid any tip.

    ``rewards`` and ``used`` are ``reward`` and ``gasUsedRatio`` of ``eth_feeHistory``. An empty
    block lists zero, which says nothing about the price of being included.
    """
    paid = sorted(
        int(reward[0], 16)
        for reward, share in zip(rewards, used, strict=False)
        if reward and share and int(reward[0], 16) > 0
    )
    return paid[(len(paid) - 1) // 2] if paid else None


def gwei(wei: int) -> str:
    """Write wei as gwei, exactly."""
    return f"{format_units(wei, 9)} gwei"


def _bumped(wei: int) -> int:
    """A tenth more, rounded up, and more in any case."""
    return max(wei + 1, mul_div_up(wei, 100 + BUMP_PERCENT, 100))
