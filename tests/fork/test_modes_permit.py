"""EIP-2612 permits on official bytecode: one transaction, nothing left, nobody gets in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundler_kit import (
    GWEI,
    MemoryJournal,
    Trade,
    allowance,
    balances,
    make_plan,
    pace,
    signer_of,
)

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.head import read_head
from rebalancer.bundler.permits import domain_separator, permits_for
from rebalancer.bundler.prepare import dry_run, prepare
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.artifacts import init_code
from rebalancer.devchain.cheats import call_of, mine_block, view
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import UNISWAP_FACTORY, USDC, WETH
from rebalancer.evm.abi import checksum
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import Token

ROOT = Path(__file__).resolve().parents[2]
UNIT = 10**18


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    deploy(devchain.rpc, signer_of(), 1, 300 * GWEI, pace())
    return devchain.rpc


@pytest.fixture
def token(rpc: Rpc) -> Token:
    """Uniswap's own ERC-20, which takes permits, in a pool with WETH."""
    artifact = ROOT / "node_modules" / "@uniswap" / "v2-core" / "build" / "ERC20.json"
    code = init_code(json.loads(artifact.read_text())["bytecode"], ["uint256"], [10**30])
    tx_hash = rpc.call(
        "eth_sendTransaction", {"from": TREASURY, "data": code, "gas": hex(3 * 10**6)}
    )
    receipt: Any = None
    while receipt is None:
        receipt = rpc.call("eth_getTransactionReceipt", tx_hash)
    made = Token(checksum(receipt["contractAddress"]), "PMT", 18)
    create = call_of(
        UNISWAP_FACTORY, "createPair(address,address)", made.address, WETH.address, gas=3 * 10**6
    )
    mine_block(rpc, TREASURY, [create])
    (pair,) = view(
        rpc, UNISWAP_FACTORY, "getPair(address,address)", ["address"], made.address, WETH.address
    )
    pay = "transfer(address,uint256)"
    mine_block(
        rpc,
        TREASURY,
        [
            call_of(made.address, pay, pair, 10_000 * UNIT),
            call_of(WETH.address, pay, pair, 10 * UNIT),
            call_of(pair, "mint(address)", TREASURY),
        ],
    )
    return made


def test_token_that_takes_permits__is_sold_in_one_transaction(
    rpc: Rpc, mainnet: Network, token: Token
) -> None:
    plan = make_plan(rpc, mainnet, [Trade(token, WETH, 5 * UNIT), Trade(WETH, USDC)])
    before = balances(rpc, (token, WETH, USDC))

    prepared = prepare(rpc, plan, signer_of(), approvals="permit")
    (outcome,) = submit(rpc, MemoryJournal(), plan, prepared.bundle, pace())

    assert outcome.purpose == "execute"
    assert [fill.amount_out for fill in outcome.fills] == [leg.amount_out for leg in plan.legs]
    after = balances(rpc, (token, WETH, USDC))
    assert before[token] - after[token] == 5 * UNIT
    assert allowance(rpc, token, EXECUTOR_ADDRESS) == 0, "an allowance was left over"


def test_token_without_permits__is_approved_beside_it(
    rpc: Rpc, mainnet: Network, token: Token
) -> None:
    plan = make_plan(rpc, mainnet, [Trade(token, WETH, 5 * UNIT), Trade(WETH, USDC, UNIT)])

    prepared = prepare(rpc, plan, signer_of(), approvals="permit")
    outcomes = submit(rpc, MemoryJournal(), plan, prepared.bundle, pace())

    assert [outcome.purpose for outcome in outcomes] == ["approve", "execute"]
    assert prepared.bundle.transactions[0].to == WETH.address
    assert [allowance(rpc, sold, EXECUTOR_ADDRESS) for sold in (token, WETH)] == [0, 0]


def test_without_the_policy__or_without_a_key__approvals_are_made(
    rpc: Rpc, mainnet: Network, token: Token
) -> None:
    plan = make_plan(rpc, mainnet, [Trade(token, WETH, 5 * UNIT)])

    exact = prepare(rpc, plan, signer_of(), approvals="exact").bundle
    keyless = dry_run(rpc, plan, approvals="permit")

    assert [tx.purpose for tx in exact.transactions] == ["approve", "execute"]
    assert [tx.call.purpose for tx in keyless.transactions] == ["approve", "execute"]


def test_permit_presented_by_somebody_else_first__changes_nothing(
    rpc: Rpc, mainnet: Network, token: Token
) -> None:
    plan = make_plan(rpc, mainnet, [Trade(token, WETH, 5 * UNIT)])
    bundle = prepare(rpc, plan, signer_of(), approvals="permit").bundle
    (permit,) = permits_for(rpc, plan, EXECUTOR_ADDRESS, read_head(rpc), signer_of())
    presented = call_of(
        token.address,
        "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
        TREASURY,
        EXECUTOR_ADDRESS,
        permit.amount,
        plan.deadline_ts,
        permit.v,
        *(word.to_bytes(32, "big") for word in (permit.r, permit.s)),
    )
    mine_block(rpc, ARBITRAGEUR, [presented])
    assert allowance(rpc, token, EXECUTOR_ADDRESS) == 5 * UNIT

    (outcome,) = submit(rpc, MemoryJournal(), plan, bundle, pace())

    assert outcome.status == 1
    assert allowance(rpc, token, EXECUTOR_ADDRESS) == 0


def test_domain__of_another_token__is_not_signed_for(rpc: Rpc, token: Token) -> None:
    """A token that shows a domain which is not its own would have us sign away another one."""
    head = read_head(rpc)
    own = domain_separator(rpc, token.address, 1, head)
    assert own is not None

    class Impostor:
        """Answers as the token does, from another address."""

        def call(self, method: str, request: Any, *params: Any) -> Any:
            return rpc.call(method, {**request, "to": token.address}, *params)

        def batch(self, calls: Any) -> Any:
            raise RpcError("batch", -32601, "not here")

    assert domain_separator(Impostor(), WETH.address, 1, head) is None
    assert domain_separator(rpc, token.address, 5, head) is None
    assert domain_separator(rpc, WETH.address, 1, head) is None
