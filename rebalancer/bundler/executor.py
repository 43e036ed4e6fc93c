"""The executor contracts as the bundler sees them: where they are, how to call and deploy them.

They are specified in docs/executor.md. Their addresses follow from their code alone (CREATE2
through the deterministic deployment proxy), so they are the same on every chain.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from eth_utils.crypto import keccak

from rebalancer.bundler.steps import EXECUTE_SIGNATURE as EXECUTE_SIGNATURE
from rebalancer.bundler.steps import Batch, Permit, Step, Swap, Watch, encode_batch
from rebalancer.errors import ExecutorMissing, PlanError
from rebalancer.evm.abi import create2_address, decode_output, from_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import SwapLeg

CREATE2_PROXY = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
CREATE2_SALT = bytes(32)
MAX_LEGS = 32
#: 18 ETH per gas: a base fee ceiling that no chain will meet.
ANY_BASE_FEE_WEI = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract of ours: the code that makes it, the code that it then has, and its address."""

    name: str
    init_code: bytes
    runtime_code: bytes
    address: str


@cache
def contract(name: str) -> Contract:
    """``Executor`` or ``WalletExecutor``, as the package ships it; neither takes arguments."""
    text = (files("rebalancer.bundler") / "artifacts" / f"{name}.json").read_text("utf-8")
    artifact: dict[str, Any] = json.loads(text)
    code = from_hex(artifact["bytecode"])
    address = create2_address(CREATE2_PROXY, CREATE2_SALT, keccak(code))
    return Contract(name, code, from_hex(artifact["runtime"]), address)


EXECUTOR = contract("Executor")
#: What wallets delegate to (EIP-7702).
WALLET_EXECUTOR = contract("WalletExecutor")
EXECUTOR_ADDRESS = EXECUTOR.address


def init_code() -> bytes:
    """Code that creates the executor; it takes no arguments."""
    return EXECUTOR.init_code


def runtime_code() -> bytes:
    """Code that stands at EXECUTOR_ADDRESS once the executor is deployed."""
    return EXECUTOR.runtime_code


def deployment_call(of: Contract = EXECUTOR) -> tuple[str, bytes]:
    """``(to, data)`` of the transaction that deploys a contract; anyone may send it, once."""
    return CREATE2_PROXY, CREATE2_SALT + of.init_code


def encode_execute(
    legs: Sequence[SwapLeg],
    deadline_ts: int,
    *,
    max_base_fee_wei: int = ANY_BASE_FEE_WEI,
    permits: Sequence[Permit] = (),
    guarded: bool = True,
) -> bytes:
    """Calldata of ``execute``; amounts in smallest units, ``deadline_ts`` in unix seconds.

    ``guarded`` puts the floors of ``net_floors`` under the balances that the legs pay into. Raises
    PlanError when the legs are not something that the contract would do as planned.
    """
    if not 0 < len(legs) <= MAX_LEGS:
        raise PlanError(
            f"the executor takes 1 to {MAX_LEGS} legs, not {len(legs)}",
            hint="plan fewer trades at once: raise min_trade or lower reset in the policy",
        )
    _check_chain(legs)
    steps: tuple[Step, ...] = (*permits, *_swaps(legs))
    watched = net_floors(legs) if guarded else ()
    return encode_batch(Batch(deadline_ts, max_base_fee_wei, watched, steps))


def net_floors(legs: Sequence[SwapLeg]) -> tuple[Watch, ...]:
    """The worst that the legs may do to each balance that they pay into.

    It is what their minimums add up to, less what they take: at least a gain, or at most a loss.
    Of a token that is only taken no more can go than the legs say, so it is not watched.
    """
    taken: dict[str, int] = {}
    paid: dict[str, int] = {}
    for index, leg in enumerate(legs):
        if not leg.chained:
            token = leg.token_in.address
            taken[token] = taken.get(token, 0) + leg.amount_in
        if not _forwards(legs, index):
            token = leg.token_out.address
            paid[token] = paid.get(token, 0) + leg.min_amount_out
    worst = {token: least - taken.get(token, 0) for token, least in paid.items()}
    return tuple(Watch(token, max(net, 0), max(-net, 0)) for token, net in worst.items())


def decode_amount_out(data: bytes) -> int:
    """What the last swap was paid, from the data that ``execute`` returned."""
    (amount,) = decode_output(["uint256"], data)
    return int(amount)


def check_deployed(
    rpc: Rpc, block: str | dict[str, str] = "latest", of: Contract = EXECUTOR
) -> None:
    """Make sure that a contract of ours, and nothing else, stands at its address at ``block``.

    Raises ExecutorMissing otherwise.
    """
    name = "executor" if of is EXECUTOR else "wallet executor"
    code = from_hex(rpc.call("eth_getCode", of.address, block))
    if not code:
        raise ExecutorMissing(
            f"there is no {name} contract at {of.address}",
            hint="run `rebalancer deploy --execute`",
        )
    if code != of.runtime_code:
        raise ExecutorMissing(
            f"the code at {of.address} is not that of the {name} contract",
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


def _forwards(legs: Sequence[SwapLeg], index: int) -> bool:
    """Whether the pair of a leg pays straight into that of the next one."""
    return index + 1 < len(legs) and legs[index + 1].chained


def _swaps(legs: Sequence[SwapLeg]) -> list[Swap]:
    return [
        Swap(
            pair=leg.pair,
            token_in=leg.token_in.address,
            token_out=leg.token_out.address,
            fee_ppm=leg.fee_ppm,
            amount_in=leg.amount_in,
            min_amount_out=leg.min_amount_out,
            forwarded=leg.chained,
            forward=_forwards(legs, index),
        )
        for index, leg in enumerate(legs)
    ]
