"""Each slice of a large plan, within its order's limits.

A slice is planned anew on the block of its time, by the greedy proposer, towards the targets of
that block; the order's limits stand above it. ``slicing`` decides whether there is an order at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rebalancer.errors import PlanError
from rebalancer.model import (
    Amount,
    Decision,
    Hold,
    Order,
    Policy,
    Reason,
    Rebalance,
    Snapshot,
    SoFar,
    Token,
    Valuation,
    digest,
)
from rebalancer.planner.attempts import priced
from rebalancer.planner.bands import drifts
from rebalancer.planner.costs import appraise, cost_gate
from rebalancer.planner.decision import pose
from rebalancer.planner.greedy import GreedyProposer
from rebalancer.planner.guards import CONSISTENCY, LIMITS, undressed, violations
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.order_limits import least_loss_e8, order_breaches
from rebalancer.planner.problem import Problem, Proposal
from rebalancer.planner.proposing import proposed
from rebalancer.planner.reasons import gas_too_dear, nothing_to_trade, unread
from rebalancer.planner.targets import aims, spare, stuck_positions
from rebalancer.planner.texts import money, points

GREEDY = GreedyProposer()
#: A drift aversion at which every trade towards the targets is worth it.
_EAGER_PPM = 10**18


@dataclass(frozen=True, slots=True)
class Slice:
    """What an order does at a block; ``ends`` when it is done or too late, the hold says which."""

    decision: Decision
    ends: bool = False


def decide_slice(inputs: Inputs, valuation: Valuation, order: Order, so_far: SoFar) -> Slice:
    """What the order does at the snapshot's block: one slice, nothing yet, or its end.

    Every limit and guard of the policy holds as for any plan, but for the trigger, the cooldown and
    the comparison of cost and benefit: the order was worth its cost when it was opened, and what
    all slices may cost is its limit. Raises PlanError for a plan that contradicts itself.
    """
    snapshot = inputs.snapshot
    now = snapshot.block.timestamp if order.clock == "seconds" else snapshot.block.number
    if so_far.pending:
        text = "The slice before is not final yet; the next one waits for it"
        return _hold(inputs, valuation, (Reason("slice_pending", text),))
    if now > order.expires_at:
        return _hold(inputs, valuation, (_expired(order, so_far),), ends=True)
    if valuation.unread:
        return _hold(inputs, valuation, unread(snapshot, valuation))
    case = posed(inputs, valuation)
    if (done := _done(case, order, so_far)) is not None:
        return _hold(inputs, valuation, (done,), ends=True)
    due = order.due_at(so_far)
    if now < due:
        return _hold(inputs, valuation, (_waits(order, now, due),))
    if case.gas_price_wei > case.policy.max_gas_price_wei:
        return _hold(inputs, valuation, (gas_too_dear(case),))
    limits: tuple[Reason, ...] = ()
    # A share of what is left may be below the smallest trade where all of it is not.
    for turns in dict.fromkeys((order.turns(so_far, now), 1)):
        problem, proposal = _propose(inputs, valuation, case, turns, order.left(so_far))
        limits = proposal.limits
        if proposal.legs:
            return _slice(inputs, valuation, problem, proposal, order, so_far)
    return _hold(inputs, valuation, (nothing_to_trade(case), *limits))


def sold_out(snapshot: Snapshot, policy: Policy, order: Order, so_far: SoFar) -> bool:
    """Whether less than the smallest trade is left to sell of every token."""
    least = max(policy.min_trade_e8, 1)
    return all(
        snapshot.price(amount.token).value_down(amount.raw) < least for amount in order.left(so_far)
    )


def _slice(
    inputs: Inputs,
    valuation: Valuation,
    problem: Problem,
    proposal: Proposal,
    order: Order,
    so_far: SoFar,
) -> Slice:
    appraisal = appraise(problem, proposal.legs)
    order_id, block = digest(order), inputs.snapshot.block
    rules_id = digest({"targets": problem.targets, "policy": inputs.policy, "order": order_id})
    budget = order.max_cost_e8 - so_far.cost_e8 - least_loss_e8(problem, appraisal.legs)
    plan = replace(
        priced(problem, digest(valuation), rules_id, appraisal),
        order=order_id,
        most_gas_e8=max(budget, 0),
    )
    if defects := violations(problem, plan, CONSISTENCY):
        raise PlanError(
            f"the slice contradicts itself: {defects[0].text}",
            hint="nothing was sent; this is a defect of the planner, please report it",
            block=block.number,
        )
    # Whether it is worth it was asked of the order as a whole; a last slice alone never is.
    gate = [r for r in cost_gate(problem, appraisal) if r.code != "cost_above_benefit_e8"]
    breaches = (
        *gate,
        *violations(problem, plan, LIMITS),
        *order_breaches(problem, undressed(problem, plan), order, so_far),
    )
    if breaches:
        return _hold(inputs, valuation, (*breaches, *proposal.limits))
    number = so_far.slices + 1
    text = f"Slice {number} of {order.slices} of order {order_id[:12]}"
    reasons = (Reason("slice", text, number, order.slices),)
    parent = digest(valuation)
    return Slice(Rebalance(parent, block.number, block.hash, reasons, proposal.limits, plan))


def _propose(
    inputs: Inputs, valuation: Valuation, case: Problem, turns: int, left: Sequence[Amount]
) -> tuple[Problem, Proposal]:
    """A slice's trades and the problem that they solve, kappa as it is."""

    def again(gas_wei: int) -> Problem:
        return eager(part(posed(inputs, valuation, gas_wei), turns, left))

    problem, proposal = proposed(eager(part(case, turns, left)), GREEDY, again)
    own = replace(problem.policy, drift_aversion_ppm=case.policy.drift_aversion_ppm)
    return replace(problem, policy=own), proposal


