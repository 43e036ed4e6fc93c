"""Large plans in slices: whether to cut one, what its order may do, and each slice of it.

Pure functions, like the rest of the room. What is cut and into how many parts is decided once, at
the start; each slice is planned anew on the block of its time, by the greedy proposer, towards the
targets of that block. The order's limits stand above it: see docs/orders.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rebalancer.errors import PlanError
from rebalancer.model import (
    PPM,
    Amount,
    Costs,
    Decision,
    Hold,
    Leg,
    Order,
    Plan,
    Policy,
    Reason,
    Rebalance,
    SliceRules,
    Snapshot,
    SoFar,
    SwapLeg,
    Token,
    Valuation,
    digest,
)
from rebalancer.planner.bands import drifts
from rebalancer.planner.costs import Appraisal, appraise, cost_gate, is_extreme
from rebalancer.planner.decision import pose, priced
from rebalancer.planner.gas_schedule import PRAGUE
from rebalancer.planner.greedy import GreedyProposer
from rebalancer.planner.guards import CONSISTENCY, LIMITS, violations
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.order_limits import least_loss_e8, order_breaches
from rebalancer.planner.problem import Problem, Proposal
from rebalancer.planner.reasons import gas_too_dear, nothing_to_trade, unread
from rebalancer.planner.targets import aims, spare, stuck_positions
from rebalancer.planner.texts import money, points

_GREEDY = GreedyProposer()
#: Limits of a single plan: what they leave untraded is what slices are for.
_OF_ONE_PLAN = frozenset({"max_impact_ppm", "max_pool_share_ppm", "max_trade_e8"})
#: A drift aversion at which every trade towards the targets is worth it.
_EAGER_PPM = 10**18


@dataclass(frozen=True, slots=True)
class Slicing:
    """What slices would save; ``whole`` and ``sliced`` as in ``Order``, values in 1e-8 numeraire.

    ``sells`` is what one go would sell of each token, ``max_cost_e8`` the most that it may cost to
    be worth it. ``reasons`` say why it is cut (``worth_it``) or goes in one.
    """

    slices: int
    whole: Costs
    sliced: Costs
    sells: tuple[Amount, ...]
    max_cost_e8: int
    worth_it: bool
    reasons: tuple[Reason, ...]

    @property
    def saved_e8(self) -> int:
        """Price impact that the slices save, if the pools come back between them."""
        return self.whole.impact_e8 - self.sliced.impact_e8

    @property
    def more_gas_e8(self) -> int:
        """Gas that they cost beyond that of one transaction."""
        return self.sliced.gas_e8 - self.whole.gas_e8


@dataclass(frozen=True, slots=True)
class Slice:
    """What an order does at a block; ``ends`` when it is done or too late, the hold says which."""

    decision: Decision
    ends: bool = False


def slicing(inputs: Inputs, valuation: Valuation, decision: Decision, rules: SliceRules) -> Slicing:
    """Whether ``decision``, a rebalance, should be traded in slices instead.

    It should where one plan cannot take it all, because of its impact or its size, or where the
    impact that is saved is worth more than the gas of more transactions. Raises ValueError for a
    hold.
    """
    if not isinstance(decision, Rebalance):
        raise ValueError("only a rebalance is cut into slices")
    case = _pose(inputs, valuation)
    whole = _whole(case, decision.plan)
    sells = tuple(Amount(c.token, -c.raw) for c in whole.net if c.raw < 0)
    count = min(rules.slices, whole.costs.traded_e8 // max(case.policy.min_trade_e8, 1))
    first = _propose(_part(case, max(count, 1), None))
    sliced = _times(first.costs, count) if first is not None else whole.costs
    found = Slicing(
        slices=max(count, 1),
        whole=whole.costs,
        sliced=sliced,
        sells=sells,
        max_cost_e8=_most_cost(case, whole),
        worth_it=False,
        reasons=(),
    )
    worth_it, reasons = _judged(case, found, decision, rules, possible=first is not None)
    return replace(found, worth_it=worth_it, reasons=reasons)


def order_of(
    found: Slicing,
    inputs: Inputs,
    plan: Plan,
    rules: SliceRules,
    portfolio: str,
    needs_consent: bool,
) -> Order:
    """The order that trades ``plan`` in slices, opened at the snapshot's block."""
    block = inputs.snapshot.block
    now = block.timestamp if rules.clock == "seconds" else block.number
    return Order(
        portfolio=portfolio,
        plan=digest(plan),
        chain_id=plan.chain_id,
        wallet=plan.wallet,
        numeraire=plan.numeraire,
        block_number=block.number,
        block_hash=block.hash,
        sells=found.sells,
        prices=tuple(replace(price, quotes=()) for price in inputs.snapshot.prices),
        worst_ppm=rules.worst_ppm,
        max_cost_e8=found.max_cost_e8,
        whole=found.whole,
        sliced=found.sliced,
        slices=found.slices,
        clock=rules.clock,
        every=rules.every,
        opened_at=now,
        expires_at=now + rules.lasts,
        needs_consent=needs_consent,
    )


