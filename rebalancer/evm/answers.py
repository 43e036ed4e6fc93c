"""What an answer of one endpoint is worth: the chain's word, or a reason to ask another one.

Everything here goes by method names, error codes and the shape of values. Nothing is recognised by
the words of a message, which differ between nodes and change between their versions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from rebalancer.evm.rpc import Call, RpcError

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
#: At least a selector, or nothing: what a revert comes with.
_REVERT_DATA = re.compile(r"0x(?:[0-9a-fA-F]{8})(?:[0-9a-fA-F]{2})*")

#: "Limit exceeded" (EIP-1474), and HTTP's "too many requests" where a provider puts it here.
_LIMITS = (-32005, 429)
#: "Execution reverted" (geth and its kin), "VM execution error" (Nethermind, OpenEthereum).
_REVERTED = (3, -32015)
#: What eth_simulateV1 says of transactions that cannot be: execution-apis, eth_simulateV1.
_INVALID_TRANSACTIONS = range(-38099, -38009)
#: "Invalid request" and "invalid params": what a node without EIP-1898 says to a block hash.
_NO_BLOCK_HASH = (-32600, -32602)

#: Methods that only look; all others are asked of one endpoint, once.
_READS = ("eth_", "net_", "web3_", "debug_", "trace_", "txpool_", "anvil_metadata")
#: The same wherever and whenever it is asked.
_CONSTANT = ("eth_chainId", "net_version", "web3_clientVersion", "anvil_metadata")
#: Here "nothing" may only mean that this node does not have it (yet). With the field by which an
#: answer repeats what was asked for.
_LOOKUPS = {
    "eth_getBlockByHash": "hash",
    "eth_getBlockByNumber": "number",
    "eth_getTransactionByHash": "hash",
    "eth_getTransactionReceipt": "transactionHash",
}


class Verdict(Enum):
    """What to do with an answer."""

    ANSWER = "the chain's own word: the same wherever it is asked"
    ELSEWHERE = "this endpoint cannot tell, through no fault of its own; another one may"
    FAULT = "the endpoint is overrun or talks nonsense: let it rest"


def judge(call: Call, answer: Any) -> Verdict:
    """The worth of a result or an RpcError that an endpoint gave to ``call``."""
    method, params = call
    if isinstance(answer, RpcError):
        return _judge_error(method, answer)
    if answer is None and method in _LOOKUPS:
        return Verdict.ELSEWHERE
    fits = _SHAPES.get(method)
    if fits is not None and not fits(answer):
        return Verdict.FAULT
    return Verdict.ANSWER if _is_of(method, params, answer) else Verdict.FAULT


def describe(call: Call, answer: Any) -> str:
    """A faulty answer in a few words, to stand after the endpoint's name."""
    if isinstance(answer, RpcError):
        return f"limits its answers (code {answer.code})"
    return f"answered {call[0]} with nonsense"


def _is_of(method: str, params: Sequence[Any], answer: Any) -> bool:
    """Whether a block, a transaction or a receipt is the one that was asked for."""
    field = _LOOKUPS.get(method)
    asked = params[0] if params else None
    if field is None or not isinstance(asked, str) or not asked.startswith("0x"):
        return True
    return isinstance(answer.get(field), str) and int(answer[field], 16) == int(asked, 16)


def _judge_error(method: str, error: RpcError) -> Verdict:
    if error.code in _LIMITS:
        # Of a log query it may be the number of its events that is over the limit.
        return Verdict.ELSEWHERE if method == "eth_getLogs" else Verdict.FAULT
    reverted = isinstance(error.data, str) and _REVERT_DATA.fullmatch(error.data)
    if error.code in _REVERTED or error.code in _INVALID_TRANSACTIONS or reverted:
        return Verdict.ANSWER
    return Verdict.ELSEWHERE


def is_read(method: str) -> bool:
    """Whether asking twice does no harm."""
    return method.startswith(_READS) and not is_send(method)


def is_send(method: str) -> bool:
    return method.startswith("eth_send")


def needs_head(calls: Sequence[Call]) -> bool:
    """Whether an answer depends on how far the node is: all but constants and reads by hash."""
    return any(
        call[0] not in _CONSTANT and call[0] != "eth_getBlockByHash" and not block_hashes([call])
        for call in calls
    )


def block_hashes(calls: Sequence[Call]) -> frozenset[str]:
    """The block hashes (EIP-1898) at which ``calls`` read state."""
    return frozenset(
        str(parameter["blockHash"])
        for method, params in calls
        if method != "eth_getLogs"  # whose filter has a blockHash of its own (EIP-234)
        for parameter in params
        if isinstance(parameter, Mapping) and "blockHash" in parameter
    )


def lacks_block_hash(answer: Any) -> bool:
    """Whether a node's answer for the state of a block that never was shows that it cannot tell.

    One that answers at all has taken another block's state for it.
    """
    return not isinstance(answer, RpcError) or answer.code in _NO_BLOCK_HASH


def is_header(value: Any) -> bool:
    """Whether ``value`` is a block with the fields that everything here depends on."""
    return (
        isinstance(value, Mapping)
        and _quantity(value.get("number"))
        and _hash(value.get("hash"))
        and _quantity(value.get("timestamp"))
    )


def _quantity(value: Any) -> bool:
    return isinstance(value, str) and _QUANTITY.fullmatch(value) is not None


def _data(value: Any) -> bool:
    # A regular expression would take three hundred times as long for an answer of half a megabyte,
    # and sixty times its memory. White space, which fromhex passes over, is no hex.
    if not isinstance(value, str) or not value.startswith("0x"):
        return False
    try:
        return 2 + 2 * len(bytes.fromhex(value[2:])) == len(value)
    except ValueError:
        return False


def _hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _transaction(value: Any) -> bool:
    return isinstance(value, Mapping) and _hash(value.get("hash"))


def _list(value: Any) -> bool:
    return isinstance(value, list)


def _receipt(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and _hash(value.get("transactionHash"))
        and _hash(value.get("blockHash"))
        and _quantity(value.get("blockNumber"))
        and isinstance(value.get("logs"), list)
    )


_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "eth_blockNumber": _quantity,
    "eth_call": _data,
    "eth_chainId": _quantity,
    "eth_estimateGas": _quantity,
    "eth_feeHistory": _object,
    "eth_gasPrice": _quantity,
    "eth_getBalance": _quantity,
    "eth_getBlockByHash": is_header,
    "eth_getBlockByNumber": is_header,
    "eth_getCode": _data,
    "eth_getLogs": _list,
    "eth_getStorageAt": _data,
    "eth_getTransactionByHash": _transaction,
    "eth_getTransactionCount": _quantity,
    "eth_getTransactionReceipt": _receipt,
    "eth_maxPriorityFeePerGas": _quantity,
    "eth_simulateV1": _list,
}
