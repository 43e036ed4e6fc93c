"""Trials of tokens: which are made, and what is made of a node's answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from readers_fake_node import NOW, WALLET, FakeNode, mainnet, network, portfolio, word

from rebalancer.errors import ReadError, RpcUnavailable
from rebalancer.evm.abi import encode_call, to_hex
from rebalancer.evm.rpc import RpcError
from rebalancer.model import BlockRef, HeldOut
from rebalancer.readers.snapshot import read_snapshot
from rebalancer.readers.transfers import SHARE_VIEWS, Trial, trials, try_transfers

NET = network()
WETH, USDC = NET.token("WETH"), NET.token("USDC")
PAYER = "0x" + "99" * 20
TRIAL = Trial(WETH, WALLET, PAYER, 1_000)
AT = BlockRef(1, 100, "0x" + "ab" * 32, NOW, 0)
YES = {"status": "0x1", "returnData": to_hex(word(1))}
NO = {"status": "0x0", "returnData": "0x"}


def told(value: int) -> dict[str, str]:
    return {"status": "0x1", "returnData": to_hex(word(value))}


#: Of a plain token: the payer has 10,000, the wallet 50.
PLAIN = [told(10_000), told(50), YES, told(9_000), told(1_050), YES, told(10_000), told(50)]
LATER = [told(10_000), told(50)]
NO_SHARES = [NO] * len(SHARE_VIEWS)


class Simulator(FakeNode):
    """Answers eth_simulateV1 with what it was given, for each trial the same."""

    def __init__(self, today: list[Any], later: list[Any] | None = None) -> None:
        super().__init__({})
        self.answers = today, LATER if later is None else later
        self.payloads: list[Any] = []

    def _eth_simulateV1(self, payload: Any, at: Any) -> Any:
        assert at == {"blockHash": AT.hash}
        self.payloads.append(payload)
        count = len(payload["blockStateCalls"][0]["calls"]) // (8 + len(SHARE_VIEWS))
        return [{"calls": part * count} for part in self.answers]


def verdict(today: list[Any], later: list[Any] | None = None) -> tuple[str, str] | None:
    found = try_transfers(Simulator([*today, *NO_SHARES], later), [TRIAL], AT)
    assert len(found) <= 1
    return (found[0].code, found[0].text) if found else None


def changed(index: int, answer: Any) -> list[Any]:
    return [*PLAIN[:index], answer, *PLAIN[index + 1 :]]


def test_a_plain_token__is_not_named() -> None:
    assert verdict(PLAIN) is None
    silent = {"status": "0x1", "returnData": "0x"}  # USDT's transfer returns nothing
    assert verdict([*PLAIN[:2], silent, *PLAIN[3:5], silent, *PLAIN[6:]]) is None


@pytest.mark.parametrize(
    ("today", "code", "text"),
    [
        (changed(0, NO), "untransferable", "WETH does not tell balances in a simulation"),
        (changed(2, NO), "untransferable", "WETH cannot be received: a transfer from its pool"),
        (changed(2, told(0)), "untransferable", "WETH cannot be received"),
        (changed(2, told(2)), "untransferable", "WETH cannot be received"),
        (changed(3, NO), "untransferable", "WETH cannot be received"),
        (changed(5, NO), "untransferable", "WETH cannot be sold: a transfer from the wallet"),
        (changed(5, told(0)), "untransferable", "WETH cannot be sold"),
        (changed(4, told(1_040)), "fee_on_transfer", "WETH keeps a fee of 1.0000 % of what"),
        (changed(3, told(8_900)), "fee_on_transfer", "WETH keeps a fee of 9.0909 % of what"),
        (changed(6, told(9_700)), "fee_on_transfer", "WETH keeps a fee of 30.0000 % of what"),
        (changed(4, told(50)), "fee_on_transfer", "WETH keeps a fee of 100.0000 % of what"),
        (changed(4, told(1_049)), "rebasing", "a transfer moves a unit more or less"),
        (changed(3, told(9_002)), "rebasing", "a transfer moves a unit more or less"),
        (changed(4, told(1_100)), "rebasing", "a transfer changes other balances than it says"),
        (changed(3, told(9_500)), "rebasing", "a transfer changes other balances than it says"),
    ],
)
def test_what_a_transfer_does_wrong__is_named(today: list[Any], code: str, text: str) -> None:
    found = verdict(today)
    assert found is not None
    assert found[0] == code
    assert text in found[1]


def test_balances_that_change_by_themselves__are_rebasing() -> None:
    found = verdict(PLAIN, [told(10_000), told(51)])
    assert found == ("rebasing", "WETH is rebasing: balances that nobody touched change in a day")


@pytest.mark.parametrize("index", range(len(SHARE_VIEWS)))
def test_a_view_that_only_rebasing_tokens_have__is_enough(index: int) -> None:
    views = [*NO_SHARES]
    views[index] = told(7)
    (item,) = try_transfers(Simulator([*PLAIN, *views]), [TRIAL], AT)
    name = SHARE_VIEWS[index].partition("(")[0]
    assert item == HeldOut(
        "WETH", WETH.address, "rebasing", f"WETH is rebasing: {name}() can change its balances"
    )


@pytest.mark.parametrize("data", ["0x", "0x01", 5, None, "0xzz"])
def test_a_view_that_answers_nothing_useful__is_none(data: Any) -> None:
    """WETH9's fallback takes any call and returns nothing."""
    views = [{"status": "0x1", "returnData": data}] * len(SHARE_VIEWS)
    assert try_transfers(Simulator([*PLAIN, *views]), [TRIAL], AT) == ()


