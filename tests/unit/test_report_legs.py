"""Legs as people read them, in tables and in sentences, and as plain data."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from bundler_fakes import TWO_HOPS, WETH, plan_of
from legs_made import ADD, DAI_USDC, LEGS, REMOVE, SWAP_LEG, UNIT, mixed
from rich.console import Console

from rebalancer.model import (
    Amount,
    ExpectedPosition,
    Fill,
    Plan,
    Rebalance,
    TransactionOutcome,
    contract_of,
)
from rebalancer.report.legs import (
    all_in_words,
    approval_document,
    approval_lines,
    roughly,
)
from rebalancer.report.outcome import outcome_view
from rebalancer.report.plan import decision_document, decision_view


def shown(view: Any) -> str:
    console = Console(width=200, file=StringIO())
    console.print(view)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def placed(plan: Plan) -> Plan:
    return replace(plan, positions=(ExpectedPosition("WETH", 1, 2, 3),))


def test_in_words__every_kind() -> None:
    assert all_in_words(mixed()) == [
        "wrap 1 ETH into WETH",
        "remove 1.23 shares of uniswap_v2:USDC/WETH for 1,000 USDC and 0.5 WETH",
        "sell 400 USDC for 400 DAI on uniswap_v2",
        "add 400 DAI and 400 USDC to uniswap_v2:DAI/USDC for 3 shares",
        "unwrap 0.25 WETH into ETH",
    ]
    assert all_in_words(TWO_HOPS)[1] == "sell all that leg 1 brings for 0.05 WBTC on uniswap_v2"


def test_approval__tells_what_goes_and_the_least_that_comes_in_every_digit() -> None:
    tiny = replace(REMOVE, shares=7, min_amount0=1)
    plan = replace(plan_of(SWAP_LEG), legs=(tiny, *LEGS[2:]))
    assert approval_lines(plan) == [
        "  leg 1: remove 0.000000000000000007 shares of uniswap_v2:USDC/WETH"
        " for at least 0.000001 USDC and 0.4 WETH",
        "  leg 2: sell 400 USDC for at least 396 DAI on uniswap_v2",
        "  leg 3: add 400 DAI and 400 USDC to uniswap_v2:DAI/USDC for at least 2.9 shares",
        "  leg 4: unwrap 0.25 WETH into ETH",
    ]


def test_approval__as_plain_data() -> None:
    swap, chained = approval_document(TWO_HOPS)
    assert swap["takes"] == [{"token": "USDC", "amount": 3_000_000_000}]
    assert (swap["kind"], swap["amount_in"], swap["token_out"]) == ("swap", 3_000_000_000, "WETH")
    assert (chained["takes"], chained["amount_in"]) == ([], None)
    added = approval_document(mixed())[3]
    assert added == {
        "kind": "add",
        "pair": DAI_USDC,
        "takes": [
            {"token": "DAI", "amount": 400 * UNIT},
            {"token": "USDC", "amount": 400_000_000},
        ],
        "at_least": [{"token": "uniswap_v2:DAI/USDC", "amount": 29 * 10**17}],
    }


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (0, "0.000000"),
        (10**18, "1.000000"),
        (123_456_789 * 10**10, "1.234567"),
        (10**12, "0.000001"),
        (999_999_999_999, "0.000000999999999999"),
        (7, "0.000000000000000007"),
    ],
)
def test_very_little_is_never_shown_as_nothing(raw: int, text: str) -> None:
    assert roughly(Amount(ADD.share, raw)) == text


def test_decision__rows_of_every_kind() -> None:
    plan = placed(mixed())
    decision = Rebalance("a" * 64, 100, plan.block_hash, (), (), plan)
    text = shown(decision_view(decision, "USD"))
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "1 ETH 1.000000 wrap WETH 1.000000 1.000000" in rows
    assert "2 uniswap_v2:USDC/WETH 1.230000 remove USDC 1,000.00 990.000000" in rows
    assert "WETH 0.500000 0.400000" in rows, "the other token, in a row of its own"
    assert "3 USDC 400.000000 uniswap_v2 0.30 % DAI 400.000000 396.000000" in rows
    assert "4 DAI 400.000000 add uniswap_v2:DAI/USDC 3.000000 2.900000" in rows
    assert "USDC 400.000000" in rows
    assert "5 WETH 0.250000 unwrap ETH 0.250000 0.250000" in rows
    assert decision_document(decision)["legs_in_words"] == all_in_words(plan)


def test_decision__a_chained_swap_takes_all_of_it() -> None:
    plan = placed(TWO_HOPS)
    decision = Rebalance("a" * 64, 100, plan.block_hash, (), (), plan)
    text = shown(decision_view(decision, "USD"))
    (row,) = (" ".join(line.split()) for line in text.splitlines() if "all of it" in line)
    assert row == "2 WETH ↳ all of it uniswap_v2 0.30 % WBTC 0.050000 0.049500"


def test_outcome__fills_of_every_kind_against_the_plan() -> None:
    plan = mixed()
    fills = [
        Fill(
            index,
            contract_of(leg),
            leg.takes[0].token,
            leg.pays[0].token,
            leg.takes[0].raw,
            leg.pays[0].raw,
            *(leg.takes[1:] or (None,)),
            *(leg.pays[1:] or (None,)),
        )
        for index, leg in enumerate(LEGS)
    ]
    fills[1] = replace(fills[1], more_out=Amount(WETH, UNIT // 2 - 5))
    outcome = TransactionOutcome("0x01", "execute", 101, "0x02", 1, 21_000, 1, (), tuple(fills))
    before: Any = None
    text = shown(outcome_view(plan, before, [outcome], None, 0))
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "2 uniswap_v2:USDC/WETH 1.230000 USDC 1,000.00 equal to the wei" in rows
    assert "WETH 0.499999 -5 of its smallest unit" in rows
    assert "4 DAI 400.000000 uniswap_v2:DAI/USDC 3.000000 equal to the wei" in rows
    assert "USDC 400.000000" in rows
