"""A plan that a person approved, on the block of today: the same trades, never worse."""

from __future__ import annotations

from dataclasses import replace

from rebalancer.amm.swap import apply_swap
from rebalancer.errors import Infeasible, LimitBreached, PlanError
from rebalancer.model import (
    Circumstances,
    Plan,
    Policy,
    Rebalance,
    Snapshot,
    SwapLeg,
    Target,
    Valuation,
)
from rebalancer.planner.costs import appraise, cost_gate
from rebalancer.planner.decision import pose
from rebalancer.planner.gas_schedule import PRAGUE
from rebalancer.planner.problem import NOTHING_ELSE


def as_approved(
    decision: Rebalance,
    approved: Plan,
    snapshot: Snapshot,
    valuation: Valuation,
    targets: tuple[Target, ...],
    policy: Policy,
    circumstances: Circumstances = NOTHING_ELSE,
) -> Rebalance:
    """The decision of this block, with the approved trades instead of its own.

    What is sold and the minimum of every leg are those that were approved, to the unit; what each
    leg is expected to pay, and with it costs and benefit, are those of this block. Raises
    LimitBreached when a leg would bring less than its approved minimum, or the plan is not worth
    its cost any more, PlanError when it cannot be done as it stands.
    """
    legs = _repriced(approved, snapshot)
    problem = pose(snapshot, valuation, targets, policy, PRAGUE, circumstances)
    appraisal = appraise(problem, legs)
    if reasons := cost_gate(problem, appraisal):
        raise LimitBreached(
            f"the approved plan is not worth it any more: {reasons[0].text}",
            hint="nothing was signed; approve a newer plan",
            block=snapshot.block.number,
        )
    plan = replace(
        decision.plan,
        legs=legs,
        net=appraisal.net,
        positions=tuple(
            replace(position, after_ppm=appraisal.after.position(position.name).weight_ppm)
            for position in decision.plan.positions
        ),
        nav_after_e8=appraisal.after.nav_e8,
        costs=appraisal.costs,
        benefit_e8=appraisal.benefit_e8,
    )
    return replace(decision, plan=plan)


def _repriced(approved: Plan, snapshot: Snapshot) -> tuple[SwapLeg, ...]:
    """The approved legs with what their pairs would pay now."""
    pairs = {pair.address: pair for pair in snapshot.pairs}
    legs: list[SwapLeg] = []
    for index, leg in enumerate(approved.legs):
        amount_in = legs[-1].amount_out if leg.chained else leg.amount_in
        if leg.pair not in pairs:
            raise PlanError(
                f"leg {index + 1} of the approved plan swaps on {leg.pair}, which is not read",
                hint="approve a newer plan",
            )
        try:
            pairs[leg.pair], amount_out = apply_swap(pairs[leg.pair], leg.token_in, amount_in)
        except Infeasible as error:
            raise PlanError(
                f"leg {index + 1} of the approved plan cannot be done: {error}",
                hint="approve a newer plan",
            ) from None
        if amount_out < leg.min_amount_out:
            raise LimitBreached(
                f"leg {index + 1} of the approved plan would bring {amount_out} smallest units of"
                f" {leg.token_out.symbol}, approved are {leg.min_amount_out} or more",
                hint="nothing was signed; wait for the price to come back, or approve a newer plan",
                block=snapshot.block.number,
            )
        legs.append(replace(leg, amount_in=amount_in, amount_out=amount_out))
    return tuple(legs)
