"""The stage of the executor's tests: official pairs, plain tokens, and the executor itself.

Nothing here knows how the executor works; ``quote`` is the textbook formula.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ape
from ape.contracts import ContractContainer
from ethpm_types import ContractType

from rebalancer.bundler.executor import (
    EXECUTE_SIGNATURE,
    EXECUTOR_ADDRESS,
    decode_amount_out,
    deployment_call,
)
from rebalancer.evm.abi import decode_output, encode_call, from_hex, selector, to_hex
from rebalancer.evm.rpc import HttpRpc, RpcError

ROOT = Path(__file__).resolve().parents[2]
UNISWAP = ROOT / "node_modules" / "@uniswap"

FEE_PPM = 3_000
UNIT = 10**18
INFINITE = 2**256 - 1
FOREVER = 2**63
ANY_BASE_FEE = 2**64 - 1
GAS_LIMIT = hex(3_000_000)
REVERTED = 3  # the JSON-RPC code of a call that reverted


class Leg(NamedTuple):
    """The contract's struct."""

    pair: str
    token_in: str
    zero_for_one: bool
    fee_ppm: int
    amount_in: int
    min_amount_out: int


def arguments(*legs: Leg, deadline: int = FOREVER) -> tuple[int, list[tuple[int, int]]]:
    """``execute``'s words for swaps alone, written down anew from docs/executor.md.

    A leg with an ``amount_in`` of 0 spends what the leg before pays into its pair.
    """
    tokens = list(dict.fromkeys(int(str(leg.token_in), 16) for leg in legs))
    found = [(token, 0) for token in tokens]
    for number, leg in enumerate(legs):
        what = int(str(leg.pair), 16) | ((1_000_000 - leg.fee_ppm) % 2**24) << 160
        what |= tokens.index(int(str(leg.token_in), 16)) << 184
        what |= leg.zero_for_one << 192
        what |= (number + 1 < len(legs) and legs[number + 1].amount_in == 0) << 193
        found.append((what, leg.amount_in | leg.min_amount_out << 128))
    return deadline | ANY_BASE_FEE << 64 | len(tokens) << 136, found


def execute_data(*legs: Leg, deadline: int = FOREVER) -> bytes:
    """Calldata of ``execute`` for swaps alone."""
    return encode_call(EXECUTE_SIGNATURE, *arguments(*legs, deadline=deadline))


def official(name: str, package: str = "v2-core") -> ContractContainer:
    """A contract of Uniswap V2's npm packages."""
    artifact = json.loads((UNISWAP / package / "build" / f"{name}.json").read_text())
    return ContractContainer(
        ContractType.model_validate(
            {
                "contractName": name,
                "abi": artifact["abi"],
                "deploymentBytecode": {"bytecode": "0x" + artifact["bytecode"].removeprefix("0x")},
            }
        )
    )


def quote(amount_in: int, reserve_in: int, reserve_out: int, fee_ppm: int = FEE_PPM) -> int:
    """What a constant-product pair pays, rounded down."""
    after_fee = amount_in * (1_000_000 - fee_ppm)
    return after_fee * reserve_out // (reserve_in * 1_000_000 + after_fee)


def zero_for_one(token_in: Any, token_out: Any) -> bool:
    return int(token_in.address, 16) < int(token_out.address, 16)


@dataclass(frozen=True)
class Pool:
    """A pair with what one needs to trade on it: ``reserves`` are the booked ones, now."""

    contract: Any
    a: Any
    b: Any
    fee_ppm: int = FEE_PPM

    @property
    def address(self) -> str:
        return str(self.contract.address)

    def other(self, token: Any) -> Any:
        return self.b if token == self.a else self.a

    def reserves(self, token_in: Any) -> tuple[int, int]:
        """``(of token_in, of the other)``."""
        reserve0, reserve1, _ = self.contract.getReserves()
        if zero_for_one(token_in, self.other(token_in)):
            return reserve0, reserve1
        return reserve1, reserve0

    def quote(self, token_in: Any, amount_in: int) -> int:
        return quote(amount_in, *self.reserves(token_in), self.fee_ppm)

    def leg(self, token_in: Any, amount_in: int, minimum: int = 0) -> Leg:
        """Sell ``token_in`` here; an ``amount_in`` of 0 chains the leg to the one before."""
        direction = zero_for_one(token_in, self.other(token_in))
        return Leg(self.address, token_in.address, direction, self.fee_ppm, amount_in, minimum)


