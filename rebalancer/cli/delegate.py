"""``rebalancer delegate | delegation | revoke``: whose code the wallet runs (EIP-7702)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rebalancer.cli.options import ExecuteOption, JsonOption, Place, at_place

if TYPE_CHECKING:
    from rebalancer.cli.session import Session


@at_place
def delegate(place: Place, execute: ExecuteOption = False, json: JsonOption = False) -> None:
    """Let the wallet run the executor's code, so that it trades without allowances."""
    from rebalancer.bundler.executor import WALLET_EXECUTOR

    session = place.open()
    _change(session, WALLET_EXECUTOR.address, execute, json)


@at_place
def revoke(place: Place, execute: ExecuteOption = False, json: JsonOption = False) -> None:
    """Take the delegation back: the wallet is a plain account again."""
    from rebalancer.bundler.delegating import NOBODY

    session = place.open()
    _change(session, NOBODY, execute, json)


@at_place
def delegation(place: Place, json: JsonOption = False) -> None:
    """Show what the wallet delegates to, and whether that is the executor; changes nothing."""
    from rebalancer.bundler.delegation import delegate_of
    from rebalancer.bundler.executor import WALLET_EXECUTOR
    from rebalancer.cli.output import show, show_json

    session = place.open()
    wallet = session.resolved.portfolio.wallet
    found = delegate_of(session.rpc, wallet)
    ours = found == WALLET_EXECUTOR.address
    if json:
        show_json({"wallet": wallet, "delegate": found, "executor": ours})
    elif found is None:
        show(f"{wallet} delegates to nothing")
    else:
        what = "the executor of this version" if ours else "not the executor of this version"
        show(f"{wallet} delegates to {found}, {what}")


def _change(session: Session, to: str, execute: bool, json: bool) -> None:
    """Delegate to ``to``; without ``execute`` only say what would be done."""
    from rebalancer.bundler.delegating import NOBODY
    from rebalancer.bundler.delegating import delegate as delegate_to
    from rebalancer.bundler.delegation import delegate_of
    from rebalancer.cli.output import show, show_json

    resolved = session.resolved
    wallet, chain_id = resolved.portfolio.wallet, resolved.network.chain_id
    wanted = None if to == NOBODY else to
    before = after = delegate_of(session.rpc, wallet)
    tx_hash = gas_used = None
    if execute:
        signer = session.signer()
        _check_key(signer.address, wallet)
        with session.alone(signer):
            done = delegate_to(
                session.rpc,
                signer,
                chain_id,
                resolved.policy.max_gas_price_wei,
                session.pace(),
                to,
            )
        after, tx_hash, gas_used = done.delegate, done.tx_hash, done.gas_used
    if json:
        show_json(
            {
                "wallet": wallet,
                "before": before,
                "delegate": after,
                "tx_hash": tx_hash,
                "gas_used": gas_used,
            }
        )
    elif tx_hash is not None:
        show(f"{wallet} delegates to {after or 'nothing'} now: {tx_hash}, {gas_used:,} gas")
    elif before == wanted:
        show(f"{wallet} delegates to {before or 'nothing'} already")
    else:
        show(
            f"{wallet} delegates to {before or 'nothing'}, would delegate to"
            f" {wanted or 'nothing'}; add --execute to do it"
        )


def _check_key(address: str, wallet: str) -> None:
    from rebalancer.errors import ConfigError

    if address != wallet:
        raise ConfigError(
            f"the key is of {address}, the portfolio's wallet is {wallet}",
            hint="an account can delegate with its own key alone",
        )
