"""The block some time ago: the same whatever the way to it, on slow, fast and uneven chains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from readers_fake_node import mainnet, network

from rebalancer.errors import ReadError, RpcUnavailable
from rebalancer.evm.rpc import RpcError
from rebalancer.model import BlockRef
from rebalancer.readers.call import Call
from rebalancer.readers.chain import Reorganised
from rebalancer.readers.past import find_block, read_past

NET = network()


class Chain:
    """Headers by number; those before ``first`` are not there."""

    def __init__(self, times: Sequence[int], first: int = 0) -> None:
        self.times = times
        self.first = first
        self.requests = 0

    def call(self, method: str, *params: Any) -> Any:
        raise AssertionError(f"{method} was asked alone")

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        self.requests += 1
        return [self.header(int(params[0], 16)) for _, params in calls]

    def header(self, number: int) -> Any:
        if not self.first <= number < len(self.times):
            return None
        time = hex(self.times[number])
        return {"number": hex(number), "hash": f"0x{number:064x}", "timestamp": time}

    @property
    def head(self) -> BlockRef:
        number = len(self.times) - 1
        return BlockRef(1, number, f"0x{number:064x}", self.times[-1], 0)


def expected(chain: Chain, target: int) -> int | None:
    old = [n for n, t in enumerate(chain.times) if t <= target and n >= chain.first]
    return max(old, default=None)


def number(block: BlockRef | None) -> int | None:
    return None if block is None else block.number


def test_every_twelve_seconds__is_one_request() -> None:
    chain = Chain(range(10**9, 10**9 + 12 * 10_000, 12))
    assert number(find_block(chain, chain.head, chain.times[-1] - 1_200)) == 9_899
    assert number(find_block(chain, chain.head, chain.times[-1] - 1_201)) == 9_898
    assert chain.requests == 2


def test_missed_slots__are_found_in_one_request_more_at_most() -> None:
    """About one slot in a hundred is empty on mainnet."""
    times = [10**9 + 12 * slot for slot in range(10_000) if slot % 97]
    chain = Chain(times)
    for back in (1_200, 1_800, 3_600):
        chain.requests = 0
        target = times[-1] - back
        assert number(find_block(chain, chain.head, target)) == expected(chain, target)
        assert chain.requests <= 2


def test_block_that_is_not_on_the_chain__has_no_past() -> None:
    chain = Chain(range(10**9, 10**9 + 12 * 100, 12))
    gone = replace(chain.head, hash="0x" + "ee" * 32)
    with pytest.raises(Reorganised, match="block 99 "):
        find_block(chain, gone, chain.times[-1] - 600)
    with pytest.raises(Reorganised, match="block 99 "):
        read_past(chain, NET.multicall3, gone, {600: [Call("0x" + "11" * 20, "f()")]})


@pytest.mark.parametrize("spacing", [1, 2, 60, 3_600])
def test_other_spacings__are_found_in_a_few_requests(spacing: int) -> None:
    chain = Chain(range(10**9, 10**9 + spacing * 50_000, spacing))
    target = chain.times[-1] - 7_200
    assert number(find_block(chain, chain.head, target)) == expected(chain, target)
    assert chain.requests <= 6


def test_a_young_chain__has_no_such_block() -> None:
    chain = Chain(range(10**9, 10**9 + 12 * 6, 12))
    assert find_block(chain, chain.head, 10**9 - 1) is None
    assert number(find_block(chain, chain.head, 10**9)) == 0
    assert find_block(chain, chain.head, chain.head.timestamp) == chain.head


def test_a_node_that_begins_later__has_none_before() -> None:
    """An Anvil that was started from a state file knows nothing before it."""
    chain = Chain(range(10**9, 10**9 + 12 * 1_000, 12), first=990)
    assert find_block(chain, chain.head, chain.times[989]) is None
    assert number(find_block(chain, chain.head, chain.times[990])) == 990
    alone = Chain(range(10**9, 10**9 + 12 * 1_000, 12), first=999)
    assert find_block(alone, alone.head, alone.times[900]) is None


@given(
    gaps=st.lists(st.integers(1, 500), min_size=1, max_size=120),
    first=st.integers(0, 40),
    back=st.integers(0, 40_000),
)
def test_any_chain__the_youngest_block_that_is_old_enough(
    gaps: list[int], first: int, back: int
) -> None:
    times = [10**9]
    for gap in gaps:
        times.append(times[-1] + gap)
    chain = Chain(times, min(first, len(times) - 1))
    target = times[-1] - back
    assert number(find_block(chain, chain.head, target)) == expected(chain, target)


def test_silence_is_an_error__but_a_pruned_state_is_a_fault() -> None:
    node, call = mainnet(), Call(NET.multicall3, "getBlockNumber()")
    block = node.header(100)
    assert block is not None
    at = BlockRef(1, 100, block["hash"], int(block["timestamp"], 16), 0)

    def refuse(*_: object) -> None:
        raise RpcError("eth_call", -32000, "missing trie node")

    node.faults["eth_call"] = refuse
    past = read_past(node, NET.multicall3, at, {120: (call,)})[120]
    assert past.block is None
    assert "missing trie node" in past.fault

    def silence(*_: object) -> None:
        raise RpcUnavailable("no answer")

    node.faults["eth_call"] = silence
    with pytest.raises(RpcUnavailable):
        read_past(node, NET.multicall3, at, {120: (call,)})
    node.faults["eth_getBlockByNumber"] = lambda *_: "nonsense"
    with pytest.raises(ReadError, match="not a header"):
        read_past(node, NET.multicall3, at, {120: (call,)})
