"""Canonical JSON goes in and comes back byte for byte."""

from __future__ import annotations

from typing import Any

import ledger_world as world
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.errors import LedgerError
from rebalancer.ledger.codec import KINDS, digest_of_text, kind_of, load
from rebalancer.model import digest, to_json

st.register_type_strategy(int, st.integers(-(2**256), 2**256))

_SNAPSHOT = world.snapshot()
_PLAN = world.plan(_SNAPSHOT)
_EXAMPLES = (
    _SNAPSHOT,
    world.valuation(_SNAPSHOT),
    world.hold(_SNAPSHOT),
    world.rebalance(_SNAPSHOT),
    _PLAN,
    world.bundle(_PLAN),
    world.executed(_PLAN, world.signed("execute", 8)),
    world.order(_PLAN),
)


@pytest.mark.parametrize("value", _EXAMPLES, ids=lambda value: type(value).__name__)
def test_a_stored_object_comes_back_equal_and_byte_for_byte(value: Any) -> None:
    text = to_json(value)
    back = load(type(value), digest(value), text)
    assert back == value
    assert to_json(back) == text


@pytest.mark.parametrize("cls", KINDS.values(), ids=lambda cls: cls.__name__)
def test_any_object_comes_back_byte_for_byte(cls: type[Any]) -> None:
    @settings(max_examples=25, deadline=None)
    @given(st.from_type(cls))
    def check(value: Any) -> None:
        text = to_json(value)
        assert digest_of_text(text) == digest(value)
        back = load(cls, digest(value), text)
        assert back == value
        assert to_json(back) == text

    check()


def test_every_kind_has_its_name() -> None:
    assert {kind: kind_of(value) for value in _EXAMPLES for kind in [kind_of(value)]} == {
        kind: kind for kind in KINDS if kind not in ("evaluation", "approval")
    }
    with pytest.raises(TypeError, match="not stored"):
        kind_of(world.WETH)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"decimals":18,', "is no Plan"),
        ("[]", "is no Plan"),
        (to_json(_PLAN).replace('"slippage_ppm":5000', '"slippage_ppm":5000.0'), "is no Plan"),
        (to_json(_PLAN).replace('"slippage_ppm":5000', '"slippage_ppm":"5000"'), "is no Plan"),
        (to_json(_PLAN).replace('"chained":false', '"chained":0'), "is no Plan"),
        (to_json(_PLAN).replace("{", '{"more":1,', 1), "canonical"),
        (to_json(_PLAN).replace("{", "{ ", 1), "canonical"),
    ],
)
def test_text_that_is_not_the_object_is_refused(text: str, why: str) -> None:
    with pytest.raises(LedgerError, match=why) as raised:
        load(type(_PLAN), digest_of_text(text), text)
    assert raised.value.hint


def test_text_of_another_digest_is_refused() -> None:
    with pytest.raises(LedgerError, match="another digest"):
        load(type(_PLAN), digest(_SNAPSHOT), to_json(_PLAN))
