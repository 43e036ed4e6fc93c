"""From a plan to a Safe's proposal, and to the transaction that executes it.

Where enough owners' keys are at hand the proposal is signed here and executed like every other
transaction: as a bundle of one, which ``submit`` stores before it is sent. Its nonce is that of
whoever sends it; the Safe's own nonce is in what its owners sign, so that a Safe executes one of
several proposals whoever sends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rebalancer.bundler import checks
from rebalancer.bundler.approvals import ApprovalPolicy
from rebalancer.bundler.calls import Call, UnsignedTransaction
from rebalancer.bundler.executor import EXECUTOR, ether_of
from rebalancer.bundler.fees import read_fees
from rebalancer.bundler.head import Head, check_chain, read_head
from rebalancer.bundler.modes import calls_of, check_mode
from rebalancer.bundler.prepare import DEFAULT_TOLERANCE_PPM, DryRun, Prepared, sign
from rebalancer.bundler.reverts import revert_of
from rebalancer.bundler.safe import (
    Proposal,
    SafeAccount,
    execution_call,
    make_proposal,
    read_safe,
)
from rebalancer.bundler.signer import Signer
from rebalancer.bundler.simulate import confirm, rehearse
from rebalancer.bundler.worth import check_worth
from rebalancer.errors import NonceConflict, SimulationReverted
from rebalancer.evm.abi import from_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import Bundle, Plan, Simulation, digest, mul_div_up


@dataclass(frozen=True, slots=True)
class Proposed:
    """A proposal, the Safe it is for, and what the node says that its calls would do."""

    plan: Plan
    safe: SafeAccount
    proposal: Proposal
    simulation: Simulation


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
    checks.check_ether(rpc, plan.wallet, ether_of(plan.legs), head)
    safe = read_safe(rpc, plan.wallet, head.at)
    calls = calls_of(rpc, plan, "safe", head, approvals, None)
    simulation = rehearse(rpc, head, plan, calls, tolerance_ppm)
    return Proposed(plan, safe, make_proposal(rpc, plan.chain_id, safe, calls), simulation)


def prepare_execution(
    rpc: Rpc,
    proposed: Proposed,
    owners: Sequence[Signer],
    sender: Signer,
    *,
    tolerance_ppm: int = DEFAULT_TOLERANCE_PPM,
    tx_gas_cap: int | None = checks.TX_GAS_CAP,
) -> Prepared:
    """Sign a proposal with the owners' keys, simulate its execution, sign that; sends nothing.

    ``sender`` pays the gas and need not be an owner. Raises ConfigError (too few keys, or a
    stranger's), NonceConflict (the Safe has moved on, or the sender has transactions pending),
    StalePlan, SimulationReverted, SimulationMismatch, ExecutionError (too much gas), LimitBreached,
    InsufficientGas; ReadError on a node without eth_simulateV1.
    """
    proposal, plan = proposed.proposal, proposed.plan
    head = read_head(rpc)
    checks.check_fresh(rpc, plan, head)
    safe = _still_next(rpc, proposal, head)
    signatures = {owner.address: _signature(owner, from_hex(proposal.hash)) for owner in owners}
    call = execution_call(proposal, safe, signatures)
    nonce = checks.read_nonce(rpc, sender.address)
    fees = read_fees(rpc, plan.max_fee_wei)
    gas_limit = _gas_limit(rpc, call, sender.address, head)
    checks.check_gas_limits((gas_limit,), head, tx_gas_cap)
    max_cost_wei = checks.check_purse(rpc, sender.address, (gas_limit,), fees, head)
    unsigned = UnsignedTransaction(
        call=call,
        chain_id=plan.chain_id,
        sender=sender.address,
        nonce=nonce,
        gas_limit=gas_limit,
        max_fee_wei=fees.max_fee_wei,
        max_priority_fee_wei=fees.max_priority_fee_wei,
    )
    simulation = confirm(rpc, head, plan, (unsigned,), tolerance_ppm, trader=EXECUTOR.address)
    check_worth(plan, sum(simulation.gas_used), fees.next_price_wei)
    bundle = Bundle(
        plan_id=digest(plan),
        chain_id=plan.chain_id,
        wallet=plan.wallet,
        deadline_ts=plan.deadline_ts,
        transactions=(sign(sender, unsigned),),
    )
    return Prepared(DryRun(bundle.plan_id, (unsigned,), simulation, fees, max_cost_wei), bundle)


def _still_next(rpc: Rpc, proposal: Proposal, head: Head) -> SafeAccount:
    """The Safe now, with the owners of now; raises NonceConflict when it has moved on."""
    safe = read_safe(rpc, proposal.safe, head.at)
    if safe.nonce != proposal.nonce:
        raise NonceConflict(
            f"the Safe {safe.address} is at nonce {safe.nonce} now, the proposal is for nonce"
            f" {proposal.nonce}: its owners executed something else meanwhile",
            hint="nothing was sent; plan again on the newest block",
            block=head.number,
        )
    return safe


def _gas_limit(rpc: Rpc, call: Call, sender: str, head: Head) -> int:
    """What the node says that the execution needs, with a quarter on top for a colder state."""
    request = call.as_request(sender)
    try:
        done = int(rpc.call("eth_call", request, head.at), 16)
        needed = int(rpc.call("eth_estimateGas", request), 16)
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
    return mul_div_up(needed, 5, 4)


def _signature(owner: Signer, digest: bytes) -> bytes:
    v, r, s = owner.sign_digest(digest)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])
