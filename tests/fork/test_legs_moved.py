"""Pools that move between the signature and the block, by a little and by a lot, either way."""

from __future__ import annotations

from typing import Any

import pytest
from bundler_kit import GWEI, balances, give, pace, signer_of
from legs_kit import ETH, Draft, give_shares, share_of

from rebalancer.amm.swap import apply_swap
from rebalancer.bundler.delegating import delegate
from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import WALLET_EXECUTOR, encode_execute, net_floors
from rebalancer.bundler.fills import decode_fills
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, MARKET_MAKER, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, USDT, WETH
from rebalancer.evm.abi import to_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Fill, Plan, Token

UNIT = 10**18
SHARES = 10**15
PAY = "transfer(address,uint256)"
SWAP = "swap(uint256,uint256,address,bytes)"
#: Parts per million of a pool's reserve that somebody sells into it.
SIZES = (1, 10, 100, 500, 1_000, 2_000, 5_000, 20_000)


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    """A delegated wallet that has no stablecoin of its own."""
    rpc = devchain.rpc
    deploy(rpc, signer_of(), 1, 300 * GWEI, pace(), WALLET_EXECUTOR)
    delegate(rpc, signer_of(), 1, 300 * GWEI, pace())
    own = balances(rpc, [USDC, USDT])
    away = [call_of(t.address, PAY, MARKET_MAKER, raw) for t, raw in own.items() if raw]
    mine_block(rpc, TREASURY, away)
    return rpc


def after_a_trade(rpc: Rpc, draft: Draft, sold: Token, bought: Token, size_ppm: int) -> list[Any]:
    """The two transactions of somebody who sells into a pool of the plan, before it did."""
    pair = Draft(rpc, draft.network).pair(sold, bought)
    raw = pair.reserves(sold)[0] * size_ppm // 10**6
    give(rpc, sold, raw, ARBITRAGEUR)
    _, out = apply_swap(pair, sold, raw)
    outs = (0, out) if sold == pair.token0 else (out, 0)
    calls = [
        call_of(sold.address, PAY, pair.address, raw),
        call_of(pair.address, SWAP, *outs, ARBITRAGEUR, b""),
    ]
    return [{"from": ARBITRAGEUR, "to": call.to, "data": call.data} for call in calls]


def outcome(rpc: Rpc, plan: Plan, before: list[Any], *, gained: bool) -> tuple[Fill, ...] | None:
    """The fills behind these transactions; None when it reverts."""
    data = encode_execute(plan.legs, plan.deadline_ts, as_wallet=gained)
    execute = {"from": TREASURY, "to": TREASURY, "data": to_hex(data)}
    options = {"blockStateCalls": [{"calls": [*before, execute]}], "validation": False}
    *moves, done = rpc.call("eth_simulateV1", options, "latest")[0]["calls"]
    assert [int(move["status"], 16) for move in moves] == [1] * len(moves)
    if int(done["status"], 16) != 1:
        return None
    return decode_fills(plan, done["logs"], TREASURY)


def test_moved_pools__all_within_the_minimums_or_nothing(rpc: Rpc, mainnet: Network) -> None:
    """And with what the earlier legs brought, more of it comes to pass than with exact amounts."""
    give_shares(rpc, share_of(mainnet, USDC, WETH), SHARES)
    draft = Draft(rpc, mainnet)
    draft.wrap(UNIT)
    out = draft.remove(USDC, WETH, SHARES)
    bought = draft.swap(USDC, USDT, out.amount0)
    draft.add(USDT, WETH, bought.amount_out)
    draft.unwrap(UNIT // 2)
    plan = draft.plan()
    floors = net_floors(plan.legs, as_wallet=True)
    done = {True: 0, False: 0}
    for sold, other in ((WETH, USDC), (USDC, WETH), (USDC, USDT), (USDT, USDC), (WETH, USDT)):
        for size_ppm in SIZES:
            moves = after_a_trade(rpc, draft, sold, other, size_ppm)
            for gained in (True, False):
                fills = outcome(rpc, plan, moves, gained=gained)
                if fills is None:
                    continue
                done[gained] += 1
                net: dict[str, int] = {}
                for fill, leg in zip(fills, plan.legs, strict=True):
                    for paid, least in zip(fill.pays, leg.least, strict=True):
                        assert paid.raw >= least.raw, (sold.symbol, size_ppm, leg)
                        net[paid.token.address] = net.get(paid.token.address, 0) + paid.raw
                    for taken in fill.takes:
                        net[taken.token.address] = net.get(taken.token.address, 0) - taken.raw
                assert net[USDC.address] >= 0
                assert net[USDT.address] >= 0
                assert net[ETH.address] == UNIT // 2 - UNIT
                if gained:
                    assert net[USDC.address] == 0, "all that was brought was sold"
                    assert all(net[w.token] + w.most_loss >= w.least_gain for w in floors)
    assert done[False] < done[True] < 5 * len(SIZES)
