"""What the trigger looks at: the portfolio at smoothed prices, where the snapshot has any."""

from __future__ import annotations

from dataclasses import replace

from rebalancer.amm.valuation import value
from rebalancer.model import Reason, Valuation
from rebalancer.planner.problem import Problem
from rebalancer.planner.texts import money


def trigger_valuation(problem: Problem) -> Valuation:
    """The valuation by which it is decided whether to trade; the present one without averages."""
    snapshot = problem.snapshot
    calm = {price.token: price for price in snapshot.trigger_prices}
    if not calm:
        return problem.valuation
    prices = tuple(calm.get(price.token, price) for price in snapshot.prices)
    return value(replace(snapshot, prices=prices, trigger_prices=()), problem.targets)


def smoothing_note(problem: Problem) -> tuple[Reason, ...]:
    """Which prices the trigger took for others than they are now; empty without averages."""
    snapshot = problem.snapshot
    apart = []
    for calm in snapshot.trigger_prices:
        now, unit = snapshot.price(calm.token), 10**calm.token.decimals
        if (calm.numerator, calm.denominator) != (now.numerator, now.denominator):
            taken, passed_over = (
                money(price.value_down(unit), snapshot.numeraire) for price in (calm, now)
            )
            apart.append(f"{calm.token.symbol} at {taken} instead of {passed_over}")
    if not apart:
        return ()
    return (Reason("smoothed_prices", f"The trigger goes by smoothed prices: {', '.join(apart)}"),)
