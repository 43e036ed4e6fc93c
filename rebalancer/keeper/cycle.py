"""One cycle: the whole way from the chain to the ledger, for a keeper and for a person alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rebalancer.amm.valuation import value
from rebalancer.bundler.follow import Pace
from rebalancer.bundler.lane import Lane
from rebalancer.bundler.prepare import DryRun, dry_run
from rebalancer.bundler.propose import Proposed
from rebalancer.bundler.recover import recover
from rebalancer.bundler.signer import Signer
from rebalancer.bundler.submit import Settlement, submit
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.errors import (
    ConfigError,
    ExecutionError,
    Paused,
    PlanError,
    ReadError,
    RebalancerError,
)
from rebalancer.evm.rpc import Rpc
from rebalancer.keeper.approved import as_approved
from rebalancer.keeper.circumstances import circumstances
from rebalancer.keeper.orders import (
    after_slice,
    begin,
    check_no_withdrawal,
    check_not_stopped,
    close_ended,
    consent_to,
    take_turn,
)
from rebalancer.keeper.reading import Reads
from rebalancer.keeper.signing import sign_plan
from rebalancer.ledger.codec import Approval
from rebalancer.ledger.consent import newest_approval, pause_reason, use_approval
from rebalancer.ledger.orders import OrderRecord, current_order
from rebalancer.ledger.store import Ledger
from rebalancer.model import (
    Amount,
    Decision,
    Rebalance,
    Snapshot,
    TransactionOutcome,
    Valuation,
    digest,
)
from rebalancer.planner.inputs import Inputs
from rebalancer.readers.inspect import inspect
from rebalancer.readers.snapshot import read_snapshot


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was read at one block, what it is worth, and what follows from it."""

    snapshot: Snapshot
    valuation: Valuation
    decision: Decision
    inputs: Inputs


@dataclass(frozen=True, slots=True)
class CycleResult:
    """What one cycle did; ``dry_run`` and ``outcomes`` are empty for a hold.

    ``recovered`` are bundles of an earlier run that this one brought to their end. ``after`` is the
    portfolio at the block of the last transaction, or ``after_unread`` says why it could not be
    read, which changes nothing about what was done. ``awaits_approval``: the plan was not signed,
    a person has to approve it first. ``order`` is the one that the plan is a slice of, as it then
    stands. ``proposed``: nor was it here, owners of the Safe have to.
    ``refusal``: why a dry run's plan could not be executed as things are.
    """

    recovered: tuple[Settlement, ...]
    evaluation: Evaluation
    decision_id: str
    dry_run: DryRun | None = None
    outcomes: tuple[TransactionOutcome, ...] = ()
    after: Valuation | None = None
    after_unread: str = ""
    awaits_approval: bool = False
    order: OrderRecord | None = None
    proposed: Proposed | None = None
    refusal: RebalancerError | None = None


def evaluate(
    rpc: Rpc,
    resolved: ResolvedPortfolio,
    last_rebalance_ts: int | None,
    block: int | None = None,
    *,
    ledger: Ledger | None = None,
    withdrawal: Amount | None = None,
) -> Evaluation:
    """Read, value and decide at ``block`` (None: the head); changes and records nothing.

    ``last_rebalance_ts`` is that of the last rebalance before the block. ``withdrawal`` is to be in
    the wallet when the plan is done. Without a ledger nothing is known of turnover, deposits and
    past prices.
    """
    inputs = look(rpc, resolved, last_rebalance_ts, block, ledger, withdrawal)
    valuation, decision = inputs.decide()
    return Evaluation(inputs.snapshot, valuation, decision, inputs)


def look(
    rpc: Rpc,
    resolved: ResolvedPortfolio,
    last_rebalance_ts: int | None,
    block: int | None,
    ledger: Ledger | None,
    withdrawal: Amount | None,
    reads: Reads | None = None,
) -> Inputs:
    """Everything that a decision at ``block`` follows from; ``reads``, if any, knows the head."""
    read = read_snapshot(rpc, resolved, block) if reads is None else reads.snapshot()
    snapshot = inspect(rpc, read)
    targets = resolved.targets_at(snapshot)
    return Inputs(
        snapshot=snapshot,
        targets=targets,
        policy=resolved.policy,
        last_rebalance_ts=last_rebalance_ts,
        circumstances=circumstances(
            resolved, snapshot, targets, last_rebalance_ts, ledger, withdrawal, block
        ),
    )


