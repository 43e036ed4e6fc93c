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
#: Words from here on are negative as an int256.
_INT256 = 2**255
_UINT = re.compile(r"uint([0-9]+)")
_OWNER = ("address",)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_PADDING = bytes(12)


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
    if types == _OWNER and len(args) == 1 and (owner := _word_of(args[0])) is not None:
        return head + owner
    return head + encode(types, args) if types or args else head


def _word_of(address: Any) -> bytes | None:
    """An address as eth-abi encodes it; None for what it would have to judge.

    Every balance is a call with one address: with thousands of them this is a snapshot's time.
    """
    if isinstance(address, str) and _ADDRESS.fullmatch(address):
        return _PADDING + bytes.fromhex(address[2:])
    return None


def decode_output(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Decode returned data; raises eth_abi's DecodingError when it does not fit.

    Integers, which most views return, are read here: thousands of them are a snapshot.
    """
    integers = _integers(tuple(types))
    if integers is None or len(data) < _WORD * len(integers):
        return tuple(decode(types, data))
    values = []
    for place, bound in integers:
        value = int.from_bytes(data[place], "big")
        if value >= bound:
            if bound != _INT256:
                return tuple(decode(types, data))  # which says what is wrong
            value -= 2 * _INT256
        values.append(value)
    return tuple(values)


@cache
def _integers(types: tuple[str, ...]) -> tuple[tuple[slice, int], ...] | None:
    """Where each value is, and what it is below; None where one is no such integer.

    Of the signed only int256, which every word is.
    """
    found = []
    for index, item in enumerate(types):
        match = _UINT.fullmatch(item)
        if match is None and item != "int256":
            return None
        place = slice(_WORD * index, _WORD * (index + 1))
        found.append((place, 2 ** int(match[1]) if match else _INT256))
    return tuple(found) or None


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
