"""A token that trades through the executor, for itself, while it is sold: our fills stay ours."""

from __future__ import annotations

import pytest
from bundler_kit import GWEI, MemoryJournal, give, pace, signer_of
from legs_kit import Draft, give_shares, holdings, net_of, share_of

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import ANY_BASE_FEE_WEI, EXECUTOR_ADDRESS
from rebalancer.bundler.fills import MINT, SWAP
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.steps import AddLiquidity, Batch, Swap, encode_batch
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.cheats import Call, call_of, mine_block, view
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import UNISWAP_FACTORY, USDC, WETH
from rebalancer.evm.abi import checksum, encode_call
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Amount, Token
from scripts.compile_contracts import CONTRACTS, compile_contract

UNIT = 10**18
SHARES = 10**14
PAY = "transfer(address,uint256)"
APPROVE = "approve(address,uint256)"
PLOT = "plot((address,bytes)[])"
MANY = 2**128


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    deploy(devchain.rpc, signer_of(), 1, 300 * GWEI, pace())
    return devchain.rpc


@pytest.fixture
def hostile(rpc: Rpc) -> Token:
    """In a pool with WETH, some of it in the treasury; with money of its own, and allowances."""
    code = compile_contract(CONTRACTS / "mocks" / "ReentrantToken.vy")["bytecode"]
    (receipt,) = mine_block(rpc, ARBITRAGEUR, [Call(None, code, gas_limit=3_000_000)])
    token = Token(checksum(receipt["contractAddress"]), "EVIL", 18)
    create = "createPair(address,address)"
    made = call_of(UNISWAP_FACTORY, create, token.address, WETH.address, gas=3_000_000)
    mine_block(rpc, ARBITRAGEUR, [made])
    place = "getPair(address,address)"
    (pair,) = view(rpc, UNISWAP_FACTORY, place, ["address"], token.address, WETH.address)
    mint = "mint(address,uint256)"
    allowed = [(t.address, encode_call(APPROVE, EXECUTOR_ADDRESS, MANY)) for t in (WETH, USDC)]
    mine_block(
        rpc,
        ARBITRAGEUR,
        [
            call_of(token.address, mint, pair, 1_000 * UNIT),
            call_of(WETH.address, PAY, pair, 10 * UNIT),
            call_of(pair, "mint(address)", ARBITRAGEUR),
            call_of(token.address, mint, TREASURY, 10 * UNIT),
            call_of(token.address, mint, ARBITRAGEUR, 1),
            call_of(token.address, APPROVE, ARBITRAGEUR, 1),
            call_of(token.address, PLOT, allowed),
            call_of(
                token.address,
                "transferFrom(address,address,uint256)",
                ARBITRAGEUR,
                TREASURY,
                1,
            ),
        ],
    )
    for own, raw in ((WETH, 10**15), (USDC, 10**6)):
        give(rpc, own, raw, token.address)
    return token


def test_reentrant_token__trading_on_our_own_pairs__is_not_taken_for_us(
    rpc: Rpc, mainnet: Network, hostile: Token
) -> None:
    """It swaps on the pair that the plan swaps on, and adds to the one that the plan adds to."""
    lp = share_of(mainnet, USDC, WETH)
    give_shares(rpc, lp, SHARES)
    draft = Draft(rpc, mainnet)
    draft.swap(hostile, WETH, UNIT)
    draft.swap(WETH, USDC, UNIT // 10)
    out = draft.remove(USDC, WETH, SHARES)
    draft.add(USDC, WETH, out.amount0 // 2)
    plan = draft.plan()
    steps = (
        Swap(lp.address, WETH.address, USDC.address, 3_000, 10**10, 0),
        AddLiquidity(lp.address, USDC.address, WETH.address, 10**3, 10**12, 1),
    )
    own = encode_batch(Batch(plan.deadline_ts, ANY_BASE_FEE_WEI, (), steps))
    plot = call_of(hostile.address, PLOT, [(EXECUTOR_ADDRESS, own)], gas=3_000_000)
    mine_block(rpc, ARBITRAGEUR, [plot])
    tokens = [hostile, WETH, USDC, lp]
    before = holdings(rpc, tokens)
    (done,) = view(rpc, hostile.address, "succeeded()", ["uint256"])

    prepared = prepare(rpc, plan, signer_of())
    outcome = submit(rpc, MemoryJournal(), plan, prepared.bundle, pace())[-1]

    assert view(rpc, hostile.address, "succeeded()", ["uint256"]) == (done + 1,), "it has traded"
    receipt = rpc.call("eth_getTransactionReceipt", outcome.tx_hash)
    ours_or_its = [
        log["topics"][0] for log in receipt["logs"] if log["address"] == lp.address.lower()
    ]
    assert (ours_or_its.count(SWAP), ours_or_its.count(MINT)) == (2, 2), "as the plan would"
    after = holdings(rpc, tokens)
    changes: dict[Token, int] = {}
    for fill in outcome.fills:
        for sign, amounts in ((-1, fill.takes), (1, fill.pays)):
            for amount in amounts:
                changes[amount.token] = changes.get(amount.token, 0) + sign * amount.raw
    assert changes == {token: after[token] - before[token] for token in tokens}
    assert changes.keys() == net_of(draft.legs).keys()
    assert Amount(WETH, UNIT // 10) in outcome.fills[1].takes
    assert holdings(rpc, [lp], hostile.address)[lp] > 0, "its shares are its own"
