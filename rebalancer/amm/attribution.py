"""Why a portfolio is not what it was: price, LP composition, fees and flows, adding up exactly.

Each position is taken from its state at the earlier snapshot to that at the later one by steps, one
cause at a time, and valued after each:

    before          the earlier holdings, pools and prices
    price           later prices; LP positions as if their amounts had been held
    composition     LP positions as the pool has traded them, no fees earned (impermanent loss)
    fees            what pools and farms have earned for the earlier holdings
    deposits        what came in from outside or left, at later prices
    trades          what the portfolio exchanged within itself, claims included
    other           what no transfer explains: rebasing, fees on transfer
    gas             what transactions cost, of the native token above a gas reserve
    after           the later snapshot

A part is the difference of two neighbouring steps, each rounded down once, so nothing is left over
and no remainder has to be put anywhere. The same steps as shares of NAV give the weights' parts.

An LP position starts from its fair value, half of it in each token, wherever the pool stood. With
``r0, r1`` the price ratios it would be worth ``V * (r0 + r1) / 2`` held, and ``V * sqrt(r0 * r1)``
in the pool: the composition never adds value, and a pool that was pushed shows up in no part.
Flows are valued where they ended up, at the later snapshot: what they gained on the way is theirs.

With a gas reserve the native token above it is part of its wrapped one. Both move step by step side
by side, so wrapping some is no change, and below the reserve the native one moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isqrt

from rebalancer.amm.checks import price_of
from rebalancer.amm.fair import value_of_root_k_e8
from rebalancer.amm.liquidity import effective_total_supply
from rebalancer.amm.valuation import shares_ppm
from rebalancer.model import Flow, LpHolding, PairState, Price, Reward, Snapshot, Token
from rebalancer.model.canonical import ADDED_LATER

#: The parts in the order of the steps.
PARTS = ("price", "composition", "fees", "deposits", "trades", "other", "gas")


@dataclass(frozen=True, slots=True)
class Parts:
    """A change by cause, in 1e-8 of the numeraire or in ppm of NAV."""

    price: int
    composition: int
    fees: int
    deposits: int
    trades: int
    other: int
    gas: int = field(default=0, metadata=ADDED_LATER)

    @property
    def flows(self) -> int:
        """Deposits and withdrawals, trades, and what no transfer explains."""
        return self.deposits + self.trades + self.other

    @property
    def total(self) -> int:
        return self.price + self.composition + self.fees + self.flows + self.gas


@dataclass(frozen=True, slots=True)
class PositionChange:
    """``after = before + parts.total``, for the value as for the weight."""

    name: str
    before_e8: int
    after_e8: int
    value: Parts
    before_ppm: int
    after_ppm: int
    weight: Parts


@dataclass(frozen=True, slots=True)
class Attribution:
    """The change between two blocks; ``nav`` is the sum of the positions' value parts."""

    from_block: int
    to_block: int
    from_ts: int
    to_ts: int
    nav_before_e8: int
    nav_after_e8: int
    nav: Parts
    positions: tuple[PositionChange, ...]


def attribute(
    before: Snapshot, after: Snapshot, positions: Sequence[str], flows: Iterable[Flow]
) -> Attribution:
    """Explain the change of each of ``positions`` from ``before`` to ``after``.

    All wallets of the portfolio count as one. ``flows`` are those after the earlier block up to the
    later one; a flow of nothing that the positions are about is passed over. Raises ReadError for a
    position that either snapshot lacks a price for, and ValueError for snapshots of two portfolios,
    with two gas reserves or in the wrong order.
    """
    if (before.wallet, before.numeraire) != (after.wallet, after.numeraire):
        raise ValueError("the snapshots are of two portfolios")
    if before.gas_reserve != after.gas_reserve:
        raise ValueError("the snapshots have two gas reserves")
    if before.block.number > after.block.number:
        raise ValueError("the snapshots are in the wrong order")
    before, after = before.whole(), after.whole()
    moved = list(flows)
    paths = [_path(before, after, name, moved) for name in positions]
    weights = [shares_ppm(values) for values in zip(*paths, strict=True)]
    changes = tuple(
        PositionChange(
            name=name,
            before_e8=path[0],
            after_e8=path[-1],
            value=_parts(path),
            before_ppm=weights[0][index],
            after_ppm=weights[-1][index],
            weight=_parts([step[index] for step in weights]),
        )
        for index, (name, path) in enumerate(zip(positions, paths, strict=True))
    )
    totals = [sum(values) for values in zip(*paths, strict=True)]
    return Attribution(
        from_block=before.block.number,
        to_block=after.block.number,
        from_ts=before.block.timestamp,
        to_ts=after.block.timestamp,
        nav_before_e8=totals[0],
        nav_after_e8=totals[-1],
        nav=_parts(totals),
        positions=changes,
    )


