"""``rebalancer deploy``: put the executor contract where every chain has it."""

from __future__ import annotations

from rebalancer.cli.options import (
    PORTFOLIO,
    ExecuteOption,
    JsonOption,
    NetworksOption,
    PortfolioOption,
    RpcUrlOption,
)


def deploy(
    portfolio: PortfolioOption = PORTFOLIO,
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    execute: ExecuteOption = False,
    json: JsonOption = False,
) -> None:
    """Deploy the executor by CREATE2, to the same address on every chain; dry run by default."""
    from rebalancer.bundler.deploy import deploy as deploy_executor
    from rebalancer.bundler.executor import EXECUTOR_ADDRESS, check_deployed
    from rebalancer.cli.output import show, show_json
    from rebalancer.cli.session import Session
    from rebalancer.errors import ExecutorMissing

    session = Session.open(portfolio, networks, rpc_url)
    if execute:
        done = deploy_executor(
            session.rpc,
            session.signer(),
            session.resolved.network.chain_id,
            session.resolved.policy.max_gas_price_wei,
            session.pace(),
        )
        deployed, tx_hash, gas_used = True, done.tx_hash, done.gas_used
    else:
        tx_hash = gas_used = None
        try:
            check_deployed(session.rpc)
            deployed = True
        except ExecutorMissing:
            deployed = False
    if json:
        show_json(
            {
                "address": EXECUTOR_ADDRESS,
                "deployed": deployed,
                "tx_hash": tx_hash,
                "gas_used": gas_used,
            }
        )
    elif tx_hash is not None:
        show(f"deployed at {EXECUTOR_ADDRESS} in {tx_hash}, {gas_used:,} gas")
    elif deployed:
        show(f"the executor is at {EXECUTOR_ADDRESS} already")
    else:
        show(f"would deploy to {EXECUTOR_ADDRESS}; add --execute to do it")
