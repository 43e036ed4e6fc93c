"""The executor contract as the bundler sees it: where it is, how to call it, how to deploy it.

The contract is specified in docs/executor.md. Its address follows from its code alone (CREATE2
through the deterministic deployment proxy), so it is the same on every chain.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from eth_utils.crypto import keccak

from rebalancer.errors import ExecutorMissing, PlanError
from rebalancer.evm.abi import create2_address, decode_output, encode_call, from_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import SwapLeg

CREATE2_PROXY = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
CREATE2_SALT = bytes(32)
EXECUTE_SIGNATURE = "execute((address,address,bool,uint256,uint256,uint256)[],uint256)"
MAX_LEGS = 32


@cache
def _artifact() -> dict[str, Any]:
    text = (files("rebalancer.bundler") / "artifacts" / "Executor.json").read_text("utf-8")
    artifact: dict[str, Any] = json.loads(text)
    return artifact


def init_code() -> bytes:
    """Code that creates the executor; it takes no arguments."""
    return from_hex(_artifact()["bytecode"])


def runtime_code() -> bytes:
    """Code that stands at EXECUTOR_ADDRESS once the executor is deployed."""
    return from_hex(_artifact()["runtime"])


EXECUTOR_ADDRESS = create2_address(CREATE2_PROXY, CREATE2_SALT, keccak(init_code()))


def deployment_call() -> tuple[str, bytes]:
    """``(to, data)`` of the transaction that deploys the executor; anyone may send it, once."""
    return CREATE2_PROXY, CREATE2_SALT + init_code()


def encode_execute(legs: Sequence[SwapLeg], deadline_ts: int) -> bytes:
    """Calldata of ``execute``; amounts in smallest units, ``deadline_ts`` in unix seconds.

    A chained leg is written with an amount in of 0: the contract spends what the leg before paid.
    Raises PlanError when the legs are not something that the contract would do as planned.
    """
    if not 0 < len(legs) <= MAX_LEGS:
        raise PlanError(
            f"the executor takes 1 to {MAX_LEGS} legs, not {len(legs)}",
            hint="plan fewer trades at once: raise min_trade or lower reset in the policy",
        )
    _check_chain(legs)
    return encode_call(EXECUTE_SIGNATURE, [_encode_leg(leg) for leg in legs], deadline_ts)


def decode_amounts_out(data: bytes) -> tuple[int, ...]:
    """What each leg's pair paid, from the data that ``execute`` returned."""
    (amounts,) = decode_output(["uint256[]"], data)
    return tuple(amounts)


def check_deployed(rpc: Rpc, block: str | dict[str, str] = "latest") -> None:
    """Make sure that the executor, and nothing else, stands at its address at ``block``.

    Raises ExecutorMissing otherwise.
    """
    code = from_hex(rpc.call("eth_getCode", EXECUTOR_ADDRESS, block))
    if not code:
        raise ExecutorMissing(
            f"there is no executor contract at {EXECUTOR_ADDRESS}",
            hint="run `rebalancer deploy --execute`",
        )
    if code != runtime_code():
        raise ExecutorMissing(
            f"the code at {EXECUTOR_ADDRESS} is not that of the executor contract",
            hint="do not trade through this endpoint: the chain or the installation is not genuine",
        )


def _check_chain(legs: Sequence[SwapLeg]) -> None:
    """Refuse amounts in and chains that mean something else to the contract than to the plan."""
    for index, leg in enumerate(legs):
        if leg.amount_in <= 0:
            raise PlanError(f"leg {index} has no amount in")
        if not leg.chained:
            continue
        if index == 0:
            raise PlanError("the first leg cannot be chained to a leg before it")
        before = legs[index - 1]
        if (leg.token_in, leg.amount_in) != (before.token_out, before.amount_out):
            raise PlanError(f"leg {index} does not spend what leg {index - 1} pays")


def _encode_leg(leg: SwapLeg) -> tuple[str, str, bool, int, int, int]:
    """The contract's ``Leg``: pair, token_in, zero_for_one, fee_ppm, amount_in, min_amount_out."""
    zero_for_one = int(leg.token_in.address, 16) < int(leg.token_out.address, 16)
    amount_in = 0 if leg.chained else leg.amount_in
    return leg.pair, leg.token_in.address, zero_for_one, leg.fee_ppm, amount_in, leg.min_amount_out
