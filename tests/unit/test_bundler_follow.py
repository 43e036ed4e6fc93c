"""The decision table, row by row, and the loop that acts on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from bundler_fakes import TWO_HOPS, WALLET, FakeRpc

from rebalancer.bundler.follow import (
    SIGHTINGS,
    Dropped,
    Mined,
    Pace,
    Sighting,
    Step,
    decide,
    follow,
    look_up,
)
from rebalancer.bundler.head import read_head
from rebalancer.bundler.lane import Desk, Lane
from rebalancer.errors import ExecutionError, NonceConflict, RpcUnavailable, Stopped
from rebalancer.evm.rpc import RpcError
from rebalancer.model import Bundle, SignedTransaction

DEADLINE = 1_000
RECEIPT = {"status": "0x1"}
TX = SignedTransaction("0xab", "execute", WALLET, WALLET, 7, 90_000, 5, 1, "0x", "0x02raw")

BUNDLE = Bundle("", 1, WALLET, DEADLINE, (TX,))
THIEF = "0x" + "cd" * 32

BEFORE, AT, AFTER = DEADLINE - 1, DEADLINE, DEADLINE + 1
FREE, OURS, USED = 6, 7, 8  # the wallet's next nonce, against 7 of the transaction


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("nonce", [FREE, OURS, USED])
@pytest.mark.parametrize("time", [BEFORE, AT, AFTER])
def test_a_receipt_settles_everything(time: int, nonce: int, known: bool) -> None:
    assert decide(Sighting(time, nonce, known, known, RECEIPT), 7, DEADLINE) is Step.MINED


@pytest.mark.parametrize("nonce", [FREE, OURS, USED])
@pytest.mark.parametrize("time", [BEFORE, AT, AFTER])
def test_in_a_block_without_a_receipt_is_a_node_that_lags(time: int, nonce: int) -> None:
    assert decide(Sighting(time, nonce, True, True, None), 7, DEADLINE) is Step.WAIT


@pytest.mark.parametrize(
    ("time", "nonce", "known", "step"),
    [
        # unknown to the node
        (BEFORE, FREE, False, Step.WAIT),  # an earlier nonce is open: it could not be mined
        (BEFORE, OURS, False, Step.SEND),
        (BEFORE, USED, False, Step.REPLACED),
        (AT, FREE, False, Step.WAIT),
        (AT, OURS, False, Step.SEND),
        (AT, USED, False, Step.REPLACED),
        (AFTER, FREE, False, Step.EXPIRED),
        (AFTER, OURS, False, Step.EXPIRED),
        (AFTER, USED, False, Step.REPLACED),
        # pending
        (BEFORE, FREE, True, Step.WAIT),
        (BEFORE, OURS, True, Step.WAIT),
        (BEFORE, USED, True, Step.REPLACED),
        (AT, FREE, True, Step.WAIT),
        (AT, OURS, True, Step.WAIT),
        (AT, USED, True, Step.REPLACED),
        (AFTER, FREE, True, Step.STUCK),
        (AFTER, OURS, True, Step.STUCK),
        (AFTER, USED, True, Step.REPLACED),
    ],
)
def test_without_a_receipt(time: int, nonce: int, known: bool, step: Step) -> None:
    assert decide(Sighting(time, nonce, known, False, None), 7, DEADLINE) is step


class Notes:
    """A journal that only notes what was sent; anything else is none of follow's business."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def record_sent(self, tx_hash: str, via: str = "") -> None:
        self.sent.append(tx_hash)


