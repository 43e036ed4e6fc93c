"""Price feeds that a development chain may set."""

from __future__ import annotations

from rebalancer.devchain.artifacts import init_code, own
from rebalancer.devchain.cheats import runtime_of, word
from rebalancer.evm.rpc import Rpc


def feed_code(rpc: Rpc, decimals: int, description: str) -> str:
    """Runtime code of a MockFeed; ``description`` as Chainlink writes it, ``ETH / USD``."""
    types, args = ("uint8", "string"), (decimals, description)
    return runtime_of(rpc, init_code(own("MockFeed")["bytecode"], types, args))


def install_feed(rpc: Rpc, address: str, decimals: int, description: str) -> None:
    """Replace whatever is at ``address`` by a MockFeed that has no answer yet."""
    code = feed_code(rpc, decimals, description)
    slots = [("anvil_setStorageAt", (address, word(slot), word(0))) for slot in range(3)]
    rpc.batch([("anvil_setCode", (address, code)), *slots])
