"""Replacement and cancellation: when, with which fees, and always on the same nonce."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from bundler_fakes import TWO_HOPS, WALLET
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from rebalancer.bundler.calls import CANCEL, EXECUTE, Call, UnsignedTransaction
from rebalancer.bundler.follow import CANCEL_BLOCKS, Dropped, Mined, Step, follow
from rebalancer.bundler.lane import Desk, Lane
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.prepare import sign
from rebalancer.bundler.signer import LocalSigner
from rebalancer.errors import ExecutionError, NonceConflict, Paused
from rebalancer.evm.abi import checksum, from_hex, to_hex
from rebalancer.evm.rpc import RpcError
from rebalancer.model import Bundle, Costs, Plan, SignedTransaction

GWEI = 10**9
#: The first well-known development key; WALLET is its address.
SIGNER = LocalSigner.from_key("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
EXECUTOR = checksum("0x" + "e1" * 20)
FIRST_TS = 1_000
BASE = 10 * GWEI
CEILING = 60 * GWEI


def plan(**changes: Any) -> Plan:
    """400 blocks until its deadline; may pay 60 gwei."""
    deadline_ts = FIRST_TS + 12 * 400
    return replace(TWO_HOPS, max_fee_wei=CEILING, deadline_ts=deadline_ts, **changes)


def first_version() -> SignedTransaction:
    call = Call(EXECUTE, "execute", EXECUTOR, b"\x01\x02\x03")
    return sign(SIGNER, UnsignedTransaction(call, 1, WALLET, 7, 300_000, 21 * GWEI, GWEI))


@dataclass
class Journal:
    """What was said, and how much had been sent when it was."""

    chain: Chain
    said: list[tuple[str, str, int]] = field(default_factory=list)
    stored: list[SignedTransaction] = field(default_factory=list)

    def store_version(self, bundle: Bundle, replaced: str) -> None:
        (version,) = bundle.transactions
        self.stored.append(version)
        self.said.append(("stored", version.tx_hash, len(self.chain.sent)))

    def record_sent(self, tx_hash: str, via: str = "") -> None:
        self.said.append(("sent", tx_hash, len(self.chain.sent)))


@dataclass
class Chain:
    """A node with a pool that takes the newest version, and a block at each look's end."""

    includes: Callable[[Chain], str | None] = lambda chain: None
    reverts: bool = False
    number: int = 100
    sent: list[str] = field(default_factory=list)
    mined: str | None = None
    code: str = "0x"

    def call(self, method: str, *params: Any) -> Any:
        return getattr(self, method)(*params)

    def batch(self, calls: Any) -> list[Any]:
        return [self.call(method, *params) for method, params in calls]

    def eth_getBlockByNumber(self, tag: str, full: bool) -> Any:
        return {
            "number": hex(self.number),
            "hash": f"0x{self.number:064x}",
            "timestamp": hex(FIRST_TS + 12 * (self.number - 100)),
            "gasLimit": hex(30_000_000),
        }

    def eth_getTransactionCount(self, wallet: str, at: Any) -> str:
        return hex(8 if self.mined else 7)

    def eth_getTransactionByHash(self, tx_hash: str) -> Any:
        if self.mined == tx_hash:
            return {"blockHash": "0x1"}
        newest = self.hashes[-1:] if not self.mined else []
        return {"blockHash": None} if tx_hash in newest else None

    def eth_getTransactionReceipt(self, tx_hash: str) -> Any:
        return {"status": "0x1"} if self.mined == tx_hash else None

    def eth_sendRawTransaction(self, raw: str) -> str:
        self.sent.append(raw)
        return self.hashes[-1]

    def eth_getCode(self, address: str, tag: str) -> str:
        return self.code

    def eth_feeHistory(self, *_: Any) -> Any:
        return {"baseFeePerGas": [hex(BASE)], "reward": [[hex(GWEI)]], "gasUsedRatio": [0.5]}

    def eth_call(self, request: Any, tag: str) -> str:
        if self.reverts:
            reason = "08c379a0" + f"{32:064x}{4:064x}" + b"poor".hex().ljust(64, "0")
            raise RpcError("eth_call", 3, "execution reverted", "0x" + reason)
        return "0x"

    @property
    def hashes(self) -> list[str]:
        return [to_hex(keccak(from_hex(raw))) for raw in self.sent]

    def next_block(self, _seconds: float) -> None:
        self.number += 1
        assert self.number < 1_000, "it never ends"
        if self.mined is None:
            self.mined = self.includes(self)