def _parts(path: Sequence[int]) -> Parts:
    return Parts(*(later - earlier for earlier, later in pairwise(path)))


def _path(before: Snapshot, after: Snapshot, name: str, flows: Sequence[Flow]) -> list[int]:
    """The position's value at each of the steps."""
    token = _token(before, name) or _token(after, name)
    if token is not None:
        return _token_path(before, after, token, flows)
    pairs = [_holding(before, name), _holding(after, name)]
    if pairs == [None, None]:
        return [0] * (len(PARTS) + 1)
    return _lp_path(before, after, pairs[0], pairs[1], flows)


def _token_path(
    before: Snapshot, after: Snapshot, token: Token, flows: Sequence[Flow]
) -> list[int]:
    mine = [flow for flow in flows if flow.asset == token.address]
    ether = [flow for flow in flows if flow.asset == after.native.token.address]
    held = before.balance(token), before.native_wei
    deposited = _moved(held, mine, ether, "deposit", "withdrawal")
    traded = _moved(deposited, mine, ether, "trade", "claim")
    final = after.balance(token), after.native_wei
    unpaid = final[0], final[1] - _sum(ether, "gas")
    now = price_of(after, token)
    steps = (held, held, held, deposited, traded, unpaid, final)
    return [
        price_of(before, token).value_down(before.owned(token)),
        *(now.value_down(_owned(after, token, *step)) for step in steps),
    ]


def _moved(
    held: tuple[int, int], mine: Iterable[Flow], ether: Iterable[Flow], *kinds: str
) -> tuple[int, int]:
    """Balances of a token and of the native one after the flows of some kinds."""
    return held[0] + _sum(mine, *kinds), held[1] + _sum(ether, *kinds)


def _owned(snapshot: Snapshot, token: Token, raw: int, native_wei: int) -> int:
    """What would count as ``token`` with these balances (``Snapshot.owned``)."""
    reserve = snapshot.gas_reserve
    if reserve is None or reserve.wrapped != token:
        return raw
    return raw + max(native_wei - reserve.wei, 0)


_Held = tuple[PairState, LpHolding]


def _lp_path(
    before: Snapshot,
    after: Snapshot,
    start: _Held | None,
    end: _Held | None,
    flows: Sequence[Flow],
) -> list[int]:
    """Shares and rewards side by side, added up step by step."""
    some = start or end
    if some is None:
        raise ValueError("the position is in neither snapshot")
    address = some[0].address
    shares = start[1].shares if start else 0
    final = end[1].shares if end else 0
    mine = [flow for flow in flows if flow.asset == address]
    deposited = shares + _sum(mine, "deposit", "withdrawal")
    traded = deposited + _sum(mine, "trade")
    path = [0, 0, 0]
    if start is not None:
        path = list(_unmoved(before, after, start[0], shares))
    pool = _pair(after, address)
    if pool is None:
        # The pool was emptied: what the shares would be worth there has no meaning.
        path += [path[-1], path[-1], 0, 0, 0]
    else:
        path += [_fair(after, pool, raw) for raw in (shares, deposited, traded, final, final)]
    rewards = _reward_path(before, after, start, end, flows)
    return [value + reward for value, reward in zip(path, rewards, strict=True)]


