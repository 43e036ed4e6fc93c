"""From a plan to a Safe's proposal, and to its execution where enough owners' keys are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rebalancer.bundler import checks
from rebalancer.bundler.approvals import ApprovalPolicy
from rebalancer.bundler.calls import UnsignedTransaction
from rebalancer.bundler.deploy import send_and_await
from rebalancer.bundler.fees import read_fees
from rebalancer.bundler.fills import decode_fills
from rebalancer.bundler.follow import Pace
from rebalancer.bundler.head import check_chain, read_head
from rebalancer.bundler.modes import called_by, calls_of, check_mode
from rebalancer.bundler.prepare import DEFAULT_TOLERANCE_PPM, sign
from rebalancer.bundler.reverts import revert_of
from rebalancer.bundler.safe import (
    Proposal,
    SafeAccount,
    execution_call,
    make_proposal,
    read_safe,
)
from rebalancer.bundler.signer import Signer
from rebalancer.bundler.simulate import rehearse
from rebalancer.errors import ExecutionError, SimulationReverted, TransactionReverted
from rebalancer.evm.abi import from_hex, topic
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import Fill, Plan, Simulation

#: Safe 1.3 and newer; a failed batch emits ExecutionFailure instead, with status 1.
_SUCCESS = topic("ExecutionSuccess(bytes32,uint256)")


@dataclass(frozen=True, slots=True)
class Proposed:
    """A proposal, the Safe it is for, and what the node says that its calls would do."""

    plan: Plan
    safe: SafeAccount
    proposal: Proposal
    simulation: Simulation


@dataclass(frozen=True, slots=True)
class Executed:
    """A mined proposal: what each leg really paid and received."""

    tx_hash: str
    block_number: int
    gas_used: int
    fills: tuple[Fill, ...]


def propose(
    rpc: Rpc,
    plan: Plan,
    *,
    approvals: ApprovalPolicy = "exact",
    tolerance_ppm: int = DEFAULT_TOLERANCE_PPM,
) -> Proposed:
    """Simulate a plan as its Safe would do it, and bundle it for the owners; signs nothing.

    Owners must sign and execute before the plan's deadline. Raises what ``dry_run`` raises of the
    plan itself, ConfigError where the wallet is no Safe, and what ``make_proposal`` raises.
    """
    check_chain(rpc, plan.chain_id)
    head = read_head(rpc)
    check_mode(rpc, "safe", plan.wallet, head.at)
    checks.check_fresh(rpc, plan, head)
    safe = read_safe(rpc, plan.wallet, head.at)
    calls = calls_of(rpc, plan, "safe", head, approvals, None)
    simulation = rehearse(rpc, head, plan, calls, tolerance_ppm)
    return Proposed(plan, safe, make_proposal(rpc, plan.chain_id, safe, calls), simulation)


def execute_proposal(
    rpc: Rpc, proposed: Proposed, owners: Sequence[Signer], sender: Signer, pace: Pace
) -> Executed:
    """Sign with the owners' keys, and send; ``sender`` pays the gas and need not be an owner.

    A Safe executes one transaction per nonce: should the answer be lost, proposing again with the
    same nonce cannot trade twice. Raises ConfigError (too few keys), SimulationReverted,
    TransactionReverted, LimitBreached, InsufficientGas.
    """
    proposal, plan = proposed.proposal, proposed.plan
    signatures = {owner.address: _signature(owner, from_hex(proposal.hash)) for owner in owners}
    call = execution_call(proposal, proposed.safe, signatures)
    head = read_head(rpc)
    request = call.as_request(sender.address)
    try:
        done = int(rpc.call("eth_call", request, head.at), 16)
        gas_limit = int(rpc.call("eth_estimateGas", request), 16) * 5 // 4
    except RpcError as error:
        raise SimulationReverted(
            f"the Safe refuses the proposal: {revert_of(error.data) or error}",
            hint="nothing was sent; plan again on a newer block",
            block=head.number,
        ) from None
    if done != 1:
        raise SimulationReverted(
            "the Safe would execute the proposal without success",
            hint="nothing was sent; plan again on a newer block",
            block=head.number,
        )
    fees = read_fees(rpc, plan.max_fee_wei)
    checks.check_gas_limits((gas_limit,), head)
    checks.check_purse(rpc, sender.address, (gas_limit,), fees, head)
    unsigned = UnsignedTransaction(
        call=call,
        chain_id=plan.chain_id,
        sender=sender.address,
        nonce=checks.read_nonce(rpc, sender.address),
        gas_limit=gas_limit,
        max_fee_wei=fees.max_fee_wei,
        max_priority_fee_wei=fees.max_priority_fee_wei,
    )
    transaction = sign(sender, unsigned)
    return _outcome(plan, send_and_await(rpc, transaction, pace), transaction.tx_hash)


def _signature(owner: Signer, digest: bytes) -> bytes:
    v, r, s = owner.sign_digest(digest)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])


def _outcome(plan: Plan, receipt: Any, tx_hash: str) -> Executed:
    """Status 1 is not enough: a Safe swallows the failure of what it executes."""
    safe = plan.wallet.lower()
    succeeded = any(
        log["topics"][0].lower() == _SUCCESS and log["address"].lower() == safe
        for log in receipt["logs"]
        if log["topics"]
    )
    block = int(receipt["blockNumber"], 16)
    if int(receipt["status"], 16) != 1 or not succeeded:
        raise TransactionReverted(
            f"the Safe's transaction {tx_hash} was mined in block {block} and did nothing",
            hint="only its gas was paid; plan again",
            block=block,
            tx_hash=tx_hash,
        )
    fills = decode_fills(plan, receipt["logs"], called_by("safe", plan.wallet))
    if not fills:
        raise ExecutionError(f"transaction {tx_hash} holds no swap of the plan", tx_hash=tx_hash)
    return Executed(tx_hash, block, int(receipt["gasUsed"], 16), fills)
