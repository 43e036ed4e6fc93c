"""Waiting between slices: what is tried again, what ends it, what is said meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import ledger_world as world
import pytest

from rebalancer.cli import slices
from rebalancer.cli.signals import Stop
from rebalancer.errors import LimitBreached, Paused, RpcUnavailable, Stopped
from rebalancer.ledger.orders import OrderRecord
from rebalancer.model import Order, SoFar

ORDER = world.order(world.plan(world.snapshot()), clock="blocks", every=10, opened_at=100)


def record(state: Any = "open", made: int = 1, order: Order = ORDER) -> OrderRecord:
    last = 100 + 10 * (made - 1)
    return OrderRecord(
        order_id="ab" * 32,
        order=replace(order, expires_at=200),
        state=state,
        note="",
        opened_ts=0,
        one_go=world.plan(world.snapshot()),
        slices=(),
        so_far=SoFar(slices=made, last_at=last),
    )


@dataclass
class Result:
    """What of a cycle's result is looked at."""

    order: OrderRecord | None
    proposed: None = None
    evaluation: Any = None

    def __post_init__(self) -> None:
        self.evaluation = type("Seen", (), {"decision": None})()


@dataclass
class FakePace:
    poll_s: float = 0.0
    now: float = 0.0

    def clock(self) -> float:
        self.now += 1.0
        return self.now


@dataclass
class FakeRpc:
    """A block more at each look, until it stands still."""

    number: int = 100
    end: int = 10**6
    failures: list[Exception] = field(default_factory=list)

    def call(self, method: str, *params: Any) -> Any:
        assert (method, *params) == ("eth_getBlockByNumber", "latest", False)
        if self.failures:
            raise self.failures.pop(0)
        self.number = min(self.number + 1, self.end)
        return {"number": hex(self.number), "timestamp": hex(12 * self.number)}


@dataclass
class FakeSession:
    answers: Iterator[Any]
    rpc: FakeRpc = field(default_factory=FakeRpc)
    anvil_instance: str | None = None
    cycles: list[int] = field(default_factory=list)
    waiting: FakePace = field(default_factory=FakePace)

    def pace(self) -> FakePace:
        return self.waiting

    def cycle(self, execute: bool, stop: Stop) -> Any:
        assert execute
        self.cycles.append(self.rpc.number)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return Result(answer)


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Stop:
    event = Stop()
    monkeypatch.setattr(slices, "stop_event", lambda _: event)
    return event


def drive(session: FakeSession, first: OrderRecord | None) -> tuple[list[Any], list[str]]:
    said: list[str] = []
    results = slices.drive(session, Result(first), said.append)  # type: ignore[arg-type]
    return list(results), said


def test_no_order__nothing_to_wait_for(stop: Stop) -> None:
    session = FakeSession(iter(()))
    assert drive(session, None)[1] == []
    assert drive(session, record("awaits approval"))[1] == []
    assert session.cycles == []


def test_each_slice_when_it_is_due__until_it_is_closed(stop: Stop) -> None:
    session = FakeSession(iter((record(made=2), record(made=3), record("closed", 4))))
    results, said = drive(session, record())
    assert session.cycles == [110, 120, 130]
    assert len(results) == 4
    assert said[-1].startswith("order abababababab: 4 of 4 slices")


def test_no_acceptable_slice__tried_again_a_little_later(stop: Stop) -> None:
    answers = (LimitBreached("too dear"), RpcUnavailable("gone"), record("closed", 2))
    session = FakeSession(iter(answers))
    _, said = drive(session, record())
    assert session.cycles == [110, 115, 120]
    assert said[0] == "LimitBreached: too dear; tried again later"


def test_stopped_by_a_person__says_so(stop: Stop) -> None:
    session = FakeSession(iter((Paused("order abab is stopped"),)))
    with pytest.raises(Paused):
        drive(session, record())


def test_stopped_while_the_chain_is_waited_for__the_order_stays_open(stop: Stop) -> None:
    class Stopping(FakeSession):
        def cycle(self, execute: bool, stop: Stop) -> Any:
            stop.set()
            raise Stopped("transaction 0xab stays open", hint="run again")

    _, said = drive(Stopping(iter(())), record())
    assert said[0] == "transaction 0xab stays open; run again"
    assert said[1].startswith("left open: order abababababab")


def test_all_slices_made__its_end_is_looked_for_at_once(stop: Stop) -> None:
    session = FakeSession(iter((record(made=4), record("closed", 4))))
    drive(session, record(made=3))
    assert session.cycles == [130, 135]


def test_ctrl_c__left_open(stop: Stop) -> None:
    stop.set()
    session = FakeSession(iter(()))
    results, said = drive(session, record())
    assert (len(results), session.cycles) == (1, [])
    assert said[0].startswith("left open: order abababababab")


def test_a_node_that_is_gone__is_said_once(stop: Stop) -> None:
    rpc = FakeRpc(failures=[RpcUnavailable("no answer")] * 5)
    session = FakeSession(iter((record("closed", 2),)), rpc)
    _, said = drive(session, record())
    assert said[:-1] == ["RpcUnavailable: no answer; asked again"]


def test_a_chain_that_stands_still__is_told_what_helps(
    stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    rpc = FakeRpc(end=105)
    session = FakeSession(iter(()), rpc, anvil_instance="0xab")
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        stop.set()

    slices.drive(session, Result(record()), say)  # type: ignore[arg-type]
    assert said[0].endswith("`rebalancer fork --mine-every 1s` does")