class Script(FakeRpc):
    """A node that shows one scene per look; the last one stays. A scene may be an error.

    A block that used the nonce holds ``thief`` with it; None for a node that contradicts itself.
    """

    thief: str | None = THIEF

    def __init__(self, scenes: Sequence[Sighting | Exception], sends: Sequence[Any] = ()) -> None:
        super().__init__({})
        self.scenes = list(scenes)
        self.sends = list(sends)
        self.sent: list[str] = []
        self.looks = 0
        self.now = 0.0
        self.slept = 0

    def call(self, method: str, *params: Any) -> Any:
        self.calls.append((method, params))
        if method == "eth_sendRawTransaction":
            self.sent.append(params[0])
            answer = self.sends.pop(0) if self.sends else TX.tx_hash
            if isinstance(answer, Exception):
                raise answer
            return answer
        if method == "eth_getBlockByNumber" and params[1]:
            sender = {"from": WALLET.lower(), "nonce": hex(TX.nonce), "hash": self.thief}
            return {"transactions": [sender] if self.thief else []}
        if method == "eth_getBlockByNumber":
            self.looks += 1
        scene = self.scenes[min(self.looks, len(self.scenes)) - 1]
        if isinstance(scene, Exception):
            raise scene
        block = "0x1" if scene.in_block else None
        return {
            "eth_getBlockByNumber": {
                "number": hex(TWO_HOPS.block_number + self.looks),
                "hash": hex(self.looks),
                "timestamp": hex(scene.head_timestamp),
                "gasLimit": "0x1c9c380",
            },
            "eth_getTransactionCount": hex(scene.nonce),
            "eth_getTransactionByHash": {"blockHash": block} if scene.known else None,
            "eth_getTransactionReceipt": scene.receipt,
        }[method]

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        self.now += seconds
        assert self.slept < 1_000, "it would wait for ever"

    def pace(self, silence_s: float = 60.0) -> Pace:
        return Pace(lambda: self.now, self.sleep, 1.0, silence_s)


UNKNOWN = Sighting(BEFORE, OURS, False, False, None)
PENDING = Sighting(BEFORE, OURS, True, False, None)
MINED = Sighting(BEFORE, USED, True, True, RECEIPT)
REPLACED = Sighting(BEFORE, USED, False, False, None)
EXPIRED = Sighting(AFTER, OURS, False, False, None)
STUCK = Sighting(AFTER, OURS, True, False, None)


def run(node: Script) -> tuple[Any, Notes]:
    notes = Notes()
    desk = Desk(node, notes, node.pace(), Lane())  # type: ignore[arg-type]
    ending = follow(desk, TWO_HOPS, BUNDLE, [TX])
    return (ending.receipt if isinstance(ending, Mined) else ending), notes


def test_unknown_is_sent_once_noted_once_and_awaited() -> None:
    node = Script([UNKNOWN, PENDING, PENDING, MINED])
    ending, notes = run(node)
    assert ending is RECEIPT
    assert (node.sent, notes.sent) == (["0x02raw"], ["0xab"])


def test_pending_after_a_restart_is_noted_and_not_sent() -> None:
    node = Script([PENDING, MINED])
    ending, notes = run(node)
    assert ending is RECEIPT
    assert (node.sent, notes.sent) == ([], ["0xab"])


def test_mined_after_a_restart_is_neither_sent_nor_noted() -> None:
    node = Script([MINED])
    ending, notes = run(node)
    assert ending is RECEIPT
    assert (node.sent, notes.sent, node.slept) == ([], [], 0)


def test_a_lost_answer_is_no_reason_to_note_it_as_sent_until_it_is_seen() -> None:
    node = Script([UNKNOWN, PENDING, MINED], [RpcUnavailable("lost")])
    _, notes = run(node)
    assert (len(node.sent), notes.sent) == (1, ["0xab"])
    node = Script([UNKNOWN, EXPIRED], [RpcUnavailable("lost")])
    _, notes = run(node)
    assert notes.sent == []


@pytest.mark.parametrize("words", ["already known", "nonce too low", "replacement underpriced"])
def test_a_refusal_is_judged_by_the_chain_and_not_by_its_words(words: str) -> None:
    node = Script([UNKNOWN, MINED], [RpcError("eth_sendRawTransaction", -32000, words)])
    assert run(node)[0] is RECEIPT
    node = Script([UNKNOWN, REPLACED], [RpcError("eth_sendRawTransaction", -32000, words)])
    ending, _ = run(node)
    assert isinstance(ending, Dropped)
    assert ending.step is Step.REPLACED


def test_refused_every_time_it_raises_and_stays_open() -> None:
    no = RpcError("eth_sendRawTransaction", -32000, "insufficient funds")
    node = Script([UNKNOWN], [no] * 10)
    with pytest.raises(ExecutionError, match="insufficient funds"):
        run(node)
    assert node.sent == ["0x02raw"] * SIGHTINGS


