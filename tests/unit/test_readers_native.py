"""What a wallet's ether did, from balances, nonces and its own transactions alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_chain import at, header

from rebalancer.errors import ReadError, RpcUnavailable
from rebalancer.evm.rpc import RpcError
from rebalancer.readers.chain import Reorganised
from rebalancer.readers.native import NativeMove, read_native_moves

WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OTHER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
GAS_WEI = 21_000 * 7


def tx_hash(block: int, index: int = 0) -> str:
    return f"0x{block:032x}{index:032x}"


class Chain:
    """A node of ``length`` blocks; ``send`` what the wallet does, ``get`` what it is given."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.changes = [0] * (length + 1)
        self.nonces = [0] * (length + 1)
        self.blocks: list[list[dict[str, Any]]] = [[] for _ in range(length + 1)]
        self.receipts: dict[str, dict[str, Any]] = {}
        self.asked: list[int] = []

    def send(self, block: int, wei: int, *, back: int = 0, status: int = 1) -> str:
        """A transaction of the wallet that sends ``wei`` along and gets ``back`` for it."""
        name = tx_hash(block, len(self.blocks[block]))
        sender = WALLET.lower()
        self.blocks[block].append({"hash": name, "from": sender, "value": hex(wei)})
        self.receipts[name] = {
            "gasUsed": hex(21_000),
            "effectiveGasPrice": hex(7),
            "status": hex(status),
        }
        self.nonces[block] += 1
        self.changes[block] += (back - wei) * status - GAS_WEI
        return name

    def get(self, block: int, wei: int) -> None:
        self.blocks[block].append({"hash": tx_hash(block, 99), "from": OTHER, "value": hex(wei)})
        self.changes[block] += wei

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        self.asked.append(sum(params[1:] != (False,) for _, params in calls))
        return [self._answer(method, *params) for method, params in calls]

    def call(self, method: str, *params: Any) -> Any:
        raise AssertionError(method)

    def _answer(self, method: str, what: str, block: Any = None) -> Any:
        if method == "eth_getTransactionReceipt":
            return self.receipts[what]
        if method == "eth_getBlockByNumber":
            number = int(what, 16)
            return {**header(number), "transactions": self.blocks[number]}
        assert what == WALLET
        until = int(block, 16) + 1
        if method == "eth_getBalance":
            return hex(10**20 + sum(self.changes[:until]))
        assert method == "eth_getTransactionCount"
        return hex(sum(self.nonces[:until]))


def moves(chain: Chain, first: int = 0, known: dict[int, list[str]] | None = None) -> Any:
    return read_native_moves(chain, WALLET, at(first), at(chain.length), known or {})


def test_reorganised_meanwhile__is_noticed() -> None:
    chain = Chain(100)
    with pytest.raises(Reorganised, match="block 100"):
        read_native_moves(chain, WALLET, at(0), at(100, "0x" + "ee" * 32), {})
    with pytest.raises(Reorganised, match="block 7"):
        read_native_moves(chain, WALLET, at(7, "0x" + "ee" * 32), at(100), {})


def test_nothing_happened__two_requests() -> None:
    chain = Chain(10_000)
    assert moves(chain) == ()
    assert chain.asked == [2, 2]


def test_each_transaction__what_it_moved_and_what_it_cost() -> None:
    chain = Chain(1_000)
    wrap = chain.send(3, 500)
    swap = chain.send(700, 1_000, back=40)  # what it sent too much comes back
    approve = chain.send(1_000, 0)
    assert moves(chain) == (
        NativeMove(3, wrap, -500, GAS_WEI),
        NativeMove(700, swap, -960, GAS_WEI),
        NativeMove(1_000, approve, 0, GAS_WEI),
    )
    assert moves(chain, first=3)[0].tx_hash == swap


def test_failed_transaction__costs_and_moves_nothing() -> None:
    chain = Chain(10)
    failed = chain.send(5, 800, status=0)
    assert moves(chain) == (NativeMove(5, failed, 0, GAS_WEI),)


def test_several_in_one_block__each_its_own_and_the_first_what_remains() -> None:
    chain = Chain(10)
    first, second = chain.send(5, 100, back=30), chain.send(5, 7)
    assert moves(chain) == (
        NativeMove(5, first, -70, GAS_WEI),
        NativeMove(5, second, -7, GAS_WEI),
    )


def test_what_others_send__is_a_move_without_a_transaction() -> None:
    chain = Chain(100)
    chain.get(20, 11)
    chain.get(30, 22)
    assert moves(chain) == (NativeMove(100, "", 33, 0),)


def test_known_transaction_of_another_wallet__takes_what_its_block_brought() -> None:
    """An owner of a Safe executes for it: no nonce tells of that."""
    chain = Chain(100)
    chain.get(20, 11)
    chain.get(30, 22)
    name = tx_hash(20, 99)
    assert moves(chain, known={20: [name]}) == (
        NativeMove(20, name, 11, 0),
        NativeMove(100, "", 22, 0),
    )


@given(st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_any_history__the_moves_are_the_change_of_the_balance(chance: random.Random) -> None:
    chain = Chain(300)
    for _ in range(40):
        block = chance.randint(1, 300)
        if chance.random() < 0.3:
            chain.get(block, chance.randint(1, 10**6))
        else:
            wei, status = chance.randint(0, 10**6), chance.randint(0, 1)
            chain.send(block, wei, back=chance.randint(0, 50), status=status)
    first = chance.randint(0, 100)
    found = moves(chain, first)
    sent = [
        tx["hash"]
        for n in range(first + 1, 301)
        for tx in chain.blocks[n]
        if tx["hash"] in chain.receipts
    ]
    assert [move.tx_hash for move in found if move.gas_wei] == sent
    assert sum(move.wei - move.gas_wei for move in found) == sum(chain.changes[first + 1 :])


def test_node_without_the_past__says_so() -> None:
    class Forgetful(Chain):
        def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
            raise RpcError("eth_getBalance", -32000, "missing trie node")

    with pytest.raises(ReadError, match="native balance") as caught:
        moves(Forgetful(10))
    assert "archive node" in caught.value.hint


@pytest.mark.parametrize("answer", [None, {"transactions": ["0x12"]}, {"transactions": None}])
def test_nonsense__is_refused(answer: Any) -> None:
    class Lying(Chain):
        def _answer(self, method: str, what: str, block: Any = None) -> Any:
            if method == "eth_getBlockByNumber" and block is True:
                return answer
            return super()._answer(method, what, block)

    chain = Lying(10)
    chain.send(5, 1)
    with pytest.raises(RpcUnavailable):
        moves(chain)
