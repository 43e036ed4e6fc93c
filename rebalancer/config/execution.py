"""The ``execution`` section of portfolio.yaml: large plans in slices."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rebalancer.config.quantities import Duration, Share, Value
from rebalancer.config.strict import Strict
from rebalancer.model import PPM, Clock, SliceRules

#: Seconds between two blocks of the slowest chains; on a faster one an order lasts no less.
BLOCK_S = 12
_Blocks = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]


class Execution(Strict):
    """How a plan that is too large for one go is traded, see docs/orders.md.

    An order lasts twice as long as its slices need, unless ``expires`` (``expires_blocks``) says
    otherwise: their distance each, or what one of them takes on the chain where that is longer.
    """

    slices: Annotated[int, Field(ge=2, le=1_000, strict=True)]
    every: Duration | None = None
    every_blocks: _Blocks | None = None
    expires: Duration | None = None
    expires_blocks: _Blocks | None = None
    above: Value = 0
    max_price_move: Share = 50_000

    @model_validator(mode="after")
    def _one_clock(self) -> Execution:
        if (self.every is None) == (self.every_blocks is None):
            raise ValueError("slices come either every so long or every_blocks")
        if self.every == 0:
            raise ValueError("every must be at least a second")
        wrong = self.expires_blocks if self.every_blocks is None else self.expires
        if wrong is not None:
            raise ValueError("expires belongs to every, expires_blocks to every_blocks")
        if not 0 < self.max_price_move < PPM:
            raise ValueError("max_price_move must be above 0% and below 100%")
        rules = self.to_rules()
        if rules.lasts < rules.every * (rules.slices - 1):
            raise ValueError("the order would expire before its last slice")
        return self

    def to_rules(self, takes_blocks: int = 1) -> SliceRules:
        """The rules of a portfolio of which a slice takes so many blocks until it is final."""
        every = self.every_blocks or self.every or 1
        clock: Clock = "seconds" if self.every_blocks is None else "blocks"
        needed = max(every, takes(clock, takes_blocks)) * self.slices
        return SliceRules(
            slices=self.slices,
            clock=clock,
            every=every,
            lasts=self.expires_blocks or self.expires or 2 * needed,
            above_e8=self.above,
            worst_ppm=self.max_price_move,
        )


def takes(clock: Clock, blocks: int) -> int:
    """So many blocks in an order's clock."""
    return blocks if clock == "blocks" else blocks * BLOCK_S
