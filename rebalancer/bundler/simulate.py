"""What the node says a bundle would do, and whether that is what the plan says.

A bundle is simulated twice. ``rehearse`` runs its calls in sequence on the head, between two looks
at the wallet's balances, and tells how much gas they use. ``confirm`` then runs exactly the
transactions that will be signed: same nonces, same gas limits, same fees.

Both use ``eth_simulateV1``. On a node without it, a bundle that needs no approval is simulated by
``eth_call`` instead: the amounts of every leg are still compared with the plan, but balances are
not looked at, so that a token which takes a fee on the way out is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rebalancer.bundler.approvals import approval_succeeded
from rebalancer.bundler.by_call import simulate_by_call
from rebalancer.bundler.calls import APPROVE, EXECUTE, Call, UnsignedTransaction
from rebalancer.bundler.compare import check_fills, check_net, leg_name
from rebalancer.bundler.execution import execute_call
from rebalancer.bundler.fills import Log, decode_fills
from rebalancer.bundler.head import Head
from rebalancer.bundler.probes import balance_requests, overrides, read_balances, touched_tokens
from rebalancer.bundler.reverts import decode_revert, reverted
from rebalancer.errors import ReadError, SimulationReverted
from rebalancer.evm.abi import from_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import Fill, Plan, Simulation, Token, mul_div_up

#: "Method not found" (JSON-RPC) and "method not supported" (EIP-1474).
_UNSUPPORTED = (-32601, -32004)
#: EIP-3529: at most a fifth of the gas that was used is refunded.
_REFUND_QUOTIENT = 5
#: Frames below the transaction's own: executor -> pair -> token -> a proxy's code, and one more.
_CALL_DEPTH = 4
#: What the executor says when a balance changes by less than the legs' minimums add up to.
_NET_FLOOR = "executor: net change below its floor"


@dataclass(frozen=True, slots=True)
class CallResult:
    """What one simulated call did; ``reason`` says why it reverted, and is empty otherwise."""

    gas_used: int
    return_data: bytes
    logs: tuple[Log, ...]
    reason: str


def rehearse(
    rpc: Rpc, head: Head, plan: Plan, calls: Sequence[Call], tolerance_ppm: int
) -> Simulation:
    """Run approvals and execution in sequence on ``head`` and compare the outcome with the plan.

    Raises SimulationReverted naming step and leg, SimulationMismatch with the numbers.
    """
    run = _between_balances(rpc, head, plan, calls)
    if run is None:
        requests = [call.as_request(plan.wallet) for call in calls]
        return simulate_by_call(rpc, head, plan, calls, requests, tolerance_ppm)
    steps, changes = run
    if steps[-1].reason == _NET_FLOOR:
        _explain_net(rpc, head, plan, calls, tolerance_ppm)
    _check_steps(rpc, head, plan, calls, steps)
    fills = decode_fills(plan, steps[-1].logs, calls[-1].to)
    check_fills(plan, fills, tolerance_ppm, head.number)
    check_net(plan, changes, tolerance_ppm, head.number)
    return _simulation(head, steps, fills)


def confirm(
    rpc: Rpc,
    head: Head,
    plan: Plan,
    transactions: Sequence[UnsignedTransaction],
    tolerance_ppm: int,
    *,
    trader: str | None = None,
) -> Simulation:
    """Run exactly what will be signed; raises as ``rehearse`` does.

    ``trader`` trades on the pairs, where that is not whom the last transaction calls (a Safe).

    Nodes that validate (Geth does, Anvil only in part) also refuse wrong nonces, fees below the
    base fee and a wallet that cannot pay.
    """
    calls = [transaction.call for transaction in transactions]
    requests = [transaction.as_request() for transaction in transactions]
    try:
        steps = _simulate(rpc, head, requests, validation=True)
    except RpcError as error:
        raise SimulationReverted(
            f"the node refuses the transactions: {error}",
            hint="nothing was signed; if this stays, look at the wallet's balance and nonce",
            block=head.number,
        ) from None
    if steps is None and trader is not None:
        raise ReadError(
            "the node has no eth_simulateV1, and a Safe's execution cannot be simulated without it",
            hint="use a node that has it (Geth 1.14.9 or newer, Nethermind, Reth, Anvil), or"
            " execute the proposal in the Safe's own interface",
        )
    if steps is None:
        return simulate_by_call(rpc, head, plan, calls, requests, tolerance_ppm)
    _check_steps(rpc, head, plan, calls, steps)
    fills = decode_fills(plan, steps[-1].logs, trader or calls[-1].to)
    check_fills(plan, fills, tolerance_ppm, head.number)
    return _simulation(head, steps, fills)


def gas_limit_for(gas_used: int) -> int:
    """A gas limit that is enough for what used ``gas_used`` in the simulation.

    A simulation tells the gas after refunds. Refunds are at most a fifth of the gas spent
    (EIP-3529), so at most 5/4 of it was spent. A frame hands a call at most 63/64 of what it has
    left (EIP-150); by induction a frame with calls nested d deep that spends g never runs short
    with g * (64/63)**d. Nothing is paid for gas that is not used.
    """
    needed = mul_div_up(gas_used, _REFUND_QUOTIENT, _REFUND_QUOTIENT - 1)
    for _ in range(_CALL_DEPTH):
        needed = mul_div_up(needed, 64, 63)
    return needed


def _between_balances(
    rpc: Rpc, head: Head, plan: Plan, calls: Sequence[Call]
) -> tuple[list[CallResult], dict[Token, int]] | None:
    """What each call does, and what they do together to the wallet's balances."""
    tokens = touched_tokens(plan)
    probes = balance_requests(plan, tokens)
    requests = [call.as_request(plan.wallet) for call in calls]
    results = _simulate(rpc, head, [*probes, *requests, *probes], validation=False)
    if results is None:
        return None
    split = len(probes)
    before, after = (
        read_balances(tokens, [(result.reason, result.return_data) for result in part])
        for part in (results[:split], results[-split:])
    )
    return results[split:-split], {token: after[token] - before[token] for token in tokens}


