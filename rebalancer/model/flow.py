"""What came to a portfolio and what left it between two snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``trade``: something else of the portfolio went the other way in the same transaction (a swap,
#: liquidity added or removed). ``claim``: paid by the farm of one of the portfolio's positions.
#: ``gas``: what the trading wallet's transactions cost, where the native token counts.
FlowKind = Literal["deposit", "withdrawal", "trade", "claim", "gas"]


@dataclass(frozen=True, slots=True)
class Flow:
    """Net change of one asset in one transaction, read from Transfer events.

    ``asset`` is the address of a token or, for LP shares, of the pair; the native token is at the
    zero address, read from balances and without a ``tx_hash`` where no known transaction moved it.
    ``raw`` is in its smallest unit, positive for what came. Staking shares in a position's own farm
    is no flow. ``farm`` is the one that a claim was paid by.
    """

    block_number: int
    tx_hash: str
    kind: FlowKind
    asset: str
    raw: int
    farm: str | None = None
