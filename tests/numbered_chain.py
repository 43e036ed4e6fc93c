"""A chain of empty blocks for fakes: each block's hash is its number."""

from __future__ import annotations

from typing import Any

from rebalancer.model import BlockRef


def block_hash(number: int) -> str:
    return f"0x{number:064x}"


def header(number: int, hash_: str | None = None) -> dict[str, Any]:
    """What a node says of a block; with another hash where it was reorganised."""
    found = {"number": hex(number), "hash": hash_ or block_hash(number)}
    return {**found, "timestamp": hex(12 * number)}


def at(number: int, hash_: str | None = None) -> BlockRef:
    return BlockRef(1, number, hash_ or block_hash(number), 12 * number, 0)