def _explain_net(
    rpc: Rpc, head: Head, plan: Plan, calls: Sequence[Call], tolerance_ppm: int
) -> None:
    """Raise SimulationMismatch naming the token whose balance makes the contract refuse.

    The same legs without floors tell: so a token is found that takes a fee on its way to us.
    """
    bare = execute_call(plan, calls[-1].to, calls[-1].permits, only=len(plan.legs))
    run = _between_balances(rpc, head, plan, (*calls[:-1], bare))
    if run is not None and not run[0][-1].reason:
        check_net(plan, run[1], tolerance_ppm, head.number)


def _simulate(
    rpc: Rpc, head: Head, requests: Sequence[dict[str, Any]], *, validation: bool
) -> list[CallResult] | None:
    """One simulated block on top of ``head`` with all requests; None: the node cannot do that.

    Number and time are set because nodes differ in their defaults (Anvil repeats the head's). The
    earliest possible time is the dearest for a pair: any later second costs the same gas.
    """
    block = {
        "blockOverrides": {"number": hex(head.number + 1), "time": hex(head.timestamp + 1)},
        "calls": list(requests),
        **overrides(requests),
    }
    options = {"blockStateCalls": [block], "validation": validation, "traceTransfers": False}
    try:
        answer = rpc.call("eth_simulateV1", options, head.at)
    except RpcError as error:
        if error.code in _UNSUPPORTED:
            return None
        raise
    results = answer[0]["calls"] if answer else []
    if len(results) != len(requests):
        raise ReadError(
            f"eth_simulateV1 answered {len(results)} of {len(requests)} calls",
            hint="use another RPC endpoint",
            block=head.number,
        )
    return [_call_result(result) for result in results]


def _call_result(result: dict[str, Any]) -> CallResult:
    data = from_hex(result.get("returnData") or "0x")
    return CallResult(
        gas_used=int(result["gasUsed"], 16),
        return_data=data,
        logs=tuple(result.get("logs") or ()),
        reason="" if int(result["status"], 16) == 1 else decode_revert(data),
    )


def _check_steps(
    rpc: Rpc, head: Head, plan: Plan, calls: Sequence[Call], steps: Sequence[CallResult]
) -> None:
    """Raise SimulationReverted at the first step that fails; an approve may fail by saying so."""
    for number, (call, step) in enumerate(zip(calls, steps, strict=True), start=1):
        reason = step.reason
        if not reason and call.purpose == APPROVE and not approval_succeeded(step.return_data):
            reason = "the token answered false"
        if not reason:
            continue
        where = f"step {number} of {len(calls)} ({call.label})"
        if call.purpose == EXECUTE:
            where += _blame(rpc, head, plan, calls)
        raise reverted(where, reason, head)


def _blame(rpc: Rpc, head: Head, plan: Plan, calls: Sequence[Call]) -> str:
    """Find the leg that makes the execution revert: the last of its shortest failing beginning."""
    *approvals, execution = calls
    before = [call.as_request(plan.wallet) for call in approvals]
    for count in range(1, len(plan.legs) + 1):
        call = execute_call(plan, execution.to, execution.permits, only=count)
        requests = [*before, call.as_request(plan.wallet)]
        try:
            steps = _simulate(rpc, head, requests, validation=False)
        except RpcError:
            return ""
        if steps and steps[-1].reason:
            return f", {leg_name(plan, count - 1)}"
    return ""


def _simulation(head: Head, steps: Sequence[CallResult], fills: tuple[Fill, ...]) -> Simulation:
    return Simulation(head.number, head.hash, tuple(step.gas_used for step in steps), fills)
