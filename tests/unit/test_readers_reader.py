"""The reader's program: what it is asked in how many bytes, and every way in which it can fail."""

from __future__ import annotations

import json
from threading import Barrier, Lock
from typing import Any

import pytest
from reader_program import run_program
from readers_fake_node import FakeNode, network, word

from rebalancer.errors import ReadError, RpcUnavailable
from rebalancer.evm.abi import from_hex, to_hex
from rebalancer.evm.rpc import RequestTooLarge, RpcError
from rebalancer.readers import packed as packing
from rebalancer.readers.call import Call
from rebalancer.readers.multicall import multicall
from rebalancer.readers.packed import (
    ADDRESS,
    GAS_PER_CALL,
    GAS_PER_NEXT_CALL,
    MAX_GAS,
    Answers,
    Packed,
    pack,
    program,
    unpack,
)
from rebalancer.readers.reader import CONCURRENCY, read
from scripts.assemble import assemble
from scripts.compile_contracts import READER_ARTIFACT, assemble_reader, render

TOKEN = "0x" + "11" * 20
OTHER = "0x" + "22" * 20
WALLETS = [f"0x{i:040x}" for i in range(1, 4)]
ROUND = ("uint80", "int256", "uint256", "uint256", "uint80")


def address(number: int) -> str:
    return f"0x{number:040x}"


def balance(token: str, wallet: str) -> Call:
    return Call(token, "balanceOf(address)", (wallet,))


def supply(token: str = TOKEN) -> Call:
    return Call(token, "totalSupply()")


def packs(*calls: Call) -> list[Packed]:
    found = pack(calls)
    assert found is not None
    return found


def node(calls: list[Call]) -> FakeNode:
    fake = FakeNode({})
    for i, call in enumerate(calls):
        fake.put(call.target, call.signature, call.args, word(*[i] * len(call.returns)))
    return fake


def ask(fake: FakeNode, *calls: Call) -> Answers | None:
    return read(fake, packs(*calls), fake.block_hash(fake.head))


def test_artifact__is_what_the_source_assembles_to() -> None:
    assert READER_ARTIFACT.read_text() == render(assemble_reader())
    assert program() == json.loads(READER_ARTIFACT.read_text())["runtime"]


def test_assemble__numbers_places_and_comments() -> None:
    source = "#SIZE = 0x1_00\n0 #SIZE ; 7 not this\nagain: @again JUMP 65535 DUP16 SWAP1"
    assert assemble(source).hex() == "60006101005b6100055661ffff8f90"