def run_dry(
    rpc: Rpc,
    resolved: ResolvedPortfolio,
    ledger: Ledger,
    withdrawal: Amount | None = None,
    reads: Reads | None = None,
) -> CycleResult:
    """A cycle that ends before the signature: decided, recorded, simulated.

    A plan that cannot be executed as things are (no executor, no gas, pending transactions ...) is
    there all the same, with the reason.
    """
    portfolio = resolved.portfolio
    last_ts = ledger.last_rebalance_ts(portfolio.name)
    inputs = look(rpc, resolved, last_ts, None, ledger, withdrawal, reads)
    order = current_order(ledger, portfolio.name)
    evaluation, _ = _decided(inputs, order)
    decision_id = _record(ledger, portfolio.name, "dry-run", evaluation)
    if not isinstance(evaluation.decision, Rebalance):
        return CycleResult((), evaluation, decision_id, order=order)
    plan, cap = evaluation.decision.plan, resolved.network.tx_gas_cap
    try:
        rehearsed = dry_run(
            rpc, plan, approvals=portfolio.approvals, tx_gas_cap=cap, mode=portfolio.mode
        )
    except (ConfigError, ExecutionError, PlanError) as error:
        return CycleResult((), evaluation, decision_id, order=order, refusal=error)
    return CycleResult((), evaluation, decision_id, rehearsed, order=order)


def run(
    rpc: Rpc,
    resolved: ResolvedPortfolio,
    ledger: Ledger,
    signer: Signer | None,
    pace: Pace,
    lane: Lane | None = None,
    withdrawal: Amount | None = None,
    owners: Sequence[Signer] = (),
    reads: Reads | None = None,
    claim: Callable[[], None] = lambda: None,
) -> CycleResult:
    """A cycle that trades when it should; what an earlier run left open is settled first.

    ``signer`` and ``owners`` are the keys that are at hand, as for ``sign_plan``. ``reads`` reads
    for several portfolios at once; what was sent makes it read again. ``claim`` raises while the
    wallet's positions are another portfolio's: what was sent before is followed all the same.
    Raises Stopped where ``pace`` has it: nothing new is signed then, and what is out stays open.
    """
    portfolio = resolved.portfolio
    lane = lane or Lane(signer=signer)
    lane.guard()
    lane = replace(lane, guard=_guard(lane, ledger, portfolio.name, claim))
    recovered = recover(rpc, ledger, resolved.network.chain_id, portfolio.wallet, pace, lane)
    if recovered and reads is not None:
        reads.forget()
    claim()
    check_not_paused(ledger, portfolio.name)
    last_ts = ledger.last_rebalance_ts(portfolio.name)
    check_not_stopped(ledger, portfolio.name)
    inputs = look(rpc, resolved, last_ts, None, ledger, withdrawal, reads)
    order = current_order(ledger, portfolio.name)
    evaluation, ends = _decided(inputs, order)
    if order is None:
        order = begin(resolved, ledger, inputs, evaluation.valuation, evaluation.decision)
        evaluation, ends = (evaluation, ends) if order is None else _decided(inputs, order)
    evaluation, consent = _with_consent(resolved, ledger, evaluation, order)
    decision_id = _record(ledger, portfolio.name, "execute", evaluation)
    if not isinstance(evaluation.decision, Rebalance):
        if order is not None and ends:
            order = close_ended(ledger, order, evaluation.decision)
        return CycleResult(recovered, evaluation, decision_id, order=order)
    plan = evaluation.decision.plan
    cap = resolved.network.tx_gas_cap
    if isinstance(consent, Awaited):
        rehearsed = dry_run(
            rpc, plan, approvals=portfolio.approvals, tx_gas_cap=cap, mode=portfolio.mode
        )
        return CycleResult(
            recovered, evaluation, decision_id, rehearsed, awaits_approval=True, order=order
        )
    pace.check()
    prepared = sign_plan(rpc, resolved, plan, signer, owners)
    if isinstance(prepared, Proposed):
        return CycleResult(recovered, evaluation, decision_id, proposed=prepared, order=order)
    pace.check()
    check_not_paused(ledger, portfolio.name)
    if consent is not None:
        use_approval(ledger, consent, digest(plan) if order is None else order.order_id)
    if reads is not None:
        reads.forget()
    outcomes = submit(rpc, ledger, plan, prepared.bundle, pace, lane)
    order = None if order is None else after_slice(ledger, order, inputs)
    done = CycleResult(recovered, evaluation, decision_id, prepared.dry_run, outcomes, order=order)
    try:
        return replace(done, after=_value_at(rpc, resolved, outcomes[-1].block_number))
    except (ReadError, PlanError) as error:
        return replace(done, after_unread=str(error))


