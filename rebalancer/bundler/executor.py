"""The executor contracts as the bundler sees them: where they are, how to call and deploy them.

They are specified in docs/executor.md. Their addresses follow from their code alone (CREATE2
through the deterministic deployment proxy), so they are the same on every chain.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from eth_utils.crypto import keccak

from rebalancer.bundler.steps import EXECUTE_SIGNATURE as EXECUTE_SIGNATURE
from rebalancer.bundler.steps import (
    AddLiquidity,
    Batch,
    Permit,
    RemoveLiquidity,
    Step,
    Swap,
    Unwrap,
    Watch,
    Wrap,
    encode_batch,
)
from rebalancer.errors import ExecutorMissing, PlanError
from rebalancer.evm.abi import create2_address, decode_output, from_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import (
    PPM,
    AddLeg,
    Amount,
    Leg,
    RemoveLeg,
    SwapLeg,
    Token,
    UnwrapLeg,
    WrapLeg,
    forwards,
)

CREATE2_PROXY = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
CREATE2_SALT = bytes(32)
MAX_LEGS = 32
#: 18 ETH per gas: a base fee ceiling that no chain will meet.
ANY_BASE_FEE_WEI = 2**64 - 1
#: More than any balance: a token that is watched, but has no floor.
_ANY_LOSS = 2**128 - 1
#: What an addition may leave of all that was brought, of what it takes.
_DUST_PPM = 1_000


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
    legs: Sequence[Leg],
    deadline_ts: int,
    *,
    max_base_fee_wei: int = ANY_BASE_FEE_WEI,
    permits: Sequence[Permit] = (),
    guarded: bool = True,
    as_wallet: bool = False,
) -> bytes:
    """Calldata of ``execute``; amounts in smallest units, ``deadline_ts`` in unix seconds.

    ``guarded`` puts the floors of ``net_floors`` under the balances that the legs pay into.
    ``as_wallet`` is for a wallet that runs the batch itself (EIP-7702): it wraps ether at any leg,
    and where a leg takes all that the earlier ones brought, it takes what they really bring. By
    allowance it takes the planned amount, which is what was allowed. Raises PlanError when the
    legs are not something that the contract would do as planned.
    """
    if not 0 < len(legs) <= MAX_LEGS:
        raise PlanError(
            f"the executor takes 1 to {MAX_LEGS} legs, not {len(legs)}",
            hint="plan fewer trades at once: raise min_trade or lower reset in the policy",
        )
    check_legs(legs, as_wallet=as_wallet)
    gained = gained_amounts(legs) if as_wallet else frozenset()
    if guarded:
        watched = net_floors(legs, as_wallet=as_wallet)
    else:  # what a leg gains is known of watched balances alone
        tokens = dict.fromkeys(token for _, token in sorted(gained))
        watched = tuple(Watch(token, most_loss=_ANY_LOSS) for token in tokens)
    steps = _steps(legs, permits, gained)
    return encode_batch(Batch(deadline_ts, max_base_fee_wei, watched, steps))


def ether_of(legs: Sequence[Leg]) -> int:
    """Wei that the legs wrap: in allowance mode it goes along with the call."""
    return sum(leg.amount for leg in legs if isinstance(leg, WrapLeg))


def net_floors(legs: Sequence[Leg], *, as_wallet: bool = False) -> tuple[Watch, ...]:
    """The worst that the legs may do to each balance that they pay into.

    It is what their minimums add up to, less what they take: at least a gain, or at most a loss.
    Of a token that is only taken no more can go than the legs say, so it is not watched; neither is
    ether, which moves in known amounts alone.
    """
    gained = gained_amounts(legs) if as_wallet else frozenset()
    worst: dict[str, int] = {}
    paid: dict[str, None] = {}
    for index, leg in enumerate(legs):
        for amount in _taken(leg):
            token = amount.token.address
            # After a leg that takes all that was brought, nothing of it is won or lost.
            spent = worst.get(token, 0) if (index, token) in gained else amount.raw
            worst[token] = worst.get(token, 0) - spent
        if isinstance(leg, UnwrapLeg) or forwards(legs, index):
            continue
        for amount in leg.least:
            token = amount.token.address
            worst[token] = worst.get(token, 0) + amount.raw
            paid[token] = None
    return tuple(Watch(token, max(worst[token], 0), max(-worst[token], 0)) for token in paid)


def gained_amounts(legs: Sequence[Leg]) -> frozenset[tuple[int, str]]:
    """Swaps and additions that take all that the legs before them bring, as (leg, token).

    An addition asks for as much of token1 as its token0 does: of what was brought of it the ratio
    may leave a little, without that anything else is taken while nothing else trades.
    """
    found = set()
    net: dict[str, int] = {}
    for index, leg in enumerate(legs):
        for side, amount in enumerate(_taken(leg)):
            token = amount.token.address
            left = net.get(token, 0) - amount.raw
            most = amount.raw * _DUST_PPM // PPM if isinstance(leg, AddLeg) and side == 1 else 0
            if isinstance(leg, SwapLeg | AddLeg) and 0 <= left <= most:
                found.add((index, token))
            net[token] = left
        if not isinstance(leg, UnwrapLeg) and not forwards(legs, index):
            for amount in leg.pays:
                net[amount.token.address] = net.get(amount.token.address, 0) + amount.raw
    return frozenset(found)


def check_legs(legs: Sequence[Leg], *, as_wallet: bool) -> None:
    """Raise PlanError for what means something else to the contract than to the plan."""
    for index, leg in enumerate(legs):
        taken = (leg.amount_in,) if isinstance(leg, SwapLeg) else [a.raw for a in leg.takes]
        if min(taken) <= 0:
            raise PlanError(f"leg {index} has no amount in")
        match leg:
            case SwapLeg(chained=True):
                _check_chained(legs, index, leg)
            case AddLeg() | RemoveLeg():
                if int(leg.token0.address, 16) >= int(leg.token1.address, 16):
                    raise PlanError(f"leg {index} names its tokens in another order than its pair")
            case WrapLeg() if index and not as_wallet:
                raise PlanError(
                    f"leg {index} wraps ether, which by allowance only the first leg can",
                    hint="wrap first, or hold the money with mode: eip7702",
                )
            case _:
                pass


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


def _check_chained(legs: Sequence[Leg], index: int, leg: SwapLeg) -> None:
    if index == 0:
        raise PlanError("the first leg cannot be chained to a leg before it")
    before = legs[index - 1]
    forwarding = isinstance(before, SwapLeg | WrapLeg)
    if not forwarding or before.pays != (Amount(leg.token_in, leg.amount_in),):
        raise PlanError(f"leg {index} does not spend what leg {index - 1} pays")


def _taken(leg: Leg) -> tuple[Amount, ...]:
    """What a leg takes of the wallet's tokens; ether is none."""
    return () if isinstance(leg, WrapLeg) else leg.takes


