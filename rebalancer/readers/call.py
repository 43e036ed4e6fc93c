"""A view call, and what it came back with.

Named tuples and no dataclasses: thousands of them are made, hashed and compared for a snapshot.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from eth_abi.exceptions import DecodingError

from rebalancer.evm.abi import decode_output, encode_call

_UINT256 = ("uint256",)
_WORD = 32
#: What a value of a type is below.
_BOUNDS = {f"uint{bits}": 2**bits for bits in range(8, 257, 8)}


class Call(NamedTuple):
    """A view call: ``signature`` as ``name(type,...)``, ``returns`` its ABI types."""

    target: str
    signature: str
    args: tuple[Any, ...] = ()
    returns: tuple[str, ...] = _UINT256

    def data(self) -> bytes:
        """Calldata."""
        return encode_call(self.signature, *self.args)


class Result(NamedTuple):
    """What a call came back with, before anybody believes it."""

    call: Call
    success: bool
    data: bytes

    def values(self) -> tuple[Any, ...] | None:
        """The decoded return values; None where the call failed or its data does not decode."""
        if not self.success:
            return None
        returns, data = self.call.returns, self.data
        if len(returns) == 1 and returns[0] in _BOUNDS and len(data) >= _WORD:
            value = int.from_bytes(data[:_WORD], "big")
            return (value,) if value < _BOUNDS[returns[0]] else None
        try:
            return decode_output(returns, data)
        except DecodingError:
            return None

    @property
    def failure(self) -> str:
        """Why there are no values, to stand after the name of what was asked."""
        name = self.call.signature.partition("(")[0]
        if not self.success:
            return f"{name}() reverts"
        if not self.data:
            return f"{name}() returns nothing, as an address without code does"
        return f"{name}() returns what does not decode"
