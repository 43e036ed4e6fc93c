"""What a token says of itself: its symbol, as text or as the bytes32 of older ones, its decimals.

A symbol is what a stranger wrote, so it is only ever shown, with everything taken out that a
terminal or a table could misunderstand. Nothing here is kept between runs: decimals are checked
with every balance anyway, in the same eth_call, and symbols are asked only when a person looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_abi.exceptions import DecodingError

from rebalancer.evm.abi import decode_output
from rebalancer.evm.rpc import Rpc
from rebalancer.readers.call import Call
from rebalancer.readers.fence import ask
from rebalancer.readers.tokens import decimals

_LONGEST = 32
_WORD = 32
_HARMLESS = frozenset(".-_+$/ ")


@dataclass(frozen=True, slots=True)
class Metadata:
    """``symbol`` and ``decimals`` of the contract at ``address``; None where it does not tell."""

    address: str
    symbol: str | None
    decimals: int | None


def read_metadata(
    rpc: Rpc, multicall3: str, addresses: Sequence[str], block_hash: str
) -> tuple[Metadata, ...]:
    """What the contracts at ``addresses`` say, in order; one request where all behave.

    A contract that misbehaves costs only its own row. Raises ReadError where the node refuses.
    """
    calls = [call for a in addresses for call in (symbol(a), decimals(a))]
    answers = ask(rpc, multicall3, (), calls, block_hash)
    found = []
    for address in addresses:
        told, places = answers[symbol(address)], answers[decimals(address)].values()
        text = decode_text(told.data) if told.success else None
        found.append(Metadata(address, text, int(places[0]) if places else None))
    return tuple(found)


def symbol(token: str) -> Call:
    return Call(token, "symbol()", (), ("string",))


def decode_text(data: bytes) -> str | None:
    """A returned string or bytes32 as harmless text of at most 32 characters; None if it is none.

    Bytes that are no UTF-8 become question marks, and so does what is not a letter, a digit or one
    of ``.-_+$/`` and space.
    """
    if len(data) == _WORD:
        raw = data.partition(b"\0")[0]
    else:
        try:
            (raw,) = decode_output(("bytes",), data)
        except DecodingError:
            return None
    text = raw[: 4 * _LONGEST].decode("utf-8", "replace")[:_LONGEST]
    return "".join(c if c.isalnum() or c in _HARMLESS else "?" for c in text) or None
