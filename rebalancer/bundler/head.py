"""The block that a bundle is prepared on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rebalancer.errors import ChainMismatch, RpcUnavailable
from rebalancer.evm.rpc import Rpc


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block of the chain as one node sees it."""

    number: int
    hash: str
    timestamp: int
    gas_limit: int

    @property
    def at(self) -> dict[str, str]:
        """Names the block by its hash (EIP-1898), so that reads of one step are of one state."""
        return {"blockHash": self.hash}


def read_head(rpc: Rpc) -> Head:
    """The newest block; raises RpcUnavailable when the node has none to show."""
    block: Any = rpc.call("eth_getBlockByNumber", "latest", False)
    if block is None:
        raise RpcUnavailable("the node has no latest block", hint="wait until it has synchronised")
    return Head(
        number=int(block["number"], 16),
        hash=str(block["hash"]),
        timestamp=int(block["timestamp"], 16),
        gas_limit=int(block["gasLimit"], 16),
    )


def check_chain(rpc: Rpc, chain_id: int) -> None:
    """Raise ChainMismatch unless the node serves ``chain_id``."""
    served = int(rpc.call("eth_chainId"), 16)
    if served != chain_id:
        raise ChainMismatch(
            f"the node serves chain {served}, the plan is for chain {chain_id}",
            hint="point --rpc-url at the network of the portfolio",
        )
