"""Private order flow through a relay and an endpoint of our own, on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from bundler_kit import (
    GWEI,
    Hooked,
    MemoryJournal,
    Trade,
    make_plan,
    nonce_of,
    pace,
    signer_of,
)
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.lane import Lane, PublicSubmitter, Submitter
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.private import (
    FlashbotsSubmitter,
    LocalRelayKey,
    PrivateSubmitter,
    http_post,
)
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, WETH
from rebalancer.errors import ExecutionError, RpcUnavailable
from rebalancer.evm.rpc import HttpRpc, Rpc, RpcError
from rebalancer.model import Bundle, Plan

RELAY_KEY = "0x" + "7a" * 32
KNOWN = Account.from_key(RELAY_KEY).address


class Relay(HTTPServer):
    """A Flashbots-style relay and a private endpoint: checks who asks, and builds our blocks."""

    def __init__(self, rpc: Rpc, *, drops: int = 0, old: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Desk)
        self.rpc = rpc
        self.drops = drops  # so many offers of ours it does not win
        self.old = old  # knows no eth_sendPrivateTransaction
        self.bundles: dict[int, list[list[str]]] = {}
        self.private: list[str] = []
        self.requests: list[str] = []
        self.refused = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, body: bytes, signature: str) -> Any:
        request = json.loads(body)
        method, params = request["method"], request["params"]
        self.requests.append(method)
        if method == "eth_sendBundle":
            if not self._signed(body, signature):
                self.refused += 1
                return {"error": {"code": -32600, "message": "invalid flashbots signature"}}
            self.bundles.setdefault(int(params[0]["blockNumber"], 16), []).append(params[0]["txs"])
            return {"result": {"bundleHash": "0x" + keccak(body).hex()}}
        if method == "eth_sendPrivateTransaction" and self.old:
            return {"error": {"code": -32601, "message": "the method does not exist"}}
        raw = params[0]["tx"] if method == "eth_sendPrivateTransaction" else params[0]
        self.private.append(raw)
        return {"result": "0x" + keccak(bytes.fromhex(raw[2:])).hex()}

    def build(self, _seconds: float = 0) -> None:
        """The next block: the bundle for it as a whole, and what was handed over privately."""
        number = int(self.rpc.call("eth_blockNumber"), 16) + 1
        offers = self.bundles.get(number, [])[:1]
        if self.drops and (offers or self.private):
            self.drops -= 1
        else:
            for raw in [*(offers[0] if offers else []), *self.private]:
                self.rpc.call("eth_sendRawTransaction", raw)
            self.private = []
        self.rpc.call("evm_mine")

    def _signed(self, body: bytes, header: str) -> bool:
        address, _, signature = header.partition(":")
        message = encode_defunct(text="0x" + keccak(body).hex())
        by = Account.recover_message(message, signature=signature)
        return bool(by == address == KNOWN)


class _Desk(BaseHTTPRequestHandler):
    server: Relay

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answer(body, self.headers.get("X-Flashbots-Signature", ""))
        encoded = json.dumps({"jsonrpc": "2.0", "id": json.loads(body)["id"], **answer}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(relay: Relay) -> Iterator[Relay]:
    thread = Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield relay
    finally:
        relay.shutdown()
        thread.join()
        relay.server_close()


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    deploy(devchain.rpc, signer_of(ARBITRAGEUR), 1, 300 * GWEI, pace())
    devchain.rpc.call("evm_setAutomine", False)
    return devchain.rpc


@pytest.fixture
def plan(rpc: Rpc, mainnet: Network) -> Plan:
    return make_plan(rpc, mainnet, [Trade(WETH, USDC, 10**18)])


@pytest.fixture
def bundle(rpc: Rpc, plan: Plan) -> Bundle:
    return prepare(rpc, plan, signer_of()).bundle


def flashbots(relay: Relay, key: str = RELAY_KEY) -> FlashbotsSubmitter:
    return FlashbotsSubmitter(http_post(relay.url), LocalRelayKey(key))


def send(
    rpc: Rpc, relay: Relay, submitter: Submitter, plan: Plan, bundle: Bundle
) -> tuple[MemoryJournal, int]:
    """Submit by this way; returns the journal and what reached the node's public pool."""
    journal = MemoryJournal()
    public = Hooked(rpc, "eth_sendRawTransaction")
    clock = Pace(clock=lambda: 0.0, sleep=relay.build, poll_s=0.0)
    try:
        submit(public, journal, plan, bundle, clock, Lane(submitter, signer_of()))
    finally:
        assert public.count == 0, "it was shown to the public"
    return journal, public.count


@pytest.mark.parametrize("drops", [0, 1, 4])
def test_a_bundle_is_included_as_a_whole_whenever_it_wins(
    rpc: Rpc, plan: Plan, bundle: Bundle, drops: int
) -> None:
    with serving(Relay(rpc, drops=drops)) as relay:
        journal, _ = send(rpc, relay, flashbots(relay), plan, bundle)
    outcomes = [journal.outcomes[tx.tx_hash] for tx in bundle.transactions]
    assert [outcome.purpose for outcome in outcomes] == ["approve", "execute"]
    assert len({outcome.block_hash for outcome in outcomes}) == 1, "approved, but not executed with"
    assert outcomes[1].fills[0].amount_out == plan.legs[0].amount_out
    offered = {tuple(txs) for offers in relay.bundles.values() for txs in offers}
    assert offered == {tuple(tx.raw for tx in bundle.transactions)}, "other bytes than were stored"
    assert all(len(offers) == 1 for offers in relay.bundles.values()), "offered twice for a block"
    assert journal.kinds() == ["stored"] * 2 + ["sent"] * 2 + ["mined"] * 2 + ["confirmed"] * 2


