"""Who used a nonce is found in the block that did, or it was not used."""

from __future__ import annotations

from typing import Any

import pytest
from bundler_fakes import WALLET, FakeRpc

from rebalancer.bundler.evidence import NonceUser, find_nonce_user
from rebalancer.bundler.head import Head
from rebalancer.evm.rpc import RpcError

OTHER = "0x" + "0a" * 20


def chain(blocks: dict[int, list[dict[str, Any]]], first: int = 5) -> FakeRpc:
    """Blocks of transactions; the wallet's count is ``first`` before them."""

    def count(wallet: str, number: str) -> str:
        assert wallet == WALLET
        mined = [tx for n, txs in blocks.items() if n <= int(number, 16) for tx in txs]
        used = [tx for tx in mined if tx["from"] == WALLET.lower() or tx.get("mine")]
        return hex(first + len(used))

    return FakeRpc(
        {
            "eth_getTransactionCount": count,
            "eth_getBlockByNumber": lambda number, full: {
                "transactions": blocks.get(int(number, 16), []) if full else []
            },
        }
    )


def tx(tx_hash: str, nonce: int, sender: str = WALLET.lower(), **more: Any) -> dict[str, Any]:
    return {"hash": tx_hash, "from": sender, "nonce": hex(nonce), **more}


def head(number: int) -> Head:
    return Head(number, "0xaa", 1, 30_000_000)


@pytest.mark.parametrize("at", range(101, 121))
def test_the_block_is_found_wherever_it_is(at: int) -> None:
    rpc = chain({at: [tx("0x1", 5, OTHER), tx("0x2", 5)], 121: [tx("0x3", 6)]})
    assert find_nonce_user(rpc, WALLET, 5, 100, head(130)) == NonceUser("0x2", at)
    assert rpc.count("eth_getTransactionCount") <= 6, "looked at every block"


def test_several_nonces_of_one_block_are_told_apart() -> None:
    rpc = chain({103: [tx("0x5", 5), tx("0x6", 6), tx("0x7", 7)]})
    for nonce in (5, 6, 7):
        found = find_nonce_user(rpc, WALLET, nonce, 100, head(110))
        assert found == NonceUser(f"0x{nonce}", 103)


def test_a_node_that_contradicts_itself_has_no_evidence() -> None:
    assert find_nonce_user(chain({}), WALLET, 5, 100, head(110)) is None
    assert find_nonce_user(chain({}), WALLET, 5, 110, head(110)) is None
    hidden = chain({103: [tx("0x2", 5)]})
    hidden.answers["eth_getBlockByNumber"] = None
    assert find_nonce_user(hidden, WALLET, 5, 100, head(110)) is None


def test_an_authorisation_uses_a_nonce_too() -> None:
    signed = [{"nonce": "0x5", "address": OTHER}]
    rpc = chain({103: [tx("0x9", 77, OTHER, authorizationList=signed, mine=True)]})
    assert find_nonce_user(rpc, WALLET, 5, 100, head(110)) == NonceUser("0x9", 103)
    # The wallet's own transaction goes before a stranger's with the same number.
    rpc = chain({103: [tx("0x9", 77, OTHER, authorizationList=signed), tx("0x2", 5)]})
    assert find_nonce_user(rpc, WALLET, 5, 100, head(110)) == NonceUser("0x2", 103)


def test_a_node_that_forgot_says_so() -> None:
    rpc = chain({})
    rpc.answers["eth_getTransactionCount"] = RpcError("eth_getTransactionCount", -32000, "pruned")
    with pytest.raises(RpcError):
        find_nonce_user(rpc, WALLET, 5, 100, head(110))
