"""The keys that are at hand: the wallet's own, or for a Safe a sender's and its owners'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rebalancer.config.environment import OWNER_KEYS, OWNER_KEYSTORES
from rebalancer.errors import ConfigError

if TYPE_CHECKING:
    from rebalancer.bundler.safe import SafeAccount
    from rebalancer.bundler.signer import Signer
    from rebalancer.cli.session import Session
    from rebalancer.keeper.signing import Keys

MORE_KEYS = (
    f"put the owners' keys into .env ({OWNER_KEYSTORES}), or let them sign in their Safe's"
    " interface: `rebalancer propose --out FILE`"
)


def open_keys(session: Session) -> Keys:
    """Every key of the environment that the portfolio can use.

    Raises ConfigError where there is none for a wallet that is no Safe, and for one that was named
    as an owner's and is not.
    """
    from rebalancer.bundler.safe import read_safe
    from rebalancer.keeper.signing import Keys

    if session.resolved.portfolio.mode != "safe":
        return Keys(session.signer())

    safe = read_safe(session.rpc, session.resolved.portfolio.wallet)
    configured = session.signer_if_any()
    named = _named(session)
    if strangers := [signer.address for signer in named if signer.address not in safe.owners]:
        raise ConfigError(
            f"the key of {strangers[0]} is no owner's of the Safe {safe.address}",
            hint=f"take it out of {OWNER_KEYS} or {OWNER_KEYSTORES}; the owners are "
            + ", ".join(safe.owners),
        )
    at_hand = [*named, *([configured] if configured else []), *_public(session, safe)]
    owners = {s.address: s for s in reversed(at_hand) if s.address in safe.owners}
    ordered = tuple(owners[address] for address in safe.owners if address in owners)
    sender = configured or next(iter(named), None) or next(iter(ordered), None)
    return Keys(sender, ordered)


def _named(session: Session) -> list[Signer]:
    from rebalancer.bundler.signer import LocalSigner

    environment = session.environment
    stores = environment.owner_keystores()
    signers: list[Signer] = [LocalSigner.from_keystore(*store) for store in stores]
    return signers + [LocalSigner.from_key(key) for key in environment.owner_keys()]


def _public(session: Session, safe: SafeAccount) -> list[Signer]:
    """Dev accounts among the owners: their keys are public knowledge, used on a local Anvil."""
    if session.anvil_instance is None:
        return []
    from rebalancer.bundler.signer import LocalSigner
    from rebalancer.devchain.accounts import dev_key

    keys = [dev_key(owner) for owner in safe.owners]
    return [LocalSigner.from_key(key) for key in keys if key is not None]
