"""Whether a large plan is cut into slices, and the order that trades it so.

Decided once, at the start, by what one go would cost beside what the slices do; see docs/orders.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rebalancer.model import (
    PPM,
    Amount,
    Clock,
    Costs,
    Decision,
    Order,
    Plan,
    Reason,
    Rebalance,
    SliceRules,
    SwapLeg,
    Valuation,
    digest,
)
from rebalancer.planner.costs import Appraisal, appraise, is_extreme
from rebalancer.planner.guards import undressed
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.problem import Problem
from rebalancer.planner.slices import GREEDY, eager, part, posed
from rebalancer.planner.texts import money

#: Limits of a single plan: what they leave untraded is what slices are for.
_OF_ONE_PLAN = frozenset({"max_impact_ppm", "max_pool_share_ppm", "max_trade_e8"})

#: How long people have for their yes: a day, also counted in blocks of 12 seconds.
_CONSENT_TAKES: dict[Clock, int] = {"seconds": 86_400, "blocks": 7_200}


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


def slicing(inputs: Inputs, valuation: Valuation, decision: Decision, rules: SliceRules) -> Slicing:
    """Whether ``decision``, a rebalance, should be traded in slices instead.

    It should where one plan cannot take it all, because of its impact or its size, or where the
    impact that is saved is worth more than the gas of more transactions. Raises ValueError for a
    hold.
    """
    if not isinstance(decision, Rebalance):
        raise ValueError("only a rebalance is cut into slices")
    case = posed(inputs, valuation)
    whole = _whole(case, decision.plan)
    sells = tuple(Amount(c.token, -c.raw) for c in whole.net if c.raw < 0)
    count = min(rules.slices, _largest_e8(case, whole) // max(case.policy.min_trade_e8, 1))
    first = _first(part(case, max(count, 1), None))
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
    """The order that trades ``plan`` in slices, opened at the snapshot's block.

    One that a person has to approve lasts so much longer as that may take.
    """
    block = inputs.snapshot.block
    lasts = rules.lasts + (_CONSENT_TAKES[rules.clock] if needs_consent else 0)
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
        expires_at=now + lasts,
        needs_consent=needs_consent,
    )


def _whole(case: Problem, plan: Plan) -> Appraisal:
    """The whole way in one go, whatever its impact and gain; ``plan`` where there is no other."""
    boundless = replace(
        case.policy, max_impact_ppm=PPM - 1, max_pool_share_ppm=None, max_trade_e8=None
    )
    legs = GREEDY.propose(eager(replace(case, policy=boundless))).legs
    return appraise(case, legs or undressed(case, plan).legs)


def _first(problem: Problem) -> Appraisal | None:
    legs = GREEDY.propose(eager(problem)).legs
    return appraise(problem, legs) if legs else None


def _largest_e8(case: Problem, whole: Appraisal) -> int:
    """Value of the largest trade; a smaller one waits until its part is large enough."""
    swaps = [leg for leg in whole.legs if isinstance(leg, SwapLeg) and not leg.chained]
    return max(
        (case.snapshot.price(leg.token_in).value_down(leg.amount_in) for leg in swaps), default=0
    )


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
        tax_e8=costs.tax_e8 * count,
        reserve_e8=costs.reserve_e8 * count,
    )


def _most_cost(case: Problem, whole: Appraisal) -> int:
    """The largest cost at which the whole is still worth it by the policy's own gate."""
    benefit = max(whole.benefit_e8, 0)
    worth_it = (benefit * PPM - 1) // (PPM + case.policy.cost_margin_ppm)
    # Tax and the reserve for slippage come beside whatever trading costs.
    worth_it = max(worth_it - whole.costs.beside_e8, 0)
    if is_extreme(case):
        return worth_it
    return min(worth_it, whole.costs.traded_e8 * case.policy.max_cost_ppm // PPM)


def _judged(
    case: Problem, found: Slicing, decision: Rebalance, rules: SliceRules, possible: bool
) -> tuple[bool, tuple[Reason, ...]]:
    """Whether it is cut, and why or why not."""
    numeraire = case.snapshot.numeraire
    traded = found.whole.traded_e8
    if not all(isinstance(leg, SwapLeg) for leg in undressed(case, decision.plan).legs):
        text = "In one go: liquidity is not moved in slices"
        return False, (Reason("slices_only_swap", text),)
    if traded < rules.above_e8:
        text = (
            f"In one go: {money(traded, numeraire)} is below execution.above, "
            f"{money(rules.above_e8, numeraire)}"
        )
        return False, (Reason("below_above_e8", text, traded, rules.above_e8),)
    if found.slices < 2 or not possible or not found.sells:
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