def run(
    chain: Chain, of: Plan | None = None, **lane: Any
) -> tuple[Mined | Dropped | Step, Journal, list[SignedTransaction]]:
    of = of or plan()
    journal = Journal(chain)
    pace = Pace(lambda: 0.0, chain.next_block, 0.0)
    desk = Desk(chain, journal, pace, Lane(**{"signer": SIGNER, **lane}))  # type: ignore[arg-type]
    versions = [first_version()]
    bundle = Bundle("", 1, WALLET, of.deadline_ts, tuple(versions))
    return follow(desk, of, bundle, versions), journal, versions


def fields(raw: str) -> dict[str, Any]:
    return dict(TypedTransaction.from_bytes(HexBytes(raw)).as_dict())


def nth(count: int, which: int = -1) -> Callable[[Chain], str | None]:
    """Includes version ``which`` once ``count`` versions were sent."""
    return lambda chain: chain.hashes[which] if len(set(chain.sent)) >= count else None


def test_fees_rise_on_schedule_up_to_the_ceiling__all_on_one_nonce() -> None:
    chain = Chain(lambda chain: chain.hashes[-1] if chain.number == 300 else None)
    ending, journal, versions = run(chain, replace_after=3)
    assert isinstance(ending, Mined)
    assert ending.transaction == versions[-1]
    assert len(versions) == 12, "21 gwei rises by a tenth eleven times below 60"
    for before, after in pairwise(versions):
        for name in ("max_fee_wei", "max_priority_fee_wei"):
            assert getattr(after, name) * 100 >= getattr(before, name) * 110
        same = ("purpose", "sender", "to", "nonce", "gas_limit", "data")
        assert all(getattr(after, name) == getattr(before, name) for name in same)
        assert after.max_fee_wei <= CEILING
    for version in versions:
        wire = fields(version.raw)
        assert (wire["nonce"], wire["gas"]) == (7, 300_000)
        assert wire["maxFeePerGas"] == version.max_fee_wei
        assert Account.recover_transaction(version.raw) == WALLET
    assert [version.raw for version in versions] == chain.sent
    # each was on the disk before it was sent
    stored = [count for kind, _, count in journal.said if kind == "stored"]
    assert stored == list(range(1, 12))


def test_the_schedule_counts_blocks() -> None:
    sent_at: list[int] = []

    def include(chain: Chain) -> str | None:
        if len(chain.sent) > len(sent_at):
            sent_at.append(chain.number)
        return chain.hashes[-1] if len(sent_at) == 4 else None

    run(Chain(include), replace_after=5)
    assert [later - earlier for earlier, later in pairwise(sent_at)] == [
        5,
        5,
        5,
    ]


def test_never_means_never() -> None:
    ending, _, versions = run(Chain(lambda c: c.hashes[0] if c.number > 200 else None),
                              replace_after=0)  # fmt: skip
    assert isinstance(ending, Mined)
    assert len(versions) == 1


@pytest.mark.parametrize("which", [0, 1, 2])
def test_whichever_version_is_mined_is_recognised(which: int) -> None:
    ending, _, versions = run(Chain(nth(3, which)))
    assert isinstance(ending, Mined)
    assert ending.transaction == versions[which]


def test_past_its_deadline_it_is_cancelled() -> None:
    def include(chain: Chain) -> str | None:
        return chain.hashes[-1] if fields(chain.sent[-1])["data"] == b"" else None

    of = plan()
    ending, journal, versions = run(Chain(include), of, replace_after=100)
    assert isinstance(ending, Mined)
    cancel = ending.transaction
    assert (cancel.purpose, cancel.to, cancel.nonce, cancel.gas_limit) == (CANCEL, WALLET, 7, 21000)
    wire = fields(cancel.raw)
    assert (wire["value"], wire["data"], wire["to"]) == (0, b"", HexBytes(WALLET))
    assert cancel.max_fee_wei * 100 >= versions[-2].max_fee_wei * 110
    assert journal.stored[-1] == cancel


