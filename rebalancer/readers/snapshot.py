"""Portfolios at one block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from rebalancer.config.portfolio import LpSpec, ResolvedPortfolio
from rebalancer.evm.rpc import Rpc
from rebalancer.model import LpEntry, LpHolding, Snapshot, Watched
from rebalancer.readers.chain import read_block, read_fee_and_recheck
from rebalancer.readers.entries import read_entries
from rebalancer.readers.farms import Stake, find_farms, read_stakes
from rebalancer.readers.fence import answers
from rebalancer.readers.pairs import read_shares
from rebalancer.readers.past import read_past
from rebalancer.readers.scope import Scope, World
from rebalancer.readers.smoothing import read_rounds
from rebalancer.readers.task import prepare, wallets_of
from rebalancer.readers.tokens import read_balances, read_native, unreadable_lps

#: The point at which each LP position was entered, by pair and block.
_Entries = Mapping[tuple[str, int], LpEntry]


def read_snapshot(
    rpc: Rpc, resolved: ResolvedPortfolio, block: int | str | None = None
) -> Snapshot:
    """Read everything about a portfolio at one block: a number, a hash, or the head (None).

    Three requests, one more with LP entries and one more with farms; all state is read by the
    block's hash (EIP-1898). The same chain state gives the same snapshot: balances, prices and
    holdings are ordered by address, pairs by AMM and tokens; only ``priority_fee_wei`` is the
    node's own opinion. A token or a farm that misbehaves is in ``held_out``, with the LP positions
    it is in, and spoils nothing else. Raises ReadError (StalePrice, PriceDisagreement,
    ChainMismatch, RpcUnavailable) for whatever else cannot be read or trusted. See docs/readers.md.
    """
    (snapshot,) = read_many(rpc, (resolved,), block)
    return snapshot


def read_many(
    rpc: Rpc, portfolios: Sequence[ResolvedPortfolio], block: int | str | None = None
) -> tuple[Snapshot, ...]:
    """Snapshots of ``portfolios`` of one network, all at one block, each as it would be alone.

    In as many requests as one takes, as long as all calls fit into one: what several need is asked
    once. Raises as ``read_snapshot`` does, for the first portfolio that cannot be read, and
    ConfigError for portfolios of several networks.
    """
    if not portfolios:
        return ()
    # What is wrong with the files is told before anything is asked.
    task = prepare(portfolios)
    network = task.network
    at = read_block(rpc, block, network)
    farms = find_farms(rpc, network, task.lps, at.hash)
    if farms:  # which may pay in more tokens
        task = prepare(portfolios, farms)
    found = answers(rpc, network.multicall3, task.asked, at.hash)
    past = read_past(rpc, network.multicall3, at, task.windows)
    rounds = read_rounds(rpc, network.multicall3, found, task.smoothed, at) if task.smoothed else {}
    world = World(at, found, past, rounds)
    read = [_read(world, *look) for look in task.looks]
    entered = (
        lp
        for snapshot, (_, scope) in zip(read, task.looks, strict=True)
        for lp in scope.lps
        if lp.pair not in {item.address for item in snapshot.held_out}
    )
    entries = read_entries(rpc, dict.fromkeys(entered), at)
    priority_fee_wei = read_fee_and_recheck(rpc, at)
    return tuple(
        replace(
            snapshot,
            holdings=_entered(snapshot.holdings, scope.lps, entries),
            watched=tuple(
                replace(other, holdings=_entered(other.holdings, scope.lps, entries))
                for other in snapshot.watched
            ),
            priority_fee_wei=priority_fee_wei,
        )
        for snapshot, (_, scope) in zip(read, task.looks, strict=True)
    )


def _read(world: World, resolved: ResolvedPortfolio, scope: Scope) -> Snapshot:
    """One portfolio; entries and the priority fee are still open."""
    told, at = world.answers, world.block
    network, wallets = resolved.network, wallets_of(resolved)
    wallet = wallets[0]
    native = network.native.symbol
    native_wei = read_native(told, network.multicall3, wallet, native, at.number)
    balances, unreadable = read_balances(told, scope.tokens, wallets)
    unvalued = unreadable_lps(scope.lps, unreadable)
    stakes, unstaked = read_stakes(told, scope.farms, wallets)
    held_out = (*unreadable, *unvalued, *unstaked)
    lost = frozenset(item.address for item in held_out)
    lps = [lp for lp in scope.lps if lp.pair not in lost]
    holdings = [
        tuple(
            _holding(lp, read_shares(told, lp, owner, at.number), _nth(stakes, lp, i), lost)
            for lp in lps
        )
        for i, owner in enumerate(wallets)
    ]
    market = world.market(scope, lost)
    return Snapshot(
        block=at,
        wallet=wallet,
        numeraire=resolved.portfolio.numeraire,
        native=market.native,
        native_wei=native_wei,
        balances=balances[0],
        holdings=holdings[0],
        pairs=market.pairs,
        prices=market.prices,
        priority_fee_wei=0,
        held_out=held_out,
        trigger_prices=market.calm,
        watched=tuple(
            Watched(owner, balances[i], holdings[i]) for i, owner in enumerate(wallets) if i > 0
        ),
        gas_reserve=resolved.gas_reserve,
    )


def _nth(stakes: Mapping[str, Sequence[Stake]], lp: LpSpec, index: int) -> Stake | None:
    """The stake of a position that the wallet at ``index`` has."""
    return stakes[lp.pair][index] if lp.pair in stakes else None


def _holding(lp: LpSpec, own: int, stake: Stake | None, lost: Set[str]) -> LpHolding:
    """The wallet's own shares and those in the farm; a reward in a lost token has no value."""
    if stake is None:
        return LpHolding(lp.pair, own, None)
    reward = replace(stake.reward, token=None) if stake.reward.address in lost else stake.reward
    shares = own + stake.shares
    return LpHolding(lp.pair, shares, None, staked=stake.shares, farm=stake.farm, reward=reward)


def _entered(
    holdings: Sequence[LpHolding], lps: Sequence[LpSpec], entries: _Entries
) -> tuple[LpHolding, ...]:
    """The holdings with the points at which they were entered."""
    at = {lp.pair: (lp.pair, lp.entry_block) for lp in lps if lp.entry_block is not None}
    return tuple(
        replace(holding, entry=entries[at[holding.pair]]) if holding.pair in at else holding
        for holding in holdings
    )
