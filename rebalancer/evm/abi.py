"""ABI coding, selectors and checksums, on eth-abi and eth-utils."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

_WORD = 32
_UINT = re.compile(r"uint([0-9]+)")


@cache
def _parse(signature: str) -> tuple[bytes, tuple[str, ...]]:
    """Selector and argument types of ``name(type,...)``."""
    return keccak(text=signature)[:4], split_types(signature[signature.index("(") + 1 : -1])


def split_types(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of ABI types, leaving tuples whole."""
    parts: list[str] = []
    depth, start = 0, 0
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return (*parts, text[start:]) if text else ()


def selector(signature: str) -> bytes:
    """First four bytes of the keccak hash of ``name(type,...)``."""
    return _parse(signature)[0]


def encode_call(signature: str, *args: Any) -> bytes:
    """Calldata of a function written as ``name(type,...)``."""
    head, types = _parse(signature)
    return head + encode(types, args) if types or args else head


def decode_output(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Decode returned data; raises eth_abi's DecodingError when it does not fit.

    Unsigned integers, which most views return, are read here: thousands of them are a snapshot.
    """
    bounds = _uint_bounds(tuple(types))
    if bounds is None or len(data) < _WORD * len(bounds):
        return tuple(decode(types, data))
    words = (data[start : start + _WORD] for start in range(0, _WORD * len(bounds), _WORD))
    values = tuple(int.from_bytes(word, "big") for word in words)
    if any(value >= bound for value, bound in zip(values, bounds, strict=True)):
        return tuple(decode(types, data))  # which says what is wrong
    return values


@cache
def _uint_bounds(types: tuple[str, ...]) -> tuple[int, ...] | None:
    """What each value is below; None where not all ``types`` are unsigned integers."""
    matches = [_UINT.fullmatch(item) for item in types]
    bits = [int(match[1]) for match in matches if match]
    return tuple(2**count for count in bits) if types and len(bits) == len(types) else None


def topic(signature: str) -> str:
    """Topic 0 of an event written as ``Name(type,...)``, with 0x."""
    return "0x" + keccak(text=signature).hex()


def checksum(address: str | bytes) -> str:
    """EIP-55 form of an address."""
    return str(to_checksum_address(address))


def create2_address(deployer: str, salt: bytes, init_code_hash: bytes) -> str:
    """Address of a contract made by CREATE2 (EIP-1014)."""
    preimage = b"\xff" + bytes.fromhex(deployer[2:]) + salt + init_code_hash
    return checksum(keccak(preimage)[12:])


def to_hex(data: bytes) -> str:
    return "0x" + data.hex()


def from_hex(text: str) -> bytes:
    return bytes.fromhex(text[2:])
