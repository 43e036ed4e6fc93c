"""A delegated wallet whose transaction is late: cancelled, mined after all, or its nonce taken.

The pool is ours: what the bundler sends is held back, and a block takes what the test says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from bundler_kit import GWEI, MemoryJournal, Trade, balances, make_plan, nonce_of, signer_of
from eth_utils.crypto import keccak

from rebalancer.bundler.delegating import delegate
from rebalancer.bundler.delegation import delegate_of
from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR, WALLET_EXECUTOR
from rebalancer.bundler.lane import Lane
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.recover import recover
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, WETH
from rebalancer.errors import ExecutionError, NonceConflict, TransactionReverted
from rebalancer.evm.abi import from_hex, to_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Bundle, Plan

FEE = 300 * GWEI
TRADES = (Trade(WETH, USDC, 2 * 10**18),)
LANE = Lane(signer=signer_of(), confirmations=2, replace_after=2)


class Pool:
    """A node that takes transactions and mines those, and when, that ``choose`` returns."""

    def __init__(self, rpc: Rpc, choose: Callable[[Pool], Sequence[str]]) -> None:
        self.rpc = rpc
        self.raws: list[str] = []
        self.blocks = 0
        self._choose = choose
        self._mined: set[str] = set()

    def call(self, method: str, *params: Any) -> Any:
        if method == "eth_sendRawTransaction":
            if params[0] not in self.raws:
                self.raws.append(params[0])
            return hash_of(params[0])
        if method == "eth_getTransactionByHash" and params[0] in self._newest():
            return {"hash": params[0], "blockHash": None}
        return self.rpc.call(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return [self.call(method, *params) for method, params in calls]

    def tick(self, _seconds: float) -> None:
        self.blocks += 1
        assert self.blocks < 100, "it never ends"
        for raw in self._choose(self):
            if raw not in self._mined:
                self._mined.add(raw)
                self.rpc.call("eth_sendRawTransaction", raw)
        self.rpc.call("evm_mine")

    def purposes(self) -> list[str]:
        """What was sent, in order: the cancellation is the one without data."""
        return ["execute" if fields(raw)["data"] else "cancel" for raw in self.raws]

    def _newest(self) -> list[str]:
        return [] if self._mined else [hash_of(raw) for raw in self.raws[-1:]]


def hash_of(raw: str) -> str:
    return to_hex(keccak(from_hex(raw)))


def fields(raw: str) -> Any:
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from hexbytes import HexBytes

    return TypedTransaction.from_bytes(HexBytes(raw)).as_dict()


def cancellation(pool: Pool) -> list[str]:
    """The newest version once it is a cancellation."""
    return pool.raws[-1:] if pool.purposes()[-1:] == ["cancel"] else []


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    """The wallet delegates to the wallet executor; blocks are mined by hand."""
    rpc = devchain.rpc
    pace = Pace(clock=lambda: 0.0, sleep=lambda _: None, poll_s=0.0)
    deploy(rpc, signer_of(), 1, FEE, pace, WALLET_EXECUTOR)
    delegate(rpc, signer_of(), 1, FEE, pace)
    assert delegate_of(rpc, TREASURY) == WALLET_EXECUTOR.address
    return rpc


@pytest.fixture
def signed(rpc: Rpc, mainnet: Network) -> tuple[Plan, Bundle]:
    plan = make_plan(rpc, mainnet, TRADES, deadline_s=100)
    bundle = prepare(rpc, plan, signer_of(), mode="eip7702").bundle
    rpc.call("evm_setAutomine", False)
    return plan, bundle


def send(pool: Pool, signed: tuple[Plan, Bundle], journal: MemoryJournal) -> Any:
    pace = Pace(clock=lambda: 0.0, sleep=pool.tick, poll_s=0.0)
    return submit(pool, journal, *signed, pace, LANE)


def test_past_its_deadline__cancelled_without_running_the_wallets_code(
    rpc: Rpc, signed: tuple[Plan, Bundle]
) -> None:
    """A call of itself would run the delegate's code, for which 21,000 gas are not enough."""
    before, nonce = balances(rpc, (WETH, USDC)), nonce_of(rpc)
    journal, pool = MemoryJournal(), Pool(rpc, cancellation)

    with pytest.raises(ExecutionError, match="was freed by the cancellation"):
        send(pool, signed, journal)

    outcome = list(journal.outcomes.values())[-1]
    assert (outcome.purpose, outcome.status, outcome.gas_used) == ("cancel", 1, 21_000)
    assert pool.purposes()[0] == "execute"
    assert "cancel" in pool.purposes()
    cancel = fields(pool.raws[-1])
    assert (bytes(cancel["to"]), cancel["value"]) == (bytes(20), 0)
    assert nonce_of(rpc) == nonce + 1
    assert balances(rpc, (WETH, USDC)) == before
    assert delegate_of(rpc, TREASURY) == WALLET_EXECUTOR.address
    assert not journal.open_bundles(1, TREASURY)


