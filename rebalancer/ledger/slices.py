"""What the slices of an order did, and what the ledger refuses to store beyond its limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, select

from rebalancer.errors import LedgerError, LimitBreached, Paused
from rebalancer.ledger import log
from rebalancer.ledger.schema import OPEN_KINDS, ORDER_KINDS, decisions, events, submissions
from rebalancer.model import (
    Amount,
    Fill,
    Order,
    Plan,
    Snapshot,
    SoFar,
    SwapLeg,
    Token,
    TransactionOutcome,
    UnwrapLeg,
    WrapLeg,
    digest,
    format_units,
)
from rebalancer.planner.wallet import net_moves

#: ``pending``: one of its transactions is not final. ``unsent``: nothing was ever signed for it.
SliceState = Literal["executed", "pending", "failed", "unsent"]


@dataclass(frozen=True, slots=True)
class Sale:
    """``raw`` of a token sold, its worth at the oracle's price then, and that of what was paid."""

    token: Token
    raw: int
    value_e8: int
    got_e8: int


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """One slice: its plan and what came of it; values in 1e-8 of the numeraire at its block.

    ``sold`` and ``bought`` are changes of the wallet's balances, from the fills, or the plan's
    while it is pending. ``loss_e8`` is value sold less value bought, rounded up, ``gas_e8`` that of
    all mined transactions. ``sales`` are the same route by route.
    """

    plan_id: str
    plan: Plan
    state: SliceState
    block_ts: int
    sold: tuple[Amount, ...]
    bought: tuple[Amount, ...]
    sales: tuple[Sale, ...]
    sold_e8: int
    bought_e8: int
    gas_used: int
    gas_cost_wei: int
    gas_e8: int

    @property
    def loss_e8(self) -> int:
        return self.sold_e8 - self.bought_e8


def opened_order(connection: Connection, order_id: str) -> Order:
    """The order of this id; raises LedgerError when it was never opened."""
    last = log.last_event(connection, order_id, ("opened",))
    if last is None:
        raise LedgerError(f"order {order_id[:12]} was never opened")
    return log.get(connection, Order, order_id)


def slices_of(connection: Connection, order_id: str) -> list[SliceRecord]:
    """All slices that were decided to be executed, oldest first."""
    order = opened_order(connection, order_id)
    since, until = (
        select(func.max(events.c.seq))
        .where(events.c.subject == order_id, events.c.kind == kind)
        .scalar_subquery()
        for kind in ("opened", "closed")
    )
    statement = (
        select(decisions.c.plan_id, decisions.c.snapshot, decisions.c.block_ts)
        .where(
            decisions.c.portfolio == order.portfolio,
            decisions.c.mode == "execute",
            decisions.c.plan_id.is_not(None),
            decisions.c.event > since,
            until.is_(None) | (decisions.c.event < until),
        )
        .order_by(decisions.c.event)
    )
    found: dict[str, SliceRecord] = {}
    for name, snapshot_id, block_ts in connection.execute(statement).all():
        plan_id = name or ""
        plan = log.get(connection, Plan, plan_id)
        if plan.order == order_id and plan_id not in found:
            found[plan_id] = _record(connection, plan, snapshot_id, block_ts)
    return list(found.values())


def so_far(order: Order, slices: Sequence[SliceRecord]) -> SoFar:
    """What ``slices`` did together; a pending one counts as if it had happened."""
    done = [item for item in slices if item.state in ("executed", "pending")]
    sold: dict[Token, int] = {}
    for item in done:
        for amount in item.sold:
            sold[amount.token] = sold.get(amount.token, 0) + amount.raw
    last_at = None
    if done:
        plan, block_ts = done[-1].plan, done[-1].block_ts
        last_at = block_ts if order.clock == "seconds" else plan.block_number
    return SoFar(
        slices=len(done),
        sold=tuple(Amount(token, raw) for token, raw in sold.items()),
        cost_e8=sum(max(item.loss_e8, 0) for item in done) + sum(i.gas_e8 for i in slices),
        last_at=last_at,
        pending=any(item.state == "pending" for item in done),
    )


def check_slice(connection: Connection, plan: Plan) -> None:
    """Raise unless the order of ``plan`` still has room for it; other plans pass.

    The last line behind the planner's own: whatever decided a slice, and in whichever process, it
    is not stored, so never sent, when a slice is pending (LimitBreached), the order is stopped or
    over (Paused), waits for consent (Paused) or has not that much left of a token (LimitBreached).
    """
    if plan.order is None:
        return
    plan_id, order = digest(plan), opened_order(connection, plan.order)
    last = log.last_event(connection, plan.order, ORDER_KINDS)
    if last is not None and last.kind in ("stopped", "closed"):
        raise Paused(
            f"order {plan.order[:12]} is {last.kind}: {last.note}",
            hint="`rebalancer order resume` goes on with one that is stopped",
            plan_id=plan_id,
        )
    if order.needs_consent and not has_consent(connection, plan.order):
        raise Paused(
            f"order {plan.order[:12]} waits for a person's approval",
            hint=f"run `rebalancer approve {plan.order[:12]}`",
            plan_id=plan_id,
        )
    others = [item for item in slices_of(connection, plan.order) if item.plan_id != plan_id]
    done = so_far(order, others)
    if done.pending:
        raise LimitBreached(
            f"another slice of order {plan.order[:12]} is not final yet",
            hint="run again: every run settles what is open first",
            plan_id=plan_id,
        )
    for token, raw in net_moves(_swaps(plan)).items():
        there = order.most(token) - done.of(token)
        if -raw > max(there, 0):
            decimals, symbol = token.decimals, token.symbol
            raise LimitBreached(
                f"the slice sells {format_units(-raw, decimals)} {symbol}, its order has"
                f" {format_units(max(there, 0), decimals)} left",
                hint="nothing was signed; the next cycle plans the slice anew",
                plan_id=plan_id,
            )


