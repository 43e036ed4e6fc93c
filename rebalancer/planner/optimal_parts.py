"""Plans that ask for less than the best one, for where that breaks a limit it does not know of.

Each is the best of a tighter problem, judged by the whole one, so that one bound counts for all.
They are sought among the pools that the best plan uses, which takes next to no time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rebalancer.model import PPM, Leg, Reason, mul_div_down
from rebalancer.planner.batch import batch_size
from rebalancer.planner.market import off_oracle_ppm
from rebalancer.planner.optimal_problem import impact_of_share_ppm, without
from rebalancer.planner.problem import SHARES_PPM, Problem
from rebalancer.planner.texts import money, percent, told_apart
from rebalancer.planner.trades import MAX_ENTRIES, MAX_WATCHED

if TYPE_CHECKING:
    from rebalancer.planner.optimal.certificate import Planned
    from rebalancer.planner.optimal.legs import Swap
    from rebalancer.planner.optimal.statement import Pool, Statement

#: How often the range of what an entry may cost is halved to have as many as a batch takes.
_HALVINGS = 6


@dataclass(frozen=True, slots=True)
class Part:
    """A plan that asks for less, and in words for how much less."""

    planned: Planned
    limits: tuple[Reason, ...]


def in_a_batch(
    problem: Problem, best: Planned, legs_of: Callable[[Planned], Sequence[Leg]]
) -> Part:
    """The best plan, or what is left of it where it has more entries than a batch takes.

    Every leg and every token that moves has a price then, the least at which what is worth it still
    fits: what is left out is what gains least.
    """
    entries, watched = batch_size(problem.whole(legs_of(best)))
    if entries <= MAX_ENTRIES and watched <= MAX_WATCHED:
        return Part(best, ())
    few = among(best.statement, {leg.pool for leg in best.legs})
    low, high, found = 0, max(few.base_e8, 1), replace(best, legs=(), realised_e8=best.hold_e8)

    def fitting(price_e8: int) -> bool:
        nonlocal found
        tried = instead(best, solved(_dearer(few, price_e8)))
        entries, watched = batch_size(problem.whole(legs_of(tried)))
        fits = entries <= MAX_ENTRIES and watched <= MAX_WATCHED
        if fits and tried.realised_e8 > found.realised_e8:
            found = tried
        return fits

    while not fitting(high):
        low, high = high, 4 * high
    for _ in range(_HALVINGS):
        middle = (low + high) // 2
        low, high = (low, middle) if fitting(middle) else (middle, high)
    return Part(found, _too_long(entries, watched))


def _too_long(entries: int, watched: int) -> tuple[Reason, ...]:
    return tuple(
        Reason(
            code, f"Cut to the {most} {what} that a batch takes: the best has {found}", found, most
        )
        for code, what, found, most in (
            ("max_entries", "entries", entries, MAX_ENTRIES),
            ("max_watched", "tokens to watch", watched, MAX_WATCHED),
        )
        if found > most
    )


def _dearer(made: Statement, price_e8: int) -> Statement:
    """Every swap, every move of liquidity and every token that moves for so much more."""
    return replace(
        made,
        assets=tuple(replace(a, touch_e8=a.touch_e8 + price_e8) for a in made.assets),
        pools=tuple(replace(p, swap_e8=p.swap_e8 + price_e8) for p in made.pools),
        stakes=tuple(
            replace(s, burn_e8=s.burn_e8 + 2 * price_e8, mint_e8=s.mint_e8 + 2 * price_e8)
            for s in made.stakes
        ),
    )


def without_gifts(problem: Problem, best: Planned) -> Part | None:
    """The best plan without pools further off the oracle than their fee; None if none is.

    What such a pool seems to give away counts in the objective and pays for nothing at the gate:
    the best plan may trade for it alone, even in a circle.
    """
    pairs = {pair.address.lower(): pair for pair in problem.snapshot.pairs}
    used = {leg.pool for leg in best.legs}
    kept, limits = set(), []
    for pool in best.statement.pools:
        pair = pairs[pool.key]
        gap = off_oracle_ppm(problem.snapshot, pair)
        if gap <= pool.fee_ppm:
            kept.add(pool.key)
        elif pool.key in used:
            shown, fee = told_apart(percent, gap, pool.fee_ppm, most_places=4)
            text = (
                f"{pair.name} is left out: its price is {shown} from the oracle's, more than its "
                f"fee of {fee}, and the best plan would trade for what it seems to give"
            )
            limits.append(Reason("off_oracle_ppm", text, gap, pool.fee_ppm))
    if not limits:
        return None
    return Part(instead(best, solved(among(best.statement, kept))), tuple(limits))


def that_can_start(problem: Problem, best: Planned) -> Part:
    """The best plan; where none that was found could be executed, the best without gifts.

    Legs that take what pools seem to give away may run in circles that what the wallet holds cannot
    start. Those of pools within their fee of the oracle do not.
    """
    if best.legs or not best.answer.supports:
        return Part(best, ())
    pairs = {pair.address.lower(): pair for pair in problem.snapshot.pairs}
    near = {
        pool.key
        for pool in best.statement.pools
        if off_oracle_ppm(problem.snapshot, pairs[pool.key]) <= pool.fee_ppm
    }
    found = instead(best, solved(among(best.statement, near)))
    text = (
        "Cut to pools no further off the oracle than their fee: the legs of better plans run in "
        "circles that what the wallet holds cannot start"
    )
    return Part(found, (Reason("no_order", text),) if found.legs else ())


def one_pool_each(problem: Problem, best: Planned) -> Part | None:
    """The best plan that sells a token for another in one pool; None where none sold too much.

    The solver knows ``max_trade`` as a limit of each leg: what legs over several pools sell
    together may be more.
    """
    limit = problem.policy.max_trade_e8
    assets = {asset.key: asset for asset in best.statement.assets}
    trades: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for leg in best.legs:
        if leg.kind == "swap":
            price = assets[leg.sold].price_numerator, assets[leg.sold].price_denominator
            sold = mul_div_down(leg.amount_in, *price), leg.pool
            trades.setdefault((leg.sold, leg.bought), []).append(sold)
    too_many = {
        pool
        for sold in trades.values()
        if limit is not None and sum(value for value, _ in sold) > limit
        for _, pool in sorted(sold)[:-1]
    }
    if limit is None or not too_many:
        return None
    rest = among(best.statement, {leg.pool for leg in best.legs} - too_many)
    worth = money(limit, problem.snapshot.numeraire)
    text = f"Cut to one pool for each trade of which several sell more than {worth} together"
    return Part(instead(best, solved(rest)), (Reason("max_trade_e8", text, limit, limit),))


def shares(best: Planned) -> Iterator[Part]:
    """The best plans that sell at most a half, a quarter, a tenth of what the best does.

    In each pool; what that leaves of a trade in one that is too deep for a share to be told is cut
    by all that is sold. LP positions are left alone.
    """
    from rebalancer.planner.optimal.effort import sold_e8

    made = best.statement
    paid = {leg.pool: leg for leg in best.legs if leg.kind == "swap"}
    few = among(without(made, {s.key for s in made.stakes}), set(paid))
    for share_ppm in SHARES_PPM:
        most = mul_div_down(sold_e8(best), share_ppm, PPM)
        if made.max_sold_e8 is not None:
            most = min(most, made.max_sold_e8)
        capped = tuple(_at_most(pool, paid[pool.key], share_ppm) for pool in few.pools)
        found = solved(replace(few, pools=capped))
        if sold_e8(found) > most:
            found = solved(replace(few, max_sold_e8=most))
        text = f"Cut to {percent(share_ppm)} of what the best plan sells, which would break a limit"
        yield Part(instead(best, found), (Reason("cut_to_limits", text),))


def _at_most(pool: Pool, leg: Swap, share_ppm: int) -> Pool:
    """The pool, open for so much of what the leg pays into it."""
    reserve = pool.reserve0 if leg.sold == pool.asset0 else pool.reserve1
    most = impact_of_share_ppm(mul_div_down(leg.amount_in, share_ppm, reserve), pool.fee_ppm)
    return replace(pool, max_impact_ppm=min(pool.max_impact_ppm, most))


def among(made: Statement, pools: set[str]) -> Statement:
    """The problem with these pools alone; other LP positions stay as they are.

    So do assets that none of them trades: without factors each counts on its own, so they are left
    out, which takes a fraction of the time. What a plan is worth is the same but for a constant.
    """
    rest = without(made, {stake.key for stake in made.stakes if stake.pool not in pools})
    kept = tuple(pool for pool in made.pools if pool.key in pools)
    traded = {key for pool in kept for key in (pool.asset0, pool.asset1)}
    assets = tuple(a for a in rest.assets if a.key in traded or a.owed)
    return replace(rest, pools=kept, assets=rest.assets if made.factors else assets)


def instead(best: Planned, other: Planned) -> Planned:
    """The legs of a plan of a tighter problem, judged by the problem of the first."""
    from rebalancer.planner.optimal.certificate import judged

    return judged(best, other.legs)


def solved(made: Statement) -> Planned:
    """A good plan of a tighter problem; its own bound is not asked for."""
    from rebalancer.planner.optimal.effort import quick

    return quick(made)