def posed(inputs: Inputs, valuation: Valuation, gas_wei: int | None = None) -> Problem:
    """The problem of the block; ``gas_wei`` as for ``pose``."""
    circumstances = replace(inputs.circumstances, withdrawal=None)
    return pose(inputs.snapshot, valuation, inputs.targets, inputs.policy, circumstances, gas_wei)


def part(case: Problem, turns: int, most: Sequence[Amount] | None) -> Problem:
    """The problem of going one of ``turns`` equal parts of the way, within ``most``."""
    policy = replace(case.policy, reset_ppm=-(-case.policy.reset_ppm // turns))
    edges = case.edges
    if edges is not None:
        kept = {
            drift.position: abs(drift.drift_ppm)
            for drift in drifts(case.valuation, case.targets, case.policy)
        }
        edges = {name: _part_edge(edge, kept.get(name, 0), turns) for name, edge in edges.items()}
    shares: Mapping[Token, int] | None = None
    if most is not None:
        shares = {amount.token: -(-amount.raw // turns) for amount in most}
    return replace(case, policy=policy, edges=edges, most=shares)


def _part_edge(edge: int, drift: int, turns: int) -> int:
    """The drift that may stay after one of ``turns`` parts of the way to ``edge``."""
    return edge if drift <= edge else drift - -(-(drift - edge) // turns)


def eager(problem: Problem) -> Problem:
    """The problem in which no trade towards the targets is left out for what it gains alone."""
    return replace(problem, policy=replace(problem.policy, drift_aversion_ppm=_EAGER_PPM))


def _done(case: Problem, order: Order, so_far: SoFar) -> Reason | None:
    """Why nothing of the order is left to do; None while there is."""
    snapshot, least = case.snapshot, max(case.policy.min_trade_e8, 1)
    left = {amount.token: amount.raw for amount in order.left(so_far)}
    largest = drifts(case.valuation, case.targets, case.policy)[0]
    if abs(largest.drift_ppm) <= case.policy.dead_band_ppm:
        text = (
            f"Back at the targets: the largest drift is {points(abs(largest.drift_ppm))} points, "
            f"the dead band is {points(case.policy.dead_band_ppm)}"
        )
        return Reason("order_back_ppm", text, abs(largest.drift_ppm), case.policy.dead_band_ppm)
    if sold_out(snapshot, case.policy, order, so_far):
        return Reason("order_sold", "All that the order may sell is sold")
    to_sell = [
        snapshot.price(amount.token).value_down(min(amount.raw, left.get(amount.token, 0)))
        for amount in (spare(case, aim) for aim in aims(case, stuck_positions(case)))
    ]
    if all(value_e8 < least for value_e8 in to_sell):
        text = (
            "Nothing that the order may sell needs to be sold any more, by at least "
            f"{money(case.policy.min_trade_e8, snapshot.numeraire)}"
        )
        return Reason("order_met", text)
    return None


def _expired(order: Order, so_far: SoFar) -> Reason:
    text = f"Expired: its time was over after {so_far.slices} of {order.slices} slices"
    return Reason("order_expired", text, so_far.slices, order.slices)


def _waits(order: Order, now: int, due: int) -> Reason:
    unit = "s" if order.clock == "seconds" else "block(s)"
    return Reason("slice_not_due", f"The next slice is due in {due - now} {unit}", now, due)


def _hold(
    inputs: Inputs, valuation: Valuation, reasons: tuple[Reason, ...], ends: bool = False
) -> Slice:
    block = inputs.snapshot.block
    return Slice(Hold(digest(valuation), block.number, block.hash, reasons), ends)
