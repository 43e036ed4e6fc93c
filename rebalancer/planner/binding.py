"""The limits that cut a plan of the optimal planner, or left none, by name and with numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING

from rebalancer.model import PPM, Leg, PairState, Policy, Reason, SwapLeg, Token, mul_div_down
from rebalancer.planner.market import hop_impact_ppm, pool_share_ppm, swap_hops
from rebalancer.planner.problem import Problem
from rebalancer.planner.targets import aims
from rebalancer.planner.texts import money, percent, told_apart
from rebalancer.planner.wallet import net_moves, value_down

if TYPE_CHECKING:
    from rebalancer.planner.optimal.certificate import Planned
    from rebalancer.planner.optimal.statement import Statement

#: A limit binds that is reached but for this part, or, in ppm, for what roundings leave of it.
_NEARLY, _ROUNDED_PPM = 10_000, 2


def binding(
    problem: Problem,
    made: Statement,
    planned: Planned,
    legs: Sequence[Leg],
    stuck: Set[Token],
) -> tuple[Reason, ...]:
    """Every limit that the plan goes to: per trade, per day, and of each pool."""
    off_e8 = _off_e8(problem, legs, stuck)
    return (*_of_amounts(problem, made, planned), *_of_pools(problem, legs, off_e8))


def _of_amounts(problem: Problem, made: Statement, planned: Planned) -> Iterator[Reason]:
    """The caps per trade and per day that the plan goes to."""
    assets, numeraire = {asset.key: asset for asset in made.assets}, problem.snapshot.numeraire
    if made.max_leg_e8 is not None:
        largest = max(
            (
                leg.amount_in
                * assets[leg.sold].price_numerator
                // assets[leg.sold].price_denominator
                for leg in planned.legs
                if leg.kind == "swap"
            ),
            default=0,
        )
        if _near(largest, made.max_leg_e8):
            text = f"One trade is cut to {money(made.max_leg_e8, numeraire)}, the most it may be"
            yield Reason("max_trade_e8", text, largest, made.max_leg_e8)
    if made.max_sold_e8 is not None:
        sold = sum(
            -raw * assets[key].price_numerator // assets[key].price_denominator
            for key, raw in _net(planned).items()
            if raw < 0
        )
        if _near(sold, made.max_sold_e8):
            text = f"What is sold is cut to {money(made.max_sold_e8, numeraire)}, left of 24 hours"
            yield Reason("max_turnover_e8", text, sold, made.max_sold_e8)


def _of_pools(problem: Problem, legs: Sequence[Leg], off: Mapping[Token, int]) -> Iterator[Reason]:
    """The pools that take no more, and how far from its target that leaves what they trade."""
    snapshot = problem.snapshot
    for _, leg, start, now in swap_hops(snapshot, legs):
        far = "".join(
            f"; {token.symbol} stays {money(abs(off[token]), snapshot.numeraire)} "
            f"{'above' if off[token] > 0 else 'below'} its target"
            for token in (leg.token_in, leg.token_out)
            if abs(off.get(token, 0)) >= max(problem.policy.min_trade_e8, 1)
        )
        for code, what, measured, limit in _measured(problem.policy, leg, start, now):
            if _reached(measured, limit):
                shown = percent(limit, 4 if limit % 100 else 2)
                text = f"{now.name} takes no more {leg.token_in.symbol}: {shown} is the most {what}"
                yield Reason(code, text + far, measured, limit)


def kept_from_trading(
    problem: Problem, made: Statement, solved: Callable[[Statement], Planned]
) -> tuple[Reason, ...]:
    """The limits without which something would be traded where nothing is."""
    free = replace(made, pools=tuple(replace(p, max_impact_ppm=PPM) for p in made.pools))
    reasons = [*_too_far(problem, solved(free))]
    policy, numeraire = problem.policy, problem.snapshot.numeraire
    if policy.max_trade_e8 is not None and solved(replace(made, max_leg_e8=None)).legs:
        text = f"Nothing is left to trade: one trade may be {money(policy.max_trade_e8, numeraire)}"
        reasons.append(Reason("max_trade_e8", text, policy.max_trade_e8, policy.max_trade_e8))
    if policy.max_turnover_ppm is not None and solved(replace(made, max_sold_e8=None)).legs:
        used = problem.circumstances.turnover_e8
        limit = mul_div_down(problem.valuation.nav_e8, policy.max_turnover_ppm, PPM)
        text = (
            f"Nothing is left to trade: {money(used, numeraire)} of the {money(limit, numeraire)} "
            "that 24 hours may sell are used"
        )
        reasons.append(Reason("max_turnover_e8", text, used, limit))
    return tuple(reasons)


def _too_far(problem: Problem, free: Planned) -> Iterator[Reason]:
    """What a plan without limits of its pools would sell, and which of them it would break."""
    from rebalancer.planner.optimal.bridge import plan_legs

    snapshot = problem.snapshot
    for _, leg, start, now in swap_hops(snapshot, plan_legs(problem, free.legs)):
        for code, what, measured, limit in _measured(problem.policy, leg, start, now):
            if measured > limit:
                shown, most = told_apart(percent, measured, limit, most_places=4)
                worth = money(value_down(snapshot, leg.token_in, leg.amount_in), snapshot.numeraire)
                text = (
                    f"{worth} of {leg.token_in.symbol} is left unsold for {leg.token_out.symbol}: "
                    f"in {now.name} it would be {shown}, {most} is the most {what}"
                )
                yield Reason(code, text, measured, limit)


def _measured(
    policy: Policy, leg: SwapLeg, start: PairState, now: PairState
) -> Iterator[tuple[str, str, int, int]]:
    """Of each limit of a pool: its code, what it limits, what the leg makes of it, the limit."""
    impact = hop_impact_ppm(start, now, leg.token_in, leg.amount_in)
    yield "max_impact_ppm", "that its price may move", impact, policy.max_impact_ppm
    if policy.max_pool_share_ppm is not None:
        share = pool_share_ppm(start, now, leg.token_in, leg.amount_in)
        yield (
            "max_pool_share_ppm",
            "of its reserve that it may be paid",
            share,
            policy.max_pool_share_ppm,
        )


def _off_e8(problem: Problem, legs: Sequence[Leg], stuck: Set[Token]) -> dict[Token, int]:
    """How far above the value that it should have each token that can be traded ends."""
    snapshot, net = problem.snapshot, net_moves(legs)
    off = {}
    for aim in aims(problem, stuck):
        raw = net.get(aim.token, 0)
        change = value_down(snapshot, aim.token, abs(raw))
        off[aim.token] = aim.value_e8 + (change if raw > 0 else -change) - aim.full_e8
    return off


def dropped(planned: Planned) -> tuple[Reason, ...]:
    """Pools that no order of the legs could use."""
    return tuple(
        Reason("no_order", f"{key} is left out: its leg could not be paid for in any order")
        for key in planned.dropped
    )


def _near(value: int, limit: int) -> bool:
    """Whether a limit binds, but for what roundings leave."""
    return value * _NEARLY >= limit * (_NEARLY - 1)


def _reached(measured_ppm: int, limit_ppm: int) -> bool:
    """Whether a limit in ppm binds, but for what roundings leave."""
    return measured_ppm + _ROUNDED_PPM >= limit_ppm or _near(measured_ppm, limit_ppm)


def _net(planned: Planned) -> dict[str, int]:
    """What swaps change of each asset, smallest units."""
    net: dict[str, int] = {}
    for leg in planned.legs:
        if leg.kind == "swap":
            net[leg.sold] = net.get(leg.sold, 0) - leg.amount_in
            net[leg.bought] = net.get(leg.bought, 0) + leg.amount_out
    return net
