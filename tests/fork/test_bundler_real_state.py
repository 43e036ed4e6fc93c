"""The bundler on real mainnet state: real USDC, USDT, WETH and pair bytecode, real reserves."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundler_kit import (
    GWEI,
    MemoryJournal,
    Trade,
    allowance,
    approve,
    balances,
    make_plan,
    pace,
    signer_of,
)

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.fork import open_fork
from rebalancer.devchain.mainnet import USDC, USDT, WETH

DEAR = 3_000 * GWEI
TOKENS = [WETH, USDC, USDT]


@pytest.mark.parametrize("block", [19426586, 12459406])
def test_realised_amounts_equal_the_plan_to_the_wei(
    real_data: Path, tmp_path: Path, mainnet: Network, block: int
) -> None:
    state = real_data / "mainnet" / "blocks" / f"{block}.json.gz"
    if not state.is_file():
        pytest.skip(f"no state of block {block} in {real_data}")
    with open_fork(state=state, log_dir=tmp_path) as chain:
        deploy(chain.rpc, signer_of(), 1, DEAR, pace())
        # Real USDT refuses to change an allowance that is not zero.
        approve(chain.rpc, USDT, EXECUTOR_ADDRESS, 77)
        trades = [
            Trade(WETH, USDC, 10**18),
            Trade(USDC, WETH, 3_000 * 10**6),
            Trade(WETH, USDT),
            Trade(USDT, WETH, 2_000 * 10**6),
        ]
        plan = make_plan(chain.rpc, mainnet, trades, max_fee_wei=DEAR)
        before = balances(chain.rpc, TOKENS)
        bundle = prepare(chain.rpc, plan, signer_of()).bundle
        *approvals, execution = submit(chain.rpc, MemoryJournal(), plan, bundle, pace())

        assert len(approvals) == 4, "WETH, USDC, and USDT through zero"
        assert [(f.amount_in, f.amount_out) for f in execution.fills] == [
            (leg.amount_in, leg.amount_out) for leg in plan.legs
        ]
        after = balances(chain.rpc, TOKENS)
        assert {a.token: a.raw for a in plan.net} == {t: after[t] - before[t] for t in TOKENS}
        assert [allowance(chain.rpc, token, EXECUTOR_ADDRESS) for token in TOKENS] == [0, 0, 0]
        assert sum(c.gas for c in execution.components) == execution.gas_used
        for transaction, outcome in zip(bundle.transactions, [*approvals, execution], strict=True):
            assert outcome.gas_used < transaction.gas_limit
