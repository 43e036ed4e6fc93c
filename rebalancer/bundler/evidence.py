"""Who used a nonce: a claim that a transaction can never be mined needs the one that was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rebalancer.bundler.head import Head
from rebalancer.evm.rpc import Rpc


@dataclass(frozen=True, slots=True)
class NonceUser:
    """The transaction that used a nonce, in a block of the chain."""

    tx_hash: str
    block_number: int


def find_nonce_user(
    rpc: Rpc, wallet: str, nonce: int, after_block: int, head: Head
) -> NonceUser | None:
    """Find what used ``nonce`` in the blocks after ``after_block``, up to ``head``.

    None when no block holds it: then the node that said so contradicts itself. Raises RpcError
    where the node no longer keeps the counts of these blocks.
    """
    low, high = after_block, head.number
    if low >= high or _count(rpc, wallet, high) <= nonce:
        return None
    # The count only grows: the first block after which it is above the nonce holds the user.
    while high - low > 1:
        middle = (low + high) // 2
        if _count(rpc, wallet, middle) > nonce:
            high = middle
        else:
            low = middle
    block: Any = rpc.call("eth_getBlockByNumber", hex(high), True)
    transactions = (block or {}).get("transactions", [])
    for uses in (_sent_with, _authorised_with):
        for transaction in transactions:
            if uses(transaction, wallet.lower(), nonce):
                return NonceUser(str(transaction["hash"]), high)
    return None


def _count(rpc: Rpc, wallet: str, number: int) -> int:
    return int(rpc.call("eth_getTransactionCount", wallet, hex(number)), 16)


def _sent_with(transaction: Any, wallet: str, nonce: int) -> bool:
    sender = str(transaction["from"]).lower()
    return sender == wallet and int(transaction["nonce"], 16) == nonce


def _authorised_with(transaction: Any, wallet: str, nonce: int) -> bool:
    """An EIP-7702 authorisation uses a nonce too, whoever sends it along; it names no signer."""
    authorisations = transaction.get("authorizationList") or []
    return any(int(entry["nonce"], 16) == nonce for entry in authorisations)
