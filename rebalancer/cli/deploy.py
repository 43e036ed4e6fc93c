"""``rebalancer deploy``: put the executor contract where every chain has it."""

from __future__ import annotations

from rebalancer.cli.options import ExecuteOption, JsonOption, Place, at_place


@at_place
def deploy(place: Place, execute: ExecuteOption = False, json: JsonOption = False) -> None:
    """Deploy what the portfolio's mode needs, at the same address on every chain.

    The executor, or (mode: eip7702) the one that wallets delegate to; dry run by default.
    """
    from rebalancer.bundler.deploy import deploy as deploy_executor
    from rebalancer.bundler.executor import check_deployed
    from rebalancer.bundler.modes import contract_of
    from rebalancer.cli.output import show, show_json
    from rebalancer.errors import ExecutorMissing

    session = place.open()
    of = contract_of(session.resolved.portfolio.mode)
    if execute:
        chain_id, signer = session.resolved.network.chain_id, session.signer()
        # A rebalance of the same wallet would be after the same nonce.
        with session.alone(signer):
            done = deploy_executor(
                session.rpc,
                signer,
                chain_id,
                session.resolved.policy.max_gas_price_wei,
                session.pace(),
                of,
            )
        deployed, tx_hash, gas_used = True, done.tx_hash, done.gas_used
    else:
        tx_hash = gas_used = None
        try:
            check_deployed(session.rpc, "latest", of)
            deployed = True
        except ExecutorMissing:
            deployed = False
    if json:
        show_json(
            {
                "address": of.address,
                "deployed": deployed,
                "tx_hash": tx_hash,
                "gas_used": gas_used,
            }
        )
    elif tx_hash is not None:
        show(f"deployed at {of.address} in {tx_hash}, {gas_used:,} gas")
    elif deployed:
        show(f"the executor is at {of.address} already")
    else:
        show(f"would deploy to {of.address}; add --execute to do it")
