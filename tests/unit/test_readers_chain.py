"""Blocks: found, checked against what was asked for, and found again after the read."""

from __future__ import annotations

from typing import Any

import pytest
from readers_fake_node import NOW, FakeNode, network

from rebalancer.errors import ChainMismatch, ReadError, RpcUnavailable
from rebalancer.evm.rpc import RpcError
from rebalancer.model import BlockRef
from rebalancer.readers.chain import (
    check_chain_id,
    read_block,
    read_fee_and_recheck,
)


def refusing(code: int, method: str = "eth_maxPriorityFeePerGas") -> Any:
    def refuse(*_: object) -> None:
        raise RpcError(method, code, "no")

    return refuse


def test_read_block__none__is_the_head() -> None:
    node = FakeNode({})
    expected = BlockRef(1, 100, node.block_hash(100), NOW, 7 * 10**9)
    assert read_block(node) == expected
    assert node.requests == [["eth_chainId", "eth_getBlockByNumber"]]


def test_read_block__by_number_and_by_hash__is_the_same_block() -> None:
    node = FakeNode({})
    by_number = read_block(node, 40)
    assert by_number == BlockRef(1, 40, node.block_hash(40), NOW - 720, 7 * 10**9)
    assert read_block(node, by_number.hash) == by_number
    assert read_block(node, "0x" + by_number.hash[2:].upper()) == by_number
    assert read_block(node, 0).number == 0


def test_read_block__before_london__has_no_base_fee() -> None:
    node = FakeNode({})
    node.base_fee = None
    assert read_block(node).base_fee_wei == 0


@pytest.mark.parametrize("block", [101, "0x" + "12" * 32])
def test_read_block__unknown__one_clear_line(block: int | str) -> None:
    with pytest.raises(ReadError, match=f"^the node has no block {block}$") as caught:
        read_block(FakeNode({}), block)
    assert caught.value.hint


@pytest.mark.parametrize("block", [-1, "latest", "0x12", "", "0x" + "g" * 64])
def test_read_block__not_a_block__is_refused_unasked(block: int | str) -> None:
    node = FakeNode({})
    with pytest.raises(ReadError, match="names no block"):
        read_block(node, block)
    assert node.requests == []


@pytest.mark.parametrize("block", [7, "0x" + "ab" * 32])
def test_read_block__another_block_answered__is_refused(block: int | str) -> None:
    node = FakeNode({})
    node.faults["eth_getBlockByNumber"] = lambda *_: node.header(8)
    node.faults["eth_getBlockByHash"] = lambda *_: node.header(8)
    with pytest.raises(RpcUnavailable, match="answered with block 8"):
        read_block(node, block)


@pytest.mark.parametrize(
    "header",
    [
        "0x",
        {},
        {"number": "0x64", "hash": None, "timestamp": "0x1"},
        {"number": 100, "hash": "0x" + "ab" * 32, "timestamp": "0x1"},
        {"number": "0x64", "hash": "0x" + "ab" * 32, "timestamp": "now"},
        {"number": "0x64", "hash": "0x" + "ab" * 32, "timestamp": "0x1", "baseFeePerGas": "0x"},
    ],
)
def test_read_block__garbage_header__is_refused(header: Any) -> None:
    node = FakeNode({})
    node.faults["eth_getBlockByNumber"] = lambda *_: header
    with pytest.raises(RpcUnavailable, match=r"the node's answer for a block.* is not a"):
        read_block(node)


def test_read_block__node_refuses__is_a_read_error() -> None:
    node = FakeNode({})
    node.faults["eth_getBlockByNumber"] = refusing(-32000, "eth_getBlockByNumber")
    with pytest.raises(ReadError, match=r"^block 5 cannot be read: eth_getBlockByNumber: no"):
        read_block(node, 5)


def test_read_block__wrong_chain__is_told_before_the_missing_block() -> None:
    with pytest.raises(ChainMismatch, match="serves chain 137, mainnet is chain 1") as caught:
        read_block(FakeNode({}, chain_id=137), 10**9, network())
    assert "MAINNET_RPC_URL" in caught.value.hint


def test_check_chain_id__right_chain__passes() -> None:
    node = FakeNode({})
    check_chain_id(node, network())
    assert node.requests == [["eth_chainId"]]


def test_check_chain_id__wrong_chain__both_ids() -> None:
    with pytest.raises(ChainMismatch, match="serves chain 5, mainnet is chain 1"):
        check_chain_id(FakeNode({}, chain_id=5), network())


def test_check_chain_id__garbage__is_refused() -> None:
    node = FakeNode({})
    node.faults["eth_chainId"] = lambda: "one"
    with pytest.raises(RpcUnavailable, match="answer for eth_chainId is not a number"):
        check_chain_id(node, network())


def test_check_chain_id__node_refuses__is_a_read_error() -> None:
    node = FakeNode({})
    node.faults["eth_chainId"] = refusing(-32005, "eth_chainId")
    with pytest.raises(ReadError, match=r"^the chain id cannot be read") as caught:
        check_chain_id(node, network())
    assert "limits" in caught.value.hint


def test_recheck__block_stands__gives_the_suggested_fee() -> None:
    node = FakeNode({})
    block = read_block(node, 50)
    assert read_fee_and_recheck(node, block) == 2 * 10**9
    assert node.requests[-1] == ["eth_maxPriorityFeePerGas", "eth_getBlockByNumber"]


@pytest.mark.parametrize("code", [-32601, -32004])
def test_recheck__method_missing__falls_back(code: int) -> None:
    node = FakeNode({})
    node.faults["eth_maxPriorityFeePerGas"] = refusing(code)
    assert read_fee_and_recheck(node, read_block(node)) == 10**9


def test_recheck__method_missing__still_notices_the_reorg() -> None:
    node = FakeNode({})
    node.faults["eth_maxPriorityFeePerGas"] = refusing(-32601)
    block = read_block(node)
    node.branch = 1
    with pytest.raises(ReadError, match="not part of the chain any more"):
        read_fee_and_recheck(node, block)


def test_recheck__another_error__is_not_taken_for_a_missing_method() -> None:
    node = FakeNode({})
    node.faults["eth_maxPriorityFeePerGas"] = refusing(-32005)
    with pytest.raises(ReadError, match="cannot be read"):
        read_fee_and_recheck(node, read_block(node))


@pytest.mark.parametrize("shorter", [False, True])
def test_recheck__reorganised__is_refused(shorter: bool) -> None:
    node = FakeNode({})
    block = read_block(node)
    node.branch, node.head = 1, 99 if shorter else 100
    with pytest.raises(ReadError, match=r"block 100 .* is not part of the chain") as caught:
        read_fee_and_recheck(node, block)
    assert caught.value.block == 100
    assert "try again" in caught.value.hint
