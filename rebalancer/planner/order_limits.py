"""What an order lets its slices do, as guards: amounts, prices and cost, in exact integers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rebalancer.model import (
    PPM,
    Leg,
    Order,
    Plan,
    Reason,
    SoFar,
    SwapLeg,
    Token,
    format_units,
    mul_div_up,
)
from rebalancer.planner.problem import Problem
from rebalancer.planner.texts import money, percent, told_apart

#: What a route takes from the wallet, and the least that it pays.
Trade = tuple[Token, int, Token, int]


def order_breaches(problem: Problem, plan: Plan, order: Order, so_far: SoFar) -> tuple[Reason, ...]:
    """Every way in which a slice would go beyond its order; ``plan`` is without its gas purse."""
    return (
        *_swaps_only(plan),
        *_within_amounts(plan, order, so_far),
        *_within_prices(plan, order),
        *_within_cost(problem, plan, order, so_far),
    )


def least_loss_e8(problem: Problem, legs: Sequence[Leg]) -> int:
    """The most that ``legs`` can lose in the pools: at the minimum outputs the contract holds.

    Value sold less value bought at the snapshot's prices, each rounded against us; at least 0, for
    what a stale pool seems to give pays for nothing.
    """
    snapshot = problem.snapshot
    lost = sum(
        snapshot.price(sold).value_up(raw) - snapshot.price(bought).value_down(least)
        for sold, raw, bought, least in _trades(legs)
    )
    return max(lost, 0)


def _trades(legs: Sequence[Leg]) -> Iterator[Trade]:
    """Route by route: a swap from the wallet and those that are chained to it."""
    routes: list[list[SwapLeg]] = []
    for leg in legs:
        if isinstance(leg, SwapLeg):
            if leg.chained and routes:
                routes[-1].append(leg)
            else:
                routes.append([leg])
    for route in routes:
        first, last = route[0], route[-1]
        yield first.token_in, first.amount_in, last.token_out, last.min_amount_out


def _swaps_only(plan: Plan) -> Iterable[Reason]:
    """An order's limits speak of tokens: shares of pairs are not traded in slices."""
    legs: tuple[Leg, ...] = plan.legs
    for kind, _ in groupby(leg.kind for leg in legs if not isinstance(leg, SwapLeg)):
        yield Reason("slice_leg", f"A slice only swaps; this one would {kind}")


def _within_amounts(plan: Plan, order: Order, so_far: SoFar) -> Iterable[Reason]:
    """No more of a token is sold, over all slices, than the order allows."""
    left = {amount.token: amount.raw for amount in order.left(so_far)}
    for change in plan.net:
        there = left.get(change.token, 0)
        if -change.raw > there:
            symbol, decimals = change.token.symbol, change.token.decimals
            text = (
                f"It would sell {format_units(-change.raw, decimals)} {symbol}, the order has "
                f"{format_units(there, decimals)} left"
            )
            yield Reason("order_amount", text, -change.raw, there)


def _within_prices(plan: Plan, order: Order) -> Iterable[Reason]:
    """At the oracle's prices of the start, no trade's minimum output is worth too much less."""
    for sold, raw, bought, least in _trades(plan.legs):
        first, second = order.price(sold), order.price(bought)
        if first is None or second is None:
            text = f"The order knows no price of {(bought if first else sold).symbol}"
            yield Reason("order_price", text)
            continue
        paid = raw * first.numerator * second.denominator
        got = least * second.numerator * first.denominator
        below_ppm = mul_div_up(paid - got, PPM, paid) if paid else 0
        if below_ppm > order.worst_ppm:
            shown, limit = told_apart(percent, below_ppm, order.worst_ppm, most_places=4)
            text = (
                f"{sold.symbol} would be sold for {bought.symbol} at {shown} below the price at "
                f"the order's start; allowed is {limit}"
            )
            yield Reason("order_price_ppm", text, below_ppm, order.worst_ppm)


def _within_cost(problem: Problem, plan: Plan, order: Order, so_far: SoFar) -> Iterable[Reason]:
    """At minimum outputs and the gas price of the block, all slices keep what they may cost."""
    cost = so_far.cost_e8 + least_loss_e8(problem, plan.legs) + plan.costs.gas_e8
    if cost > order.max_cost_e8:
        text = (
            f"With this slice the order could cost {money(cost, plan.numeraire)}, "
            f"allowed is {money(order.max_cost_e8, plan.numeraire)}"
        )
        yield Reason("order_cost_e8", text, cost, order.max_cost_e8)
