"""Multicall: one call's failure is its own, chunks are transparent, no code is never zero."""

from __future__ import annotations

from threading import Barrier, Lock
from typing import Any

import pytest
from eth_abi.abi import decode
from readers_fake_node import FakeNode, network, word

from rebalancer.errors import ReadError, RpcUnavailable
from rebalancer.evm.abi import from_hex, to_hex
from rebalancer.evm.rpc import RequestTooLarge, RpcError
from rebalancer.readers import multicall as module
from rebalancer.readers.call import Call, Result
from rebalancer.readers.multicall import by_multicall3
from rebalancer.readers.reader import CONCURRENCY

TOKEN = "0x" + "11" * 20
OTHER = "0x" + "22" * 20
MULTICALL3 = network().multicall3


def supply(target: str = TOKEN) -> Call:
    return Call(target, "totalSupply()")


def node() -> FakeNode:
    fake = FakeNode({})
    fake.put(TOKEN, "totalSupply()", (), word(7))
    return fake


def ask(fake: FakeNode, *calls: Call) -> list[Result]:
    return by_multicall3(fake, MULTICALL3, calls, fake.block_hash(fake.head))


def test_multicall__reads_by_block_hash_in_one_call() -> None:
    fake = node()
    (result,) = ask(fake, supply())
    assert result.values() == (7,)
    ((method, _, at),) = fake.calls
    assert (method, at) == ("eth_call", {"blockHash": fake.block_hash(100)})


def test_multicall__nothing_asked__nothing_sent() -> None:
    fake = node()
    assert ask(fake) == []
    assert fake.requests == []


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (None, "totalSupply() reverts"),
        (b"", "totalSupply() returns nothing, as an address without code does"),
        (b"\x01" * 31, "totalSupply() returns what does not decode"),
    ],
)
def test_multicall__a_bad_call__spoils_only_itself(answer: bytes | None, failure: str) -> None:
    fake = node()
    fake.put(OTHER, "totalSupply()", (), answer)
    before, bad, after = ask(fake, supply(), supply(OTHER), supply())
    assert before.values() == after.values() == (7,)
    assert bad.values() is None
    assert bad.failure == failure


def test_multicall__address_without_code__is_not_zero() -> None:
    (result,) = ask(node(), supply(OTHER))
    assert result.success
    assert result.data == b""
    assert result.values() is None


def test_result__revert_data_that_looks_like_a_number__is_no_number() -> None:
    result = Result(supply(), False, word(7))
    assert result.values() is None
    assert result.failure == "totalSupply() reverts"


def test_multicall__value_beyond_its_type__does_not_decode() -> None:
    fake = node()
    fake.put(TOKEN, "decimals()", (), word(256))
    (result,) = ask(fake, Call(TOKEN, "decimals()", (), ("uint8",)))
    assert result.values() is None


@pytest.mark.parametrize(
    ("count", "contracts", "chunks"),
    [(1, 2, 1), (1_604, 2, 1), (1_605, 2, 2), (4_000, 2, 3), (2_048, 1, 1), (2_049, 1, 2)],
)
def test_multicall__many_calls__cut_by_gas(count: int, contracts: int, chunks: int) -> None:
    """25 million gas for calls of 12,000 and 224 bytes of calldata at 16 each; 6,000 for a call of
    the contract that was called before, of which the 448 KiB of calldata take 2,048."""
    fake = node()
    calls = [
        Call((TOKEN, OTHER)[i % contracts], "balanceOf(address)", (to_hex(i.to_bytes(20, "big")),))
        for i in range(count)
    ]
    for i, call in enumerate(calls):
        fake.put(call.target, call.signature, call.args, word(i))
    results = ask(fake, *calls)
    assert [result.values() for result in results] == [(i,) for i in range(count)]
    assert [result.call for result in results] == calls
    assert fake.requests == [["eth_call"]] * chunks


