"""Plans executed on official pair bytecode: what they say to the wei, and about the gas."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from bundler_kit import GWEI, MemoryJournal, balances, pace, signer_of

from rebalancer.amm.valuation import value
from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.cheats import word
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.market import move
from rebalancer.model import Decision, Hold, Rebalance, Snapshot
from rebalancer.model.leg import share_token
from rebalancer.planner import decide, replay
from rebalancer.readers.snapshot import read_snapshot


def portfolio(network: Network, targets: Mapping[str, str], **policy: str) -> ResolvedPortfolio:
    made = {
        "name": "test",
        "network": "mainnet",
        "wallet": TREASURY,
        "positions": [
            {"lp" if ":" in name else "token": name, "target": target}
            for name, target in targets.items()
        ],
        "policy": {"trigger": "threshold", "max_gas_price": "300 gwei", **policy},
    }
    return resolve(Portfolio.model_validate(made), network)


def read_and_decide(devchain: DevChain, resolved: ResolvedPortfolio) -> tuple[Snapshot, Decision]:
    snapshot = read_snapshot(devchain.rpc, resolved, None)
    valuation = value(snapshot, resolved.targets)
    return snapshot, decide(snapshot, valuation, resolved.targets, resolved.policy, None)


@pytest.mark.parametrize(
    ("targets", "policy", "hops", "amms"),
    [
        # WETH has pools to everything: direct legs.
        ({"WETH": "10%", "WBTC": "30%", "USDC": "40%", "USDT": "20%"}, {}, 1, 1),
        # WBTC meets USDT and DAI only by way of WETH, which is no position: chained legs.
        ({"WBTC": "20%", "USDT": "40%", "DAI": "40%"}, {}, 2, 1),
        # An LP position beside, and half of the way.
        ({"WETH": "30%", "USDC": "30%", "uniswap_v2:WETH/USDC": "40%"}, {"reset": "50%"}, 1, 1),
        # The optimal planner, through an intermediate and not.
        ({"WETH": "10%", "WBTC": "30%", "USDC": "60%"}, {"planner": "optimal"}, 1, 2),
        ({"WBTC": "20%", "USDT": "40%", "DAI": "40%"}, {"planner": "optimal"}, 1, 1),
        # Liquidity is removed, and the two tokens traded on.
        (
            {"WETH": "40%", "USDC": "50%", "uniswap_v2:WETH/USDC": "10%"},
            {"planner": "optimal"},
            1,
            2,
        ),
        # Liquidity is added of what was bought for it.
        (
            {"WETH": "10%", "USDC": "20%", "uniswap_v2:WETH/USDC": "70%"},
            {"planner": "optimal"},
            1,
            2,
        ),
        # So tight an impact limit that a trade is cut, and goes on over the second AMM.
        ({"WETH": "10%", "USDC": "90%"}, {"max_impact": "0.2%"}, 1, 2),
    ],
)
def test_a_plan_realises_what_it_says(
    devchain: DevChain,
    mainnet: Network,
    targets: Mapping[str, str],
    policy: Mapping[str, str],
    hops: int,
    amms: int,
) -> None:
    rpc = devchain.rpc
    deploy(rpc, signer_of(ARBITRAGEUR), 1, 300 * GWEI, pace())
    move(rpc, mainnet, {"WETH": 250_000})
    resolved = portfolio(mainnet, targets, drift_aversion="100%", **policy)
    snapshot, decision = read_and_decide(devchain, resolved)
    assert isinstance(decision, Rebalance), decision
    plan = decision.plan
    assert (plan.certificate is not None) == (policy.get("planner") == "optimal")
    assert any(leg.kind == "swap" and leg.chained for leg in plan.legs) == (hops == 2)
    assert len({leg.amm for leg in plan.legs if leg.kind == "swap"}) == amms
    tokens = [amount.token for amount in snapshot.balances]
    shares = [share_token(p.address, p.amm, p.token0, p.token1) for p in snapshot.pairs]
    before = balances(rpc, [*tokens, *shares])
    # Price accumulators are zero in a pool's first swap alone, which costs 34,200 gas more.
    for pair in snapshot.pairs:
        for slot in (9, 10):
            rpc.call("anvil_setStorageAt", pair.address, word(slot), word(1))

    outcomes = submit(rpc, MemoryJournal(), plan, prepare(rpc, plan, signer_of()).bundle, pace())

    changed = {token: now - before[token] for token, now in balances(rpc, list(before)).items()}
    assert {t: raw for t, raw in changed.items() if raw} == {a.token: a.raw for a in plan.net}
    gas_used = sum(outcome.gas_used for outcome in outcomes)
    assert abs(gas_used - plan.costs.gas_units) * 25 < gas_used, (gas_used, plan.costs)
    again, next_decision = read_and_decide(devchain, resolved)
    predicted = replay(snapshot, plan.legs)
    assert again.balances == predicted.balances
    reserves = {p.address: (p.reserve0, p.reserve1) for p in predicted.pairs}
    assert {p.address: (p.reserve0, p.reserve1) for p in again.pairs} == reserves
    if not policy or plan.certificate is not None:
        assert isinstance(next_decision, Hold), next_decision
