"""What the wallet has, asked inside a simulation: tokens of themselves, ether of a probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rebalancer.errors import SimulationReverted
from rebalancer.evm.abi import encode_call, to_hex
from rebalancer.model import Leg, Plan, Token, UnwrapLeg, WrapLeg

#: Code put at an address of nobody's for the simulation: the ether of the account it is asked of.
#: PUSH1 0, CALLDATALOAD, BALANCE, PUSH1 0, MSTORE, PUSH1 32, PUSH1 0, RETURN.
ETHER_PROBE = "0x00000000000000000000000000000000e7be0f00"
ETHER_PROBE_CODE = "0x6000353160005260206000f3"


def touched_tokens(plan: Plan) -> tuple[Token, ...]:
    """Every token that the plan touches, ether too, once, in order of first use."""
    legs: Sequence[Leg] = plan.legs
    touched = [amount.token for leg in legs for amount in (*leg.takes, *leg.pays)]
    return tuple(dict.fromkeys([*touched, *(amount.token for amount in plan.net)]))


def balance_requests(plan: Plan, tokens: Sequence[Token]) -> list[dict[str, Any]]:
    """One call per token that answers with the wallet's balance of it."""
    legs: Sequence[Leg] = plan.legs
    natives = {leg.native for leg in legs if isinstance(leg, WrapLeg | UnwrapLeg)}
    balance_of = to_hex(encode_call("balanceOf(address)", plan.wallet))
    asked = "0x" + plan.wallet[2:].lower().rjust(64, "0")
    return [
        {"to": ETHER_PROBE, "data": asked}
        if token in natives
        else {"to": token.address, "data": balance_of}
        for token in tokens
    ]


def overrides(requests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """State to put in place for these requests: the probe, where it is asked."""
    if any(request["to"] == ETHER_PROBE for request in requests):
        return {"stateOverrides": {ETHER_PROBE: {"code": ETHER_PROBE_CODE}}}
    return {}


def read_balances(
    tokens: Sequence[Token], answers: Sequence[tuple[str, bytes]]
) -> dict[Token, int]:
    """Balances from answers as ``(reason of a revert, data)``; raises SimulationReverted."""
    balances: dict[Token, int] = {}
    for token, (reason, data) in zip(tokens, answers, strict=True):
        if reason or len(data) < 32:
            raise SimulationReverted(
                f"{token.symbol} at {token.address} does not answer balanceOf():"
                f" {reason or 'no data'}",
                hint="is the token's address right for this chain?",
            )
        balances[token] = int.from_bytes(data[:32])
    return balances