def _value_at(rpc: Rpc, resolved: ResolvedPortfolio, block: int) -> Valuation:
    snapshot = inspect(rpc, read_snapshot(rpc, resolved, block))
    return value(snapshot, resolved.targets_at(snapshot))


def check_not_paused(ledger: Ledger, portfolio: str) -> None:
    """Raise Paused while a person has stopped the portfolio."""
    reason = pause_reason(ledger, portfolio)
    if reason is not None:
        raise Paused(
            f"{portfolio} is paused: {reason}",
            hint="what was sent before is followed to its end; `rebalancer resume` trades again",
        )


def _guard(
    lane: Lane, ledger: Ledger, portfolio: str, claim: Callable[[], None]
) -> Callable[[], None]:
    """The lane's guard, and that of the portfolio: a pause holds what was not sent yet."""

    def check() -> None:
        lane.guard()
        claim()
        check_not_paused(ledger, portfolio)
        check_not_stopped(ledger, portfolio)

    return check


def _decided(inputs: Inputs, order: OrderRecord | None) -> tuple[Evaluation, bool]:
    """What follows from ``inputs``, for the order while one is open; and whether that is its end.

    Raises ConfigError for a withdrawal beside an order.
    """
    if order is None:
        valuation, decision = inputs.decide()
        return Evaluation(inputs.snapshot, valuation, decision, inputs), False
    check_no_withdrawal(order, inputs)
    valuation, turn = take_turn(inputs, order)
    return Evaluation(inputs.snapshot, valuation, turn.decision, inputs), turn.ends


class Awaited:
    """A plan that is too large to go without a person's yes, which is not there."""


def _with_consent(
    resolved: ResolvedPortfolio,
    ledger: Ledger,
    evaluation: Evaluation,
    order: OrderRecord | None,
) -> tuple[Evaluation, Approval | Awaited | None]:
    """The evaluation as it may be acted on: large plans only as a person approved them.

    A yes to an order is one to all slices within its limits, so they are not asked for again.
    """
    if order is not None:
        if order.state != "awaits approval":
            return evaluation, None
        return evaluation, consent_to(ledger, order, evaluation.snapshot) or Awaited()
    limit_e8, decision = resolved.portfolio.approve_above, evaluation.decision
    if limit_e8 is None or not isinstance(decision, Rebalance):
        return evaluation, None
    if decision.plan.costs.traded_e8 <= limit_e8:
        return evaluation, None
    snapshot = evaluation.snapshot
    found = newest_approval(ledger, resolved.portfolio.name, snapshot.block.timestamp)
    if found is None:
        return evaluation, Awaited()
    approval, approved = found
    targets = resolved.targets_at(snapshot)
    agreed = as_approved(
        decision,
        approved,
        snapshot,
        evaluation.valuation,
        targets,
        resolved.policy,
        evaluation.inputs.circumstances,
    )
    return replace(evaluation, decision=agreed), approval


def _record(ledger: Ledger, name: str, mode: str, evaluation: Evaluation) -> str:
    return ledger.record_decision(
        name, mode, evaluation.snapshot, evaluation.valuation, evaluation.decision
    )
