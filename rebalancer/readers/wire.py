"""Values as JSON-RPC carries them, checked: a node that answers nonsense is refused, not believed.

What a node says in an error is shown to people, so it is cut to one line without any URL: a node
that forks another repeats the other's URL, and a URL may hold an API key.
"""

from __future__ import annotations

import re
from typing import Any

from rebalancer.errors import ReadError, RpcUnavailable
from rebalancer.evm.abi import from_hex
from rebalancer.evm.rpc import RpcError

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_LONGEST = 200

_GONE = (
    "the node lost this block (a reorganisation) or keeps no state that old: try again, "
    "or use an archive node"
)
#: The way out by error code (JSON-RPC 2.0 and EIP-1474).
_HINTS = {
    -32000: _GONE,
    -32001: _GONE,
    -32002: "the node is busy or still syncing: try again, or use another endpoint",
    -32005: "the endpoint limits its answers: try again later, or use another one",
    -32600: "the node cannot read state by block hash (EIP-1898): use another endpoint",
    -32601: "the node lacks a method that is needed: use another endpoint",
    -32602: "the node cannot read state by block hash (EIP-1898): use another endpoint",
    3: "check that multicall3 in networks.yaml is a Multicall3",
}


def as_quantity(value: Any, what: str) -> int:
    """A JSON-RPC quantity as an integer; raises RpcUnavailable naming ``what`` if it is none."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise _nonsense(what, "a number")
    return int(value, 16)


def as_data(value: Any, what: str) -> bytes:
    """JSON-RPC data as bytes; raises RpcUnavailable naming ``what`` if it is none."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            data = from_hex(value)
        except ValueError:
            pass
        else:
            # White space, which fromhex passes over, is no hex. A regular expression would take
            # sixty times the memory of the answer, which is a megabyte.
            if 2 + 2 * len(data) == len(value):
                return data
    raise _nonsense(what, "hex data")


def as_hash(value: Any, what: str) -> str:
    """A 32-byte hash in lower case; raises RpcUnavailable naming ``what`` if it is none."""
    if not is_hash(value):
        raise _nonsense(what, "a hash")
    return str(value).lower()


def is_hash(value: Any) -> bool:
    """Whether ``value`` is written as a 32-byte hash."""
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def refused(error: RpcError, what: str, block: int | None = None, hint: str = "") -> ReadError:
    """The node's no as a ReadError: ``what`` could not be read, why, and the way out by code."""
    said = _URL.sub("<url>", " ".join(str(error).split()))
    if len(said) > _LONGEST:
        said = said[: _LONGEST - 3] + "..."
    return ReadError(
        f"{what} cannot be read: {said}", hint=hint or _HINTS.get(error.code, ""), block=block
    )


def _nonsense(what: str, expected: str) -> RpcUnavailable:
    return RpcUnavailable(
        f"the node's answer for {what} is not {expected}",
        hint="the endpoint is faulty or is no Ethereum node: use another one",
    )
