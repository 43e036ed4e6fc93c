"""The lane of a portfolio: who sends its transactions, when they are final, what stops them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rebalancer.config.environment import PRIVATE_TX_URL, RELAY_KEY, RELAY_URL
from rebalancer.config.portfolio import CONFIRMATIONS
from rebalancer.errors import ConfigError

if TYPE_CHECKING:
    from rebalancer.bundler.lane import Lane, Submitter
    from rebalancer.bundler.signer import Signer
    from rebalancer.cli.session import Session


def open_lane(session: Session, signer: Signer | None) -> Lane:
    """The lane that the portfolio file asks for; raises ConfigError where .env lacks its part."""
    from rebalancer.bundler.lane import Lane
    from rebalancer.cli.session import state_folder
    from rebalancer.keeper.stop import kill_guard

    return Lane(
        submitter=_submitter(session),
        signer=signer,
        confirmations=_confirmations(session),
        replace_after=session.resolved.portfolio.replace_after,
        guard=kill_guard(state_folder()),
    )


def described(session: Session) -> str:
    """The lane in words; raises ConfigError where .env lacks its part."""
    _submitter(session)
    portfolio = session.resolved.portfolio
    depth = _confirmations(session)
    final = f"{depth} block{'s' * (depth > 1)} deep is final"
    if portfolio.submission == "flashbots":
        return f"flashbots: offered to the relay block by block, never replaced; {final}"
    every = portfolio.replace_after
    raised = f"fees are raised every {every} blocks" if every else "fees are never raised"
    to = "every endpoint" if portfolio.submission == "public" else "the private endpoint alone"
    return f"{portfolio.submission}: sent to {to}; {raised}; {final}"


def _confirmations(session: Session) -> int:
    confirmations = session.resolved.portfolio.confirmations
    if confirmations is None:
        return 1 if session.anvil_instance else CONFIRMATIONS
    return confirmations


def _submitter(session: Session) -> Submitter | None:
    """Who sends; None for the node that is read from."""
    kind = session.resolved.portfolio.submission
    if kind == "private":
        from rebalancer.bundler.private import PrivateSubmitter
        from rebalancer.evm.rpc import HttpRpc

        return PrivateSubmitter(HttpRpc(_needed(session, PRIVATE_TX_URL)))
    if kind == "flashbots":
        from rebalancer.bundler.private import FlashbotsSubmitter, LocalRelayKey, http_post

        post = http_post(_needed(session, RELAY_URL))
        return FlashbotsSubmitter(post, LocalRelayKey(_needed(session, RELAY_KEY)))
    return None


def _needed(session: Session, variable: str) -> str:
    value = session.environment.get(variable)
    if value is None:
        kind = session.resolved.portfolio.submission
        raise ConfigError(
            f"submission: {kind} needs {variable}, which is not set",
            hint=f"put {variable}=... into .env, or choose submission: public",
        )
    return value
