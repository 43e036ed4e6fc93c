"""Tokens whose code can be exchanged: where their code is now.

EIP-1967 says in which slot a proxy keeps its implementation; zeppelinos, which USDC was built with,
used another one before. What is read there is only a fact: who compares it with what was there
before decides what it means.
"""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.evm.abi import checksum
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import BlockRef, Proxy, Token
from rebalancer.readers.wire import as_quantity, refused

#: keccak("eip1967.proxy.implementation") - 1
EIP1967_SLOT = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"
#: keccak("org.zeppelinos.proxy.implementation")
ZEPPELINOS_SLOT = "0x7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3"

_SLOTS = (EIP1967_SLOT, ZEPPELINOS_SLOT)
_ADDRESSES = 2**160


def read_proxies(rpc: Rpc, tokens: Sequence[Token], block: BlockRef) -> tuple[Proxy, ...]:
    """The proxies among ``tokens``, in their order; one request.

    A slot that does not hold an address is no implementation. Raises ReadError where the node
    refuses.
    """
    at = {"blockHash": block.hash}
    requests = [
        ("eth_getStorageAt", (token.address, slot, at)) for token in tokens for slot in _SLOTS
    ]
    try:
        answers = rpc.batch(requests)
    except RpcError as error:
        raise refused(error, "the proxies among the tokens", block.number) from error
    words = [as_quantity(answer, "eth_getStorageAt") for answer in answers]
    found = []
    for index, token in enumerate(tokens):
        both = words[len(_SLOTS) * index :][: len(_SLOTS)]
        implementation = next((word for word in both if 0 < word < _ADDRESSES), None)
        if implementation is not None:
            found.append(Proxy(token, checksum(implementation.to_bytes(20, "big"))))
    return tuple(found)
