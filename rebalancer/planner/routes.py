"""Direct and two-hop routes between two tokens, and the best of them at a size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rebalancer.model import PPM, SwapLeg, Token, mul_div_up
from rebalancer.planner.market import Market, Route
from rebalancer.planner.problem import Problem


@dataclass(frozen=True, slots=True)
class Sized:
    """A route and how much to send along it."""

    route: Route
    amount_in: int


def routes(market: Market, token_in: Token, token_out: Token) -> tuple[Route, ...]:
    """All routes of one or two hops, by number of hops and addresses.

    Any token with pools to both may stand in the middle.
    """
    firsts = [pair for pair in market.now.values() if pair.has(token_in)]
    seconds = [pair for pair in market.now.values() if pair.has(token_out)]
    found = [Route((p.address,), (token_in, token_out)) for p in firsts if p.has(token_out)]
    for first in firsts:
        middle = first.other(token_in)
        if middle == token_out:
            continue
        for second in seconds:
            if second.has(middle):
                found.append(Route((first.address, second.address), (token_in, middle, token_out)))
    return tuple(sorted(found, key=_order))


def stuck_tokens(market: Market, tokens: Sequence[Token]) -> frozenset[Token]:
    """Those of ``tokens`` that no route joins with any other of them."""
    return frozenset(
        token
        for token in tokens
        if not any(routes(market, token, other) for other in tokens if other != token)
    )


def best_route(
    problem: Problem, market: Market, legs: Sequence[SwapLeg], choice: Iterable[Route], size: int
) -> Route | None:
    """The route among those that take ``size`` within the impact limit which is worth most.

    Worth is the output at the oracle's price less the gas that the route adds to a plan of
    ``legs``, so a second hop must earn its gas. Equal ones are told apart by output, then by
    number of hops and addresses. None if no route takes that much, or it would buy nothing.
    """
    candidates = []
    for route in choice:
        if size > market.capacity(route, problem.policy.max_impact_ppm):
            continue
        added = route_legs(problem, market, Sized(route, size))
        amount_out = added[-1].amount_out
        if amount_out == 0:
            continue
        gas = _gas_e8(problem, (*legs, *added)) - _gas_e8(problem, legs)
        worth = problem.snapshot.price(route.tokens[-1]).value_down(amount_out) - gas
        candidates.append((-worth, -amount_out, _order(route), route))
    return min(candidates, key=lambda c: c[:3])[3] if candidates else None


def roomiest_route(
    problem: Problem, market: Market, choice: Iterable[Route], size: int
) -> Sized | None:
    """The route that takes most of ``size`` within the impact limit, and how much that is.

    None if no route takes anything.
    """
    limit = problem.policy.max_impact_ppm
    sized = [Sized(route, min(market.capacity(route, limit), size)) for route in choice]
    sized = [s for s in sized if s.amount_in > 0 and market.amounts(s.route, s.amount_in)[-1]]
    return min(sized, key=lambda s: (-s.amount_in, _order(s.route)), default=None)


def route_legs(problem: Problem, market: Market, sized: Sized) -> tuple[SwapLeg, ...]:
    """The legs that send ``sized.amount_in`` along its route, with exact outputs."""
    amounts = market.amounts(sized.route, sized.amount_in)
    legs = []
    for index, address in enumerate(sized.route.pairs):
        pair = market.now[address]
        legs.append(
            SwapLeg(
                pair=address,
                amm=pair.amm,
                token_in=sized.route.tokens[index],
                token_out=sized.route.tokens[index + 1],
                fee_ppm=pair.fee_ppm,
                amount_in=amounts[index],
                amount_out=amounts[index + 1],
                min_amount_out=min_amount_out(amounts[index + 1], problem.policy.slippage_ppm),
                chained=index > 0,
            )
        )
    return tuple(legs)


def min_amount_out(amount_out: int, slippage_ppm: int) -> int:
    """Least output that is accepted, ``amount_out * (1 - slippage)``, rounded up."""
    return mul_div_up(amount_out, PPM - slippage_ppm, PPM)


def _gas_e8(problem: Problem, legs: Sequence[SwapLeg]) -> int:
    return problem.gas_value_e8(problem.gas_units(legs))


def _order(route: Route) -> tuple[int, tuple[str, ...]]:
    return len(route.pairs), tuple(address.lower() for address in route.pairs)
