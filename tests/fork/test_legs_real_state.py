"""Legs of every kind on real mainnet state: real USDC, USDT, WETH9 and pair bytecode."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundler_kit import GWEI, MemoryJournal, allowance, pace, signer_of
from legs_kit import ETH, Draft, holdings, net_of, share_of

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.fork import open_fork
from rebalancer.devchain.mainnet import USDC, USDT, WETH

DEAR = 3_000 * GWEI
UNIT = 10**18


@pytest.mark.parametrize("block", [19426586, 12459406])
def test_realised_amounts_equal_the_plan_to_the_wei(
    real_data: Path, tmp_path: Path, mainnet: Network, block: int
) -> None:
    state = real_data / "mainnet" / "blocks" / f"{block}.json.gz"
    if not state.is_file():
        pytest.skip(f"no state of block {block} in {real_data}")
    with open_fork(state=state, log_dir=tmp_path) as chain:
        deploy(chain.rpc, signer_of(), 1, DEAR, pace())
        share = share_of(mainnet, USDC, WETH)
        held = holdings(chain.rpc, [share])[share]
        draft = Draft(chain.rpc, mainnet)
        draft.wrap(UNIT)
        out = draft.remove(USDC, WETH, held // 2)
        draft.swap(USDC, WETH, out.amount0 // 2)
        draft.swap(WETH, USDT)
        draft.add(USDT, WETH, 1_000 * 10**6)
        draft.unwrap(UNIT // 3)
        plan = draft.plan(max_fee_wei=DEAR)
        tokens = list(net_of(draft.legs))
        before = holdings(chain.rpc, tokens)

        bundle = prepare(chain.rpc, plan, signer_of()).bundle
        outcomes = submit(chain.rpc, MemoryJournal(), plan, bundle, pace())

        fills = outcomes[-1].fills
        assert [fill.takes for fill in fills if fill.index != 3] == [
            leg.takes for index, leg in enumerate(plan.legs) if index != 3
        ]
        assert [fill.pays for fill in fills] == [leg.pays for leg in plan.legs]
        after = holdings(chain.rpc, tokens)
        after[ETH] += sum(outcome.gas_cost_wei for outcome in outcomes)
        assert {t: after[t] - before[t] for t in tokens} == net_of(draft.legs)
        for token in (share, USDC, USDT, WETH):
            assert allowance(chain.rpc, token, EXECUTOR_ADDRESS) == 0
        assert set(holdings(chain.rpc, tokens, EXECUTOR_ADDRESS).values()) == {0}
        for transaction, outcome in zip(bundle.transactions, outcomes, strict=True):
            assert sum(c.gas for c in outcome.components) == outcome.gas_used
            assert outcome.gas_used < transaction.gas_limit