@pytest.mark.parametrize("source", ["NOSUCH", "@nowhere", "#UNKNOWN"])
def test_assemble__what_is_unknown__is_refused(source: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        assemble(source)


def test_pack__wallets_times_tokens__each_address_once() -> None:
    tokens = [TOKEN, OTHER]
    (one,) = packs(*(balance(t, w) for t in tokens for w in WALLETS), supply())
    data = from_hex(one.data)
    assert data.hex() == (
        "000007"
        "70a08231" "14" "01" "0002" "0003" + "11" * 20 + "22" * 20
        + "".join(wallet[2:] for wallet in WALLETS)
        + "18160ddd" "00" "01" "0001" "0001" + "11" * 20 + ""
    )  # fmt: skip
    assert [*one.calls] == [balance(t, w) for t in tokens for w in WALLETS] + [supply()]


def test_pack__arguments_that_are_words__and_returns_of_five() -> None:
    (one,) = packs(Call(TOKEN, "getRoundData(uint80)", (7,), ROUND))
    assert from_hex(one.data).hex() == (
        "000001" "9a6fc8f5" "20" "05" "0001" "0001" + "11" * 20 + word(7).hex()
    )  # fmt: skip


@pytest.mark.parametrize(
    "call",
    [
        Call(TOKEN, "allowance(address,address)", (OTHER, OTHER)),
        Call(TOKEN, "f(bytes)", (b"x",)),
        Call(TOKEN, "f(int256)", (-1,)),
        Call(TOKEN, "symbol()", (), ("string",)),
        Call(TOKEN, "slots()", (), ("uint256[]",)),
        Call(TOKEN, "nine()", (), ("uint256",) * 9),
        Call(TOKEN, "none()", (), ()),
        Call(TOKEN, "balanceOf(address)", ("0x11",)),
        Call(TOKEN, "balanceOf(address)", (b"\x11" * 20,)),
        Call(TOKEN, "balanceOf(address)", ()),
        Call(TOKEN, "balanceOf(address)", ("0x" + " 1" * 20,)),
        Call("0x11", "totalSupply()"),
        Call(TOKEN, "at(uint256)", (2**256,)),
        Call(TOKEN, "at(uint256)", (-1,)),
        Call(TOKEN, "at(uint256)", ("7",)),
        Call(TOKEN, "totalSupply()", (7,)),
    ],
)
def test_pack__call_without_a_short_form__is_none(call: Call) -> None:
    assert pack([supply(), call]) is None


def test_pack__nothing_asked__nothing_packed() -> None:
    assert pack([]) == []


@pytest.mark.parametrize(
    ("tokens", "wallets", "sizes"),
    [
        (2_083, 1, [2_083]),
        (2_084, 1, [1_043, 1_041]),
        (1, 4_165, [4_165]),
        (1, 4_166, [2_084, 2_082]),
    ],
)
def test_pack__is_cut_by_gas_into_equal_parts(tokens: int, wallets: int, sizes: list[int]) -> None:
    """25 million gas: 12,000 for the first call of a contract, 6,000 for the next."""
    calls = [balance(address(2**80 + t), address(w)) for t in range(tokens) for w in range(wallets)]
    parts = packs(*calls)
    assert [part.count for part in parts] == sizes
    assert [call for part in parts for call in part.calls] == calls


def test_pack__no_part_is_over_the_limit__and_every_call_is_in_one() -> None:
    calls = [balance(address(2**80 + t), address(w)) for t in range(7) for w in range(3_000)]
    calls += [supply(address(2**80 + t)) for t in range(5_000)]
    parts = packs(*calls)
    for part in parts:
        of_part = [*part.calls]
        targets = len({call.target for call in of_part})
        gas = targets * GAS_PER_CALL + (len(of_part) - targets) * GAS_PER_NEXT_CALL
        assert gas <= MAX_GAS
        assert part.count == len(of_part)
    assert sorted(call for part in parts for call in part.calls) == sorted(calls)


def test_read__every_kind_of_answer__in_one_request() -> None:
    calls = [supply(address(i)) for i in range(1, 7)]
    fake = node(calls)
    fake.put(calls[1].target, "totalSupply()", (), None)
    fake.put(calls[2].target, "totalSupply()", (), b"")
    fake.put(calls[3].target, "totalSupply()", (), b"\x01" * 31)
    fake.put(calls[4].target, "totalSupply()", (), word(9, 8))
    found = ask(fake, *calls)
    assert found is not None
    results = [found[call] for call in calls]
    assert [r.values() for r in results] == [(0,), None, None, None, (9,), (5,)]
    assert [r.failure for r in results[1:4]] == [
        "totalSupply() reverts",
        "totalSupply() returns nothing, as an address without code does",
        "totalSupply() returns what does not decode",
    ]
    assert [result.call for result in results] == calls
    assert sorted(found) == sorted(calls)
    assert len(found) == 6
    assert fake.requests == [["eth_call"]]
    ((_, transaction, at, override),) = fake.calls
    assert transaction["to"] == ADDRESS
    assert at == {"blockHash": fake.block_hash(100)}
    assert override == {ADDRESS: {"code": program()}}


def test_read__values_are_checked_as_ever() -> None:
    wide = Call(TOKEN, "decimals()", (), ("uint8",))
    fake = node([wide])
    fake.put(TOKEN, "decimals()", (), word(256))
    found = ask(fake, wide)
    assert found is not None
    assert found[wide].values() is None


def runs_for(fake: FakeNode, calls: int) -> list[int]:
    """Let ``fake`` have gas for so many calls; returns how many were asked when."""
    asked: list[int] = []

    def answer(transaction: dict[str, str], at: Any, override: Any) -> str:
        data = from_hex(transaction["data"])
        asked.append(int.from_bytes(data[:3], "big"))
        return to_hex(run_program(data, lambda *a: fake._view(fake.state, *a), calls))

    fake.faults["eth_call"] = answer
    return asked


def test_read__calls_that_there_was_no_gas_for__are_asked_again() -> None:
    calls = [supply(address(i)) for i in range(10)]
    fake = node(calls)
    asked = runs_for(fake, 4)
    found = ask(fake, *calls)
    assert found is not None
    assert [found[call].values() for call in calls] == [(i,) for i in range(10)]
    assert asked == [10, 6, 2]


def test_read__no_gas_for_even_one__is_left_to_multicall3() -> None:
    calls = [supply(address(i)) for i in range(3)]
    fake = node(calls)
    asked = runs_for(fake, 0)
    assert ask(fake, *calls) is None
    assert asked == [3]


@pytest.mark.parametrize("code", [3, -32000, -32003, -32015, -32600, -32601, -32602, -32603, -1])
def test_multicall__node_that_knows_no_override__is_asked_through_multicall3(code: int) -> None:
    fake = node([supply()])
    real = fake._eth_call

    def answer(transaction: dict[str, str], at: Any, *override: Any) -> str:
        if override:
            raise RpcError("eth_call", code, "no")
        return real(transaction, at)

    fake.faults["eth_call"] = answer
    at = fake.block_hash(fake.head)
    assert [r.values() for r in multicall(fake, network().multicall3, [supply()], at)] == [(0,)]
    assert fake.requests == [["eth_call"]] * 2


@pytest.mark.parametrize("code", [-32001, -32002, -32005, 429])
def test_multicall__no_that_is_not_about_the_override__is_raised_at_once(code: int) -> None:
    fake = node([supply()])

    def refuse(*_: object) -> None:
        raise RpcError("eth_call", code, "no")

    fake.faults["eth_call"] = refuse
    with pytest.raises(ReadError, match="the state of the block cannot be read"):
        multicall(fake, network().multicall3, [supply()], fake.block_hash(fake.head))
    assert fake.requests == [["eth_call"]]


GOOD = b"\x04" + word(7)


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x04", GOOD[:-1], GOOD + b"\0", b"\x05" + word(7), word(7), b"\x04\x04" + word(7, 7)],
)
def test_multicall__answer_that_is_not_the_program_s__is_not_believed(answer: bytes) -> None:
    """The first is that of a node which passes over the override: nobody is at the address."""
    fake = node([supply()])
    real = fake._eth_call
    fake.faults["eth_call"] = lambda tx, at, *o: to_hex(answer) if o else real(tx, at)
    at = fake.block_hash(fake.head)
    assert [r.values() for r in multicall(fake, network().multicall3, [supply()], at)] == [(0,)]
    assert unpack(packs(supply())[0], answer) is None
    assert unpack(packs(supply())[0], GOOD) is not None


