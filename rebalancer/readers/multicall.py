"""Many view calls in one eth_call at one block hash: through Multicall3 where it has to be.

``reader`` is asked first; Multicall3's aggregate3 is for nodes that do not run its program, and for
calls that have no short form (a symbol, which is a string). A call that reverts or answers nonsense
spoils only its own result. An address without code answers every call with success and no data:
such a result does not decode, so it is never taken for zero.
Multicall3: github.com/mds1/multicall3, at the same address on nearly every chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rebalancer.errors import ReadError
from rebalancer.evm.abi import to_hex
from rebalancer.evm.rpc import RequestTooLarge, Rpc, RpcError
from rebalancer.readers.aggregate import decode_results, encode_calls, encoded_size
from rebalancer.readers.call import Call, Result
from rebalancer.readers.packed import GAS_PER_CALL, GAS_PER_NEXT_CALL, MAX_GAS, pack
from rebalancer.readers.reader import in_parallel, read
from rebalancer.readers.wire import as_data, refused

#: Calldata of one eth_call; as hex in JSON it stays below 1 MiB, the limit of many a web server.
MAX_CALLDATA_BYTES = 458_752
#: EIP-2028; most bytes are zero and cost a quarter.
GAS_PER_BYTE = 16

#: With these codes nodes say that a call was too much for them (gas, time, size of the answer):
#: geth and its kin -32000 (out of gas, aborted) and -32003; Anvil -32603; OpenEthereum and
#: Nethermind -32015; reverts for lack of gas are 3. Some mean other things too: a chunk of one
#: call is not halved, so that the node's no comes out in the end.
_TOO_MUCH = frozenset({3, -32000, -32003, -32015, -32603})


#: A call with its calldata.
_Encoded = tuple[Call, bytes]


def multicall(
    rpc: Rpc, multicall3_address: str, calls: Sequence[Call], block_hash: str
) -> list[Result]:
    """Results of ``calls`` in order, all at one block, of contracts that are vouched for.

    One eth_call where they fit into one, through the program of ``reader`` or else Multicall3.
    Raises as ``by_multicall3`` does.
    """
    packed = pack(calls)
    found = None if packed is None else read(rpc, packed, block_hash)
    if found is None:
        return by_multicall3(rpc, multicall3_address, calls, block_hash)
    return [found[call] for call in calls]


def by_multicall3(
    rpc: Rpc, multicall3_address: str, calls: Sequence[Call], block_hash: str, *, halve: bool = True
) -> list[Result]:
    """Results of ``calls`` in order, all at one block; one eth_call per chunk, several at a time.

    A chunk that is too large for the node is halved until it is not; with ``halve`` also one that
    uses too much gas. Raises ReadError when the node refuses, or when no Multicall3 is at the
    address.
    """
    at = {"blockHash": block_hash}

    def ask(chunk: list[_Encoded]) -> list[Result]:
        return _ask(rpc, multicall3_address, chunk, at, _TOO_MUCH if halve else frozenset())

    answered = in_parallel(ask, list(_chunks(calls)))
    return [result for results in answered for result in results]


def no_multicall3(address: str, block: int | None = None) -> ReadError:
    """Nothing at the address answers as Multicall3 does."""
    return ReadError(
        f"there is no Multicall3 at {address} in this block",
        hint="check multicall3 in networks.yaml; blocks from before it was deployed cannot be read",
        block=block,
    )


def _ask(
    rpc: Rpc,
    multicall3_address: str,
    chunk: list[_Encoded],
    at: dict[str, str],
    too_much: frozenset[int],
) -> list[Result]:
    """Results of one chunk; of its halves where the node refuses it with a code of ``too_much``."""
    transaction = {"to": multicall3_address, "data": to_hex(_encode(chunk))}
    try:
        answer = rpc.call("eth_call", transaction, at)
    except RpcError as error:
        if len(chunk) == 1 or error.code not in too_much:
            raise refused(error, "the state of the block") from error
    except RequestTooLarge:
        if len(chunk) == 1:
            raise
    else:
        return _decode(chunk, as_data(answer, "eth_call"), multicall3_address)
    middle = len(chunk) // 2
    return [
        result
        for half in (chunk[:middle], chunk[middle:])
        for result in _ask(rpc, multicall3_address, half, at, too_much)
    ]


def _chunks(calls: Sequence[Call]) -> Iterator[list[_Encoded]]:
    """Cut ``calls``, with their calldata, where an eth_call would grow beyond the limits."""
    chunk: list[_Encoded] = []
    size = gas = 0
    target = ""
    for call in calls:
        data = call.data()
        more = encoded_size(data)
        costs = GAS_PER_NEXT_CALL if call.target == target else GAS_PER_CALL
        costs += GAS_PER_BYTE * more
        target = call.target
        if chunk and (gas + costs > MAX_GAS or size + more > MAX_CALLDATA_BYTES):
            yield chunk
            chunk, size, gas = [], 0, 0
        chunk.append((call, data))
        size += more
        gas += costs
    if chunk:
        yield chunk


def _encode(chunk: Sequence[_Encoded]) -> bytes:
    return encode_calls([(call.target, data) for call, data in chunk])


def _decode(chunk: Sequence[_Encoded], data: bytes, address: str) -> list[Result]:
    try:
        rows = decode_results(data)
    except ValueError:
        rows = []
    if len(rows) != len(chunk):
        raise no_multicall3(address)
    return [
        Result(call, success, returned)
        for (call, _), (success, returned) in zip(chunk, rows, strict=True)
    ]
