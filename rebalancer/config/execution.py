"""The ``execution`` section of portfolio.yaml: large plans in slices."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rebalancer.config.quantities import Duration, Share, Value
from rebalancer.config.strict import Strict
from rebalancer.model import PPM, SliceRules

_Blocks = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]


class Execution(Strict):
    """How a plan that is too large for one go is traded, see docs/orders.md.

    An order lasts twice as long as its slices need, unless ``expires`` (``expires_blocks``) says
    otherwise.
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

    def to_rules(self) -> SliceRules:
        every = self.every_blocks or self.every or 1
        return SliceRules(
            slices=self.slices,
            clock="seconds" if self.every_blocks is None else "blocks",
            every=every,
            lasts=self.expires_blocks or self.expires or 2 * every * self.slices,
            above_e8=self.above,
            worst_ppm=self.max_price_move,
        )
