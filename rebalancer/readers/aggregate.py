"""The ABI of Multicall3's ``aggregate3``, both ways, for thousands of calls.

Written out because eth-abi's general codec takes more time than the node does; a property test
holds it to eth-abi's bytes. github.com/mds1/multicall3
"""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.evm.abi import selector

_WORD = 32
_SELECTOR = selector("aggregate3((address,bool,bytes)[])")
_TRUE = (1).to_bytes(_WORD, "big")
#: Offset of the bytes in an element of (address,bool,bytes), and in one of (bool,bytes).
_THREE_WORDS = (3 * _WORD).to_bytes(_WORD, "big")
_ADDRESS_PADDING = bytes(12)


def encoded_size(data: bytes) -> int:
    """Bytes that a call with calldata ``data`` takes: five words and the data in whole words."""
    return _WORD * (5 + -(-len(data) // _WORD))


def encode_calls(calls: Sequence[tuple[str, bytes]]) -> bytes:
    """Calldata of ``aggregate3`` for targets and their calldata, all of which may fail."""
    offsets: list[bytes] = []
    elements: list[bytes] = []
    at = _WORD * len(calls)
    for target, data in calls:
        offsets.append(at.to_bytes(_WORD, "big"))
        length = len(data).to_bytes(_WORD, "big")
        padding = bytes(-len(data) % _WORD)
        address = _ADDRESS_PADDING + bytes.fromhex(target[2:])
        elements += (address, _TRUE, _THREE_WORDS, length, data, padding)
        at += encoded_size(data) - _WORD
    head = _SELECTOR + _WORD.to_bytes(_WORD, "big") + len(calls).to_bytes(_WORD, "big")
    return b"".join((head, *offsets, *elements))


def decode_results(data: bytes) -> list[tuple[bool, bytes]]:
    """Success and returned data of every call; raises ValueError for what is no such answer."""

    def number(at: int) -> int:
        # Nothing is as large as an answer, so neither is a length or an offset in it.
        if at + _WORD > len(data):
            raise ValueError("the answer ends too early")
        return int.from_bytes(data[at : at + _WORD], "big")

    start = number(0) + _WORD
    count = number(start - _WORD)
    if count * _WORD > len(data):
        raise ValueError("the answer ends too early")
    rows = []
    for i in range(count):
        element = start + number(start + _WORD * i)
        success = number(element)
        if success > 1:
            raise ValueError("a flag is neither true nor false")
        body = element + number(element + _WORD)
        first = body + _WORD
        last = first + number(body)
        if last > len(data):
            raise ValueError("the answer ends too early")
        rows.append((success == 1, data[first:last]))
    return rows
