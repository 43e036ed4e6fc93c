"""Every fault of an endpoint, wherever it strikes: the right answer or a clear refusal.

A snapshot is right when it equals the one that the node itself gives for the same block.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rpc_proxy import BEARABLE, FAULTS, HOPELESS, KEY_IN_URL, SEND_FAULTS, SLOW, Proxy, only_sends

from rebalancer.bundler.signer import LocalSigner
from rebalancer.config.networks import Network
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY, dev_key
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.market import move
from rebalancer.errors import ChainMismatch, ReadError, RpcUnavailable
from rebalancer.evm.background import THREAD_NAME
from rebalancer.evm.endpoints import Endpoints
from rebalancer.evm.health import Limits
from rebalancer.evm.rpc import HttpRpc, RpcError
from rebalancer.model import Snapshot
from rebalancer.readers.snapshot import read_snapshot

LIMITS = Limits(time_limit_s=10.0, survey_time_limit_s=10.0)
#: The sockets are real, so a timeout takes its time: little of it, and few rounds.
HURRIED = Limits(time_limit_s=0.4, slow_time_limit_s=0.4, survey_time_limit_s=0.4, rounds=2)
POSITIONS = [
    {"token": "WETH", "target": "40%"},
    {"token": "WBTC", "target": "20%"},
    {"token": "USDC", "target": "20%"},
    {"lp": "uniswap_v2:USDC/WETH", "target": "20%"},
]
#: Requests of a snapshot that go well before the fault begins: none, its block, its state.
SPARES = (0, 1, 2)
RIGHT, REFUSED = "right", "refused"


class Truth:
    """What the node itself says of a block."""

    def __init__(self, chain: DevChain, resolved: ResolvedPortfolio) -> None:
        self.chain = chain
        self.resolved = resolved
        self.head = self.at(None)
        self._seen: dict[str, Snapshot] = {}

    def at(self, block: str | None) -> Snapshot:
        return read_snapshot(self.chain.rpc, self.resolved, block)

    def outcome(self, rpc: Endpoints) -> str:
        """Whether a snapshot through ``rpc`` is right or refused; anything else fails."""
        try:
            snapshot = read_snapshot(rpc, self.resolved)
        except ReadError as refusal:
            check_words(refusal)
            return REFUSED
        block = snapshot.block.hash
        if block not in self._seen:
            self._seen[block] = self.at(block)
        assert snapshot == self._seen[block], "a wrong answer"
        return RIGHT


def check_words(refusal: ReadError) -> None:
    """One line, and no key in it."""
    assert "\n" not in str(refusal)
    assert KEY_IN_URL not in f"{refusal} {refusal.hint} {refusal!r} {refusal.__cause__!r}"


@pytest.fixture(scope="module")
def resolved(mainnet: Network) -> ResolvedPortfolio:
    spec = {"name": "p", "network": "mainnet", "wallet": TREASURY, "positions": POSITIONS}
    return resolve(Portfolio.model_validate(spec), mainnet)


@pytest.fixture(scope="module")
def still_chain(
    synthetic_fork: DevChain, mainnet: Network, _first_base_fee: str
) -> Iterator[DevChain]:
    """The chain with six blocks more, in which prices moved; nothing here changes it further."""
    rpc = synthetic_fork.rpc
    rpc.call("anvil_setNextBlockBaseFeePerGas", _first_base_fee)
    before = rpc.call("evm_snapshot")
    move(rpc, mainnet, {"WETH": 100_000})
    for _ in range(6):
        rpc.call("evm_mine")
    yield synthetic_fork
    assert rpc.call("evm_revert", before)


@pytest.fixture(scope="module")
def truth(still_chain: DevChain, resolved: ResolvedPortfolio) -> Truth:
    return Truth(still_chain, resolved)


@pytest.fixture
def proxies(synthetic_fork: DevChain) -> Iterator[Callable[[], Proxy]]:
    made: list[Proxy] = []

    def make() -> Proxy:
        made.append(Proxy(synthetic_fork.url))
        made[-1].stale_at = int(synthetic_fork.rpc.call("eth_blockNumber"), 16) - 5
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


def endpoints(*proxies: Proxy, limits: Limits = LIMITS) -> Endpoints:
    transports = [HttpRpc(proxy.url, limits.time_limit_s) for proxy in proxies]
    return Endpoints(transports, 1, limits, sleep=lambda _: None)


def limits_of(name: str) -> Limits:
    return HURRIED if name in SLOW or "silence" in name else LIMITS


@pytest.mark.parametrize("name", FAULTS)
def test_from_the_start(name: str, truth: Truth, proxies: Callable[[], Proxy]) -> None:
    fault, expected = FAULTS[name], REFUSED if name in HOPELESS else RIGHT
    good, bad, worse = proxies(), proxies(), proxies()
    bad.misbehave(fault)
    worse.misbehave(fault)
    limits = limits_of(name)
    assert truth.outcome(endpoints(bad, limits=limits)) == expected
    assert truth.outcome(endpoints(bad, worse, limits=limits)) == expected
    # With a good one among them it is right, and of the newest block.
    orders = ((bad, good), (good, bad), (bad, worse, good))
    for order in orders[: 1 if name in SLOW else 3]:
        rpc = endpoints(*order, limits=limits)
        if name == "data cut in half":
            # It looks like an answer until it is decoded: what does not decode is refused.
            assert truth.outcome(rpc) in (RIGHT, REFUSED)
        else:
            assert read_snapshot(rpc, truth.resolved) == truth.head


@pytest.mark.parametrize(
    ("name", "spare"), [(n, s) for n in FAULTS for s in SPARES if s == 1 or n not in SLOW]
)
def test_in_the_middle_of_a_snapshot(
    name: str, spare: int, truth: Truth, proxies: Callable[[], Proxy]
) -> None:
    """Block from one endpoint, state or the last look from another: still one block's truth."""
    fault = FAULTS[name]
    for count, good_ones in ((1, 1), (2, 0))[: 1 if name in SLOW else 2]:
        bad = [proxies() for _ in range(count)]
        good = [proxies() for _ in range(good_ones)]
        rpc = endpoints(*bad, *good, limits=limits_of(name))
        rpc.call("eth_chainId")
        for proxy in bad:
            proxy.misbehave(fault, spare)
        outcome = truth.outcome(rpc)
        if good and name != "data cut in half":
            assert outcome == RIGHT
        if name in BEARABLE and name not in ("stale head", "no EIP-1898", "block hash ignored"):
            assert outcome == RIGHT