@dataclass(frozen=True)
class World:
    """``alice`` trades and has approved the executor; ``bob`` has too, and only looks on."""

    deployer: Any
    alice: Any
    bob: Any
    mallory: Any
    executor: Any
    factory: Any
    tokens: tuple[Any, ...]
    pools: dict[tuple[int, int], Pool]

    def pool(self, a: Any, b: Any, amount_a: int, amount_b: int) -> Pool:
        """An official pair, created and funded by its deployer."""
        self.factory.createPair(a, b, sender=self.deployer)
        pair = official("UniswapV2Pair").at(self.factory.getPair(a, b))
        self.pay(a, pair, amount_a)
        self.pay(b, pair, amount_b)
        pair.mint(self.deployer, sender=self.deployer)
        return Pool(pair, a, b)

    def fee_pool(self, a: Any, b: Any, amount_a: int, amount_b: int, fee_ppm: int) -> Pool:
        """A pair of another fee."""
        pair = self.deployer.deploy(ape.project.FeePair, a, b, fee_ppm)
        self.pay(a, pair, amount_a)
        self.pay(b, pair, amount_b)
        pair.sync(sender=self.deployer)
        return Pool(pair, a, b, fee_ppm)

    def token(self) -> Any:
        """A plain ERC-20; the deployer owns all of it."""
        return self.deployer.deploy(official("ERC20"), 2**200)

    def mock(self, name: str) -> Any:
        """A token of contracts/mocks, of which deployer, alice and bob own plenty."""
        token = self.deployer.deploy(getattr(ape.project, name))
        for owner in (self.deployer, self.alice, self.bob):
            token.mint(owner, 2**120, sender=self.deployer)
        for owner in (self.alice, self.bob):
            token.approve(self.executor, INFINITE, sender=owner)
        return token

    def pay(self, token: Any, to: Any, amount: int) -> None:
        token.transfer(to, amount, sender=self.deployer)

    def execute(self, *legs: Leg, deadline: int = FOREVER) -> Any:
        """Alice's batch; returns the receipt."""
        return self.executor.execute(*arguments(*legs, deadline=deadline), sender=self.alice)

    def amounts_out(self, *legs: Leg) -> list[int]:
        """What each leg would be paid now: what a batch that ends with it returns."""
        answers = [
            self.rpc.call("eth_call", self.request(*legs[:count]), "latest")
            for count in range(1, len(legs) + 1)
        ]
        return [decode_amount_out(from_hex(answer)) for answer in answers]

    def refusal(self, *legs: Leg, deadline: int = FOREVER, **fields: str) -> str:
        """The reason why the same batch would revert now, "" if it gives none.

        Fails the test if the batch would succeed. A call, because Ape spends seconds on the trace
        of each transaction that reverts.
        """
        request = self.request(*legs, deadline=deadline) | fields
        try:
            self.rpc.call("eth_call", request, "latest")
        except RpcError as error:
            return revert_reason(error)
        raise AssertionError("the batch would not revert")

    def request(self, *legs: Leg, deadline: int = FOREVER) -> dict[str, str]:
        """Alice's batch as the node takes it."""
        return {
            "from": self.alice.address,
            "to": self.executor.address,
            "data": to_hex(execute_data(*legs, deadline=deadline)),
        }

    def fails_on_chain(self, request: dict[str, str]) -> bool:
        """Whether a transaction is mined but reverts; for what must be seen in the state after."""
        tx_hash = self.rpc.call("eth_sendTransaction", request | {"gas": GAS_LIMIT})
        receipt = None
        while receipt is None:
            receipt = self.rpc.call("eth_getTransactionReceipt", tx_hash)
        return bool(receipt["status"] == "0x0")

    @property
    def rpc(self) -> HttpRpc:
        return HttpRpc(ape.chain.provider.http_uri)


def revert_reason(error: RpcError) -> str:
    """The string that a contract reverted with, "" if it reverted without one."""
    assert error.code == REVERTED, error
    data = from_hex(error.data or "0x")
    if not data:
        return ""
    assert data[:4] == selector("Error(string)"), error
    return str(decode_output(["string"], data[4:])[0])


def deploy_executor(sender: Any) -> Any:
    """Send the deployment call, once; Anvil has the proxy at its address from the start."""
    if not ape.chain.provider.get_code(EXECUTOR_ADDRESS):
        to, data = deployment_call()
        sender.transfer(to, 0, data=data)
    return ape.project.Executor.at(EXECUTOR_ADDRESS)


def build_world(first_account: int = 0) -> World:
    """Six plain tokens; official pools of token 0 with each other one, and of tokens 1 and 2.

    The addresses follow from ``first_account`` alone as long as nobody else uses its accounts.
    """
    people = ape.accounts.test_accounts[first_account : first_account + 4]
    deployer, alice, bob, mallory = people
    factory = deployer.deploy(official("UniswapV2Factory"), deployer)
    tokens = tuple(deployer.deploy(official("ERC20"), 2**200) for _ in range(6))
    executor = deploy_executor(deployer)
    for token in tokens:
        for owner in (alice, bob):
            token.transfer(owner, 10**24, sender=deployer)
            token.approve(executor, INFINITE, sender=owner)
    world = World(deployer, alice, bob, mallory, executor, factory, tokens, {})
    for i, j in ((0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 2)):
        world.pools[i, j] = world.pool(tokens[i], tokens[j], 10**24, (j + 1) * 10**24)
    return world
