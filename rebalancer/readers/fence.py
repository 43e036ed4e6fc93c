"""Asking contracts that nobody vouches for, so that a bad one spoils its own answer and no other.

``reader`` gives each call its own gas. Where a node does not run its program there is Multicall3,
which hands nearly all remaining gas to each call. A token that burns what it gets starves
the calls after it: they fail, or, worse, answer something else than they would have. So what is
trusted is asked first, and once one of the others fails nothing after it is believed: each of those
calls is asked again alone, with a gas limit of its own. As long as nobody misbehaves it is one
eth_call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from eth_abi.exceptions import DecodingError

from rebalancer.errors import ReadError, RpcUnavailable
from rebalancer.evm.abi import decode_output, encode_call, to_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.readers.call import Call, Result
from rebalancer.readers.multicall import by_multicall3
from rebalancer.readers.packed import Packed, pack
from rebalancer.readers.reader import read
from rebalancer.readers.wire import as_data, refused

#: Gas of one call that is asked alone. The dearest views of real tokens use a tenth of it, and the
#: 1/64 that no call can burn (EIP-150) lets Multicall3 still say that it failed.
FENCE_GAS = 1_000_000
#: eth_calls in one request of the second look: the smallest limit of the well-known providers.
_BATCH = 100
#: Codes with which nodes say that the execution failed (3, -32000 and -32015 of geth and its kin,
#: -32003 and -32603 of others). Some mean other things too; then asking again fails again.
_EXECUTION_FAILED = frozenset({3, -32000, -32003, -32015, -32603})

_AGGREGATE3 = "aggregate3((address,bool,bytes)[])"


@dataclass(frozen=True, slots=True)
class Questions:
    """What is to be asked: the same at every block, so it is put together once."""

    trusted: tuple[Call, ...]
    wild: tuple[Call, ...]
    packed: tuple[Packed, ...] | None

    @classmethod
    def of(cls, trusted: Iterable[Call], wild: Iterable[Call]) -> Self:
        """Of contracts that are vouched for, and of others; equal calls are asked once."""
        first = dict.fromkeys(trusted)
        second = tuple(call for call in dict.fromkeys(wild) if call not in first)
        packed = pack((*first, *second))
        return cls(tuple(first), second, None if packed is None else tuple(packed))


def ask(
    rpc: Rpc,
    multicall3_address: str,
    trusted: Iterable[Call],
    wild: Iterable[Call],
    block_hash: str,
) -> Mapping[Call, Result]:
    """What every call came back with at one block, as ``answers`` gives it."""
    return answers(rpc, multicall3_address, Questions.of(trusted, wild), block_hash)


def answers(
    rpc: Rpc, multicall3_address: str, asked: Questions, block_hash: str
) -> Mapping[Call, Result]:
    """What every call came back with at one block.

    One request where all fit into one. Through Multicall3, one where every ``wild`` call succeeds;
    one more for each hundred calls from the first that fails on, one more where they bring down the
    whole eth_call, and some more to find one that cannot even be asked alone. Raises ReadError
    where the node refuses.
    """
    found = None if asked.packed is None else read(rpc, asked.packed, block_hash)
    return _fenced(rpc, multicall3_address, asked, block_hash) if found is None else found


def _fenced(
    rpc: Rpc, multicall3_address: str, asked: Questions, block_hash: str
) -> Mapping[Call, Result]:
    first, second = asked.trusted, asked.wild
    try:
        calls = (*first, *second)
        # With nobody to suspect, a chunk that uses too much gas is one that is too large.
        results = by_multicall3(rpc, multicall3_address, calls, block_hash, halve=not second)
    except ReadError as error:
        cause = error.__cause__
        if not second or not isinstance(cause, RpcError) or cause.code not in _EXECUTION_FAILED:
            raise
        results = by_multicall3(rpc, multicall3_address, first, block_hash)
    believed = _believed(results, len(first))
    again = second[believed - len(first) :]
    alone = _ask_alone(rpc, multicall3_address, again, block_hash)
    return {result.call: result for result in (*results[:believed], *alone)}


def _believed(results: Sequence[Result], trusted: int) -> int:
    """How many results stand: the trusted ones, and the others up to the first that failed."""
    failed = (i for i in range(trusted, len(results)) if not results[i].success)
    return next(failed, len(results))


def _ask_alone(
    rpc: Rpc, multicall3_address: str, calls: Sequence[Call], block_hash: str
) -> list[Result]:
    """Results of ``calls``, each in an eth_call of its own.

    Through Multicall3 still: it turns a failure into an answer, where a plain eth_call would fail
    the whole batch.
    """
    at = {"blockHash": block_hash}
    requests = [
        (
            "eth_call",
            (
                {
                    "to": multicall3_address,
                    "data": to_hex(encode_call(_AGGREGATE3, [(call.target, True, call.data())])),
                    "gas": hex(FENCE_GAS),
                },
                at,
            ),
        )
        for call in calls
    ]
    answers: list[object] = []
    for start in range(0, len(requests), _BATCH):
        answers += _batch(rpc, requests[start : start + _BATCH])
    return [_alone(call, answer) for call, answer in zip(calls, answers, strict=True)]


def _batch(rpc: Rpc, requests: Sequence[tuple[str, Sequence[object]]]) -> list[object]:
    """Answers in order, None for an eth_call that fails whatever Multicall3 does.

    One that returns so much that handing it on takes all the gas is found by halving: a batch says
    only that one of its calls has failed. The block's state is there, it has been read before.
    """
    try:
        return rpc.batch(requests)
    except RpcError as error:
        if error.code not in _EXECUTION_FAILED:
            raise refused(error, "the tokens, each by itself") from error
    if len(requests) == 1:
        return [None]
    half = len(requests) // 2
    return [*_batch(rpc, requests[:half]), *_batch(rpc, requests[half:])]


def _alone(call: Call, answer: object) -> Result:
    if answer is None:
        return Result(call, False, b"")
    try:
        (rows,) = decode_output(("(bool,bytes)[]",), as_data(answer, "eth_call"))
        ((success, data),) = rows
    except (DecodingError, ValueError):
        raise RpcUnavailable(
            f"the node's answer for one call of {call.target} is not Multicall3's",
            hint="the endpoint is faulty: use another one",
        ) from None
    return Result(call, success, data)