def decide_slice(inputs: Inputs, valuation: Valuation, order: Order, so_far: SoFar) -> Slice:
    """What the order does at the snapshot's block: one slice, nothing yet, or its end.

    Every limit and guard of the policy holds as for any plan, but for the trigger, the cooldown and
    the comparison of cost and benefit: the order was worth its cost when it was opened, and what
    all slices may cost is its limit. Raises PlanError for a plan that contradicts itself.
    """
    snapshot = inputs.snapshot
    now = snapshot.block.timestamp if order.clock == "seconds" else snapshot.block.number
    if now > order.expires_at:
        return _hold(inputs, valuation, (_expired(order, so_far),), ends=True)
    if valuation.unread:
        return _hold(inputs, valuation, unread(snapshot, valuation))
    case = _pose(inputs, valuation)
    if (done := _done(case, order, so_far)) is not None:
        return _hold(inputs, valuation, (done,), ends=True)
    if so_far.pending:
        text = "The slice before is not final yet; the next one waits for it"
        return _hold(inputs, valuation, (Reason("slice_pending", text),))
    due = order.due_at(so_far)
    if now < due:
        return _hold(inputs, valuation, (_waits(order, now, due),))
    if case.gas_price_wei > case.policy.max_gas_price_wei:
        return _hold(inputs, valuation, (gas_too_dear(case),))
    turns = order.turns(so_far, now)
    limits: tuple[Reason, ...] = ()
    # A share of what is left may be below the smallest trade where all of it is not.
    for share in dict.fromkeys((turns, 1)):
        problem = _part(case, share, order.left(so_far))
        proposal = _GREEDY.propose(_eager(problem))
        limits = proposal.limits
        if proposal.legs:
            return _slice(inputs, valuation, problem, proposal, order, so_far, turns)
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
    turns: int,
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
        *order_breaches(problem, plan, order, so_far),
    )
    if breaches:
        return _hold(inputs, valuation, (*breaches, *proposal.limits))
    number = so_far.slices + 1
    text = f"Slice {number} of order {order_id[:12]}: one part in {turns} of what is left"
    reasons = (Reason("slice", text, number, order.slices),)
    parent = digest(valuation)
    return Slice(Rebalance(parent, block.number, block.hash, reasons, proposal.limits, plan))


def _pose(inputs: Inputs, valuation: Valuation) -> Problem:
    circumstances = replace(inputs.circumstances, withdrawal=None)
    return pose(inputs.snapshot, valuation, inputs.targets, inputs.policy, PRAGUE, circumstances)


def _part(case: Problem, turns: int, most: Sequence[Amount] | None) -> Problem:
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


