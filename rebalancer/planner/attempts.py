"""A proposal as a plan, with all that stands against it; smaller where that helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rebalancer.errors import PlanError
from rebalancer.model import PPM, ExpectedPosition, Plan, Reason, Valuation, mul_div_down
from rebalancer.planner.costs import Appraisal, appraise, cost_gate
from rebalancer.planner.greedy import GreedyProposer
from rebalancer.planner.guards import CONSISTENCY, LIMITS, net_of, violations
from rebalancer.planner.optimal_proposer import CappedProposer
from rebalancer.planner.problem import Problem, Proposal
from rebalancer.planner.texts import percent
from rebalancer.planner.wallet import net_moves
from rebalancer.planner.withdrawal import raised_e8

#: How much of the best plan is tried where it breaks a limit on its cost, the most first.
_SHARES_PPM = (500_000, 250_000, 100_000)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A proposal as a plan, with what stands against it."""

    appraisal: Appraisal
    plan: Plan
    breaches: tuple[Reason, ...]
    limits: tuple[Reason, ...]


def attempt(problem: Problem, proposal: Proposal, parent: str, rules_id: str) -> Attempt:
    """A proposal with legs as a plan; a smaller one where the best plan breaks a limit.

    Raises PlanError for a plan that contradicts itself.
    """
    tried = _attempt(problem, proposal, parent, rules_id)
    if tried.breaches and proposal.certificate is not None:
        return _within_limits(problem, tried, parent, rules_id, _best_part)
    if _costs_too_large_a_share(problem, tried):
        return _within_limits(problem, tried, parent, rules_id, _greedy_part)
    return tried


def _attempt(problem: Problem, proposal: Proposal, parent: str, rules_id: str) -> Attempt:
    """Price a proposal with legs and ask every guard; raises PlanError for a defect."""
    appraisal = appraise(problem, proposal.legs)
    plan = priced(problem, parent, rules_id, appraisal, proposal.certificate)
    if defects := violations(problem, plan, CONSISTENCY):
        raise PlanError(
            f"the plan contradicts itself: {defects[0].text}",
            hint="nothing was sent; this is a defect of the planner, please report it",
            block=problem.snapshot.block.number,
        )
    breaches = (*cost_gate(problem, appraisal), *violations(problem, plan, LIMITS))
    return Attempt(appraisal, plan, breaches, proposal.limits)


def _within_limits(
    problem: Problem,
    best: Attempt,
    parent: str,
    rules_id: str,
    part: Callable[[Problem, Attempt, int], Proposal],
) -> Attempt:
    """The largest part of the best plan that breaks no limit; else the best, as is."""
    for share_ppm in _SHARES_PPM:
        proposal = part(problem, best, share_ppm)
        if not proposal.legs:
            continue
        other = _attempt(problem, proposal, parent, rules_id)
        if not other.breaches:
            return replace(other, limits=(*best.breaches, *proposal.limits, *best.limits))
    return best


def _costs_too_large_a_share(problem: Problem, tried: Attempt) -> bool:
    """Whether trading less may help, as impact falls with the size; what is owed must be paid."""
    codes = {reason.code for reason in tried.breaches}
    too_dear = bool(codes) and codes <= {"max_cost_ppm", "max_nav_loss_ppm"}
    return too_dear and problem.owed is None and problem.most is None


def _best_part(problem: Problem, best: Attempt, share_ppm: int) -> Proposal:
    return CappedProposer(share_ppm).propose(problem)


def _greedy_part(problem: Problem, best: Attempt, share_ppm: int) -> Proposal:
    """What the greedy proposer finds where it may sell a share of what it would."""
    moves = net_moves(best.appraisal.legs)
    most = {t: mul_div_down(-raw, share_ppm, PPM) for t, raw in moves.items() if raw < 0}
    found = GreedyProposer().propose(replace(problem, most=most))
    text = f"Cut to {percent(share_ppm)} of what the whole way sells, which would break a limit"
    return replace(found, limits=(Reason("cut_to_limits", text), *found.limits))


def priced(
    problem: Problem,
    parent: str,
    rules_id: str,
    appraisal: Appraisal,
    certificate: str | None = None,
) -> Plan:
    """The plan of appraised trades under the problem's policy, with what its purse does."""
    snapshot, policy = problem.snapshot, problem.policy
    legs = problem.whole(appraisal.legs)
    return Plan(
        parent=parent,
        policy=rules_id,
        chain_id=snapshot.block.chain_id,
        block_number=snapshot.block.number,
        block_hash=snapshot.block.hash,
        wallet=snapshot.wallet,
        numeraire=snapshot.numeraire,
        legs=legs,
        net=appraisal.net if legs == appraisal.legs else net_of(legs),
        positions=_expected(problem.valuation, appraisal.after),
        nav_before_e8=problem.valuation.nav_e8 - raised_e8(problem, appraisal.net),
        nav_after_e8=appraisal.after.nav_e8,
        costs=appraisal.costs,
        benefit_e8=appraisal.benefit_e8,
        slippage_ppm=policy.slippage_ppm,
        max_fee_wei=policy.max_gas_price_wei,
        deadline_ts=snapshot.block.timestamp + policy.deadline_s,
        max_age_blocks=policy.max_age_blocks,
        withdrawal=problem.circumstances.withdrawal,
        certificate=certificate,
    )


def _expected(before: Valuation, after: Valuation) -> tuple[ExpectedPosition, ...]:
    """Every position's way, the largest target first, then by name."""
    found = [
        ExpectedPosition(p.name, p.weight_ppm, p.target_ppm, after.position(p.name).weight_ppm)
        for p in before.positions
    ]
    return tuple(sorted(found, key=lambda p: (-p.target_ppm, p.name)))
