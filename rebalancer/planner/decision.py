"""From a valued snapshot to a decision: hold, or one plan that has passed every guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rebalancer.amm.valuation import shares_ppm, value
from rebalancer.errors import PlanError
from rebalancer.model import (
    Circumstances,
    Decision,
    Hold,
    Policy,
    Reason,
    Rebalance,
    Snapshot,
    Target,
    Valuation,
    digest,
)
from rebalancer.planner.attempts import attempt
from rebalancer.planner.bands import drifts
from rebalancer.planner.calibration import settle
from rebalancer.planner.gas_schedule import schedule_in
from rebalancer.planner.greedy import GreedyProposer
from rebalancer.planner.guards import undressed
from rebalancer.planner.optimal_proposer import OptimalProposer
from rebalancer.planner.problem import NOTHING_ELSE, Problem, Proposer
from rebalancer.planner.proposing import proposed
from rebalancer.planner.purse import open_purse
from rebalancer.planner.reasons import (
    deposits_weighed,
    gas_too_dear,
    most_gain,
    nothing_to_trade,
    unread,
    worth_it,
)
from rebalancer.planner.smoothed import smoothing_note, trigger_valuation
from rebalancer.planner.triggers import evaluate
from rebalancer.planner.withdrawal import check_owed, raising, set_aside, still_lacking

_GREEDY = GreedyProposer()


def decide(
    snapshot: Snapshot,
    valuation: Valuation,
    targets: Sequence[Target],
    policy: Policy,
    last_rebalance_ts: int | None,
    proposer: Proposer | None = None,
    circumstances: Circumstances = NOTHING_ELSE,
) -> Decision:
    """Decide whether to trade, and how.

    ``valuation`` is ``amm.valuation.value(snapshot, targets)``; ``last_rebalance_ts`` is the
    timestamp of the block of the last rebalance, None for never. The clock is the snapshot's block.
    Without ``proposer`` the policy's planner proposes. The same input gives the same bytes of
    ``to_json``, and the order of targets, balances, pairs and prices changes nothing but
    ``parent``. Raises PlanError for input that does not belong together and for a plan that
    contradicts itself.
    """
    _check(snapshot, valuation, targets)
    parent = digest(valuation)
    if valuation.unread:
        return _hold(snapshot, parent, unread(snapshot, valuation))

    inputs = (snapshot, valuation, targets, policy, circumstances)
    case = pose(*inputs)
    verdict = asked(case, last_rebalance_ts)
    if not verdict.fired:
        return _hold(snapshot, parent, (*_still_ether(case), *verdict.reasons))
    if case.gas_price_wei > policy.max_gas_price_wei:
        return _hold(snapshot, parent, (gas_too_dear(case), *_still_ether(case)))

    problem, proposal = proposed(
        replace(case, only_raise=verdict.only_raise),
        proposer or proposer_of(policy),
        lambda gas_wei: replace(pose(*inputs, gas_wei), only_raise=verdict.only_raise),
    )
    if not proposal.legs:
        reasons = (*_still_ether(problem), nothing_to_trade(problem), *proposal.limits)
        return _hold(snapshot, parent, (*reasons, *most_gain(problem, proposal.certificate)))
    rules_id = _rules_id(targets, policy)
    tried = attempt(problem, proposal, parent, rules_id)
    if tried.breaches:
        reasons = (*tried.breaches, *_still_ether(problem), *tried.limits)
        return _hold(snapshot, parent, (*reasons, *most_gain(problem, tried.plan.certificate)))
    return Rebalance(
        parent=parent,
        block_number=snapshot.block.number,
        block_hash=snapshot.block.hash,
        reasons=(
            *verdict.reasons,
            *worth_it(problem, tried.appraisal),
            *deposits_weighed(problem),
        ),
        limits=(
            *still_lacking(problem, undressed(problem, tried.plan)),
            *(problem.purse.notes() if problem.purse else ()),
            *tried.limits,
        ),
        plan=tried.plan,
    )


def pose(
    snapshot: Snapshot,
    valuation: Valuation,
    targets: Sequence[Target],
    policy: Policy,
    circumstances: Circumstances,
    gas_wei: int | None = None,
) -> Problem:
    """The problem at this snapshot: a withdrawal set aside, positions by name, rules settled.

    With a gas reserve ``gas_wei`` of what is above it stay for the plan's own gas, and the rest is
    taken for wrapped; None: what the smallest plan may cost.
    """
    ordered = tuple(sorted(targets, key=lambda t: t.position))
    gas_schedule = schedule_in(circumstances)
    if gas_wei is None:
        gas_wei = gas_schedule.trade() * policy.max_gas_price_wei
    opened, purse = open_purse(snapshot, gas_wei, valuation.nav_e8, circumstances.withdrawal)
    rest, owed = set_aside(opened, circumstances.withdrawal)
    if rest is not snapshot:
        valuation = value(rest, ordered)
    valuation = _by_name(valuation)
    check_owed(rest, valuation, owed)
    rules = settle(rest, valuation.nav_e8, ordered, policy, gas_schedule, circumstances)
    return Problem(
        snapshot=rest,
        valuation=valuation,
        targets=rules.targets,
        policy=rules.policy,
        gas_schedule=gas_schedule,
        circumstances=circumstances,
        owed=owed,
        edges=rules.edges,
        purse=purse,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """Whether there is a reason to trade; ``only_raise``: only to pay for a withdrawal."""

    fired: bool
    only_raise: bool
    reasons: tuple[Reason, ...]


def asked(problem: Problem, last_rebalance_ts: int | None) -> Asked:
    """The trigger's verdict, or the withdrawal's: one that lacks something waits for no trigger."""
    found = drifts(trigger_valuation(problem), problem.targets, problem.policy)
    verdict = evaluate(
        found,
        problem.policy,
        problem.snapshot.block.timestamp,
        last_rebalance_ts,
        problem.circumstances.calendar_due_ts,
    )
    verdict = replace(verdict, reasons=(*verdict.reasons, *smoothing_note(problem)))
    if problem.owed is None:
        return Asked(verdict.fired, False, verdict.reasons)
    wanted = raising(problem)
    reasons = (wanted, *verdict.reasons) if verdict.fired else (wanted,)
    return Asked(True, not verdict.fired, reasons)


def proposer_of(policy: Policy) -> Proposer:
    """The planner that the policy names."""
    return OptimalProposer() if policy.planner == "optimal" else _GREEDY


def _check(snapshot: Snapshot, valuation: Valuation, targets: Sequence[Target]) -> None:
    """Raise PlanError unless the valuation is of this snapshot and of these targets."""
    if valuation.parent != digest(snapshot):
        raise PlanError(
            f"the valuation of block {valuation.block_number} is not of this snapshot",
            hint="value the snapshot that the decision is made on",
            block=snapshot.block.number,
        )
    wanted = sorted((t.position, t.weight_ppm) for t in targets)
    if wanted != sorted((p.name, p.target_ppm) for p in valuation.positions):
        raise PlanError(
            "the valuation was made against other targets",
            hint="value the snapshot against the targets that the decision is made for",
            block=snapshot.block.number,
        )


def _by_name(valuation: Valuation) -> Valuation:
    """The valuation with its positions in order of name.

    Weights that share a remainder get their last ppm by order, so they are shared out anew.
    """
    positions = sorted(valuation.positions, key=lambda p: p.name)
    weights = shares_ppm([position.value_e8 for position in positions])
    return replace(
        valuation,
        positions=tuple(
            replace(position, weight_ppm=weight)
            for position, weight in zip(positions, weights, strict=True)
        ),
    )


def _still_ether(problem: Problem) -> tuple[Reason, ...]:
    return () if problem.purse is None else problem.purse.still_ether()


def _hold(snapshot: Snapshot, parent: str, reasons: tuple[Reason, ...]) -> Hold:
    return Hold(parent, snapshot.block.number, snapshot.block.hash, reasons)


def _rules_id(targets: Sequence[Target], policy: Policy) -> str:
    """Digest of the rules as the file has them, targets by name."""
    ordered = tuple(sorted(targets, key=lambda t: t.position))
    return digest({"targets": ordered, "policy": policy})
