"""One portfolio at one block."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from itertools import chain

from rebalancer.config.portfolio import LpSpec, ResolvedPortfolio
from rebalancer.evm.rpc import Rpc
from rebalancer.model import LpEntry, LpHolding, Price, Snapshot
from rebalancer.readers.chain import read_block, read_fee_and_recheck
from rebalancer.readers.entries import read_entries
from rebalancer.readers.farms import (
    Stake,
    farm_calls,
    find_farms,
    read_stakes,
    reward_tokens,
)
from rebalancer.readers.fence import ask
from rebalancer.readers.pairs import pair_calls, read_pairs, read_shares, route_pools
from rebalancer.readers.past import read_past
from rebalancer.readers.prices import (
    feeds_of,
    past_calls,
    price_calls,
    quotes,
    read_prices,
    smoothed_prices,
)
from rebalancer.readers.smoothing import read_rounds, smoothed_feeds
from rebalancer.readers.tokens import (
    balance_of,
    native_balance,
    needed_tokens,
    read_balances,
    read_uint,
    token_calls,
    unreadable_lps,
)


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
    network, wallet = resolved.network, resolved.portfolio.wallet
    numeraire = resolved.portfolio.numeraire
    # What is wrong with the files is told before anything is asked.
    quotes(network, needed_tokens(resolved), numeraire)
    at = read_block(rpc, block, network)
    farms = find_farms(rpc, network, resolved.lps, at.hash)
    tokens = needed_tokens(resolved, reward_tokens(farms))
    pools = route_pools(network, tokens, resolved.lps)
    wanted = quotes(network, tokens, numeraire)
    purse = native_balance(network.multicall3, wallet)
    lps = sorted(resolved.lps, key=lambda lp: int(lp.pair, 16))

    trusted = chain(
        (purse,),
        price_calls(wanted),
        (balance_of(lp.pair, wallet) for lp in lps),
        pair_calls(pools),
    )
    wild = chain(token_calls(tokens, wallet), farm_calls(farms, wallet))
    answers = ask(rpc, network.multicall3, trusted, wild, at.hash)

    what = f"the {network.native.symbol} balance of {wallet}"
    native_wei = read_uint(answers, purse, what, at.number)
    balances, unreadable = read_balances(answers, tokens, wallet)
    unvalued = unreadable_lps(lps, unreadable)
    stakes, unstaked = read_stakes(answers, farms, wallet)
    lost = {item.address for item in (*unreadable, *unvalued, *unstaked)}
    lps = [lp for lp in lps if lp.pair not in lost]
    pools = tuple(p for p in pools if not lost & {p.token0.address, p.token1.address})
    past = read_past(rpc, network.multicall3, at, past_calls(wanted))
    prices = read_prices(answers, wanted, at, past)
    calm: tuple[Price, ...] = ()
    if smoothing := resolved.portfolio.smoothing:
        rounds = read_rounds(rpc, network.multicall3, answers, feeds_of(wanted), at)
        averages = smoothed_feeds(rounds, at.timestamp, smoothing)
        calm = smoothed_prices(answers, wanted, at, past, averages)
    shares = {lp.pair: read_shares(answers, lp, wallet, at.number) for lp in lps}
    pairs = read_pairs(answers, pools, lps, at.number)
    entries = read_entries(rpc, lps, at)
    priority_fee_wei = read_fee_and_recheck(rpc, at)
    return Snapshot(
        block=at,
        wallet=wallet,
        numeraire=numeraire,
        native=prices.native,
        native_wei=native_wei,
        balances=balances,
        holdings=tuple(
            _holding(lp, shares[lp.pair], entries.get(lp.pair), stakes.get(lp.pair), lost)
            for lp in lps
        ),
        pairs=pairs,
        prices=tuple(p for p in prices.prices if p.token.address not in lost),
        priority_fee_wei=priority_fee_wei,
        held_out=(*unreadable, *unvalued, *unstaked),
        trigger_prices=tuple(p for p in calm if p.token.address not in lost),
    )


def _holding(
    lp: LpSpec, own: int, entry: LpEntry | None, stake: Stake | None, lost: Set[str]
) -> LpHolding:
    """The wallet's own shares and those in the farm; a reward in a lost token has no value."""
    if stake is None:
        return LpHolding(lp.pair, own, entry)
    reward = replace(stake.reward, token=None) if stake.reward.address in lost else stake.reward
    shares = own + stake.shares
    return LpHolding(lp.pair, shares, entry, staked=stake.shares, farm=stake.farm, reward=reward)
