"""How large the batch of a plan's legs is at most, in the words of the executor."""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.model import AddLeg, Leg, RemoveLeg
from rebalancer.planner.wallet import moved_tokens


def batch_size(legs: Sequence[Leg]) -> tuple[int, int]:
    """How many entries a batch of ``legs`` has at most, and how many tokens it watches.

    A leg of liquidity takes two entries, any other one, and each token that moves at most one;
    watched is whatever a leg pays.
    """
    entries = 1 + len(moved_tokens(legs))
    entries += sum(2 if isinstance(leg, AddLeg | RemoveLeg) else 1 for leg in legs)
    return entries, len({amount.token for leg in legs for amount in leg.pays})