def _unmoved(
    before: Snapshot, after: Snapshot, pair: PairState, shares: int
) -> tuple[int, int, int]:
    """Value of ``shares`` before; held at later prices; in the pool at later prices, fee-less."""
    then = price_of(before, pair.token0), price_of(before, pair.token1)
    now = price_of(after, pair.token0), price_of(after, pair.token1)
    k, supply = pair.reserve0 * pair.reserve1, effective_total_supply(pair)
    if shares == 0:
        return 0, 0, 0
    return (
        value_of_root_k_e8(k, shares, supply, *then),
        _held_value_e8(k, shares, supply, then, now),
        value_of_root_k_e8(k, shares, supply, *now),
    )


def _held_value_e8(
    k: int, shares: int, supply: int, then: tuple[Price, Price], now: tuple[Price, Price]
) -> int:
    """``shares / supply * sqrt(k * p0 * p1) * (q0 / p0 + q1 / p1)``, rounded down once.

    ``p`` are the prices then, ``q`` those now: half of the fair value then in each token.
    """
    # q0/p0 + q1/p1 over one denominator.
    up = [n.numerator * t.denominator for t, n in zip(then, now, strict=True)]
    down = [n.denominator * t.numerator for t, n in zip(then, now, strict=True)]
    growth, base = up[0] * down[1] + up[1] * down[0], down[0] * down[1]
    square = shares**2 * k * then[0].numerator * then[1].numerator * growth**2
    return isqrt(square // (supply**2 * then[0].denominator * then[1].denominator * base**2))


def _fair(snapshot: Snapshot, pair: PairState, shares: int) -> int:
    """Fair value of ``shares``, also of fewer than none, on the way through the flows."""
    prices = price_of(snapshot, pair.token0), price_of(snapshot, pair.token1)
    k, supply = pair.reserve0 * pair.reserve1, effective_total_supply(pair)
    value = value_of_root_k_e8(k, abs(shares), supply, *prices)
    return value if shares >= 0 else -value


def _reward_path(
    before: Snapshot,
    after: Snapshot,
    start: _Held | None,
    end: _Held | None,
    flows: Sequence[Flow],
) -> list[int]:
    """What the farm owes: repriced, then what it earned, then what was claimed of it."""
    first, last = start and start[1].reward, end and end[1].reward
    token = next((r.token for r in (first, last) if r is not None and r.token is not None), None)
    if token is None:
        return [0] * (len(PARTS) + 1)
    farms = {held[1].farm for held in (start, end) if held is not None}
    claimed = sum(
        flow.raw
        for flow in flows
        if flow.kind == "claim" and flow.asset == token.address and flow.farm in farms
    )
    owed, owes = _raw(first), _raw(last)
    now = price_of(after, token)
    worth = [now.value_down(raw) for raw in (owed, owes + claimed, owes)]
    then = price_of(before, token).value_down(owed) if owed else 0
    return [then, worth[0], worth[0], worth[1], worth[1], *[worth[2]] * 3]


def _raw(reward: Reward | None) -> int:
    return 0 if reward is None or reward.token is None else reward.raw


def _sum(flows: Iterable[Flow], *kinds: str) -> int:
    return sum(flow.raw for flow in flows if flow.kind in kinds)


def _token(snapshot: Snapshot, symbol: str) -> Token | None:
    return next((a.token for a in snapshot.balances if a.token.symbol == symbol), None)


def _holdings(snapshot: Snapshot) -> Iterator[_Held]:
    for holding in snapshot.holdings:
        pair = _pair(snapshot, holding.pair)
        if pair is not None:
            yield pair, holding


def _holding(snapshot: Snapshot, name: str) -> _Held | None:
    return next((held for held in _holdings(snapshot) if held[0].name == name), None)


def _pair(snapshot: Snapshot, address: str) -> PairState | None:
    return next((pair for pair in snapshot.pairs if pair.address == address), None)
