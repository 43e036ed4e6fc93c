"""What really happened, read from event logs: fills, and net changes of balances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rebalancer.errors import ExecutionError
from rebalancer.evm.abi import decode_output, from_hex, topic
from rebalancer.model import Fill, Plan, SwapLeg

Log = Mapping[str, Any]

SWAP = topic("Swap(address,uint256,uint256,uint256,uint256,address)")
TRANSFER = topic("Transfer(address,address,uint256)")


def decode_fills(plan: Plan, logs: Sequence[Log], executor: str) -> tuple[Fill, ...]:
    """One fill per leg, in the order of the legs, from the pairs' Swap events.

    Only swaps that the executor asked for count: a hostile token may make others on the same pair.
    Raises ExecutionError unless there is exactly one matching event per leg.
    """
    pairs = {leg.pair.lower() for leg in plan.legs}
    events = [log for log in logs if _is_swap_of(log, pairs, executor)]
    if len(events) != len(plan.legs):
        raise ExecutionError(
            f"the logs hold {len(events)} swaps of the executor, the plan has {len(plan.legs)}",
            hint="the transaction did something else than the plan; look at it before going on",
        )
    return tuple(
        _fill(index, leg, event)
        for index, (leg, event) in enumerate(zip(plan.legs, events, strict=True))
    )


def net_changes(logs: Iterable[Log], wallet: str) -> dict[str, int]:
    """Net change of ``wallet`` per token address (lower case), by the Transfer events.

    Rebasing and fee-taking tokens may say something else than their balances do.
    """
    changes: dict[str, int] = {}
    owner = int(wallet, 16)
    for log in logs:
        topics = log["topics"]
        # Three topics: an ERC-721 Transfer has the same signature and a fourth, the token id.
        if len(topics) != 3 or topics[0].lower() != TRANSFER:
            continue
        sender, receiver = int(topics[1], 16), int(topics[2], 16)
        amount = int.from_bytes(from_hex(log["data"])[:32])
        change = amount * ((receiver == owner) - (sender == owner))
        if owner in (sender, receiver):
            token = log["address"].lower()
            changes[token] = changes.get(token, 0) + change
    return changes


def _is_swap_of(log: Log, pairs: set[str], executor: str) -> bool:
    topics = log["topics"]
    return (
        len(topics) == 3
        and topics[0].lower() == SWAP
        and log["address"].lower() in pairs
        and int(topics[1], 16) == int(executor, 16)
    )


def _fill(index: int, leg: SwapLeg, event: Log) -> Fill:
    """Read the event of a leg; pairs order their tokens by address."""
    if event["address"].lower() != leg.pair.lower():
        raise ExecutionError(
            f"swap {index + 1} happened on {event['address']}, the plan says {leg.pair}",
            hint="the transaction did something else than the plan; look at it before going on",
        )
    in0, in1, out0, out1 = decode_output(["uint256"] * 4, from_hex(event["data"]))
    zero_for_one = int(leg.token_in.address, 16) < int(leg.token_out.address, 16)
    amount_in, amount_out = (in0, out1) if zero_for_one else (in1, out0)
    return Fill(index, leg.pair, leg.token_in, leg.token_out, amount_in, amount_out)
