"""What only a development node allows: transactions as anybody, code and storage at will."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from rebalancer.errors import ExecutionError
from rebalancer.evm.abi import decode_output, encode_call, from_hex, to_hex
from rebalancer.evm.rpc import Rpc

#: More calls in one HTTP body are refused (the limit is 2 MB of JSON).
_BATCH = 250
_PRIORITY_FEE_WEI = 10**9


@dataclass(frozen=True, slots=True)
class Call:
    """One transaction to be: ``to`` None creates a contract from ``data`` (0x)."""

    to: str | None
    data: str
    value_wei: int = 0
    gas_limit: int = 400_000


def call_of(to: str, signature: str, *args: Any, value_wei: int = 0, gas: int = 400_000) -> Call:
    """A call of ``signature`` on ``to``."""
    return Call(to, to_hex(encode_call(signature, *args)), value_wei, gas)


def mine_block(rpc: Rpc, sender: str, calls: Sequence[Call]) -> list[dict[str, Any]]:
    """Mine one block that holds just these transactions of one sender, in order; their receipts.

    The sender needs no key and no ETH. Raises ExecutionError when one of them reverts or is left
    out: what follows on a development chain would be built on sand.
    """
    head, nonce_hex = rpc.batch(
        [
            ("eth_getBlockByNumber", ("latest", False)),
            ("eth_getTransactionCount", (sender, "latest")),
        ]
    )
    max_fee_wei = 2 * int(head["baseFeePerGas"], 16) + _PRIORITY_FEE_WEI
    need_wei = sum(c.value_wei + c.gas_limit * max_fee_wei for c in calls)
    requests: list[tuple[str, Sequence[Any]]] = [
        (
            "eth_sendTransaction",
            (
                {
                    "from": sender,
                    **({"to": call.to} if call.to else {}),
                    "data": call.data,
                    "value": hex(call.value_wei),
                    "gas": hex(call.gas_limit),
                    "nonce": hex(int(nonce_hex, 16) + index),
                    "maxFeePerGas": hex(max_fee_wei),
                    "maxPriorityFeePerGas": hex(_PRIORITY_FEE_WEI),
                },
            ),
        )
        for index, call in enumerate(calls)
    ]
    automine = rpc.call("anvil_getAutomine")
    if int(rpc.call("eth_getBalance", sender, "latest"), 16) < need_wei:
        rpc.call("anvil_setBalance", sender, hex(need_wei))
    rpc.batch([("anvil_impersonateAccount", (sender,)), ("evm_setAutomine", (False,))])
    try:
        hashes = rpc.batch(requests)
        rpc.call("evm_mine")
    finally:
        rpc.batch([("evm_setAutomine", (automine,)), ("anvil_stopImpersonatingAccount", (sender,))])
    receipts = rpc.batch([("eth_getTransactionReceipt", (tx_hash,)) for tx_hash in hashes])
    for index, (call, receipt) in enumerate(zip(calls, receipts, strict=True)):
        if receipt is None or int(receipt["status"], 16) != 1:
            what = "was not mined" if receipt is None else "reverted"
            raise ExecutionError(
                f"development chain: transaction {index} of {sender} to {call.to} {what}",
                tx_hash=hashes[index],
            )
    return receipts


def write_all(rpc: Rpc, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
    """Many small requests in as many HTTP bodies as the node takes; their results in order."""
    results: list[Any] = []
    for start in range(0, len(calls), _BATCH):
        results += rpc.batch(calls[start : start + _BATCH])
    return results


def runtime_of(rpc: Rpc, init_code: str) -> str:
    """Runtime code that ``init_code`` would create, immutables filled in; nothing is created."""
    return str(rpc.call("eth_call", {"data": init_code}, "latest"))


def view(rpc: Rpc, to: str, signature: str, types: Sequence[str], *args: Any) -> tuple[Any, ...]:
    """Decoded answer of a view function at the head; raises RpcError when it reverts."""
    data = to_hex(encode_call(signature, *args))
    answer = rpc.call("eth_call", {"to": to, "data": data}, "latest")
    return decode_output(types, from_hex(answer))


def has_code(rpc: Rpc, address: str) -> bool:
    return str(rpc.call("eth_getCode", address, "latest")) != "0x"


def word(value: int | str) -> str:
    """A storage slot's content (or key) from an integer or an address."""
    number = int(value, 16) if isinstance(value, str) else value
    return f"0x{number:064x}"


def mapping_slot(key: str, mapping: str) -> str:
    """Slot of ``mapping[key]`` in Solidity's layout; ``mapping`` is the slot of the mapping."""
    return "0x" + keccak(from_hex(word(key)) + from_hex(mapping)).hex()


def pair_slot(token_a: str, token_b: str) -> str:
    """Slot of ``getPair[token_a][token_b]`` in a Uniswap V2 factory."""
    return mapping_slot(token_b, mapping_slot(token_a, word(2)))
