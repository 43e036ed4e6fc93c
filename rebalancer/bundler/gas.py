"""Where the gas of a mined transaction went; the components add up to its gasUsed exactly.

``intrinsic`` and ``calldata`` follow from the transaction (21,000, and 4 or 16 per byte). What
the EVM executed is told apart by a trace where the node gives one:

    approval                      an approve, all of it
    transfers, quotes             what the executor's payments and looks at reserves used
    swaps, adds, removals         what pairs used for it: swap, mint, burn
    wraps, unwraps                what wrapped ether used for it: deposit, withdraw
    permits                       what tokens used to take a permit
    executor                      the rest: the executor's own code and what calling costs
    safe                          of a Safe's transaction: signatures, MultiSend, the Safe's own
    refund                        negative: storage set back or cleared
    calldata_floor                positive: the minimum price of calldata (EIP-7623), where it binds
    other                         positive: what this chain charges besides

Only ``trace_transaction`` tells gas before refunds. With ``debug_traceTransaction`` alone the
refund is not known apart, and ``executor_less_refund`` (``safe_less_refund``) stands for both.
Without any trace it is one ``execution``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rebalancer.bundler.calls import APPROVE
from rebalancer.bundler.executor import EXECUTE_SIGNATURE, EXECUTOR
from rebalancer.errors import RpcUnavailable
from rebalancer.evm.abi import from_hex, selector, to_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import GasComponent, SignedTransaction

INTRINSIC_GAS = 21_000
_PER_ZERO_BYTE = 4
_PER_OTHER_BYTE = 16
#: EIP-7623: at least 10 per token; a zero byte is one token, any other four.
_FLOOR_PER_TOKEN = 10

_NAMES = {
    to_hex(selector("transferFrom(address,address,uint256)")): "transfers",
    to_hex(selector("transfer(address,uint256)")): "transfers",
    to_hex(selector("getReserves()")): "quotes",
    to_hex(selector("swap(uint256,uint256,address,bytes)")): "swaps",
    to_hex(selector("mint(address)")): "adds",
    to_hex(selector("burn(address)")): "removals",
    to_hex(selector("deposit()")): "wraps",
    to_hex(selector("withdraw(uint256)")): "unwraps",
    to_hex(selector("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)")): "permits",
}


_EXECUTE = to_hex(selector(EXECUTE_SIGNATURE))
_APPROVE = to_hex(selector("approve(address,uint256)"))


@dataclass(frozen=True, slots=True)
class _Frame:
    """A call below the transaction's own; ``path`` are positions of calls, its own last."""

    path: tuple[int, ...]
    to: str
    called: str
    gas: int


@dataclass(frozen=True, slots=True)
class _Trace:
    """``spent`` is the top frame's gas before refunds, None where unknown."""

    spent: int | None
    frames: tuple[_Frame, ...]

    def below(self, path: tuple[int, ...]) -> list[_Frame]:
        """The calls that the frame at ``path`` makes itself."""
        return [frame for frame in self.frames if frame.path[:-1] == path]

    def execution(self) -> _Frame | None:
        """The first call of the executor."""
        wanted = (EXECUTOR.address.lower(), _EXECUTE)
        return next((frame for frame in self.frames if (frame.to, frame.called) == wanted), None)


def calldata_gas(data: bytes) -> int:
    """What the bytes of a transaction cost: 4 for a zero, 16 for any other (EIP-2028)."""
    zeros = data.count(0)
    return zeros * _PER_ZERO_BYTE + (len(data) - zeros) * _PER_OTHER_BYTE


def floor_gas(data: bytes) -> int:
    """The least that a transaction with these bytes uses (EIP-7623)."""
    return INTRINSIC_GAS + _FLOOR_PER_TOKEN * calldata_gas(data) // _PER_ZERO_BYTE


