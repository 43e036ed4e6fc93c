"""What people say: which plan may go, and whether anything may."""

from __future__ import annotations

from sqlalchemy import select

from rebalancer.errors import ConfigError
from rebalancer.ledger import log
from rebalancer.ledger.codec import Approval
from rebalancer.ledger.log import Event
from rebalancer.ledger.schema import APPROVAL_KINDS, PAUSE_KINDS, decisions, events
from rebalancer.ledger.store import Ledger
from rebalancer.model import Plan

_SHORTEST_PREFIX = 8


def find_plan(ledger: Ledger, portfolio: str, plan_id: str) -> tuple[str, Plan]:
    """The plan that was decided for a portfolio, by its id or the beginning of it.

    Raises ConfigError unless exactly one is meant.
    """
    wanted = plan_id.lower()
    statement = (
        select(decisions.c.plan_id)
        .where(
            decisions.c.portfolio == portfolio,
            decisions.c.mode == "execute",
            decisions.c.plan_id.startswith(wanted, autoescape=True),
        )
        .distinct()
    )
    with ledger.reading() as connection:
        found = [name for name in connection.execute(statement).scalars() if name]
        if len(wanted) < _SHORTEST_PREFIX or len(found) != 1:
            message = f"no plan of {portfolio} that waits or was traded begins with {plan_id!r}"
            if found:
                message = f"{len(found)} plans of {portfolio} begin with {plan_id!r}"
            if len(wanted) < _SHORTEST_PREFIX:
                message = f"{plan_id!r} is too short to name a plan"
            raise ConfigError(
                message,
                hint="take the id from what `rebalancer rebalance --execute` or the keeper prints,"
                f" at least its first {_SHORTEST_PREFIX} digits; a dry run's plan is not approved",
            )
        return found[0], log.get(connection, Plan, found[0])


def approve(ledger: Ledger, approval: Approval) -> None:
    """Remember a person's yes to exactly this plan, until ``expires_ts``."""
    ledger.record(Event("approved", approval.plan_id), approval)


def newest_approval(ledger: Ledger, portfolio: str, now_ts: int) -> tuple[Approval, Plan] | None:
    """The newest approval that holds at ``now_ts`` and was not used yet, and what it approves.

    However often a plan was approved before it was traded, it was one yes.
    """
    with ledger.reading() as connection:
        statement = (
            select(events.c.kind, events.c.subject, events.c.body)
            .where(events.c.kind.in_(APPROVAL_KINDS))
            .order_by(events.c.seq.desc())
        )
        used: set[str] = set()
        for kind, plan_id, name in connection.execute(statement).all():
            if kind == "applied":
                used.add(plan_id)
                continue
            approval = log.get(connection, Approval, name or "")
            holds = approval.portfolio == portfolio and now_ts <= approval.expires_ts
            if holds and plan_id not in used and log.kind_of(connection, plan_id) == "plan":
                return approval, log.get(connection, Plan, plan_id)
    return None


def was_traded(ledger: Ledger, plan_id: str) -> bool:
    """Whether an approval of this plan was used already."""
    with ledger.reading() as connection:
        return log.last_event(connection, plan_id, ("applied",)) is not None


def use_approval(ledger: Ledger, approval: Approval, plan_id: str) -> None:
    """An approval is used once: for ``plan_id``, which trades what was approved."""
    ledger.record(Event("applied", approval.plan_id, note=plan_id), approval)


def pause(ledger: Ledger, portfolio: str, reason: str) -> None:
    """Nothing new is traded for the portfolio from now on, whoever runs or starts."""
    ledger.record(Event("paused", portfolio, note=reason))


def resume(ledger: Ledger, portfolio: str) -> None:
    """The portfolio may trade again."""
    ledger.record(Event("resumed", portfolio))


def pause_reason(ledger: Ledger, portfolio: str) -> str | None:
    """Why the portfolio is paused; None when it is not."""
    with ledger.reading() as connection:
        last = log.last_event(connection, portfolio, PAUSE_KINDS)
    return last.note if last is not None and last.kind == "paused" else None
