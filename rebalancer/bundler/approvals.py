"""Exact allowances: what the executor may take is what the plan takes, and nothing stays over."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from rebalancer.bundler.calls import APPROVE, Call
from rebalancer.bundler.head import Head
from rebalancer.errors import MissingAllowance, ReadError
from rebalancer.evm.abi import decode_output, encode_call, from_hex, to_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import Amount, Plan, format_units

#: ``permit``: an EIP-2612 permit where the token takes one (``permits.py``), else as ``exact``.
ApprovalPolicy = Literal["exact", "never", "permit"]

_ALLOWANCE = "allowance(address,address)"
_APPROVE = "approve(address,uint256)"


def approval_calls(
    rpc: Rpc,
    plan: Plan,
    executor: str,
    head: Head,
    policy: ApprovalPolicy,
    permitted: Collection[str] = (),
) -> tuple[Call, ...]:
    """The approvals that the plan still needs at ``head``, in the order to send them.

    An allowance that covers what is taken is left as it is. A smaller one is raised to exactly what
    is taken: through zero first where the token refuses to change one that is not zero (USDT, CRV).
    ``permitted`` are the addresses of tokens that need none, because a permit comes along.
    Raises MissingAllowance under the policy ``never``.
    """
    calls: list[Call] = []
    for amount, allowed in lacking(rpc, plan, executor, head):
        if amount.token.address in permitted:
            continue
        if policy == "never":
            raise _missing(amount, allowed, executor)
        wanted = _approve(amount, executor)
        if allowed > 0 and not _accepted(rpc, wanted, plan.wallet, head):
            calls.append(_approve(Amount(amount.token, 0), executor))
        calls.append(wanted)
    return tuple(calls)


def lacking(rpc: Rpc, plan: Plan, executor: str, head: Head) -> list[tuple[Amount, int]]:
    """What the plan takes and the executor may not take yet, and how much of it it may."""
    found = [
        (amount, _allowance(rpc, amount, plan.wallet, executor, head)) for amount in plan.sold()
    ]
    return [(amount, allowed) for amount, allowed in found if allowed < amount.raw]


def _allowance(rpc: Rpc, amount: Amount, owner: str, spender: str, head: Head) -> int:
    request = {
        "to": amount.token.address,
        "data": to_hex(encode_call(_ALLOWANCE, owner, spender)),
    }
    answer = from_hex(rpc.call("eth_call", request, head.at))
    if len(answer) < 32:
        raise ReadError(
            f"{amount.token.symbol} at {amount.token.address} does not answer allowance()",
            hint="is the token's address right for this chain?",
            block=head.number,
        )
    return int(decode_output(["uint256"], answer[:32])[0])


def _approve(amount: Amount, executor: str) -> Call:
    token = amount.token
    shown = f"{format_units(amount.raw, token.decimals)} {token.symbol}"
    return Call(
        purpose=APPROVE,
        label=f"approve {shown} for the executor",
        to=token.address,
        data=encode_call(_APPROVE, executor, amount.raw),
    )


def _accepted(rpc: Rpc, call: Call, wallet: str, head: Head) -> bool:
    """Whether the token would take this approval as it stands; asked of the token itself."""
    try:
        answer = from_hex(rpc.call("eth_call", call.as_request(wallet), head.at))
    except RpcError:
        return False
    return approval_succeeded(answer)


def approval_succeeded(return_data: bytes) -> bool:
    """ERC-20 tokens return true; USDT-like ones return nothing; false is a refusal."""
    return not return_data or int.from_bytes(return_data[:32]) == 1


def _missing(amount: Amount, allowed: int, executor: str) -> MissingAllowance:
    token = amount.token
    needed, has = (
        f"{format_units(raw, token.decimals)} {token.symbol}" for raw in (amount.raw, allowed)
    )
    return MissingAllowance(
        f"the executor {executor} may take {has} and needs {needed}",
        hint=f"approve {amount.raw} (smallest units) of {token.address} for {executor},"
        " or let exact approvals be made: approvals: exact",
    )
