"""Price feeds: asking a real one, and putting one that can be set in its place."""

from __future__ import annotations

from eth_abi.exceptions import DecodingError

from rebalancer.devchain.artifacts import init_code, own
from rebalancer.devchain.cheats import runtime_of, view, word
from rebalancer.evm.rpc import Rpc, RpcError

_ROUND = ("uint80", "int256", "uint256", "uint256", "uint80")


def feed_code(rpc: Rpc, decimals: int, description: str) -> str:
    """Runtime code of a MockFeed; ``description`` as Chainlink writes it, ``ETH / USD``."""
    types, args = ("uint8", "string"), (decimals, description)
    return runtime_of(rpc, init_code(own("MockFeed")["bytecode"], types, args))


def install_feed(
    rpc: Rpc, address: str, code: str, answer: int = 0, updated_at: int = 0, round_id: int = 1
) -> None:
    """Replace whatever is at ``address`` by the MockFeed ``code`` with this answer.

    Writes code and storage at the head; the next block holds them.
    """
    slots = [
        ("anvil_setStorageAt", (address, word(slot), word(value)))
        for slot, value in enumerate((round_id, answer, updated_at))
    ]
    rpc.batch([("anvil_setCode", (address, code)), *slots])


def feed_answer(rpc: Rpc, address: str) -> int | None:
    """The feed's answer in its own decimals; None where nothing answers with a price."""
    try:
        _, answer, _, _, _ = view(rpc, address, "latestRoundData()", _ROUND)
    except (RpcError, DecodingError):
        return None
    return int(answer) if answer > 0 else None
