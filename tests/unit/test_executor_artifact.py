"""The executor's artifact is what the sources compile to, and the bundler calls it as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode
from eth_utils.abi import abi_to_signature
from eth_utils.crypto import keccak

from rebalancer.bundler.executor import (
    ANY_BASE_FEE_WEI,
    CREATE2_PROXY,
    CREATE2_SALT,
    EXECUTE_SIGNATURE,
    EXECUTOR,
    EXECUTOR_ADDRESS,
    MAX_LEGS,
    WALLET_EXECUTOR,
    check_deployed,
    contract,
    decode_amount_out,
    deployment_call,
    encode_execute,
    init_code,
    net_floors,
    runtime_code,
)
from rebalancer.bundler.steps import ROUTE_SIGNATURES, Watch
from rebalancer.errors import ExecutorMissing, PlanError
from rebalancer.evm.abi import selector, to_hex
from rebalancer.model import SwapLeg, Token
from scripts.compile_contracts import CONTRACTS, OUTPUTS, compile_contract, render

LOW = Token("0x1000000000000000000000000000000000000001", "LOW", 18)
MIDDLE = Token("0xA000000000000000000000000000000000000002", "MIDDLE", 6)
HIGH = Token("0xf000000000000000000000000000000000000003", "HIGH", 8)
PAIR_A = "0x00000000000000000000000000000000000000Aa"
PAIR_B = "0x00000000000000000000000000000000000000bb"

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


def decoded(data: bytes) -> tuple[int, list[tuple[int, int]]]:
    """The terms and the entries of a call of ``execute``."""
    assert data[:4] == selector(EXECUTE_SIGNATURE)
    terms, entries = decode(["uint256", "(uint256,uint256)[]"], data[4:])
    return int(terms), list(entries)


@pytest.mark.parametrize("name", ["Executor", "WalletExecutor"])
def test_artifact__recompiled__is_the_same_to_the_byte(name: str) -> None:
    source: Path = CONTRACTS / f"{name}.vy"
    shipped = OUTPUTS[CONTRACTS] / f"{name}.json"

    assert shipped.read_text() == render(compile_contract(source))


def test_artifact__init_code__does_not_depend_on_comments(tmp_path: Path) -> None:
    source = (CONTRACTS / "Executor.vy").read_text()
    copy = tmp_path / "Executor.vy"
    copy.write_text(source + "\n# A comment more.\n")

    assert compile_contract(copy)["bytecode"] == to_hex(init_code())


def test_artifact__abi__is_two_functions_beside_what_takes_ether() -> None:
    artifact = json.loads((OUTPUTS[CONTRACTS] / "Executor.json").read_text())
    functions = {
        abi_to_signature(entry): entry["stateMutability"]
        for entry in artifact["abi"]
        if entry["type"] == "function"
    }
    others = {entry["type"]: entry for entry in artifact["abi"] if entry["type"] != "function"}

    assert sorted(others) == ["constructor", "fallback"]
    assert others["constructor"]["inputs"] == []
    routes = {signature: "nonpayable" for signature in ROUTE_SIGNATURES.values()}
    # The second pair without its minimum is a form that Vyper makes and nobody uses.
    routes["route(uint256,uint256,uint256,uint256,uint256)"] = "nonpayable"
    assert functions == {EXECUTE_SIGNATURE: "payable"} | routes
    assert selector(EXECUTE_SIGNATURE).hex() == "5799180a"


def test_address__by_eip_1014__follows_from_the_init_code() -> None:
    preimage = b"\xff" + bytes.fromhex(CREATE2_PROXY[2:]) + CREATE2_SALT + keccak(init_code())

    assert EXECUTOR_ADDRESS.lower() == to_hex(keccak(preimage)[12:])
    assert deployment_call() == (CREATE2_PROXY, bytes(32) + init_code())


@pytest.mark.parametrize(("name", "word"), [("Executor", 0), ("WalletExecutor", 1)])
def test_runtime_code__is_the_init_codes_end_and_whose_balance_pays(name: str, word: int) -> None:
    found = contract(name)
    code, immutable = found.runtime_code[:-32], found.runtime_code[-32:]

    assert code
    assert found.init_code.endswith(code)
    assert int.from_bytes(immutable) == word


def test_contracts__are_two_at_two_addresses() -> None:
    assert EXECUTOR.address == EXECUTOR_ADDRESS != WALLET_EXECUTOR.address
    assert deployment_call(WALLET_EXECUTOR) == (
        CREATE2_PROXY,
        bytes(32) + contract("WalletExecutor").init_code,
    )


def test_encode__two_hops_and_a_swap__word_by_word() -> None:
    legs = [FIRST, SECOND, replace(FIRST, amount_in=9, min_amount_out=8)]
    terms, entries = decoded(encode_execute(legs, 1_700_000_000, max_base_fee_wei=5))

    # Deadline, base fee; two watched tokens, steps from entry 3 on.
    assert terms == 1_700_000_000 | 5 << 64 | 2 << 128 | 3 << 136
    assert entries == [
        # HIGH and MIDDLE are bought: they are watched. LOW is only sold.
        (int(HIGH.address, 16), 4_900),
        (int(MIDDLE.address, 16), 8),
        (int(LOW.address, 16), 0),
        # Pays token 2, which is token0 of the pair, and forwards.
        (0xAA | 997_000 << 160 | 2 << 184 | 0b11 << 192, 10**18 | 1_990_000 << 128),
        # Is paid by the step before.
        (0xBB | 997_500 << 160 | 1 << 192, 4_900 << 128),
        (0xAA | 997_000 << 160 | 2 << 184 | 0b01 << 192, 9 | 8 << 128),
    ]


def test_encode__one_route__word_by_word() -> None:
    data = encode_execute([FIRST, SECOND], 1_700_000_000, max_base_fee_wei=5)

    assert data[:4] == selector("route(uint256,uint256,uint256,uint256,uint256,uint256)")
    assert decode(["uint256"] * 6, data[4:]) == (
        int(LOW.address, 16) | 1_700_000_000 << 160,
        int(HIGH.address, 16) | 5 << 160,
        0xAA | 997_000 << 160 | 1 << 192,
        10**18 | 1_990_000 << 128,
        0xBB | 997_500 << 160 | 1 << 192,
        4_900,
    )


def test_encode__unguarded__watches_nothing() -> None:
    terms, entries = decoded(encode_execute([FIRST], 7, guarded=False))

    assert terms == 7 | ANY_BASE_FEE_WEI << 64 | 1 << 136
    assert len(entries) == 2


def test_net_floors__token_bought_and_sold__adds_up_the_worst() -> None:
    back = replace(FIRST, token_in=MIDDLE, token_out=LOW, amount_in=500, min_amount_out=3 * 10**17)
    legs = [FIRST, back, replace(FIRST, amount_in=7, min_amount_out=0)]

    assert net_floors(legs) == (
        Watch(MIDDLE.address, 1_990_000 - 500, 0),
        Watch(LOW.address, 0, 10**18 + 7 - 3 * 10**17),
    )


@pytest.mark.parametrize(
    ("token_in", "token_out", "zero_for_one"),
    [(LOW, MIDDLE, True), (MIDDLE, LOW, False), (MIDDLE, HIGH, True), (HIGH, MIDDLE, False)],
)
def test_encode__direction__is_that_of_the_addresses_as_numbers(
    token_in: Token, token_out: Token, zero_for_one: bool
) -> None:
    # As text, "0xA..." sorts before "0xf...", and both before nothing: case must not matter.
    leg = replace(FIRST, token_in=token_in, token_out=token_out)

    what, _ = decoded(encode_execute([leg], 1, guarded=False))[1][-1]
    hop = decode(["uint256"] * 4, encode_execute([leg], 1)[4:])[2]

    assert bool(what >> 192 & 1) is bool(hop >> 192 & 1) is zero_for_one


def test_encode__as_many_legs_as_the_contract_takes__passes() -> None:
    _, entries = decoded(encode_execute([FIRST] * MAX_LEGS, 1))

    assert len(entries) == 2 + 32
    assert MAX_LEGS == 32


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


def test_decode_amount_out__returned_data__is_one_word() -> None:
    assert decode_amount_out((2**112 - 1).to_bytes(32, "big")) == 2**112 - 1


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
