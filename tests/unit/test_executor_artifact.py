"""The executor's artifact is what the sources compile to, and the bundler calls it as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode
from eth_utils.abi import abi_to_signature
from eth_utils.crypto import keccak

from rebalancer.bundler.executor import (
    CREATE2_PROXY,
    CREATE2_SALT,
    EXECUTE_SIGNATURE,
    EXECUTOR_ADDRESS,
    MAX_LEGS,
    check_deployed,
    decode_amounts_out,
    deployment_call,
    encode_execute,
    init_code,
    runtime_code,
)
from rebalancer.errors import ExecutorMissing, PlanError
from rebalancer.evm.abi import selector, to_hex
from rebalancer.model import SwapLeg, Token
from scripts.compile_contracts import CONTRACTS, OUTPUTS, compile_contract, render

LOW = Token("0x1000000000000000000000000000000000000001", "LOW", 18)
MIDDLE = Token("0xA000000000000000000000000000000000000002", "MIDDLE", 6)
HIGH = Token("0xf000000000000000000000000000000000000003", "HIGH", 8)
PAIR_A = "0x00000000000000000000000000000000000000Aa"
PAIR_B = "0x00000000000000000000000000000000000000bb"
LEG_TYPE = "(address,address,bool,uint256,uint256,uint256)[]"

FIRST = SwapLeg(PAIR_A, "uniswap_v2", LOW, MIDDLE, 3_000, 10**18, 2_000_000, 1_990_000, False)
SECOND = SwapLeg(PAIR_B, "sushiswap", MIDDLE, HIGH, 2_500, 2_000_000, 5_000, 4_900, True)


class CodeRpc:
    """A node that knows the code at one address, and at which block it was asked for it."""

    def __init__(self, code: bytes) -> None:
        self.code = code
        self.asked: list[tuple[Any, ...]] = []

    def call(self, method: str, *params: Any) -> Any:
        self.asked.append((method, *params))
        return to_hex(self.code)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return [self.call(method, *params) for method, params in calls]


def decoded(data: bytes) -> tuple[Any, int]:
    """``(legs, deadline)`` of a call of ``execute``."""
    assert data[:4] == selector(EXECUTE_SIGNATURE)
    legs, deadline = decode([LEG_TYPE, "uint256"], data[4:])
    return legs, deadline


def test_artifact__recompiled__is_the_same_to_the_byte() -> None:
    source: Path = CONTRACTS / "Executor.vy"
    shipped = OUTPUTS[CONTRACTS] / "Executor.json"

    assert shipped.read_text() == render(compile_contract(source))


def test_artifact__init_code__does_not_depend_on_comments(tmp_path: Path) -> None:
    source = (CONTRACTS / "Executor.vy").read_text()
    copy = tmp_path / "Executor.vy"
    copy.write_text(source + "\n# A comment more.\n")

    assert compile_contract(copy)["bytecode"] == to_hex(init_code())


def test_artifact__abi__is_one_function() -> None:
    from rebalancer.bundler.executor import _artifact

    (function,) = _artifact()["abi"]

    assert abi_to_signature(function) == EXECUTE_SIGNATURE
    assert function["stateMutability"] == "nonpayable"
    assert selector(EXECUTE_SIGNATURE).hex() == "539756e2"


def test_address__by_eip_1014__follows_from_the_init_code() -> None:
    preimage = b"\xff" + bytes.fromhex(CREATE2_PROXY[2:]) + CREATE2_SALT + keccak(init_code())

    assert EXECUTOR_ADDRESS.lower() == to_hex(keccak(preimage)[12:])
    assert deployment_call() == (CREATE2_PROXY, bytes(32) + init_code())


def test_runtime_code__is_what_the_init_code_returns() -> None:
    assert runtime_code()
    assert init_code().endswith(runtime_code())


def test_encode__two_hops__chains_the_second_by_an_amount_of_zero() -> None:
    legs, deadline = decoded(encode_execute([FIRST, SECOND], 1_700_000_000))

    assert legs == (
        (PAIR_A.lower(), LOW.address, True, 3_000, 10**18, 1_990_000),
        (PAIR_B.lower(), MIDDLE.address.lower(), True, 2_500, 0, 4_900),
    )
    assert deadline == 1_700_000_000


@pytest.mark.parametrize(
    ("token_in", "token_out", "zero_for_one"),
    [(LOW, MIDDLE, True), (MIDDLE, LOW, False), (MIDDLE, HIGH, True), (HIGH, MIDDLE, False)],
)
def test_encode__direction__is_that_of_the_addresses_as_numbers(
    token_in: Token, token_out: Token, zero_for_one: bool
) -> None:
    # As text, "0xA..." sorts before "0xf...", and both before nothing: case must not matter.
    leg = replace(FIRST, token_in=token_in, token_out=token_out)

    ((_, _, direction, *_),), _ = decoded(encode_execute([leg], 1))

    assert direction is zero_for_one


def test_encode__as_many_legs_as_the_contract_takes__passes() -> None:
    legs, _ = decoded(encode_execute([FIRST] * MAX_LEGS, 1))

    assert len(legs) == MAX_LEGS == 32


@pytest.mark.parametrize("count", [0, 33])
def test_encode__no_legs_or_too_many__is_refused(count: int) -> None:
    with pytest.raises(PlanError, match=f"1 to 32 legs, not {count}"):
        encode_execute([FIRST] * count, 1)


@pytest.mark.parametrize(
    ("legs", "reason"),
    [
        ([SECOND], "first leg cannot be chained"),
        ([replace(FIRST, amount_in=0)], "leg 0 has no amount in"),
        ([FIRST, replace(SECOND, amount_in=0)], "leg 1 has no amount in"),
        ([FIRST, replace(SECOND, amount_in=1_999_999)], "leg 1 does not spend what leg 0 pays"),
        ([FIRST, replace(SECOND, token_in=LOW)], "leg 1 does not spend what leg 0 pays"),
        ([FIRST, FIRST, replace(SECOND, token_in=LOW)], "leg 2 does not spend what leg 1 pays"),
    ],
)
def test_encode__chain_that_the_contract_would_read_otherwise__is_refused(
    legs: list[SwapLeg], reason: str
) -> None:
    with pytest.raises(PlanError, match=reason):
        encode_execute(legs, 1)


def test_decode_amounts_out__returned_data__is_one_amount_per_leg() -> None:
    words = (32, 2, 7, 2**112 - 1)
    data = b"".join(word.to_bytes(32, "big") for word in words)

    assert decode_amounts_out(data) == (7, 2**112 - 1)


def test_check_deployed__the_executor__asks_at_the_block_it_is_told() -> None:
    rpc = CodeRpc(runtime_code())
    block = {"blockHash": "0x" + "ab" * 32}

    check_deployed(rpc, block)

    assert rpc.asked == [("eth_getCode", EXECUTOR_ADDRESS, block)]


def test_check_deployed__no_code__says_how_to_deploy() -> None:
    with pytest.raises(ExecutorMissing, match=EXECUTOR_ADDRESS) as caught:
        check_deployed(CodeRpc(b""))

    assert caught.value.hint == "run `rebalancer deploy --execute`"


def test_check_deployed__other_code__does_not_advise_to_deploy() -> None:
    with pytest.raises(ExecutorMissing, match="is not that of the executor") as caught:
        check_deployed(CodeRpc(runtime_code() + b"\x00"))

    assert "deploy" not in caught.value.hint
