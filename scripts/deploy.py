"""Deploy the executor at the address it has on every chain: ``ape run deploy --network ...``.

Anyone may do it, once per chain; the address and the code are those of the installed package.
"""

from __future__ import annotations

from typing import Any

import click
from ape.api import AccountAPI, ProviderAPI
from ape.cli import ConnectedProviderCommand, account_option

from rebalancer.bundler.executor import (
    CREATE2_PROXY,
    EXECUTOR_ADDRESS,
    check_deployed,
    deployment_call,
)


class ProviderRpc:
    """Ape's provider as the package's ``Rpc``."""

    def __init__(self, provider: ProviderAPI) -> None:
        self._provider = provider

    def call(self, method: str, *params: Any) -> Any:
        return self._provider.make_request(method, list(params))

    def batch(self, calls: Any) -> list[Any]:
        return [self.call(method, *params) for method, params in calls]


@click.command(cls=ConnectedProviderCommand)
@account_option()
def cli(account: AccountAPI, provider: ProviderAPI) -> None:
    """Deploy the executor, or say that it is there already."""
    if provider.get_code(EXECUTOR_ADDRESS):
        check_deployed(ProviderRpc(provider))
        click.echo(f"the executor is at {EXECUTOR_ADDRESS} already")
        return
    if not provider.get_code(CREATE2_PROXY):
        raise click.ClickException(
            f"this chain has no deployment proxy at {CREATE2_PROXY}; "
            "see https://github.com/Arachnid/deterministic-deployment-proxy"
        )
    to, data = deployment_call()
    receipt = account.transfer(to, 0, data=data)
    check_deployed(ProviderRpc(provider))
    click.echo(f"deployed the executor at {EXECUTOR_ADDRESS} in {receipt.txn_hash}")