def test_multicall__large_calldata__cut_by_size() -> None:
    fake = node()
    big = Call(TOKEN, "f(bytes)", (b"\x01" * 120_000,))
    fake.put(TOKEN, big.signature, big.args, word(1))
    assert [r.values() for r in ask(fake, *[big] * 7)] == [(1,)] * 7
    assert fake.requests == [["eth_call"]] * 3
    sizes = [len(call[1]["data"]) // 2 for call in fake.calls]
    assert max(sizes) <= module.MAX_CALLDATA_BYTES + 100


def test_multicall__one_call_beyond_the_limit__is_sent_alone() -> None:
    fake = node()
    big = Call(TOKEN, "f(bytes)", (b"\x01" * (module.MAX_CALLDATA_BYTES + 1),))
    fake.put(TOKEN, big.signature, big.args, word(1))
    assert [r.values() for r in ask(fake, supply(), big, supply())] == [(7,), (1,), (7,)]
    assert fake.requests == [["eth_call"]] * 3


@pytest.mark.parametrize("limit_off_by", [0, -1])
def test_multicall__size_limit__is_of_the_encoded_calls(
    limit_off_by: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six calls in two chunks of three when three just fit, in three of two when they do not."""
    fake = node()
    three = [
        supply(),
        Call(TOKEN, "balanceOf(address)", (OTHER,)),
        Call(TOKEN, "f(bytes)", (b"x",)),
    ]
    ask(fake, *three)
    encoded = len(fake.calls[-1][1]["data"][2:]) // 2
    # Beside the calls there are the selector, and offset and length of the array.
    monkeypatch.setattr(module, "MAX_CALLDATA_BYTES", encoded - 4 - 64 + limit_off_by)
    fake.requests.clear()
    ask(fake, *three, *three)
    assert len(fake.requests) == (2 if limit_off_by == 0 else 3)


def weak(fake: FakeNode, most: int, refusal: Exception) -> list[int]:
    """Make ``fake`` refuse more than ``most`` calls at a time; returns how many were asked when."""
    real, asked = fake._eth_call, []

    def answer(transaction: dict[str, str], at: Any) -> str:
        (rows,) = decode(["(address,bool,bytes)[]"], from_hex(transaction["data"])[4:])
        asked.append(len(rows))
        if len(rows) > most:
            raise refusal
        return real(transaction, at)

    fake.faults["eth_call"] = answer
    return asked


TOO_MUCH = [RpcError("eth_call", code, "no") for code in (3, -32000, -32003, -32603, -32015)]
TOO_LARGE = RequestTooLarge("http://host", "takes no request of this size", "eth_call")


@pytest.mark.parametrize("refusal", [*TOO_MUCH, TOO_LARGE])
def test_multicall__too_much_for_the_node__is_halved_until_it_is_not(refusal: Exception) -> None:
    fake = node()
    calls = [Call(TOKEN, "balanceOf(address)", (to_hex(bytes([i] * 20)),)) for i in range(20)]
    for i, call in enumerate(calls):
        fake.put(TOKEN, call.signature, call.args, word(i))
    asked = weak(fake, 5, refusal)
    assert [result.values() for result in ask(fake, *calls)] == [(i,) for i in range(20)]
    assert asked == [20, 10, 5, 5, 10, 5, 5]


@pytest.mark.parametrize("code", [-32001, -32002, -32005, -32600, -32601, -32602])
def test_multicall__refusal_that_less_does_not_help__is_raised_at_once(code: int) -> None:
    fake = node()
    asked = weak(fake, 0, RpcError("eth_call", code, "no"))
    with pytest.raises(ReadError):
        ask(fake, *[supply()] * 64)
    assert asked == [64]


def test_multicall__lost_block__takes_few_requests_to_say_so() -> None:
    """Some nodes say "I do not have it" with the code of "it was too much"."""
    fake = node()
    asked = weak(fake, 0, RpcError("eth_call", -32000, "header not found"))
    with pytest.raises(ReadError, match="header not found"):
        ask(fake, *[supply()] * 64)
    assert asked == [64, 32, 16, 8, 4, 2, 1]


def test_multicall__single_call_too_large__says_so() -> None:
    fake = node()
    weak(fake, 0, TOO_LARGE)
    with pytest.raises(RequestTooLarge):
        ask(fake, supply(), supply())


def test_multicall__chunks_are_sent_concurrently_but_not_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight chunks: four have to be under way together for any of them to be answered."""
    monkeypatch.setattr(module, "MAX_GAS", 1)
    fake = node()
    real, together = fake._eth_call, Barrier(CONCURRENCY, timeout=10)
    lock, under_way, most = Lock(), 0, 0

    def answer(transaction: dict[str, str], at: Any) -> str:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait()
        with lock:
            under_way -= 1
        return real(transaction, at)

    fake.faults["eth_call"] = answer
    targets = [to_hex(bytes([i] * 20)) for i in range(8)]
    for i, target in enumerate(targets):
        fake.put(target, "totalSupply()", (), word(i))
    assert [r.values() for r in ask(fake, *map(supply, targets))] == [(i,) for i in range(8)]
    assert most == CONCURRENCY == 4


def test_multicall__one_chunk_fails__the_whole_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GAS", 1)
    fake = node()
    real = fake._eth_call
    data = module._encode([(supply(OTHER), supply(OTHER).data())])

    def answer(transaction: dict[str, str], at: Any) -> str:
        if transaction["data"] == to_hex(data):
            raise RpcUnavailable("gone")
        return real(transaction, at)

    fake.faults["eth_call"] = answer
    with pytest.raises(RpcUnavailable, match="gone"):
        ask(fake, supply(), supply(), supply(OTHER), supply())


def test_multicall__no_multicall3__says_so() -> None:
    fake = node()
    fake.multicall3 = None
    with pytest.raises(ReadError, match=rf"there is no Multicall3 at {MULTICALL3}") as caught:
        ask(fake, supply())
    assert "networks.yaml" in caught.value.hint


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_multicall__another_number_of_results__is_refused(rows: int) -> None:
    fake = node()
    real = fake._eth_call
    fake.faults["eth_call"] = lambda tx, at: real(
        {"to": tx["to"], "data": to_hex(module._encode([(supply(), supply().data())] * rows))}, at
    )
    with pytest.raises(ReadError, match="no Multicall3"):
        ask(fake, supply(), supply())


@pytest.mark.parametrize("answer", [None, 7, "7", "0x1", "0xzz", {"result": "0x"}])
def test_multicall__answer_that_is_no_data__is_refused(answer: object) -> None:
    fake = node()
    fake.faults["eth_call"] = lambda *_: answer
    with pytest.raises(RpcUnavailable, match="answer for eth_call is not hex data"):
        ask(fake, supply())


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (-32000, "archive node"),
        (-32001, "archive node"),
        (-32002, "syncing"),
        (-32005, "limits"),
        (-32600, "EIP-1898"),
        (-32601, "lacks a method"),
        (-32602, "EIP-1898"),
        (3, "multicall3"),
        (-1, ""),
    ],
)
def test_multicall__node_refuses__hint_by_code(code: int, hint: str) -> None:
    fake = node()

    def refuse(*_: object) -> None:
        raise RpcError("eth_call", code, "missing trie\nnode https://host/v2/KEY  (path )")

    fake.faults["eth_call"] = refuse
    with pytest.raises(ReadError) as caught:
        ask(fake, supply())
    text = str(caught.value)
    assert text == (
        "the state of the block cannot be read: "
        f"eth_call: missing trie node <url> (path ) (code {code})"
    )
    assert hint in caught.value.hint
    assert bool(hint) == bool(caught.value.hint)


@pytest.mark.parametrize(("length", "kept"), [(176, 176), (177, 177), (5_000, 187)])
def test_multicall__long_refusal__is_cut(length: int, kept: int) -> None:
    """Two hundred characters of a node's words: here 10 before and 14 after the x-es."""
    fake = node()

    def refuse(*_: object) -> None:
        raise RpcError("eth_call", -32000, "x" * length)

    fake.faults["eth_call"] = refuse
    with pytest.raises(ReadError) as caught:
        ask(fake, supply())
    said = str(caught.value).removeprefix("the state of the block cannot be read: ")
    assert said.count("x") == kept
    assert len(said) == 200
    assert said.endswith("(code -32000)" if length == 176 else "...")