def test_refused_after_its_answer_was_lost_it_waits_for_the_truth() -> None:
    no = RpcError("eth_sendRawTransaction", -32000, "already known")
    node = Script([UNKNOWN] * 6 + [MINED], [RpcUnavailable("lost")] + [no] * 9)
    assert run(node)[0] is RECEIPT


def test_refused_after_it_was_accepted_it_waits_for_the_truth() -> None:
    """Evicted or hidden behind another node: what may be out there is not given up."""
    no = RpcError("eth_sendRawTransaction", -32000, "already known")
    node = Script([UNKNOWN] * 6 + [MINED], [TX.tx_hash] + [no] * 9)
    ending, notes = run(node)
    assert ending is RECEIPT
    assert notes.sent == ["0xab"]
    assert set(node.sent) == {"0x02raw"}


@pytest.mark.parametrize(("scene", "step"), [(REPLACED, Step.REPLACED), (EXPIRED, Step.EXPIRED)])
def test_an_end_is_believed_when_it_is_seen_again_and_again(scene: Sighting, step: Step) -> None:
    node = Script([*[scene] * (SIGHTINGS - 1), MINED])
    assert run(node)[0] is RECEIPT, "a node that lagged was believed"
    node = Script([scene])
    ending, _ = run(node)
    assert isinstance(ending, Dropped)
    assert (ending.step, ending.transaction, node.looks) == (step, TX, SIGHTINGS)
    assert ending.reason


def test_sightings_must_follow_each_other() -> None:
    node = Script([REPLACED, REPLACED, PENDING, REPLACED, REPLACED, MINED])
    assert run(node)[0] is RECEIPT


def test_stuck_names_the_nonce_and_the_way_out() -> None:
    with pytest.raises(
        NonceConflict, match=r"nonce 7\) is still pending past its deadline"
    ) as caught:
        run(Script([STUCK]))
    assert "replace it by sending 0 ETH from the wallet to itself with nonce 7" in caught.value.hint
    assert caught.value.tx_hash == "0xab"


def test_silence_is_waited_out_up_to_its_limit() -> None:
    quiet = RpcUnavailable("quiet")
    node = Script([quiet] * 50 + [MINED])
    assert run(node)[0] is RECEIPT
    with pytest.raises(RpcUnavailable, match="quiet"):
        run(Script([PENDING, quiet]))


def test_told_to_stop__it_is_followed_a_little_longer__and_stays_open() -> None:
    def told(node: Script) -> tuple[Any, Notes]:
        notes = Notes()
        pace = replace(node.pace(), told_s=lambda: node.now, grace_s=3.0)
        desk = Desk(node, notes, pace, Lane())  # type: ignore[arg-type]
        return follow(desk, TWO_HOPS, BUNDLE, [TX]), notes

    ending, _ = told(Script([PENDING, PENDING, MINED]))
    assert isinstance(ending, Mined)
    node = Script([PENDING])
    with pytest.raises(Stopped, match="transaction 0xab stays open") as caught:
        told(node)
    assert (node.now, caught.value.tx_hash) == (4.0, "0xab")


def test_a_chain_that_stands_still_is_left_with_the_bundle_open() -> None:
    node = Script([PENDING])
    still = {"number": "0x1", "hash": "0x1", "timestamp": hex(BEFORE), "gasLimit": "0x1"}

    class Still(Script):
        def call(self, method: str, *params: Any) -> Any:
            answer = super().call(method, *params)
            return still if method == "eth_getBlockByNumber" else answer

    node = Still([PENDING])
    with pytest.raises(RpcUnavailable, match="no new block"):
        run(node)
    assert 60 <= node.slept <= 62


def test_the_receipt_is_read_last() -> None:
    """Else a block between two reads would look like a nonce used by somebody else."""
    node = Script([MINED])
    look_up(node, [TX], read_head(node))
    assert [method for method, _ in node.calls] == [
        "eth_getBlockByNumber",
        "eth_getTransactionCount",
        "eth_getTransactionByHash",
        "eth_getTransactionReceipt",
    ]
