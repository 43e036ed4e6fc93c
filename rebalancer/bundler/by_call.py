"""Simulation by ``eth_call``, for nodes without ``eth_simulateV1``: amounts, and no balances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_abi.exceptions import DecodingError

from rebalancer.bundler.calls import Call
from rebalancer.bundler.compare import check_fills
from rebalancer.bundler.execution import execute_call
from rebalancer.bundler.executor import decode_amount_out
from rebalancer.bundler.head import Head
from rebalancer.bundler.reverts import revert_of, reverted
from rebalancer.errors import ReadError
from rebalancer.evm.abi import from_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import AddLeg, Fill, Leg, Plan, RemoveLeg, Simulation, SwapLeg, contract_of


def simulate_by_call(
    rpc: Rpc,
    head: Head,
    plan: Plan,
    calls: Sequence[Call],
    requests: Sequence[dict[str, Any]],
    tolerance_ppm: int,
) -> Simulation:
    """Simulate a bundle of the execution alone on a node without eth_simulateV1."""
    if len(calls) != 1:
        raise ReadError(
            "the node has no eth_simulateV1, and approvals cannot be simulated without it",
            hint="use a node that has it (Geth 1.14.9 or newer, Nethermind, Reth, Anvil),"
            " or give the executor its allowances first",
        )
    legs: Sequence[Leg] = plan.legs
    if any(isinstance(leg, AddLeg | RemoveLeg) for leg in legs):
        raise ReadError(
            "the node has no eth_simulateV1, and liquidity cannot be simulated without it",
            hint="use a node that has it (Geth 1.14.9 or newer, Nethermind, Reth, Anvil)",
        )
    # A batch returns what its last swap was paid, so each leg is asked of a batch that ends there.
    (whole,) = calls
    parts = [
        execute_call(plan, whole.to, whole.permits, only=number)
        for number, leg in enumerate(legs, start=1)
        if isinstance(leg, SwapLeg)
    ]
    try:
        rpc.call("eth_call", requests[0], head.at)
        gas_used = int(rpc.call("eth_estimateGas", requests[0]), 16)
        answers = [rpc.call("eth_call", part.as_request(plan.wallet), head.at) for part in parts]
    except RpcError as error:
        reason = revert_of(error.data)
        raise reverted(calls[0].label, reason or str(error), head) from None
    try:
        amounts_out = [decode_amount_out(from_hex(answer)) for answer in answers]
    except DecodingError:
        raise reverted(calls[0].label, "the executor did not answer with amounts", head) from None
    fills = _fills_of(plan, amounts_out)
    check_fills(plan, fills, tolerance_ppm, head.number)
    return Simulation(head.number, head.hash, (gas_used,), fills)


def _fills_of(plan: Plan, amounts_out: Sequence[int]) -> tuple[Fill, ...]:
    """Fills from what each swap was paid: a chained one spends the leg before; ether is wrapped
    and unwrapped one for one."""
    fills: list[Fill] = []
    bought = iter(amounts_out)
    legs: Sequence[Leg] = plan.legs
    for index, leg in enumerate(legs):
        if isinstance(leg, SwapLeg):
            amount_in = fills[-1].amount_out if leg.chained else leg.amount_in
            fill = Fill(index, leg.pair, leg.token_in, leg.token_out, amount_in, next(bought))
        else:
            (taken,), (paid,) = leg.takes, leg.pays
            fill = Fill(index, contract_of(leg), taken.token, paid.token, taken.raw, paid.raw)
        fills.append(fill)
    return tuple(fills)
