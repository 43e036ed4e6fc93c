"""What a plan's transactions use of gas, as data in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rebalancer.model import SwapLeg


@dataclass(frozen=True, slots=True)
class GasSchedule:
    """Gas by component, nearly additive over a plan's legs.

    ``base`` is the transaction itself, ``per_token`` the first touch of each token,
    ``per_approval`` a transaction of its own for each token sold, and ``chained_saving`` what a leg
    saves that is paid straight from the pair before it.
    """

    name: str
    base: int
    per_swap: int
    per_token: int
    per_approval: int
    chained_saving: int

    def units(self, legs: Sequence[SwapLeg]) -> int:
        """Expected gas of executing ``legs`` as one batch, approvals included; 0 for no legs.

        Approvals are counted at an exact allowance per sold token, which is what the wallet grants
        unless it keeps standing ones: then the true gas is lower, never higher.
        """
        if not legs:
            return 0
        tokens = {token for leg in legs for token in (leg.token_in, leg.token_out)}
        sold = {leg.token_in for leg in legs if not leg.chained}
        chained = sum(leg.chained for leg in legs)
        return (
            self.base
            + self.per_swap * len(legs)
            + self.per_token * len(tokens)
            + self.per_approval * len(sold)
            - self.chained_saving * chained
        )

    def trade(self) -> int:
        """Gas of the smallest plan: one swap, two tokens, one approval."""
        return self.base + self.per_swap + 2 * self.per_token + self.per_approval


#: contracts/Executor.vy on official Uniswap V2 pair bytecode with plain ERC-20s under the Prague
#: rules, by tests/contracts/gas_snapshot.json: 94,847 for one swap, 62,230 for each further swap of
#: the same token into another one, 146,279 for one route of two hops; 24 too many for three hops.
#: ``per_token`` is how much more a swap into a token uses that no leg touched before, and
#: ``per_approval`` a transaction that approves from zero: measurements of the official pair with
#: plain ERC-20s, taken over and not repeated here. Proxy tokens such as USDC use more.
PRAGUE = GasSchedule(
    name="prague",
    base=25_317,
    per_swap=54_930,
    per_token=7_300,
    per_approval=46_162,
    chained_saving=10_798,
)
