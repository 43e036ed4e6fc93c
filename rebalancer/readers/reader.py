"""Asking through ``contracts/Reader.evm``, where the node lets us.

It is asked first, whatever is to be read: the fewest bytes both ways, and each call has its own
gas, so that nobody spoils more than its own answer. A node that knows no state override refuses it
or finds no code; then the caller goes to Multicall3, and that node costs one request more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rebalancer.evm.rpc import RequestTooLarge, Rpc, RpcError
from rebalancer.readers.call import Call
from rebalancer.readers.packed import ADDRESS, Answers, Packed, pack, program, unpack
from rebalancer.readers.wire import as_data, refused

#: eth_calls under way at a time.
CONCURRENCY = 4
#: Codes with which a node says that it cannot answer whatever way it is asked (EIP-1474): no such
#: block, not ready, too many requests.
_FINAL = frozenset({-32001, -32002, -32005, 429})

_T = TypeVar("_T")
_U = TypeVar("_U")


def read(rpc: Rpc, asked: Sequence[Packed], block_hash: str) -> Answers | None:
    """What every call came back with at one block; None where the node does not run the program.

    One request for each of ``asked``, several at a time, and more for calls that there was no gas
    left for. One that is too large for the node is halved. Raises ReadError where the node refuses.
    """
    found = Answers({}, {})
    while asked:
        not_made: list[Call] = []
        made = 0
        for one, answer in zip(
            asked, in_parallel(lambda one: _read(rpc, one, block_hash), asked), strict=True
        ):
            if answer is None:
                return None
            found.add(answer)
            made += len(answer)
            if len(answer) < one.count:
                not_made += (call for call in one.calls if call not in answer)
        if not_made and not made:
            return None  # Not even one call's share of gas.
        asked = pack(not_made) or ()
    return found


def in_parallel(ask: Callable[[_T], _U], asked: Sequence[_T]) -> list[_U]:
    """``ask`` for each of ``asked``, several at a time, in order."""
    if len(asked) <= 1:
        return [ask(one) for one in asked]
    with ThreadPoolExecutor(min(CONCURRENCY, len(asked))) as pool:
        return list(pool.map(ask, asked))


def _read(rpc: Rpc, asked: Packed, block_hash: str) -> Answers | None:
    """What the calls that were made came back with; None for what is no answer of the program."""
    transaction = {"to": ADDRESS, "data": asked.data}
    code = {ADDRESS: {"code": program()}}
    try:
        answer = rpc.call("eth_call", transaction, {"blockHash": block_hash}, code)
    except RequestTooLarge:
        if asked.count == 1:
            raise
        return _halves(rpc, list(asked.calls), block_hash)
    except RpcError as error:
        if error.code in _FINAL:
            raise refused(error, "the state of the block") from error
        return None
    return unpack(asked, as_data(answer, "eth_call"))


def _halves(rpc: Rpc, calls: Sequence[Call], block_hash: str) -> Answers | None:
    middle = len(calls) // 2
    found = Answers({}, {})
    for half in (calls[:middle], calls[middle:]):
        for asked in pack(half) or ():
            answer = _read(rpc, asked, block_hash)
            if answer is None:
                return None
            found.add(answer)
    return found
