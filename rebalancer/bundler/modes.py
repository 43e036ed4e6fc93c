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
from rebalancer.bundler.executor import EXECUTOR, WALLET_EXECUTOR, Contract, check_deployed
from rebalancer.bundler.head import Head
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
    """Raise ExecutorMissing unless a batch of ``wallet`` would be understood at ``block``."""
    if mode == "eip7702":
        check_delegated(rpc, wallet, block)
    else:
        check_deployed(rpc, block)


def prelude(
    rpc: Rpc, plan: Plan, mode: Mode, head: Head, policy: ApprovalPolicy
) -> tuple[Call, ...]:
    """What must come before the execution: allowances, or nothing."""
    if mode == "eip7702":
        return ()
    return approval_calls(rpc, plan, EXECUTOR.address, head, policy)
