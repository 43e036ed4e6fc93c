"""A large plan in slices: how it is cut, what all of them together may do, and what they did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rebalancer.model.plan import Costs
from rebalancer.model.price import Price
from rebalancer.model.token import Amount, Token

#: What the distance between slices, and the order's end, is counted in.
Clock = Literal["seconds", "blocks"]


@dataclass(frozen=True, slots=True)
class SliceRules:
    """How the portfolio file wants large plans cut: ``slices``, one ``every`` so much of ``clock``.

    An order ends ``lasts`` after its first slice was due, done or not. Nothing below ``above_e8``
    (1e-8 of the numeraire) is cut. ``worst_ppm`` is how far below the oracle's price at the start
    a slice may sell at most, fees, impact and slippage included.
    """

    slices: int
    clock: Clock
    every: int
    lasts: int
    above_e8: int
    worst_ppm: int


@dataclass(frozen=True, slots=True)
class Order:
    """What all slices of one large plan together may do; made and stored before the first of them.

    ``plan`` is the digest of the plan that the cycle would have traded without slices.
    ``sells`` is the most that may be sold of each token, ``max_cost_e8`` what it may cost, gas
    included, both over all slices; what is not in ``sells`` is not sold. ``prices`` are the
    oracle's at the start, and no slice accepts less than them less ``worst_ppm``. ``whole`` is what
    everything in one go would have cost, whatever its impact, ``sliced`` what ``slices`` cost if
    the pools come back to the oracle between them. ``opened_at`` and ``expires_at`` are of
    ``clock``: unix seconds or block numbers. ``needs_consent``: no slice before a person's yes.
    """

    portfolio: str
    plan: str
    chain_id: int
    wallet: str
    numeraire: str
    block_number: int
    block_hash: str
    sells: tuple[Amount, ...]
    prices: tuple[Price, ...]
    worst_ppm: int
    max_cost_e8: int
    whole: Costs
    sliced: Costs
    slices: int
    clock: Clock
    every: int
    opened_at: int
    expires_at: int
    needs_consent: bool

    def most(self, token: Token) -> int:
        """Smallest units of ``token`` that all slices together may sell."""
        return sum(amount.raw for amount in self.sells if amount.token == token)

    def price(self, token: Token) -> Price | None:
        """The oracle's price at the start; None for a token that had none."""
        return next((price for price in self.prices if price.token == token), None)

    def left(self, so_far: SoFar) -> tuple[Amount, ...]:
        """What may still be sold of each token; never negative."""
        return tuple(
            Amount(amount.token, max(amount.raw - so_far.of(amount.token), 0))
            for amount in self.sells
        )

    def due_at(self, so_far: SoFar) -> int:
        """When the next slice may be decided, in the order's clock; the first one at once."""
        return self.opened_at if so_far.last_at is None else so_far.last_at + self.every

    def turns(self, so_far: SoFar, now: int) -> int:
        """Among how many slices what is left is shared at ``now``, at least 1.

        As many as are missing of the order's number, or fewer where time is too short for them.
        """
        fit = 1 + max(self.expires_at - now, 0) // self.every
        return max(min(self.slices - so_far.slices, fit), 1)


@dataclass(frozen=True, slots=True)
class SoFar:
    """What the slices of an order have done, as the chain confirms it.

    ``sold`` is what each slice took of a token, added up: what a later one buys back is not taken
    off. ``cost_e8`` is value sold less value bought at the prices of each slice's block, rounded
    against us, and all gas, failed transactions included. ``last_at`` is when the newest slice was
    decided, in the order's clock; None before the first. ``pending``: one of them is not final.
    """

    slices: int = 0
    sold: tuple[Amount, ...] = ()
    cost_e8: int = 0
    last_at: int | None = None
    pending: bool = False

    def of(self, token: Token) -> int:
        """Smallest units of ``token`` that were sold."""
        return sum(amount.raw for amount in self.sold if amount.token == token)
