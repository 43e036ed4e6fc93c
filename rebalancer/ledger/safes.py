"""Transactions that let a Safe act: who sent them, and who traded by them, from their own bytes.

The wallet of such a transaction is the Safe, its sender whoever paid the gas. Read apart from the
bundler, which made them: an audit that used the same code would repeat its mistakes.
"""

from __future__ import annotations

from eth_abi.exceptions import DecodingError

from rebalancer.evm.abi import decode_output, from_hex, selector, to_hex
from rebalancer.model import SignedTransaction

_EXECUTE_TYPES = ["address", "uint256", "bytes", "uint8"] + ["uint256"] * 3
_EXECUTE_TYPES += ["address", "address", "bytes"]
_SELECTOR = selector(f"execTransaction({','.join(_EXECUTE_TYPES)})")
_DELEGATE_CALL = 1
#: Before the data of each call in a MultiSend: operation (1 byte), target (20), value (32), length.
_HEAD_BYTES = 85


def is_through_safe(transaction: SignedTransaction, wallet: str) -> bool:
    """Whether it calls the wallet, and is of somebody else: the wallet is a contract."""
    owner = wallet.lower()
    return transaction.to.lower() == owner and transaction.sender.lower() != owner


def sender_of(transaction: SignedTransaction, wallet: str) -> str:
    """Who must have signed it and paid its gas: the wallet, unless that is a Safe."""
    return transaction.sender if is_through_safe(transaction, wallet) else wallet


def trader_of(transaction: SignedTransaction, wallet: str, called: str) -> str:
    """Who trades on the pairs by it, lower case: the contract ``called``, or the last of a Safe's.

    Empty when the bytes of a Safe's do not say so.
    """
    if not is_through_safe(transaction, wallet):
        return called
    data = from_hex(transaction.data)
    if data[:4] != _SELECTOR:
        return ""
    try:
        to, _, inner, operation, *_ = decode_output(_EXECUTE_TYPES, data[4:])
        if operation != _DELEGATE_CALL:
            return str(to).lower()
        (packed,) = decode_output(["bytes"], inner[4:])
    except DecodingError:
        return ""
    return _last_target(packed)


def _last_target(packed: bytes) -> str:
    target = ""
    while len(packed) >= _HEAD_BYTES:
        target = to_hex(packed[1:21])
        packed = packed[_HEAD_BYTES + int.from_bytes(packed[53:_HEAD_BYTES]) :]
    return target
