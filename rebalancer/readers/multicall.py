"""Many view calls in one eth_call, through Multicall3's aggregate3 at one block hash.

A call that reverts or answers nonsense spoils only its own result. An address without code answers
every call with success and no data: such a result does not decode, so it is never taken for zero.
Multicall3: github.com/mds1/multicall3, at the same address on nearly every chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import DecodingError

from rebalancer.errors import ReadError
from rebalancer.evm.abi import decode_output, encode_call, to_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.readers.wire import as_data, refused

#: 500 cold view calls use 3 to 8 million gas, far below the 50 million that nodes allow eth_call.
MAX_CALLS = 500
#: Calldata of one eth_call; a call of one argument takes 256 bytes of it.
MAX_CALLDATA_BYTES = 131_072

_AGGREGATE3 = "aggregate3((address,bool,bytes)[])"
#: Of one element: offset, address, flag, offset and length of the bytes.
_WORDS_PER_CALL = 5
_WORD = 32


@dataclass(frozen=True, slots=True)
class Call:
    """A view call: ``signature`` as ``name(type,...)``, ``returns`` its ABI types."""

    target: str
    signature: str
    args: tuple[Any, ...] = ()
    returns: tuple[str, ...] = ("uint256",)

    def data(self) -> bytes:
        """Calldata."""
        return encode_call(self.signature, *self.args)


@dataclass(frozen=True, slots=True)
class Result:
    """What a call came back with, before anybody believes it."""

    call: Call
    success: bool
    data: bytes

    def values(self) -> tuple[Any, ...] | None:
        """The decoded return values; None where the call failed or its data does not decode."""
        if not self.success:
            return None
        try:
            return decode_output(self.call.returns, self.data)
        except DecodingError:
            return None

    @property
    def failure(self) -> str:
        """Why there are no values, to stand after the name of what was asked."""
        name = self.call.signature.partition("(")[0]
        if not self.success:
            return f"{name}() reverts"
        if not self.data:
            return f"{name}() returns nothing, as an address without code does"
        return f"{name}() returns what does not decode"


def multicall(
    rpc: Rpc, multicall3_address: str, calls: Sequence[Call], block_hash: str
) -> list[Result]:
    """Results of ``calls`` in order, all at one block; one request, one eth_call per chunk.

    Raises ReadError when the node refuses, or when no Multicall3 is at the address.
    """
    chunks = list(_chunks(calls))
    if not chunks:
        return []
    at = {"blockHash": block_hash}
    requests = [
        ("eth_call", ({"to": multicall3_address, "data": to_hex(_encode(chunk))}, at))
        for chunk in chunks
    ]
    try:
        answers = rpc.batch(requests)
    except RpcError as error:
        raise refused(error, "the state of the block") from error
    results: list[Result] = []
    for chunk, answer in zip(chunks, answers, strict=True):
        results += _decode(chunk, as_data(answer, "eth_call"), multicall3_address)
    return results


def _chunks(calls: Sequence[Call]) -> Iterator[list[tuple[Call, bytes]]]:
    """Cut ``calls``, with their calldata, where an eth_call would grow beyond the limits."""
    chunk: list[tuple[Call, bytes]] = []
    size = 0
    for call in calls:
        data = call.data()
        more = _WORD * (_WORDS_PER_CALL + -(-len(data) // _WORD))
        if chunk and (len(chunk) == MAX_CALLS or size + more > MAX_CALLDATA_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append((call, data))
        size += more
    if chunk:
        yield chunk


def _encode(chunk: Sequence[tuple[Call, bytes]]) -> bytes:
    return encode_call(_AGGREGATE3, [(call.target, True, data) for call, data in chunk])


def _decode(chunk: Sequence[tuple[Call, bytes]], data: bytes, address: str) -> list[Result]:
    try:
        (rows,) = decode_output(("(bool,bytes)[]",), data)
    except DecodingError:
        rows = ()
    if len(rows) != len(chunk):
        raise ReadError(
            f"there is no Multicall3 at {address} in this block",
            hint="check multicall3 in networks.yaml; blocks from before it was deployed "
            "cannot be read",
        )
    return [
        Result(call, success, returned)
        for (call, _), (success, returned) in zip(chunk, rows, strict=True)
    ]
