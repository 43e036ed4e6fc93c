"""What a decision says for itself, beside what triggers, limits and guards say."""

from __future__ import annotations

from rebalancer.model import Reason, Snapshot, Valuation, mul_div_up
from rebalancer.planner.costs import Appraisal
from rebalancer.planner.problem import Problem
from rebalancer.planner.proof import proof
from rebalancer.planner.texts import gwei, money, percent, told_apart
from rebalancer.planner.wallet import value_down

#: A hundredth of the numeraire in 1e-8: what a bound is shown to.
_CENT_E8 = 10**6


def unread(snapshot: Snapshot, valuation: Valuation) -> tuple[Reason, ...]:
    """Why there is no NAV: no weight of any position is known while one cannot be valued."""
    return tuple(
        Reason(
            code=item.code,
            text=f"{item.name} cannot be valued, so no weight is known and nothing is traded: "
            f"{item.text}",
        )
        for item in snapshot.held_out
        if item.name in valuation.unread
    )


def gas_too_dear(problem: Problem) -> Reason:
    price, ceiling = problem.gas_price_wei, problem.policy.max_gas_price_wei
    shown, limit = told_apart(gwei, price, ceiling, most_places=9)
    text = f"Gas costs {shown}, the ceiling is {limit}"
    return Reason("max_gas_price_wei", text, price, ceiling)


def nothing_to_trade(problem: Problem) -> Reason:
    smallest = money(problem.policy.min_trade_e8, problem.snapshot.numeraire)
    text = f"No trade of at least {smallest} brings a position nearer to its target"
    return Reason("nothing_to_trade", text)


def most_gain(problem: Problem, certificate: str | None) -> tuple[Reason, ...]:
    """What a certificate proves of doing nothing: how much more any plan could be worth.

    Rounded up to a hundredth in the text. Of a withdrawal nothing is said: what is missing of it is
    charged beyond its value.
    """
    if certificate is None or problem.owed is not None:
        return ()
    found = proof(certificate)
    most = found.upper_e8 - found.hold_e8
    shown = money(mul_div_up(most, 1, _CENT_E8) * _CENT_E8, problem.snapshot.numeraire)
    text = f"No plan is worth more than {shown} more than holding, costs and drift counted: proved"
    return (Reason("most_gain_e8", text, most),)


def deposits_weighed(problem: Problem) -> tuple[Reason, ...]:
    """What came in is no plan of its own for the optimal planner, which has weighed it already."""
    snapshot, came = problem.snapshot, problem.circumstances.deposits
    if problem.policy.planner != "optimal" or not came:
        return ()
    parts = ", ".join(
        f"{money(value_down(snapshot, a.token, a.raw), snapshot.numeraire)} of {a.token.symbol}"
        for a in came
    )
    text = (
        f"What came in ({parts}) is not spent before anything else: the optimal planner weighs all "
        "purchases and sales at once, each against its cost"
    )
    return (Reason("deposits_weighed", text),)


def worth_it(problem: Problem, appraisal: Appraisal) -> tuple[Reason, ...]:
    """For a cost-aware trigger, what made it fire: benefit against cost."""
    if problem.policy.trigger != "cost_aware" or problem.only_raise:
        return ()
    cost, benefit = appraisal.gate_cost_e8, appraisal.benefit_e8
    margin = percent(problem.policy.cost_margin_ppm)
    numeraire = problem.snapshot.numeraire
    text = (
        f"Trading costs {money(cost, numeraire)} and removes a drift penalty of "
        f"{money(benefit, numeraire)}; worth it is {margin} more than the cost"
    )
    return (Reason("worth_its_cost_e8", text, benefit, cost),)
