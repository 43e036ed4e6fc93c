"""A node in a dictionary for the readers' tests: two methods, no sockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from eth_abi.abi import decode, encode
from reader_program import run_program

from rebalancer.config.networks import Network
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.evm.abi import encode_call, from_hex, selector, to_hex
from rebalancer.evm.rpc import RpcError
from rebalancer.readers.packed import ADDRESS, program

ROOT = Path(__file__).parents[2]
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
NOW = 1_700_000_000
REVERT = None
ZERO = "0x" + "00" * 20
FEE_TO = "0xf1F3ca268280d9fbBa5010D1C9D74af3D1dD4C0d"

State = dict[str, dict[bytes, bytes | None]]


BODY = yaml.safe_load((ROOT / "networks.yaml").read_text())["mainnet"]


def network(**changes: Any) -> Network:
    return Network(name="mainnet", **{**BODY, **changes})


def portfolio(
    *positions: dict[str, Any], numeraire: str = "USD", on: Network | None = None
) -> ResolvedPortfolio:
    """A portfolio of ``positions``; by default WETH, WBTC, USDC and WETH/USDT on Uniswap."""
    chosen = positions or (
        {"token": "WETH", "target": "40%"},
        {"token": "WBTC", "target": "20%"},
        {"token": "USDC", "target": "20%"},
        {"lp": "uniswap_v2:WETH/USDT", "target": "20%"},
    )
    spec = {"name": "p", "network": "mainnet", "wallet": WALLET, "numeraire": numeraire}
    return resolve(Portfolio.model_validate({**spec, "positions": chosen}), on or network())


def word(*values: int | str) -> bytes:
    """ABI words: integers, or addresses written as text."""
    return b"".join(
        encode(["address"], [v]) if isinstance(v, str) else (v % 2**256).to_bytes(32, "big")
        for v in values
    )


class FakeNode:
    """Answers JSON-RPC from ``state``; a missing contract answers nothing, a missing call reverts.

    ``past`` holds the state of older blocks by number; ``requests`` counts HTTP requests, each as
    the methods in it; ``faults`` replaces the answer of a method, and may raise.
    """

    def __init__(self, state: State, *, chain_id: int = 1, head: int = 100) -> None:
        self.state = state
        self.past: dict[int, State] = {}
        self.chain_id = chain_id
        self.head = head
        self.branch = 0
        self.base_fee: int | None = 7 * 10**9
        self.multicall3: str | None = network().multicall3.lower()
        self.overrides = True
        self.requests: list[list[str]] = []
        self.calls: list[tuple[Any, ...]] = []
        self.faults: dict[str, Callable[..., Any]] = {}

    def call(self, method: str, *params: Any) -> Any:
        self.requests.append([method])
        return self._answer(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        self.requests.append([method for method, _ in calls])
        return [self._answer(method, *params) for method, params in calls]

    def put(self, target: str, signature: str, args: Sequence[Any], answer: bytes | None) -> None:
        self.state.setdefault(target.lower(), {})[encode_call(signature, *args)] = answer

    def block_hash(self, number: int) -> str:
        return to_hex(bytes([self.branch]) * 4 + number.to_bytes(28, "big"))

    def header(self, number: int) -> dict[str, Any] | None:
        if not 0 <= number <= self.head:
            return None
        header = {
            "number": hex(number),
            "hash": self.block_hash(number),
            "timestamp": hex(NOW - 12 * (self.head - number)),
        }
        return header if self.base_fee is None else header | {"baseFeePerGas": hex(self.base_fee)}

    def _answer(self, method: str, *params: Any) -> Any:
        self.calls.append((method, *params))
        if method in self.faults:
            return self.faults[method](*params)
        return getattr(self, f"_{method}")(*params)

    def _eth_chainId(self) -> str:
        return hex(self.chain_id)

    def _eth_maxPriorityFeePerGas(self) -> str:
        return hex(2 * 10**9)

    def _eth_getBlockByNumber(self, number: str, full: bool) -> Any:
        assert full is False
        return self.header(self.head if number == "latest" else int(number, 16))

    def _eth_getBlockByHash(self, block_hash: str, full: bool) -> Any:
        assert full is False
        number = int(block_hash[-16:], 16)
        header = self.header(number)
        return header if header and header["hash"] == block_hash else None

    def _eth_call(
        self, transaction: dict[str, str], at: Any, override: dict[str, Any] | None = None
    ) -> str:
        if isinstance(at, dict):
            header = self._eth_getBlockByHash(at["blockHash"], False)
            if header is None:
                raise RpcError("eth_call", -32001, "Resource not found")
            number = int(header["number"], 16)
        else:
            number = int(at, 16)
        state = self.past.get(number, self.state)
        target, data = transaction["to"].lower(), from_hex(transaction["data"])
        if override is not None:
            if not self.overrides:
                raise RpcError("eth_call", -32602, "too many arguments, want at most 2")
            assert override == {ADDRESS: {"code": program()}}
            assert target == ADDRESS.lower()
            return to_hex(run_program(data, partial(self._view, state)))
        if target != self.multicall3:
            answer = self._view(state, target, data)
            if answer is None:
                raise RpcError("eth_call", 3, "execution reverted", "0x")
            return to_hex(answer)
        assert data[:4] == selector("aggregate3((address,bool,bytes)[])")
        (asked,) = decode(["(address,bool,bytes)[]"], data[4:])
        rows = []
        for inner, allow_failure, inner_data in asked:
            assert allow_failure
            answer = self._view(state, inner.lower(), inner_data)
            rows.append((answer is not None, answer or b""))
        return to_hex(encode(["(bool,bytes)[]"], [rows]))

    @staticmethod
    def _view(state: State, target: str, data: bytes) -> bytes | None:
        return state[target].get(data) if target in state else b""


#: USD answers of the feeds, eight decimals.
ANSWERS = {
    "ETH/USD": 3_456_78901234,
    "BTC/USD": 67_890_12345678,
    "USDC/USD": 99_990_000,
    "USDT/USD": 1_00010000,
    "DAI/USD": 1_00000001,
}
BALANCES = {"WETH": 12 * 10**18 + 345, "WBTC": 3 * 10**8 + 1, "USDC": 10**10 + 7, "USDT": 0}


def put_feed(
    node: FakeNode, name: str, answer: int, *, age: int = 60, round_id: int = 9, behind: int = 0
) -> None:
    feed = network().feeds[name]
    updated_at = NOW - age
    row = word(round_id, answer, updated_at - 5, updated_at, round_id - behind)
    node.put(feed.address, "latestRoundData()", (), row)
    node.put(feed.address, "decimals()", (), word(feed.decimals))


def put_pair(
    node: FakeNode, amm: str, a: str, b: str, *, r0: int, r1: int, supply: int, k: int = 0
) -> str:
    net = network()
    pair = net.amms[amm].pair_address(net.token(a), net.token(b))
    # The third word is the time of the last trade modulo 2**32, so 0 is a time like any other.
    node.put(pair, "getReserves()", (), word(r0, r1, 0))
    node.put(pair, "totalSupply()", (), word(supply))
    node.put(pair, "kLast()", (), word(k))
    node.put(pair, "balanceOf(address)", (WALLET,), word(supply // 10))
    return pair


def mainnet() -> FakeNode:
    """Everything that the default portfolio needs: four tokens, four feeds, three pools."""
    net = network()
    node = FakeNode({})
    node.put(net.multicall3, "getEthBalance(address)", (WALLET,), word(5 * 10**18))
    for symbol, raw in BALANCES.items():
        token = net.token(symbol)
        node.put(token.address, "balanceOf(address)", (WALLET,), word(raw))
        node.put(token.address, "decimals()", (), word(token.decimals))
    for name, answer in ANSWERS.items():
        put_feed(node, name, answer)
    node.put(net.amms["uniswap_v2"].factory, "feeTo()", (), word(ZERO))
    node.put(net.amms["sushiswap"].factory, "feeTo()", (), word(FEE_TO))
    put_pair(node, "uniswap_v2", "WETH", "USDT", r0=10**21, r1=3 * 10**12, supply=5 * 10**16, k=77)
    put_pair(node, "uniswap_v2", "USDC", "WETH", r0=2 * 10**12, r1=6 * 10**20, supply=10**16)
    put_pair(node, "sushiswap", "USDC", "WETH", r0=10**12, r1=3 * 10**20, supply=10**15, k=3)
    return node