def test_multicall__call_without_a_short_form__sends_all_through_multicall3() -> None:
    symbol = Call(TOKEN, "symbol()", (), ("string",))
    fake = node([supply()])
    fake.put(TOKEN, "symbol()", (), word(32, 1) + b"T".ljust(32, b"\0"))
    at = fake.block_hash(fake.head)
    results = multicall(fake, network().multicall3, [symbol, supply()], at)
    assert [r.values() for r in results] == [("T",), (0,)]
    assert fake.requests == [["eth_call"]]


def test_multicall__same_call_twice__same_answer_twice() -> None:
    fake = node([supply()])
    at = fake.block_hash(fake.head)
    results = multicall(fake, network().multicall3, [supply(), supply()], at)
    assert [r.values() for r in results] == [(0,), (0,)]


def test_multicall__answer_that_is_no_data__is_refused() -> None:
    fake = node([supply()])
    fake.faults["eth_call"] = lambda *_: "0xzz"
    with pytest.raises(RpcUnavailable, match="answer for eth_call is not hex data"):
        multicall(fake, network().multicall3, [supply()], fake.block_hash(fake.head))


def too_large(fake: FakeNode, most: int) -> list[int]:
    real, asked = fake._eth_call, []

    def answer(transaction: dict[str, str], at: Any, override: Any) -> str:
        asked.append(int(transaction["data"][2:8], 16))
        if asked[-1] > most:
            raise RequestTooLarge("http://host", "takes no request of this size", "eth_call")
        return real(transaction, at, override)

    fake.faults["eth_call"] = answer
    return asked


def test_read__too_large_for_the_node__is_halved_until_it_is_not() -> None:
    calls = [supply(address(i)) for i in range(20)]
    fake = node(calls)
    asked = too_large(fake, 5)
    found = ask(fake, *calls)
    assert found is not None
    assert [found[call].values() for call in calls] == [(i,) for i in range(20)]
    assert asked == [20, 10, 5, 5, 10, 5, 5]


def test_read__single_call_too_large__says_so() -> None:
    fake = node([])
    too_large(fake, 0)
    with pytest.raises(RequestTooLarge):
        ask(fake, supply(), supply(OTHER))


def test_read__parts_are_sent_concurrently_but_not_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight parts: four have to be under way together for any of them to be answered."""
    monkeypatch.setattr(packing, "MAX_GAS", GAS_PER_CALL)
    calls = [supply(address(i)) for i in range(8)]
    fake = node(calls)
    real, together = fake._eth_call, Barrier(CONCURRENCY, timeout=10)
    lock, under_way, most = Lock(), 0, 0

    def answer(*params: Any) -> str:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait()
        with lock:
            under_way -= 1
        return real(*params)

    fake.faults["eth_call"] = answer
    found = ask(fake, *calls)
    assert found is not None
    assert [found[call].values() for call in calls] == [(i,) for i in range(8)]
    assert most == CONCURRENCY == 4


def test_read__one_part_fails__the_whole_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_GAS", GAS_PER_CALL)
    calls = [supply(address(i)) for i in range(3)]
    fake = node(calls)
    real = fake._eth_call

    def answer(transaction: dict[str, str], *rest: Any) -> str:
        if transaction["data"].endswith(calls[2].target[2:]):
            raise RpcUnavailable("gone")
        return real(transaction, *rest)

    fake.faults["eth_call"] = answer
    with pytest.raises(RpcUnavailable, match="gone"):
        ask(fake, *calls)