def test_all_on_the_wrong_chain__is_a_chain_mismatch(
    truth: Truth, proxies: Callable[[], Proxy]
) -> None:
    bad = [proxies(), proxies()]
    for proxy in bad:
        proxy.misbehave(FAULTS["wrong chain"])
    with pytest.raises(ChainMismatch, match="serves chain 137, chain 1 is wanted"):
        read_snapshot(endpoints(*bad), truth.resolved)


def test_stale_endpoint_first__the_most_advanced_block_wins(
    truth: Truth, proxies: Callable[[], Proxy]
) -> None:
    old, new = proxies(), proxies()
    old.misbehave(FAULTS["stale head"])
    rpc = endpoints(old, new)
    assert read_snapshot(rpc, truth.resolved).block == truth.head.block
    assert [status.trouble for status in rpc.statuses()] == ["is 5 blocks behind", ""]


def test_chain_moves_between_endpoints__one_block_is_read(
    devchain: DevChain, resolved: ResolvedPortfolio, proxies: Callable[[], Proxy]
) -> None:
    """The endpoint that showed the block fails; another one has newer blocks by then."""
    first, second = proxies(), proxies()
    rpc = endpoints(first, second)
    rpc.call("eth_chainId")
    head = read_snapshot(devchain.rpc, resolved)
    first.misbehave(FAULTS["503"], spare=1)

    class Moving:
        def call(self, method: str, *params: Any) -> Any:
            if method == "eth_call":
                devchain.rpc.call("evm_mine")
            return rpc.call(method, *params)

        def batch(self, calls: Any) -> list[Any]:
            return rpc.batch(calls)

    assert read_snapshot(Moving(), resolved).balances == head.balances
    assert second.requests > 1


def transfer(chain: DevChain) -> tuple[str, str]:
    """A signed transfer of 1 wei and its hash; of an account that has nothing else to send."""
    key = dev_key(ARBITRAGEUR)
    assert key is not None
    nonce = int(chain.rpc.call("eth_getTransactionCount", ARBITRAGEUR, "pending"), 16)
    fields = {"chainId": 1, "nonce": nonce, "to": TREASURY, "value": 1, "gas": 21_000, "type": 2}
    fees = {"maxFeePerGas": 10**12, "maxPriorityFeePerGas": 10**9}
    return LocalSigner.from_key(key).sign({**fields, **fees})


@pytest.mark.parametrize("name", SEND_FAULTS)
@pytest.mark.parametrize("position", ["alone", "first of two", "both"])
def test_send__once_each__the_same_bytes__and_what_is_said_is_true(
    name: str, position: str, devchain: DevChain, proxies: Callable[[], Proxy]
) -> None:
    fault, delivered = SEND_FAULTS[name]
    bad = [proxies() for _ in range(2 if position == "both" else 1)]
    good = [proxies()] if position == "first of two" else []
    rpc = endpoints(*bad, *good, limits=limits_of(name))
    rpc.call("eth_chainId")
    for proxy in bad:
        proxy.misbehave(only_sends(fault))
    raw, tx_hash = transfer(devchain)
    try:
        heard = rpc.call("eth_sendRawTransaction", raw)
    except RpcUnavailable as silence:
        check_words(silence)
        heard = "nothing"
    except RpcError:
        heard = "no"
    for thread in threading.enumerate():
        if thread.name == THREAD_NAME:
            thread.join()
    there = devchain.rpc.call("eth_getTransactionByHash", tx_hash) is not None
    assert there == (delivered or bool(good))
    # Nobody has said no to it. Behind both endpoints is one node, so the good one may come too late
    # with "already known", while the other one's answer is lost: then nothing is known for sure.
    assert heard in ((tx_hash, "nothing") if good else ("nothing",))
    assert [proxy.sent for proxy in (*bad, *good)] == [[raw]] * len((*bad, *good))


def test_send__taken_by_one_and_known_to_the_other__is_the_hash_or_unknown(
    devchain: DevChain, proxies: Callable[[], Proxy]
) -> None:
    """Two ways to one node: one is told "already known", while the answer of the other is lost."""
    lossy, good = proxies(), proxies()
    rpc = endpoints(lossy, good)
    rpc.call("eth_chainId")
    lossy.misbehave(only_sends(SEND_FAULTS["delivered, then dropped"][0]))
    raw, tx_hash = transfer(devchain)
    devchain.rpc.call("eth_sendRawTransaction", raw)
    with pytest.raises(RpcUnavailable):
        rpc.call("eth_sendRawTransaction", raw)
    assert rpc.call("eth_getTransactionByHash", tx_hash)["hash"] == tx_hash
