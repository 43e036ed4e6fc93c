"""What came to a portfolio and what left it, from the Transfer events of its tokens and LP shares.

All wallets of the portfolio are one: what goes from one to another has not moved. Events are taken
transaction by transaction. What a position's own farm paid the trading wallet of its reward token
is a claim, shares that this wallet put into it or took out are no flow. Of the rest, a transaction
in which something of the portfolio came and something else left is a trade: a swap, liquidity added
or removed. One that only brought is a deposit, one that only took a withdrawal; so buying a
position with what is none of the portfolio's counts as a deposit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rebalancer.evm.rpc import Rpc
from rebalancer.model import BlockRef, Flow, FlowKind, Snapshot
from rebalancer.readers.logs import TRANSFER, Log, LogScan, address_of, transfers_of, uints


def read_flows(
    rpc: Rpc, snapshot: Snapshot, positions: Sequence[str], after: BlockRef
) -> tuple[Flow, ...]:
    """Flows of ``positions`` in the blocks after ``after`` up to the snapshot's, in their order.

    Raises ReadError where the node does not give the logs.
    """
    view = _View.of(snapshot, positions)
    if after.number >= snapshot.block.number or not view.assets:
        return ()
    contracts = sorted(view.contracts)
    filters = [both for owner in sorted(view.owners) for both in transfers_of(owner, contracts)]
    scan = LogScan(tuple(filters), after.number + 1)
    logs = scan.advance(rpc, snapshot.block.number)
    by_transaction: dict[str, list[Log]] = {}
    for log in logs:
        by_transaction.setdefault(log.tx_hash, []).append(log)
    return tuple(flow for found in by_transaction.values() for flow in view.flows(found))


@dataclass(frozen=True, slots=True)
class _View:
    """What belongs to a portfolio: its wallets, ``assets`` by address, the farms of LP positions.

    ``farms`` are by pair, ``rewards`` the token that each farm pays; both are of ``wallet`` alone.
    """

    wallet: str
    owners: frozenset[str]
    assets: frozenset[str]
    farms: dict[str, str]
    rewards: dict[str, str]

    @classmethod
    def of(cls, snapshot: Snapshot, positions: Sequence[str]) -> _View:
        names = frozenset(positions)
        tokens = {a.token.address for a in snapshot.balances if a.token.symbol in names}
        pairs = {pair.address for pair in snapshot.pairs if pair.name in names}
        held = [h for h in snapshot.holdings if h.pair in pairs and h.farm is not None]
        return cls(
            wallet=snapshot.wallet,
            owners=frozenset((snapshot.wallet, *(other.wallet for other in snapshot.watched))),
            assets=frozenset(tokens | pairs),
            farms={h.pair: str(h.farm) for h in held},
            rewards={str(h.farm): h.reward.address for h in held if h.reward is not None},
        )

    @property
    def contracts(self) -> frozenset[str]:
        """Whose events tell all."""
        return self.assets | frozenset(self.rewards.values())

    def flows(self, logs: Iterable[Log]) -> Iterator[Flow]:
        """The flows of one transaction, claims first, then by asset."""
        net: dict[str, int] = {}
        block_number, tx_hash = 0, ""
        for log in logs:
            block_number, tx_hash = log.block_number, log.tx_hash
            # A fourth topic makes it ERC-721's Transfer of the same signature.
            if len(log.topics) != 3 or log.topics[0] != TRANSFER:
                continue
            sender, receiver = address_of(log.topics[1]), address_of(log.topics[2])
            (raw,) = uints(log, 1)
            if self.owners >= {sender, receiver}:
                continue
            own = self.wallet in (sender, receiver)
            if own and self.farms.get(log.address) in (sender, receiver):
                continue
            if own and self.rewards.get(sender) == log.address:
                yield Flow(block_number, tx_hash, "claim", log.address, raw, farm=sender)
            elif log.address in self.assets:
                signed = raw if receiver in self.owners else -raw
                net[log.address] = net.get(log.address, 0) + signed
        kind = _kind([raw for raw in net.values() if raw])
        for asset, raw in net.items():
            if raw:
                yield Flow(block_number, tx_hash, kind, asset, raw)


def _kind(raws: Sequence[int]) -> FlowKind:
    if any(raw > 0 for raw in raws):
        return "trade" if any(raw < 0 for raw in raws) else "deposit"
    return "withdrawal"