def has_consent(connection: Connection, order_id: str) -> bool:
    """Whether a person's approval of the order was used to begin it."""
    return log.last_event(connection, order_id, ("applied",)) is not None


def _record(connection: Connection, plan: Plan, snapshot_id: str, block_ts: int) -> SliceRecord:
    plan_id = digest(plan)
    snapshot = log.get(connection, Snapshot, snapshot_id)
    state, mined = _transactions(connection, plan_id)
    changes: dict[Token, int] = {}
    fills: list[Fill] = []
    if state in ("executed", "pending"):
        fills = [
            fill
            for outcome in mined
            if outcome.status == 1 and outcome.purpose == "execute"
            for fill in outcome.fills
            if isinstance(plan.legs[fill.index], SwapLeg)
        ]
        # Without fills the plan's own amounts stand: what was sold is never counted too low.
        changes = _net(fills) if fills else net_moves(_swaps(plan))
    sold = tuple(Amount(token, -raw) for token, raw in changes.items() if raw < 0)
    bought = tuple(Amount(token, raw) for token, raw in changes.items() if raw > 0)
    gas_wei = sum(outcome.gas_cost_wei for outcome in mined)
    return SliceRecord(
        plan_id=plan_id,
        plan=plan,
        state=state,
        block_ts=block_ts,
        sold=sold,
        bought=bought,
        sales=tuple(_sales(plan, fills, snapshot)),
        sold_e8=sum(snapshot.price(a.token).value_up(a.raw) for a in sold),
        bought_e8=sum(snapshot.price(a.token).value_down(a.raw) for a in bought),
        gas_used=sum(outcome.gas_used for outcome in mined),
        gas_cost_wei=gas_wei,
        gas_e8=snapshot.native.value_up(gas_wei),
    )


def _transactions(
    connection: Connection, plan_id: str
) -> tuple[SliceState, list[TransactionOutcome]]:
    """State of a plan by its transactions, and the outcomes of those that are mined."""
    statement = (
        select(submissions.c.tx_hash, submissions.c.purpose)
        .where(submissions.c.plan_id == plan_id)
        .order_by(submissions.c.event)
    )
    stored: dict[str, str] = {}
    for tx_hash, purpose in connection.execute(statement):
        stored[tx_hash] = purpose
    mined: list[TransactionOutcome] = []
    executed = pending = False
    for tx_hash, purpose in stored.items():
        last = log.last_event(connection, tx_hash)
        if last is None or last.kind == "dropped":
            continue
        if last.kind in OPEN_KINDS or not log.is_confirmed(connection, tx_hash):
            pending = True
        if last.kind == "mined":
            outcome = log.get(connection, TransactionOutcome, last.body or "")
            mined.append(outcome)
            executed = executed or (purpose == "execute" and outcome.status == 1)
    if pending:
        return "pending", mined
    if executed:
        return "executed", mined
    return ("failed" if stored else "unsent"), mined


def _sales(plan: Plan, fills: Sequence[Fill], snapshot: Snapshot) -> Iterator[Sale]:
    """Route by route: what its first swap took, and what its last one paid."""
    routes: list[list[Fill]] = []
    for fill in fills:
        leg = plan.legs[fill.index]
        if isinstance(leg, WrapLeg | UnwrapLeg):
            continue  # one for one
        if isinstance(leg, SwapLeg) and leg.chained and routes:
            routes[-1].append(fill)
        else:
            routes.append([fill])
    for route in routes:
        first, last = route[0], route[-1]
        value_e8 = snapshot.price(first.token_in).value_up(first.amount_in)
        got_e8 = snapshot.price(last.token_out).value_down(last.amount_out)
        yield Sale(first.token_in, first.amount_in, value_e8, got_e8)


def _swaps(plan: Plan) -> tuple[SwapLeg, ...]:
    """What a slice trades; beside it the gas purse wraps and unwraps."""
    return tuple(leg for leg in plan.legs if isinstance(leg, SwapLeg))


def _net(fills: Sequence[Fill]) -> dict[Token, int]:
    """Change of each balance by swaps of one plan; what passes from pair to pair cancels."""
    net: dict[Token, int] = {}
    for fill in fills:
        net[fill.token_in] = net.get(fill.token_in, 0) - fill.amount_in
        net[fill.token_out] = net.get(fill.token_out, 0) + fill.amount_out
    return net
