"""The pools as the legs of one plan find them, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rebalancer.amm.liquidity import apply_burn, apply_mint
from rebalancer.amm.swap import UINT112_MAX, apply_swap, get_amount_in, get_amount_out
from rebalancer.errors import Infeasible
from rebalancer.model import (
    PPM,
    AddLeg,
    HeldOut,
    Leg,
    PairState,
    Policy,
    Reason,
    RemoveLeg,
    Snapshot,
    SwapLeg,
    Token,
    mul_div_up,
)
from rebalancer.planner.texts import percent, told_apart


@dataclass(frozen=True, slots=True)
class Route:
    """A way from ``tokens[0]`` to ``tokens[-1]`` over ``pairs``, addresses in order of travel."""

    pairs: tuple[str, ...]
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Market:
    """Usable pairs by address: as the snapshot has them, and as earlier legs have left them.

    ``max_share_ppm`` of a reserve of the snapshot is what a plan may pay into it, None: anything.
    """

    start: Mapping[str, PairState]
    now: Mapping[str, PairState]
    max_share_ppm: int | None = None

    def amounts(self, route: Route, amount_in: int) -> tuple[int, ...]:
        """``amount_in`` and what each hop pays out, exactly; 0 from where a hop buys nothing."""
        amounts = [amount_in]
        for address, token in zip(route.pairs, route.tokens, strict=False):
            pair = self.now[address]
            reserve_in, reserve_out = pair.reserves(token)
            amounts.append(get_amount_out(amounts[-1], reserve_in, reserve_out, pair.fee_ppm))
        return tuple(amounts)

    def impact_ppm(self, route: Route, amount_in: int) -> int:
        """Largest price impact of any hop in ppm, rounded up, as ``hop_impact_ppm`` measures it."""
        amounts = self.amounts(route, amount_in)
        return max(
            hop_impact_ppm(self.start[address], self.now[address], token, amount)
            for address, token, amount in zip(route.pairs, route.tokens, amounts, strict=False)
        )

    def capacity(self, route: Route, max_impact_ppm: int) -> int:
        """Most that the route takes while every hop keeps its limits of impact, share and size.

        Exact: one unit more breaks a limit, less always fits. Negative where not even nothing fits,
        because earlier legs have used up a hop's limit.
        """
        most = UINT112_MAX
        for address, token in zip(reversed(route.pairs), reversed(route.tokens[:-1]), strict=True):
            start, now = self.start[address], self.now[address]
            room = hop_capacity(start, now, token, max_impact_ppm)
            if self.max_share_ppm is not None:
                room = min(room, share_capacity(start, now, token, self.max_share_ppm))
            most = min(room, _most_in(now, token, most))
        return most

    def least_in(self, route: Route, amount_out: int) -> int | None:
        """Least input for which the route pays ``amount_out`` or more, None where none does."""
        least = amount_out
        try:
            for address, token in zip(
                reversed(route.pairs), reversed(route.tokens[:-1]), strict=True
            ):
                pair = self.now[address]
                least = get_amount_in(least, *pair.reserves(token), pair.fee_ppm)
        except Infeasible:
            return None
        return least

    def after(self, legs: Sequence[Leg]) -> Market:
        """The market once ``legs`` were executed.

        Liquidity that comes or goes moves no price, so it is as if it had been so from the start.
        """
        start, now = dict(self.start), dict(self.now)
        for leg in legs:
            if isinstance(leg, SwapLeg):
                now[leg.pair], _ = apply_swap(now[leg.pair], leg.token_in, leg.amount_in)
            elif isinstance(leg, AddLeg):
                for at in (start, now):
                    at[leg.pair], _ = apply_mint(at[leg.pair], leg.amount0, leg.amount1)
            elif isinstance(leg, RemoveLeg):
                for at in (start, now):
                    at[leg.pair], _, _ = apply_burn(at[leg.pair], leg.shares)
        return replace(self, start=start, now=now)


def hop_impact_ppm(start: PairState, now: PairState, token_in: Token, amount_in: int) -> int:
    """How far the hop's average price is below the snapshot's spot, the fee apart, in ppm up.

    ``1 - (Rout / (Rin + a)) / (Rout0 / Rin0)`` with ``a`` the input after the fee, ``R`` the
    reserves that the hop meets and ``R0`` those of the snapshot. What earlier legs of the plan did
    to the price counts, so that many small legs cannot do together what one may not; where they
    moved it the other way it can be negative. Without them it is ``a / (Rin + a)``.
    """
    reserve_in, reserve_out = now.reserves(token_in)
    start_in, start_out = start.reserves(token_in)
    in_side = reserve_in * PPM + amount_in * (PPM - now.fee_ppm)
    kept = reserve_out * PPM * start_in * PPM // (in_side * start_out)
    return PPM - kept


def hop_capacity(start: PairState, now: PairState, token_in: Token, max_impact_ppm: int) -> int:
    """Largest input of one hop with ``hop_impact_ppm`` within the limit and reserves in uint112.

    Negative where there is none. Solves the formula there for the input, exactly.
    """
    reserve_in, reserve_out = now.reserves(token_in)
    start_in, start_out = start.reserves(token_in)
    room = UINT112_MAX - reserve_in
    least_kept = PPM - max_impact_ppm
    if least_kept <= 0:
        return room
    spare = reserve_out * PPM * start_in * PPM // (least_kept * start_out) - reserve_in * PPM
    if spare < 0:
        return -1
    if now.fee_ppm == PPM:
        return room
    return min(room, spare // (PPM - now.fee_ppm))


def share_capacity(start: PairState, now: PairState, token_in: Token, max_share_ppm: int) -> int:
    """Largest input that keeps what is paid in within a share of the snapshot's reserve."""
    reserve, first = now.reserves(token_in)[0], start.reserves(token_in)[0]
    return first * max_share_ppm // PPM - (reserve - first)


