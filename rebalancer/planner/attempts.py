"""A proposal as a plan, with all that stands against it; smaller where that helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rebalancer.errors import PlanError
from rebalancer.model import PPM, ExpectedPosition, Plan, Reason, Valuation, mul_div_down
from rebalancer.planner.costs import Appraisal, appraise, cost_gate
from rebalancer.planner.greedy import GreedyProposer
from rebalancer.planner.guards import CONSISTENCY, LIMITS, net_of, violations
from rebalancer.planner.problem import SHARES_PPM, Problem, Proposal
from rebalancer.planner.texts import percent
from rebalancer.planner.wallet import net_moves
from rebalancer.planner.withdrawal import raised_e8


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
    tried = chosen = _attempt(problem, proposal, parent, rules_id)
    # What is owed to a withdrawal must be paid whatever it gains: the first part raises most of it.
    first = proposal.smaller is None or problem.owed is not None
    for part in _parts(problem, tried, proposal):
        other = _attempt(problem, part, parent, rules_id)
        if not other.breaches and (
            chosen is tried or other.appraisal.gain_e8 > chosen.appraisal.gain_e8
        ):
            chosen, proposal = other, part
            if first:
                break
    if chosen is not tried:
        chosen = replace(chosen, limits=(*tried.breaches, *chosen.limits, *tried.limits))
    return _proved(problem, chosen, proposal)


def _attempt(problem: Problem, proposal: Proposal, parent: str, rules_id: str) -> Attempt:
    """Price a proposal with legs and ask every guard; raises PlanError for a defect."""
    appraisal = appraise(problem, proposal.legs)
    plan = priced(problem, parent, rules_id, appraisal, proposal.certificate)
    _consistent(problem, plan)
    breaches = (*cost_gate(problem, appraisal), *violations(problem, plan, LIMITS))
    return Attempt(appraisal, plan, breaches, proposal.limits)


def _proved(problem: Problem, tried: Attempt, proposal: Proposal) -> Attempt:
    """With the whole certificate, where there is a longer one than the guards were shown."""
    if proposal.whole is None:
        return tried
    plan = replace(tried.plan, certificate=proposal.whole())
    _consistent(problem, plan)
    return replace(tried, plan=plan)


def _consistent(problem: Problem, plan: Plan) -> None:
    if defects := violations(problem, plan, CONSISTENCY):
        raise PlanError(
            f"the plan contradicts itself: {defects[0].text}",
            hint="nothing was sent; this is a defect of the planner, please report it",
            block=problem.snapshot.block.number,
        )


def _parts(problem: Problem, tried: Attempt, proposal: Proposal) -> Iterator[Proposal]:
    """What to try instead of what breaks a limit, if anything."""
    if tried.breaches and proposal.smaller is not None:
        yield from proposal.smaller()
    elif _costs_too_large_a_share(problem, tried):
        yield from _greedy_parts(problem, tried)


def _costs_too_large_a_share(problem: Problem, tried: Attempt) -> bool:
    """Whether trading less may help, as impact falls with the size; what is owed must be paid."""
    codes = {reason.code for reason in tried.breaches}
    too_dear = bool(codes) and codes <= {"max_cost_ppm", "max_nav_loss_ppm"}
    return too_dear and problem.owed is None and problem.most is None


def _greedy_parts(problem: Problem, best: Attempt) -> Iterator[Proposal]:
    """What the greedy proposer finds where it may sell a share of what it would, the most first."""
    moves = net_moves(best.appraisal.legs)
    for share_ppm in SHARES_PPM:
        most = {t: mul_div_down(-raw, share_ppm, PPM) for t, raw in moves.items() if raw < 0}
        found = GreedyProposer().propose(replace(problem, most=most))
        share = percent(share_ppm)
        text = f"Cut to {share} of what the whole way sells, which would break a limit"
        if found.legs:
            yield replace(found, limits=(Reason("cut_to_limits", text), *found.limits))


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
