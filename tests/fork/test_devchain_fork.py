"""The chain that everybody is handed: a fork of the synthetic mainnet."""

from __future__ import annotations

from rebalancer.devchain.fork import DevChain


def test_each_test_starts_from_the_same_block_a(devchain: DevChain) -> None:
    _start_then_disturb(devchain)


def test_each_test_starts_from_the_same_block_b(devchain: DevChain) -> None:
    _start_then_disturb(devchain)


def _start_then_disturb(chain: DevChain) -> None:
    head = chain.rpc.call("eth_getBlockByNumber", "latest", False)
    assert (int(head["number"], 16), head["hash"]) == (chain.block_number, chain.block_hash)
    chain.rpc.call("anvil_mine", "0x2")
    after = chain.rpc.call("eth_getBlockByNumber", "latest", False)
    assert int(after["timestamp"], 16) == int(head["timestamp"], 16) + 24
