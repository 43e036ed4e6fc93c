"""A snapshot, and what its tokens would do if they were traded: what a decision is made on."""

from __future__ import annotations

from dataclasses import replace

from rebalancer.evm.rpc import Rpc
from rebalancer.model import Snapshot
from rebalancer.readers.proxies import read_proxies
from rebalancer.readers.transfers import trials, try_transfers


def inspect(rpc: Rpc, snapshot: Snapshot) -> Snapshot:
    """Add the tokens that are not safe to trade to ``held_out``, and the proxies among them all.

    At the snapshot's block; two requests, one more for each twenty tokens beyond the first. Raises
    ReadError where the node refuses.
    """
    tokens = tuple(amount.token for amount in snapshot.balances)
    return replace(
        snapshot,
        held_out=(*snapshot.held_out, *try_transfers(rpc, trials(snapshot), snapshot.block)),
        proxies=read_proxies(rpc, tokens, snapshot.block),
    )
