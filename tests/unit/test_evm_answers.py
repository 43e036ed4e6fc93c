"""What is data in an answer, and what is a node's nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from rebalancer.evm.answers import Verdict, judge


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("0x", Verdict.ANSWER),
        ("0x00", Verdict.ANSWER),
        ("0xaBcD", Verdict.ANSWER),
        ("0x" + "ab" * 300_000, Verdict.ANSWER),
        ("", Verdict.FAULT),
        ("00", Verdict.FAULT),
        ("0X00", Verdict.FAULT),
        ("0x0", Verdict.FAULT),
        ("0x0g", Verdict.FAULT),
        ("0x00 00", Verdict.FAULT),
        ("0x00\n", Verdict.FAULT),
        ("0xé0", Verdict.FAULT),
        (None, Verdict.FAULT),
        (7, Verdict.FAULT),
        (["0x00"], Verdict.FAULT),
    ],
)
def test_judge__data_of_a_call(answer: Any, verdict: Verdict) -> None:
    assert judge(("eth_call", ({},)), answer) is verdict