def test_a_wallet_with_code_is_not_called_by_its_cancellation() -> None:
    def include(chain: Chain) -> str | None:
        return chain.hashes[-1] if fields(chain.sent[-1])["data"] == b"" else None

    delegated = Chain(include, code="0xef0100" + "12" * 20)
    ending, _, _ = run(delegated, replace_after=100)
    assert isinstance(ending, Mined)
    assert fields(ending.transaction.raw)["to"] == bytes(20)
    assert ending.transaction.sender == WALLET


def test_what_would_revert_is_cancelled_and_not_paid_more_for() -> None:
    def include(chain: Chain) -> str | None:
        return chain.hashes[-1] if len(chain.sent) > 1 else None

    chain = Chain(include, reverts=True)
    ending, _, versions = run(chain)
    assert isinstance(ending, Mined)
    assert [version.purpose for version in versions] == [EXECUTE, CANCEL]
    assert chain.number < 110, "long before the deadline"


def test_the_old_version_mined_in_spite_of_its_cancellation_counts() -> None:
    ending, _, versions = run(Chain(nth(2, 0), reverts=True))
    assert isinstance(ending, Mined)
    assert ending.transaction == versions[0]
    assert versions[1].purpose == CANCEL


def test_a_cancellation_that_is_not_mined_either_needs_a_person() -> None:
    chain = Chain()
    with pytest.raises(NonceConflict, match="its cancellation is not mined either") as caught:
        run(chain, replace_after=4)
    assert "nonce 7" in caught.value.hint
    deadline_block = 100 + 400
    assert deadline_block + CANCEL_BLOCKS <= chain.number <= deadline_block + CANCEL_BLOCKS + 5
    assert max(fields(raw)["maxFeePerGas"] for raw in chain.sent) <= 2 * CEILING


def test_without_a_signer_nothing_is_signed() -> None:
    chain = Chain()
    with pytest.raises(NonceConflict, match="still pending past its deadline"):
        run(chain, signer=None)
    assert len(chain.sent) == 1


def test_a_replacement_must_still_be_worth_it() -> None:
    """At 12.1 gwei a unit the plan brings what it costs; the first version offered 11."""
    costs = Costs(0, 0, 0, 0, 11 * 10**8, 11 * 10**8, 100_000, 11 * GWEI)
    poor = plan(costs=costs, benefit_e8=11 * 10**8 + 1)
    chain = Chain(lambda chain: chain.hashes[-1] if chain.number == 200 else None)
    _, _, versions = run(chain, poor)
    assert len(versions) == 1
    rich = replace(poor, benefit_e8=20 * 10**8)
    chain = Chain(lambda chain: chain.hashes[-1] if chain.number == 200 else None)
    assert len(run(chain, rich)[2]) > 1


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_guard_that_says_no_stops_signing_and_sending(at: int) -> None:
    asked = 0

    def guard() -> None:
        nonlocal asked
        asked += 1
        if asked == at:
            raise Paused("enough")

    chain = Chain()
    with pytest.raises(Paused):
        run(chain, guard=guard)
    # 1: the first send; 2: signing a replacement; 3: sending it, which was stored before.
    assert len(chain.sent) == (0 if at == 1 else 1)


def test_a_signer_that_signs_something_else_is_found_out() -> None:
    class Wrong:
        address = WALLET

        def sign(self, transaction: Any) -> tuple[str, str]:
            return SIGNER.sign({**transaction, "nonce": 8})

    chain = Chain()
    with pytest.raises(ExecutionError, match="something else"):
        run(chain, signer=Wrong())
    assert len(chain.sent) == 1


def test_an_earlier_nonce_that_came_open_is_reported() -> None:
    chain = Chain()
    chain.eth_getTransactionCount = lambda wallet, at: hex(6)  # type: ignore[method-assign]
    desk = Desk(
        chain,
        Journal(chain),  # type: ignore[arg-type]
        Pace(lambda: 0.0, chain.next_block, 0.0),
        Lane(),
    )
    bundle = Bundle("", 1, WALLET, plan().deadline_ts, (first_version(),))
    ending = follow(desk, plan(), bundle, [first_version()], first=False)
    assert ending is Step.EARLIER
    assert not chain.sent
