"""Waiting between the slices of an order: in the foreground, or by the keeper."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING, Any

from rebalancer.cli.signals import stop_event
from rebalancer.errors import LeaseHeld, PlanError, ReadError, RebalancerError, Stopped

if TYPE_CHECKING:
    from rebalancer.cli.session import Session
    from rebalancer.keeper.cycle import CycleResult
    from rebalancer.ledger.orders import OrderRecord
    from rebalancer.model import Clock, Order

#: A slice that could not be traded when it was due is tried again after so long, or sooner.
_AGAIN: dict[Clock, int] = {"seconds": 60, "blocks": 5}
#: The keeper looks whether a slice is due so often, in seconds; that reads one block header.
LOOK_EVERY_S = 15
_SILENT_S = 5.0
#: What a second Ctrl-C says, and it is true at any point: see docs/bundler.md.
LEFT_AT_ONCE = "left at once; what was sent is in the ledger, and the next run follows it first"


def drive(
    session: Session, first: CycleResult, say: Callable[[str], None]
) -> tuple[CycleResult, ...]:
    """Slice after slice until the order ends, needs a person, or somebody stops us.

    Ctrl-C and SIGTERM let the slice at work finish, unless the chain keeps it waiting; the order
    stays open, and the next run goes on with it. A cycle that fails for want of an acceptable plan
    or of an answer is tried again.
    """
    results, order, not_before = [first], first.order, 0
    if order is None or order.state != "open":
        return (first,)
    stop = stop_event(LEFT_AT_ONCE)
    while order is not None and order.state == "open":
        now = _wait(session, order, not_before, stop, say)
        if now is None:
            say(
                f"left open: order {order.order_id[:12]}; `rebalancer rebalance --execute` or the"
                " keeper goes on, `rebalancer order stop` keeps them from it"
            )
            break
        not_before = now + _again(order.order)
        try:
            results.append(session.cycle(execute=True, stop=stop))
        except Stopped as error:
            say(f"{error}; {error.hint}")
            continue
        except (PlanError, ReadError, LeaseHeld) as error:
            say(f"{type(error).__name__}: {error}; tried again later")
            continue
        order = results[-1].order
        say(_told(results[-1]))
    return tuple(results)


def at_work(session: Session) -> OrderRecord | None:
    """The portfolio's order that is not closed; asks no ledger into being."""
    from pathlib import Path

    from rebalancer.ledger.orders import current_order

    place = session.ledger_place()
    if "://" not in place and not Path(place).exists():
        return None
    with session.ledger(create=False) as book:
        return current_order(book, session.resolved.portfolio.name)


class LookAfter:
    """The keeper's look at an order between the portfolio's cycles: ``cycle`` if a slice is due.

    One that could not be traded is tried again after a while; an error of the look itself is left
    to the cycle by schedule, and so is an order that waits for a person.
    """

    def __init__(self, session: Session, cycle: Callable[[], None]) -> None:
        self._session = session
        self._cycle = cycle
        self._not_before = 0

    def __call__(self) -> None:
        try:
            record = at_work(self._session)
            if record is None or record.state != "open":
                return
            now = _now(self._session, record)
        except RebalancerError:
            return
        if now >= max(record.order.due_at(record.so_far), self._not_before):
            self._not_before = now + _again(record.order)
            self._cycle()


def _wait(
    session: Session, record: OrderRecord, not_before: int, stop: Event, say: Callable[[str], None]
) -> int | None:
    """The order's clock when its next slice may be looked at; None when we were stopped."""
    order, so_far, pace = record.order, record.so_far, session.pace()
    # What ends an order is looked for at once; only a further slice has to wait.
    due = not_before if so_far.slices >= order.slices else max(order.due_at(so_far), not_before)
    seen, since, silent, said = -1, pace.clock(), False, ""
    while not stop.is_set():
        try:
            now, trouble = _now(session, record), ""
        except ReadError as error:
            now, trouble = seen, f"{type(error).__name__}: {error}; asked again"
        if trouble and trouble != said:  # a node that is gone says the same at every look
            say(trouble)
        said = trouble
        if now >= due:
            return now
        if now != seen:
            seen, since = now, pace.clock()
        elif session.anvil_instance and not silent and pace.clock() - since > _SILENT_S:
            silent = True
            say("this chain makes no blocks by itself; `rebalancer fork --mine-every 1s` does")
        stop.wait(pace.poll_s)
    return None


def _again(order: Order) -> int:
    """How long after a look the next one is worth it, in the order's clock."""
    return min(order.every, _AGAIN[order.clock])


def _now(session: Session, record: OrderRecord) -> int:
    head: Any = session.rpc.call("eth_getBlockByNumber", "latest", False)
    return int(head["timestamp" if record.order.clock == "seconds" else "number"], 16)


def _told(result: CycleResult) -> str:
    """One line about a slice."""
    from rebalancer.model import Hold
    from rebalancer.report.orders import progress

    record, decision = result.order, result.evaluation.decision
    how_far = "" if record is None else progress(record)
    if isinstance(decision, Hold):
        why = decision.reasons[0].text
        return how_far if record is not None and record.note == why else f"{why}; {how_far}"
    return how_far


def summary(result: CycleResult) -> str:
    """For the keeper's line: where the order stands."""
    from rebalancer.report.orders import progress

    return "" if result.order is None else f"; {progress(result.order)}"