def gas_components(
    rpc: Rpc, transaction: SignedTransaction, gas_used: int
) -> tuple[GasComponent, ...]:
    """Components of a mined transaction, in the order above, zeros left out.

    Never fails for want of a trace: what is recorded must not depend on the node's debug methods.
    """
    data = from_hex(transaction.data)
    known = {"intrinsic": INTRINSIC_GAS, "calldata": calldata_gas(data)}
    trace = _trace(rpc, transaction.tx_hash)
    left = gas_used - sum(known.values())
    if trace is None:
        return _listed({**known, "execution": left})
    spent = left if trace.spent is None else trace.spent
    if transaction.purpose == APPROVE:
        known["approval"] = spent
    else:
        known |= _shares(trace, spent, through=_is_through(transaction))
    rest = left - spent
    if rest > 0:
        known["calldata_floor" if gas_used == floor_gas(data) else "other"] = rest
    else:
        known["refund"] = rest
    return _listed(known)


def _listed(gas_by_name: dict[str, int]) -> tuple[GasComponent, ...]:
    return tuple(GasComponent(name, gas) for name, gas in gas_by_name.items() if gas)


def _is_through(transaction: SignedTransaction) -> bool:
    """Whether it calls neither the executor nor its own sender: but a Safe, which does."""
    direct = (EXECUTOR.address.lower(), transaction.sender.lower())
    return transaction.to.lower() not in direct


def _shares(trace: _Trace, spent: int, *, through: bool) -> dict[str, int]:
    """What the execution and, where a Safe makes it, its approvals and the Safe itself used."""
    less = "_less_refund" if trace.spent is None else ""
    execution = trace.execution() if through else None
    if execution is None:
        calls = _by_name(trace.below(()))
        return {**calls, f"executor{less}": spent - sum(calls.values())}
    calls = _by_name(trace.below(execution.path))
    beside = trace.below(execution.path[:-1])
    approvals = sum(frame.gas for frame in beside if frame.called == _APPROVE)
    return {
        "approval": approvals,
        **calls,
        "executor": execution.gas - sum(calls.values()),
        f"safe{less}": spent - execution.gas - approvals,
    }


def _by_name(frames: Sequence[_Frame]) -> dict[str, int]:
    calls = dict.fromkeys(_NAMES.values(), 0)
    for frame in frames:
        if frame.called in _NAMES:
            calls[_NAMES[frame.called]] += frame.gas
    return calls


def _trace(rpc: Rpc, tx_hash: str) -> _Trace | None:
    for read in (_parity_trace, _geth_trace):
        try:
            return read(rpc, tx_hash)
        except (RpcError, RpcUnavailable, KeyError, TypeError, ValueError, IndexError):
            # Not offered, switched off, or in another shape: a trace is a luxury.
            continue
    return None


def _parity_trace(rpc: Rpc, tx_hash: str) -> _Trace:
    frames: list[Any] = rpc.call("trace_transaction", tx_hash)
    top = frames[0]  # traces are listed in the order of the calls
    calls = [
        _Frame(
            path=tuple(frame["traceAddress"]),
            to=str(frame["action"].get("to", "")).lower(),
            called=str(frame["action"].get("input", ""))[:10],
            gas=int((frame.get("result") or {}).get("gasUsed", "0x0"), 16),
        )
        for frame in frames[1:]
    ]
    return _Trace(int(top["result"]["gasUsed"], 16), tuple(calls))


def _geth_trace(rpc: Rpc, tx_hash: str) -> _Trace:
    top: Any = rpc.call("debug_traceTransaction", tx_hash, {"tracer": "callTracer"})
    return _Trace(None, tuple(_flat(top, ())))


def _flat(parent: Any, path: tuple[int, ...]) -> Iterator[_Frame]:
    for index, call in enumerate(parent.get("calls", [])):
        here = (*path, index)
        to = str(call.get("to", "")).lower()
        yield _Frame(here, to, str(call["input"])[:10], int(call["gasUsed"], 16))
        yield from _flat(call, here)