def pool_share_ppm(start: PairState, now: PairState, token_in: Token, amount_in: int) -> int:
    """What is paid in, net of what earlier legs took out, as a share of the first reserve, ppm up.

    0 where less is there than in the snapshot.
    """
    reserve, first = now.reserves(token_in)[0], start.reserves(token_in)[0]
    return max(mul_div_up(reserve + amount_in - first, PPM, first), 0)


def _most_in(pair: PairState, token_in: Token, amount_out: int) -> int:
    """Most that may be paid in for at most ``amount_out``; negative for less than nothing."""
    reserve_in, reserve_out = pair.reserves(token_in)
    if amount_out < 0:
        return -1
    if amount_out + 1 >= reserve_out or pair.fee_ppm == PPM:
        return UINT112_MAX
    return get_amount_in(amount_out + 1, reserve_in, reserve_out, pair.fee_ppm) - 1


def off_oracle_ppm(snapshot: Snapshot, pair: PairState) -> int:
    """Gap between the pool's spot price and the oracle's, in ppm of the smaller, rounded up.

    Equal to the gap between what its two sides are worth, so it does not depend on the direction.
    """
    price0, price1 = snapshot.price(pair.token0), snapshot.price(pair.token1)
    side0 = pair.reserve0 * price0.numerator * price1.denominator
    side1 = pair.reserve1 * price1.numerator * price0.denominator
    return mul_div_up(abs(side0 - side1), PPM, min(side0, side1))


def swap_hops(
    snapshot: Snapshot, legs: Sequence[Leg]
) -> Iterator[tuple[int, SwapLeg, PairState, PairState]]:
    """Each swap of ``legs``: its index, the leg, its pair as it was at first and as it meets it.

    Both are pairs of the snapshot with what earlier legs added and removed.
    """
    pairs = {pair.address: pair for pair in snapshot.pairs}
    market = Market(pairs, pairs)
    for index, leg in enumerate(legs):
        if isinstance(leg, SwapLeg):
            yield index, leg, market.start[leg.pair], market.now[leg.pair]
        market = market.after((leg,))


def held_out_of(snapshot: Snapshot, pair: PairState) -> tuple[HeldOut, ...]:
    """Which of the pair's tokens, or whether the pair itself, must not be traded."""
    addresses = (pair.token0.address, pair.token1.address, pair.address)
    found = (snapshot.held_out_reason(address) for address in addresses)
    return tuple(item for item in found if item is not None)


def open_market(snapshot: Snapshot, policy: Policy) -> tuple[Market, tuple[Reason, ...]]:
    """The pairs that may be traded on, and why the others may not; both in address order.

    Left out are empty pairs, those of a token without a price or that is held out, and those whose
    spot price is further than ``max_off_oracle_ppm`` from the oracle's: what looks like profit
    there is a stale or a manipulated price.
    """
    priced = {p.token for p in snapshot.prices if p.numerator > 0 and p.denominator > 0}
    usable: dict[str, PairState] = {}
    reasons: list[Reason] = []
    for pair in sorted(snapshot.pairs, key=lambda p: p.address.lower()):
        if pair.reserve0 == 0 or pair.reserve1 == 0:
            reasons.append(Reason("pool_empty", f"{pair.name} holds nothing and is not used"))
            continue
        if kept := held_out_of(snapshot, pair):
            text = f"{pair.name} is not used: {kept[0].text}"
            reasons.append(Reason(kept[0].code, text))
            continue
        if not {pair.token0, pair.token1} <= priced:
            reasons.append(Reason("no_price", f"{pair.name} is not used: a price is missing"))
            continue
        gap = off_oracle_ppm(snapshot, pair)
        if gap > policy.max_off_oracle_ppm:
            shown, limit = told_apart(percent, gap, policy.max_off_oracle_ppm, most_places=4)
            text = (
                f"{pair.name} is not used: its price is {shown} from the oracle's, "
                f"allowed is {limit}"
            )
            reasons.append(Reason("off_oracle_ppm", text, gap, policy.max_off_oracle_ppm))
            continue
        usable[pair.address] = pair
    return Market(usable, usable, policy.max_pool_share_ppm), tuple(reasons)
