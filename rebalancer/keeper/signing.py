"""From a decided plan to a signed bundle, or to a proposal where others must sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rebalancer.bundler.prepare import Prepared, prepare
from rebalancer.bundler.propose import Proposed, prepare_execution, propose
from rebalancer.bundler.signer import Signer
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.errors import ConfigError
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Plan


@dataclass(frozen=True, slots=True)
class Keys:
    """``signer`` signs for the wallet, or sends and pays for what a Safe executes; None: nobody.

    ``owners`` are those of the Safe's owners whose keys are here.
    """

    signer: Signer | None
    owners: tuple[Signer, ...] = ()


def sign_plan(
    rpc: Rpc,
    resolved: ResolvedPortfolio,
    plan: Plan,
    signer: Signer | None,
    owners: Sequence[Signer] = (),
) -> Prepared | Proposed:
    """Simulate and sign a plan; sends nothing.

    ``signer`` is the wallet's key, or sends what a Safe executes; ``owners`` are keys of a Safe's
    owners. With fewer of them than the Safe asks for, or nobody to send, it comes back as a
    proposal. Raises what ``prepare``, ``propose`` and ``prepare_execution`` raise.
    """
    portfolio, cap = resolved.portfolio, resolved.network.tx_gas_cap
    if portfolio.mode != "safe":
        if signer is None:
            raise ConfigError(
                "there is no key to sign with",
                hint="set REBALANCER_KEYSTORE or REBALANCER_PRIVATE_KEY in .env",
            )
        return prepare(
            rpc,
            plan,
            signer,
            approvals=portfolio.approvals,
            tx_gas_cap=cap,
            mode=portfolio.mode,
        )
    proposed = propose(rpc, plan, approvals=portfolio.approvals)
    if signer is None or len(owners) < proposed.safe.threshold:
        return proposed
    return prepare_execution(rpc, proposed, owners, signer, tx_gas_cap=cap)