def _whole(case: Problem, plan: Plan) -> Appraisal:
    """The whole way in one go, whatever its impact and gain; ``plan`` where there is no other."""
    boundless = replace(
        case.policy, max_impact_ppm=PPM - 1, max_pool_share_ppm=None, max_trade_e8=None
    )
    legs = _GREEDY.propose(_eager(replace(case, policy=boundless))).legs
    return appraise(case, legs or plan.legs)


def _eager(problem: Problem) -> Problem:
    """The problem in which no trade towards the targets is left out for what it gains alone."""
    return replace(problem, policy=replace(problem.policy, drift_aversion_ppm=_EAGER_PPM))


def _propose(problem: Problem) -> Appraisal | None:
    legs = _GREEDY.propose(_eager(problem)).legs
    return appraise(problem, legs) if legs else None


def _times(costs: Costs, count: int) -> Costs:
    """Costs of ``count`` slices like this one."""
    return Costs(
        traded_e8=costs.traded_e8 * count,
        fee_e8=costs.fee_e8 * count,
        impact_e8=costs.impact_e8 * count,
        off_oracle_e8=costs.off_oracle_e8 * count,
        gas_e8=costs.gas_e8 * count,
        total_e8=costs.total_e8 * count,
        gas_units=costs.gas_units * count,
        gas_price_wei=costs.gas_price_wei,
    )


def _most_cost(case: Problem, whole: Appraisal) -> int:
    """The largest cost at which the whole is still worth it by the policy's own gate."""
    benefit = max(whole.benefit_e8, 0)
    worth_it = max((benefit * PPM - 1) // (PPM + case.policy.cost_margin_ppm), 0)
    if is_extreme(case):
        return worth_it
    return min(worth_it, whole.costs.traded_e8 * case.policy.max_cost_ppm // PPM)


def _judged(
    case: Problem, found: Slicing, decision: Rebalance, rules: SliceRules, possible: bool
) -> tuple[bool, tuple[Reason, ...]]:
    """Whether it is cut, and why or why not."""
    numeraire = case.snapshot.numeraire
    traded = found.whole.traded_e8
    legs: tuple[Leg, ...] = decision.plan.legs
    if not all(isinstance(leg, SwapLeg) for leg in legs):
        text = "In one go: liquidity and ether are not moved in slices"
        return False, (Reason("slices_only_swap", text),)
    if traded < rules.above_e8:
        text = (
            f"In one go: {money(traded, numeraire)} is below execution.above, "
            f"{money(rules.above_e8, numeraire)}"
        )
        return False, (Reason("below_above_e8", text, traded, rules.above_e8),)
    if found.slices < 2 or not possible:
        smallest = money(case.policy.min_trade_e8, numeraire)
        text = f"In one go: slices would be below the smallest trade of {smallest}"
        return False, (Reason("slices_too_small", text),)
    if found.sliced.total_e8 - min(found.sliced.off_oracle_e8, 0) > found.max_cost_e8:
        cost, limit = found.sliced.total_e8, found.max_cost_e8
        text = (
            f"In one go: {found.slices} slices would cost {money(cost, numeraire)}, worth it is "
            f"at most {money(limit, numeraire)}"
        )
        return False, (Reason("slices_cost_e8", text, cost, limit),)
    trade = (
        f"{money(found.whole.impact_e8, numeraire)} of price impact in one go, "
        f"{money(found.sliced.impact_e8, numeraire)} in {found.slices} slices if pools recover in "
        f"between; {money(found.more_gas_e8, numeraire)} more gas"
    )
    cut = next((reason for reason in decision.limits if reason.code in _OF_ONE_PLAN), None)
    numbers = (found.saved_e8, found.more_gas_e8)
    if cut is not None:
        why = Reason(cut.code, f"One plan cannot take it all: {cut.text}", cut.measured, cut.limit)
        return True, (why, Reason("slices_save_e8", f"In slices: {trade}", *numbers))
    if found.saved_e8 > found.more_gas_e8:
        return True, (Reason("slices_save_e8", f"In slices: {trade}", *numbers),)
    return False, (Reason("slices_save_e8", f"In one go: {trade}", *numbers),)


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