def test_a_bundle_that_never_wins_expires_and_nothing_is_stuck(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    nonce = nonce_of(rpc)
    with serving(Relay(rpc, drops=1_000)) as relay, pytest.raises(ExecutionError, match="deadline"):
        send(rpc, relay, flashbots(relay), plan, bundle)
    assert nonce_of(rpc) == nonce
    assert int(rpc.call("eth_getTransactionCount", TREASURY, "pending"), 16) == nonce
    head = rpc.call("eth_getBlockByNumber", "latest", False)
    assert max(relay.bundles) <= int(head["number"], 16) + 3


def test_the_relay_refuses_a_stranger_and_nothing_happens(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    with (
        serving(Relay(rpc)) as relay,
        pytest.raises(ExecutionError, match=r"the relay refuses .*: invalid flashbots signature"),
    ):
        send(rpc, relay, flashbots(relay, "0x" + "11" * 32), plan, bundle)
    assert relay.refused
    assert not relay.bundles


@pytest.mark.parametrize("old", [False, True])
def test_a_private_endpoint_gets_it_and_nobody_else(
    rpc: Rpc, plan: Plan, bundle: Bundle, old: bool
) -> None:
    with serving(Relay(rpc, drops=2, old=old)) as relay:
        journal, _ = send(rpc, relay, PrivateSubmitter(HttpRpc(relay.url)), plan, bundle)
    assert len(journal.outcomes) == 2
    method = "eth_sendRawTransaction" if old else "eth_sendPrivateTransaction"
    assert relay.requests.count(method) == 2, "handed over more than once each"


def test_an_endpoint_that_drops_everything_leaves_the_bundle_to_its_deadline(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    """Not even the fee replacements make it public; it ends when the deadline is past."""
    nonce = nonce_of(rpc)
    with serving(Relay(rpc, drops=1_000)) as relay, pytest.raises(ExecutionError, match="deadline"):
        send(rpc, relay, PrivateSubmitter(HttpRpc(relay.url)), plan, bundle)
    assert nonce_of(rpc) == nonce


def test_a_relay_that_is_down_is_named_as_the_reason(rpc: Rpc, plan: Plan, bundle: Bundle) -> None:
    """Nothing is out, and a person learns why, not only that the deadline passed."""
    nonce = nonce_of(rpc)
    down = FlashbotsSubmitter(http_post("http://127.0.0.1:9"), LocalRelayKey(RELAY_KEY))
    with (
        serving(Relay(rpc)) as relay,
        pytest.raises(ExecutionError, match=r"deadline.*\(the relay cannot be reached\)"),
    ):
        send(rpc, relay, down, plan, bundle)
    assert nonce_of(rpc) == nonce


def test_a_relay_that_is_down_while_the_chain_stands_still_is_told(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    down = FlashbotsSubmitter(http_post("http://127.0.0.1:9"), LocalRelayKey(RELAY_KEY))
    ticks = iter(range(10**6))
    still = Pace(clock=lambda: float(next(ticks)), sleep=lambda _: None, silence_s=30.0)
    journal = MemoryJournal()
    with pytest.raises(RpcUnavailable, match="no new block") as raised:
        submit(rpc, journal, plan, bundle, still, Lane(down, signer_of()))
    assert raised.value.__notes__ == ["when it was sent last: the relay cannot be reached"]
    assert journal.open_bundles(1, TREASURY)


def test_a_relay_that_is_down_stays_unnamed() -> None:
    post = http_post("http://secret-key@127.0.0.1:9/path?key=secret")
    with pytest.raises(RpcUnavailable) as caught:
        post(b"{}", {})
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert RELAY_KEY[2:] not in repr(LocalRelayKey(RELAY_KEY))


def test_one_node_of_several_is_enough_and_all_are_asked(
    rpc: Rpc, plan: Plan, bundle: Bundle
) -> None:
    def silent(count: int) -> None:
        raise RpcUnavailable("no answer")

    def refuse(count: int) -> None:
        raise RpcError("eth_sendRawTransaction", -32000, "not by me")

    nodes = (
        Hooked(rpc, "eth_sendRawTransaction", before=silent),
        Hooked(rpc, "eth_sendRawTransaction", before=refuse),
        Hooked(rpc, "eth_sendRawTransaction"),
    )
    rpc.call("evm_setAutomine", True)
    journal = MemoryJournal()
    submit(rpc, journal, plan, bundle, pace(), Lane(PublicSubmitter(nodes)))
    assert len(journal.outcomes) == 2
    assert [node.count for node in nodes] == [nodes[2].count] * 3
    head: Any = None
    with pytest.raises(RpcError, match="not by me"):
        PublicSubmitter(nodes[1:2]).send(bundle.transactions[:1], head)
    with pytest.raises(RpcUnavailable):
        PublicSubmitter(nodes[:2]).send(bundle.transactions[:1], head)
