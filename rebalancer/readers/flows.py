"""What came to a portfolio and what left it, from the Transfer events of its tokens and LP shares.

All wallets of the portfolio are one: what goes from one to another has not moved. Events are taken
transaction by transaction. What a position's own farm paid of its reward token is a claim, shares
that were put into it or taken out are no flow. Of the rest, a transaction in which something of the
portfolio came and something else left is a trade: a swap, liquidity added or removed. One that only
brought is a deposit, one that only took a withdrawal; so buying a position with what is none of the
portfolio's counts as a deposit.

With a gas reserve ether counts, which no Transfer tells of: see ``native``. What the transactions
cost is gas; what they moved, and what was wrapped and unwrapped, is taken with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rebalancer.evm.abi import topic
from rebalancer.evm.rpc import Rpc
from rebalancer.model import BlockRef, Flow, FlowKind, Snapshot
from rebalancer.readers.logs import (
    TRANSFER,
    Filter,
    Log,
    LogScan,
    address_of,
    transfers_of,
    uints,
    word,
)
from rebalancer.readers.native import NativeMove, read_native_moves

#: WETH9's own events of ether that was wrapped and unwrapped for an owner.
WRAPPED = topic("Deposit(address,uint256)")
UNWRAPPED = topic("Withdrawal(address,uint256)")


def read_flows(
    rpc: Rpc, snapshot: Snapshot, positions: Sequence[str], after: BlockRef
) -> tuple[Flow, ...]:
    """Flows of ``positions`` in the blocks after ``after`` up to the snapshot's, in their order.

    Raises ReadError where the node does not give the logs, Reorganised where one of the two blocks
    is not part of the chain.
    """
    view = _View.of(snapshot, positions)
    if after.number >= snapshot.block.number or not view.assets:
        return ()
    contracts = sorted(view.contracts)
    filters = [both for owner in sorted(view.owners) for both in transfers_of(owner, contracts)]
    filters += view.wraps()
    scan = LogScan(tuple(filters), after.number + 1, through=after)
    logs = scan.advance(rpc, snapshot.block)
    by_transaction: dict[tuple[int, str], list[Log]] = {}
    for log in logs:
        by_transaction.setdefault((log.block_number, log.tx_hash), []).append(log)
    moves = _native_moves(rpc, snapshot, view, after, by_transaction)
    keys = sorted(moves.keys() - by_transaction.keys())
    in_order = sorted((*by_transaction, *keys), key=lambda key: key[0])
    return tuple(
        flow
        for key in in_order
        for flow in view.flows(*key, by_transaction.get(key, ()), moves.get(key))
    )


_Key = tuple[int, str]


def _native_moves(
    rpc: Rpc, snapshot: Snapshot, view: _View, after: BlockRef, found: Iterable[_Key]
) -> dict[_Key, NativeMove]:
    """What each transaction moved of the native token; nothing where it does not count."""
    if view.wrapped is None:
        return {}
    known: dict[int, list[str]] = {}
    for number, tx_hash in found:
        known.setdefault(number, []).append(tx_hash)
    moves = read_native_moves(rpc, view.wallet, after, snapshot.block, known)
    return {(move.block_number, move.tx_hash): move for move in moves}


@dataclass(frozen=True, slots=True)
class _View:
    """What belongs to a portfolio: its wallets, ``assets`` by address, the farms of LP positions.

    ``farms`` are by pair, ``rewards`` the token that each farm pays. ``wrapped`` is the token that
    the trading ``wallet``'s ``native`` one counts as, above a gas reserve; None without.
    """

    wallet: str
    owners: frozenset[str]
    assets: frozenset[str]
    farms: dict[str, str]
    rewards: dict[str, str]
    native: str
    wrapped: str | None

    @classmethod
    def of(cls, snapshot: Snapshot, positions: Sequence[str]) -> _View:
        names = frozenset(positions)
        tokens = {a.token.address for a in snapshot.balances if a.token.symbol in names}
        pairs = {pair.address for pair in snapshot.pairs if pair.name in names}
        held = [h for h in snapshot.holdings if h.pair in pairs and h.farm is not None]
        reserve = snapshot.gas_reserve
        counts = reserve is not None and reserve.wrapped.address in tokens
        return cls(
            wallet=snapshot.wallet,
            owners=frozenset((snapshot.wallet, *(other.wallet for other in snapshot.watched))),
            assets=frozenset(tokens | pairs),
            farms={h.pair: str(h.farm) for h in held},
            rewards={str(h.farm): h.reward.address for h in held if h.reward is not None},
            native=snapshot.native.token.address,
            wrapped=reserve.wrapped.address if reserve is not None and counts else None,
        )

    @property
    def contracts(self) -> frozenset[str]:
        """Whose events tell all."""
        return self.assets | frozenset(self.rewards.values())

    def wraps(self) -> list[Filter]:
        """What tells of ether that a wallet wraps and unwraps: no Transfer does (WETH9)."""
        if self.wrapped is None:
            return []
        return [
            Filter((self.wrapped,), (event, word(owner)))
            for owner in sorted(self.owners)
            for event in (WRAPPED, UNWRAPPED)
        ]

    def flows(
        self, block_number: int, tx_hash: str, logs: Iterable[Log], native: NativeMove | None = None
    ) -> Iterator[Flow]:
        """The flows of one transaction, gas and claims first, then by asset."""
        net: dict[str, int] = {}
        if native is not None:
            net[self.native] = native.wei
            if native.gas_wei:
                yield Flow(block_number, tx_hash, "gas", self.native, -native.gas_wei)
        for log in logs:
            if log.topics[0] in (WRAPPED, UNWRAPPED) and len(log.topics) == 2:
                (raw,) = uints(log, 1)
                signed = raw if log.topics[0] == WRAPPED else -raw
                net[log.address] = net.get(log.address, 0) + signed
            # A fourth topic makes it ERC-721's Transfer of the same signature.
            if len(log.topics) != 3 or log.topics[0] != TRANSFER:
                continue
            sender, receiver = address_of(log.topics[1]), address_of(log.topics[2])
            (raw,) = uints(log, 1)
            if self.owners >= {sender, receiver}:
                continue
            own = sender in self.owners or receiver in self.owners
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
