"""Orders: large plans in slices, from the first event to the last; state is what the log says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, select

from rebalancer.errors import ConfigError, LedgerError
from rebalancer.ledger import log
from rebalancer.ledger.codec import Approval
from rebalancer.ledger.log import Event
from rebalancer.ledger.schema import ORDER_KINDS, events
from rebalancer.ledger.slices import SliceRecord, has_consent, opened_order, slices_of, so_far
from rebalancer.ledger.store import Ledger
from rebalancer.model import Order, Plan, SoFar, digest

#: ``awaits approval``: no slice before a person's yes. ``closed`` is the end, the others go on.
OrderState = Literal["awaits approval", "open", "stopped", "closed"]
_SHORTEST_PREFIX = 8


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order, where it stands and why (``note``), and what its slices did.

    ``one_go`` is the plan that the cycle would have traded without slices.
    """

    order_id: str
    order: Order
    state: OrderState
    note: str
    opened_ts: int
    one_go: Plan
    slices: tuple[SliceRecord, ...]
    so_far: SoFar


def open_order(ledger: Ledger, order: Order) -> str:
    """Remember an order before its first slice; returns its id.

    Its plan must have been recorded. Raises LedgerError while another order of the portfolio is not
    closed: two would sell the same excess twice.
    """
    order_id = digest(order)

    def check(connection: Connection) -> None:
        log.get(connection, Plan, order.plan)
        current = _current(connection, order.portfolio)
        if current is not None:
            raise LedgerError(
                f"order {current[:12]} of {order.portfolio} is not closed yet",
                hint="see `rebalancer order show`; `rebalancer order cancel` ends it",
            )

    ledger.record(Event("opened", order_id), order, check)
    return order_id


def stop_order(ledger: Ledger, order_id: str, reason: str) -> None:
    """No more slices, until it is resumed; what was sent is followed to its end."""
    _say(ledger, Event("stopped", order_id, note=reason), only_from=("opened", "continued"))


def resume_order(ledger: Ledger, order_id: str) -> None:
    """Go on with what is left."""
    _say(ledger, Event("continued", order_id), only_from=("stopped",))


def close_order(ledger: Ledger, order_id: str, why: str) -> None:
    """The end of an order: done, expired or cancelled. Saying it again changes nothing."""
    _say(
        ledger,
        Event("closed", order_id, note=why),
        only_from=("opened", "continued", "stopped"),
        unless=("closed",),
    )


def current_order(ledger: Ledger, portfolio: str) -> OrderRecord | None:
    """The portfolio's order that is not closed; there is at most one."""
    with ledger.reading() as connection:
        order_id = _current(connection, portfolio)
        return None if order_id is None else _record(connection, order_id)


def stopped_reason(ledger: Ledger, portfolio: str) -> tuple[str, str] | None:
    """Id of the portfolio's order that a person has stopped, and why; None when there is none."""
    with ledger.reading() as connection:
        order_id = _current(connection, portfolio)
        last = None if order_id is None else log.last_event(connection, order_id, ORDER_KINDS)
    if order_id is None or last is None or last.kind != "stopped":
        return None
    return order_id, last.note


def order_record(ledger: Ledger, order_id: str) -> OrderRecord:
    """One order by its whole id; raises LedgerError when there is none."""
    with ledger.reading() as connection:
        return _record(connection, order_id)


def orders(ledger: Ledger, portfolio: str) -> tuple[OrderRecord, ...]:
    """All orders of a portfolio, oldest first."""
    with ledger.reading() as connection:
        return tuple(_record(connection, order_id) for order_id in _ids(connection, portfolio))


def find_order(ledger: Ledger, portfolio: str, prefix: str | None) -> OrderRecord:
    """The order meant by the beginning of its id; None: the one that is not closed, or the newest.

    Raises ConfigError unless exactly one is meant.
    """
    with ledger.reading() as connection:
        ids = _ids(connection, portfolio)
        if prefix is None:
            if not ids:
                raise ConfigError(
                    f"{portfolio} has no orders",
                    hint="large plans become orders with `execution` in the portfolio file",
                )
            return _record(connection, _current(connection, portfolio) or ids[-1])
        wanted = prefix.lower()
        found = [name for name in ids if name.startswith(wanted)]
        if len(wanted) < _SHORTEST_PREFIX or len(found) != 1:
            message = f"no order of {portfolio} begins with {prefix!r}"
            if found:
                message = f"{len(found)} orders of {portfolio} begin with {prefix!r}"
            if len(wanted) < _SHORTEST_PREFIX:
                message = f"{prefix!r} is too short to name an order"
            raise ConfigError(
                message,
                hint=f"`rebalancer order list` shows them; give at least {_SHORTEST_PREFIX} digits",
            )
        return _record(connection, found[0])


def order_approval(ledger: Ledger, order_id: str, now_ts: int) -> Approval | None:
    """A person's approval of the order that holds at ``now_ts``."""
    with ledger.reading() as connection:
        last = log.last_event(connection, order_id, ("approved",))
        if last is None:
            return None
        approval = log.get(connection, Approval, last.body or "")
    return approval if now_ts <= approval.expires_ts else None


def _say(
    ledger: Ledger, event: Event, only_from: tuple[str, ...], unless: tuple[str, ...] = ()
) -> None:
    """Append unless it is said already; raises ConfigError where the state does not allow it."""

    def check(connection: Connection) -> bool:
        opened_order(connection, event.subject)
        last = log.last_event(connection, event.subject, ORDER_KINDS)
        kind = "" if last is None else last.kind
        if kind in unless:
            return False
        if kind not in only_from:
            raise ConfigError(
                f"order {event.subject[:12]} is {kind}: it cannot be {event.kind}",
                hint="`rebalancer order show` tells where it stands",
            )
        return True

    ledger.record(event, check=check)


def _ids(connection: Connection, portfolio: str) -> list[str]:
    statement = select(events.c.subject).where(events.c.kind == "opened").order_by(events.c.seq)
    ids = connection.execute(statement).scalars().all()
    return [name for name in ids if log.get(connection, Order, name).portfolio == portfolio]


def _current(connection: Connection, portfolio: str) -> str | None:
    closed = select(events.c.subject).where(events.c.kind == "closed")
    statement = select(events.c.subject).where(
        events.c.kind == "opened", events.c.subject.not_in(closed)
    )
    for order_id in connection.execute(statement).scalars().all():
        if log.get(connection, Order, order_id).portfolio == portfolio:
            return order_id
    return None


def _record(connection: Connection, order_id: str) -> OrderRecord:
    order = opened_order(connection, order_id)
    last = log.last_event(connection, order_id, ORDER_KINDS)
    kind, note = ("", "") if last is None else (last.kind, last.note)
    waits = order.needs_consent and not has_consent(connection, order_id)
    state: OrderState = "open"
    if kind in ("stopped", "closed"):
        state = "stopped" if kind == "stopped" else "closed"
    elif waits:
        state = "awaits approval"
    first = select(events.c.recorded_ts).where(
        events.c.subject == order_id, events.c.kind == "opened"
    )
    slices = tuple(slices_of(connection, order_id))
    return OrderRecord(
        order_id=order_id,
        order=order,
        state=state,
        note=note,
        opened_ts=connection.execute(first).scalar_one(),
        one_go=log.get(connection, Plan, order.plan),
        slices=slices,
        so_far=so_far(order, slices),
    )
