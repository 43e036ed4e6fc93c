"""Why a call reverted, in words, from the data that it returned."""

from __future__ import annotations

from eth_abi.exceptions import DecodingError

from rebalancer.bundler.head import Head
from rebalancer.errors import SimulationReverted
from rebalancer.evm.abi import decode_output, from_hex, selector

_ERROR = selector("Error(string)")
_PANIC = selector("Panic(uint256)")
_LONGEST = 200

#: https://docs.soliditylang.org/en/latest/control-structures.html#panic-via-assert-and-error-via-require
_PANICS = {
    0x01: "assertion failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division by zero",
    0x21: "value outside its enum",
    0x22: "damaged storage byte array",
    0x31: "pop of an empty array",
    0x32: "index out of bounds",
    0x41: "out of memory",
    0x51: "call of an uninitialised function",
}

#: What a Safe says, in words (docs/error_codes.md of safe-contracts 1.3.0).
_SAFE = {
    "GS010": "the Safe was left too little gas",
    "GS013": "what the Safe was to execute reverts",
    "GS020": "there are too few signatures for the Safe",
    "GS026": "no owner of the Safe signed this for its nonce: it has executed something else"
    " meanwhile, or its owners have changed",
}


def decode_revert(data: bytes) -> str:
    """Read ``Error(string)`` (Solidity and Vyper reasons), ``Panic(uint256)``, or name the error.

    The text comes from a contract that may be hostile: it is cut, and only printable characters
    are let through.
    """
    if not data:
        return "no reason given (out of gas, a failed assertion, or no contract there)"
    head, body = data[:4], data[4:]
    try:
        if head == _ERROR:
            text = _printable(decode_output(["string"], body)[0])
            return f"{text}: {_SAFE[text]}" if text in _SAFE else text
        if head == _PANIC:
            code = decode_output(["uint256"], body)[0]
            return f"panic {code:#04x}: {_PANICS.get(code, 'unknown code')}"
    except (DecodingError, UnicodeDecodeError):
        pass
    return f"custom error 0x{head.hex()}"


def revert_of(error_data: object) -> str | None:
    """Reason in the ``data`` of a JSON-RPC error; None when it carries no revert data."""
    if isinstance(error_data, dict):
        error_data = error_data.get("data")
    if not isinstance(error_data, str) or not error_data.startswith("0x"):
        return None
    try:
        return decode_revert(from_hex(error_data))
    except ValueError:
        return None


def reverted(where: str, reason: str, head: Head) -> SimulationReverted:
    """The error that says where a simulation on ``head`` reverts, and why."""
    return SimulationReverted(
        f"the simulation reverts at {where}: {reason}",
        hint="nothing was signed; plan again on a newer block",
        block=head.number,
    )


def _printable(text: str) -> str:
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return clean if len(clean) <= _LONGEST else clean[:_LONGEST] + "..."