def test_self_call_of_a_delegated_wallet__is_why(rpc: Rpc) -> None:
    """What the cancellation is not: mined, its nonce used, and reverted for want of gas."""
    rpc.call("evm_setAutomine", True)
    raw, tx_hash = signer_of().sign(
        {
            "type": 2,
            "chainId": 1,
            "nonce": nonce_of(rpc),
            "to": TREASURY,
            "value": 0,
            "data": b"",
            "gas": 21_000,
            "maxFeePerGas": FEE,
            "maxPriorityFeePerGas": GWEI,
        }
    )
    rpc.call("eth_sendRawTransaction", raw)
    receipt = None
    while receipt is None:
        receipt = rpc.call("eth_getTransactionReceipt", tx_hash)

    assert receipt["status"] == "0x0"


def test_late__first_version_is_mined_in_spite_of_its_cancellation(
    rpc: Rpc, signed: tuple[Plan, Bundle]
) -> None:
    """Past the deadline it can only revert: recorded so, the cancellation is dropped."""
    before = balances(rpc, (WETH, USDC))
    journal = MemoryJournal()
    pool = Pool(rpc, lambda p: p.raws[:1] if cancellation(p) else [])

    with pytest.raises(TransactionReverted, match="deadline"):
        send(pool, signed, journal)

    first, last = hash_of(pool.raws[0]), hash_of(pool.raws[-1])
    assert len(pool.raws) >= 3, "it was replaced before it was cancelled"
    assert journal.outcomes.keys() == {first}
    assert journal.closed == {hash_of(raw) for raw in pool.raws}
    assert ("dropped", last) in journal.events
    assert balances(rpc, (WETH, USDC)) == before


def test_late__first_version_is_mined_after_its_replacement__trades_once(
    rpc: Rpc, signed: tuple[Plan, Bundle]
) -> None:
    before = balances(rpc, (WETH, USDC))
    journal = MemoryJournal()
    pool = Pool(rpc, lambda p: p.raws[:1] if len(p.raws) > 1 else [])

    (outcome,) = send(pool, signed, journal)

    assert outcome.tx_hash == hash_of(pool.raws[0])
    ((expected,),) = (leg.pays for leg in signed[0].legs)
    assert [fill.amount_out for fill in outcome.fills] == [expected.raw]
    after = balances(rpc, (WETH, USDC))
    assert after[USDC] - before[USDC] == expected.raw
    assert journal.closed == {hash_of(raw) for raw in pool.raws}


@pytest.mark.parametrize("to", [WALLET_EXECUTOR.address, EXECUTOR.address])
def test_nonce_taken_by_an_authorisation__is_found_and_nothing_trades(
    rpc: Rpc, signed: tuple[Plan, Bundle], to: str
) -> None:
    """Somebody brings along an authorisation of ours with the nonce of our transaction."""
    before = balances(rpc, (WETH, USDC))
    nonce = signed[1].transactions[0].nonce
    sponsored = sponsor(rpc, signer_of().authorize(1, to, nonce))
    journal = MemoryJournal()
    pool = Pool(rpc, lambda p: [sponsored] if p.raws else [])

    with pytest.raises(NonceConflict) as raised:
        send(pool, signed, journal)

    assert hash_of(sponsored) in str(raised.value)
    assert nonce_of(rpc) == nonce + 1
    assert delegate_of(rpc, TREASURY) == to
    assert balances(rpc, (WETH, USDC)) == before
    assert not journal.open_bundles(1, TREASURY)


def test_nonce_taken_by_an_authorisation__while_the_cancellation_is_out__ends_too(
    rpc: Rpc, signed: tuple[Plan, Bundle]
) -> None:
    """Past the deadline, both of ours are out, and an authorisation of ours wins."""
    nonce = signed[1].transactions[0].nonce
    sponsored = sponsor(rpc, signer_of().authorize(1, WALLET_EXECUTOR.address, nonce))
    journal = MemoryJournal()
    pool = Pool(rpc, lambda p: [sponsored] if cancellation(p) else [])

    with pytest.raises(NonceConflict) as raised:
        send(pool, signed, journal)

    assert hash_of(sponsored) in str(raised.value)
    assert journal.closed == {hash_of(raw) for raw in pool.raws}
    assert recover(rpc, journal, 1, TREASURY, Pace(lambda: 0.0, lambda _: None), LANE) == ()


def test_cancellation__delegation_taken_back_meanwhile__goes_to_the_wallet_itself(
    rpc: Rpc, signed: tuple[Plan, Bundle]
) -> None:
    """Whether the wallet has code is looked at when the cancellation is signed."""
    rpc.call("anvil_setCode", TREASURY, "0x")
    journal, pool = MemoryJournal(), Pool(rpc, cancellation)

    with pytest.raises(ExecutionError, match="was freed by the cancellation"):
        send(pool, signed, journal)

    assert bytes(fields(pool.raws[-1])["to"]) == from_hex(TREASURY)
    assert list(journal.outcomes.values())[-1].gas_used == 21_000


def sponsor(rpc: Rpc, entry: Any) -> str:
    """A transaction of somebody else that brings an authorisation along, signed."""
    raw, _ = signer_of(ARBITRAGEUR).sign(
        {
            "type": 4,
            "chainId": 1,
            "nonce": nonce_of(rpc, ARBITRAGEUR),
            "to": ARBITRAGEUR,
            "value": 0,
            "data": b"",
            "gas": 100_000,
            "maxFeePerGas": FEE,
            "maxPriorityFeePerGas": GWEI,
            "authorizationList": [entry],
        }
    )
    return raw
