"""Three ways to hold the money: who is called, what must be there first, and who pays.

``allowance``: the executor takes the wallet's tokens by exact allowances. ``eip7702``: the wallet's
own account runs the executor's code and pays from its balance, with no allowance at all. ``safe``:
the wallet is a Safe, whose owners sign a proposal of the approvals and the execution.
"""

from __future__ import annotations

from typing import Literal

from rebalancer.bundler.approvals import ApprovalPolicy, approval_calls
from rebalancer.bundler.calls import Call
from rebalancer.bundler.delegation import check_delegated
from rebalancer.bundler.execution import execute_call
from rebalancer.bundler.executor import EXECUTOR, WALLET_EXECUTOR, Contract, check_deployed
from rebalancer.bundler.head import Head
from rebalancer.bundler.permits import permits_for
from rebalancer.bundler.safe import read_safe
from rebalancer.bundler.signer import Signer
from rebalancer.bundler.steps import Permit
from rebalancer.errors import PlanError
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Plan

Mode = Literal["allowance", "eip7702", "safe"]
MODES: tuple[Mode, ...] = ("allowance", "eip7702", "safe")


def contract_of(mode: Mode) -> Contract:
    """The contract that must be deployed."""
    return WALLET_EXECUTOR if mode == "eip7702" else EXECUTOR


def called_by(mode: Mode, wallet: str) -> str:
    """The address whose ``execute`` is called, which is also the one that trades on the pairs."""
    return wallet if mode == "eip7702" else EXECUTOR.address


def check_mode(rpc: Rpc, mode: Mode, wallet: str, block: str | dict[str, str] = "latest") -> None:
    """Raise ExecutorMissing unless a batch of ``wallet`` would be understood at ``block``.

    Raises ConfigError for a wallet that is something else than the mode says.
    """
    if mode == "eip7702":
        check_delegated(rpc, wallet, block)
        return
    check_deployed(rpc, block)
    if mode == "safe":
        read_safe(rpc, wallet, block)


def calls_of(
    rpc: Rpc, plan: Plan, mode: Mode, head: Head, policy: ApprovalPolicy, signer: Signer | None
) -> tuple[Call, ...]:
    """What must be sent, in order: the allowances that are needed, then the execution.

    With the policy ``permit`` and a key at hand, permits take the place of approvals where a token
    takes them; without a key, a dry run shows the approvals that would be needed otherwise.
    """
    to = called_by(mode, plan.wallet)
    if mode == "eip7702":
        return (execute_call(plan, to),)
    permits: tuple[Permit, ...] = ()
    if policy == "permit" and signer is not None:
        permits = as_many_as_fit(plan, to, permits_for(rpc, plan, to, head, signer))
    permitted = {permit.token for permit in permits}
    approvals = approval_calls(rpc, plan, to, head, policy, permitted)
    return (*approvals, execute_call(plan, to, permits))


def as_many_as_fit(plan: Plan, to: str, permits: tuple[Permit, ...]) -> tuple[Permit, ...]:
    """The permits that fit into one batch beside the plan's legs; the others are approvals."""
    while permits:
        try:
            execute_call(plan, to, permits)
        except PlanError:
            permits = permits[:-1]
        else:
            break
    return permits