def _steps(
    legs: Sequence[Leg], permits: Sequence[Permit], gained: Collection[tuple[int, str]]
) -> tuple[Step, ...]:
    """The legs as steps, with the permits in front of the first that needs one.

    That is behind ether that is wrapped, which must come first of all.
    """
    steps: list[Step] = []
    presented = False
    for index, leg in enumerate(legs):
        if _taken(leg) and not presented:
            steps += permits
            presented = True
        steps.append(_step(legs, index, gained))
    return tuple(steps)


def _step(legs: Sequence[Leg], index: int, gained: Collection[tuple[int, str]]) -> Step:
    def unless_gained(amount: int, token: Token) -> int | None:
        return None if (index, token.address) in gained else amount

    match legs[index]:
        case SwapLeg() as leg:
            return Swap(
                pair=leg.pair,
                token_in=leg.token_in.address,
                token_out=leg.token_out.address,
                fee_ppm=leg.fee_ppm,
                amount_in=unless_gained(leg.amount_in, leg.token_in),
                min_amount_out=leg.min_amount_out,
                forwarded=leg.chained,
                forward=forwards(legs, index),
            )
        case AddLeg() as leg:
            return AddLiquidity(
                pair=leg.pair,
                token0=leg.token0.address,
                token1=leg.token1.address,
                most0=unless_gained(leg.amount0, leg.token0),
                most1=unless_gained(leg.amount1, leg.token1),
                least_shares=leg.min_shares,
            )
        case RemoveLeg() as leg:
            return RemoveLiquidity(leg.pair, leg.shares, leg.min_amount0, leg.min_amount1)
        case WrapLeg() as leg:
            return Wrap(leg.wrapped.address, leg.amount, forwards(legs, index))
        case UnwrapLeg() as leg:
            return Unwrap(leg.wrapped.address, leg.amount)
