"""Fills and net changes from logs."""

from __future__ import annotations

from typing import Any

import pytest
from bundler_fakes import TWO_HOPS, USDC, USDC_WETH, WALLET, WBTC, WBTC_WETH, WETH
from eth_abi.abi import encode

from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.fills import SWAP, TRANSFER, decode_fills
from rebalancer.errors import ExecutionError
from rebalancer.evm.abi import to_hex
from rebalancer.model import Fill

OTHER = "0x" + "77" * 20


def word(address: str) -> str:
    return "0x" + address[2:].lower().rjust(64, "0")


def swap(pair: str, *amounts: int, sender: str = EXECUTOR_ADDRESS, to: str = WALLET) -> Any:
    data = to_hex(encode(["uint256"] * 4, amounts))
    return {"address": pair.lower(), "topics": [SWAP, word(sender), word(to)], "data": data}


def transfer(token: str, sender: str, to: str, raw: int) -> Any:
    data = to_hex(encode(["uint256"], [raw]))
    return {"address": token.lower(), "topics": [TRANSFER, word(sender), word(to)], "data": data}


# USDC < WETH and WBTC < WETH by address: USDC and WBTC are token0 of their pairs.
FIRST = swap(USDC_WETH, 3_000_000_000, 0, 0, 10**18 - 5, to=WBTC_WETH)
SECOND = swap(WBTC_WETH, 0, 10**18 - 5, 4_999_999, 0)


def test_one_fill_per_leg_in_the_direction_of_the_leg() -> None:
    assert decode_fills(TWO_HOPS, [FIRST, SECOND], EXECUTOR_ADDRESS) == (
        Fill(0, USDC_WETH, USDC, WETH, 3_000_000_000, 10**18 - 5),
        Fill(1, WBTC_WETH, WETH, WBTC, 10**18 - 5, 4_999_999),
    )


def test_other_logs_between_are_passed_over() -> None:
    noise = [
        transfer(USDC.address, WALLET, USDC_WETH, 3_000_000_000),
        swap(USDC_WETH, 1, 0, 0, 1, sender=OTHER),  # somebody else's, on our pair
        swap(OTHER, 1, 0, 0, 1),  # the executor's, on a pair that is not in the plan
        {"address": USDC_WETH, "topics": [], "data": "0x"},
    ]
    logs = [noise[0], FIRST, *noise[1:], SECOND]
    assert len(decode_fills(TWO_HOPS, logs, EXECUTOR_ADDRESS)) == 2


@pytest.mark.parametrize(
    ("logs", "match"),
    [
        ([], "hold 0 steps"),
        ([FIRST], "hold 1 steps"),
        ([FIRST, SECOND, SECOND], "hold 3 steps"),
        ([SECOND, FIRST], "step 1 happened on"),
    ],
)
def test_anything_but_the_plans_swaps_in_order_is_an_error(logs: list[Any], match: str) -> None:
    with pytest.raises(ExecutionError, match=match):
        decode_fills(TWO_HOPS, logs, EXECUTOR_ADDRESS)