def test_a_pool_that_has_less_than_it_says__tells_nothing_of_the_token() -> None:
    assert verdict(changed(0, told(999))) is None


def test_what_is_simulated() -> None:
    node = Simulator([*PLAIN, *NO_SHARES])
    try_transfers(node, [TRIAL], AT)
    today, tomorrow = node.payloads[0]["blockStateCalls"]
    assert int(tomorrow["blockOverrides"]["time"], 16) == NOW + 86_400
    moves = [call for call in today["calls"] if call["data"].startswith("0xa9059cbb")]
    assert [(m["from"], m["to"]) for m in moves] == [(PAYER, WETH.address), (WALLET, WETH.address)]
    transfer = "transfer(address,uint256)"
    assert [m["data"] for m in moves] == [
        to_hex(encode_call(transfer, WALLET, 1_000)),
        to_hex(encode_call(transfer, PAYER, 1_000)),
    ]
    assert {call["gas"] for part in (today, tomorrow) for call in part["calls"]} == {hex(400_000)}


def test_many_tokens__are_twenty_in_a_request() -> None:
    node = Simulator([*PLAIN, *NO_SHARES])
    assert try_transfers(node, [TRIAL] * 45, AT) == ()
    assert len(node.requests) == 3


@pytest.mark.parametrize("code", [-32601, -32004])
def test_a_node_without_the_method__knows_nothing(code: int) -> None:
    node = Simulator(PLAIN)

    def refuse(*_: object) -> None:
        raise RpcError("eth_simulateV1", code, "the method does not exist")

    node.faults["eth_simulateV1"] = refuse
    assert try_transfers(node, [TRIAL], AT) == ()


def test_a_node_that_refuses__is_an_error() -> None:
    node = Simulator(PLAIN)

    def refuse(*_: object) -> None:
        raise RpcError("eth_simulateV1", -32000, "missing trie node")

    node.faults["eth_simulateV1"] = refuse
    with pytest.raises(ReadError, match="what the tokens do when they move cannot be read"):
        try_transfers(node, [TRIAL], AT)


@pytest.mark.parametrize(
    "answer", [None, [], [{}], [{"calls": []}, {"calls": []}], "0x", [{"calls": PLAIN}] * 2]
)
def test_an_answer_of_another_shape__is_a_faulty_node(answer: Any) -> None:
    node = Simulator(PLAIN)
    node.faults["eth_simulateV1"] = lambda *_: answer
    with pytest.raises(RpcUnavailable, match="is not what eth_simulateV1 returns"):
        try_transfers(node, [TRIAL], AT)


def test_trials__are_paid_by_the_pool_that_holds_most() -> None:
    snapshot = read_snapshot(mainnet(), portfolio())
    found = {trial.token.symbol: trial for trial in trials(snapshot)}
    assert set(found) == {"WETH", "USDC", "USDT"}  # no pool holds WBTC, so nothing can trade it
    deepest = max(
        (p for p in snapshot.pairs if p.has(WETH)), key=lambda pair: pair.reserves(WETH)[0]
    )
    assert found["WETH"].payer == deepest.address
    assert found["WETH"].amount == deepest.reserves(WETH)[0] // 997
    assert found["USDC"].wallet == WALLET
    tiny = replace(deepest, reserve0=5, reserve1=5)
    (one, two) = trials(replace(snapshot, pairs=(tiny,)))
    assert (one.amount, two.amount) == (1, 1)
