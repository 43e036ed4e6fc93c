"""One entry of ``positions`` in portfolio.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rebalancer.config.networks import Address, Strict
from rebalancer.config.quantities import Multiplier, Ratio, Share
from rebalancer.model import PPM

_LP_ONLY = ("entry_block", "since_block", "staked_in")


class PositionSpec(Strict):
    """One position: a ``token``, an ``lp`` position written ``amm:A/B``, or a ``bucket`` of them.

    ``entry_block``: all LP shares were entered in it. ``since_block``: read the logs from it on for
    when they came in. ``staked_in``: the farm that holds some of them. ``multiplier``: exposure of
    a leveraged token per unit of value.
    """

    token: str | None = None
    lp: str | None = None
    bucket: str | None = None
    target: Share | None = None
    band: Share | None = None
    band_relative: Ratio | None = None
    entry_block: Annotated[int, Field(ge=0)] | None = None
    since_block: Annotated[int, Field(ge=1)] | None = None
    staked_in: Address | None = None
    multiplier: Multiplier = PPM

    @model_validator(mode="after")
    def _one_kind(self) -> PositionSpec:
        if [self.token, self.lp, self.bucket].count(None) != 2:
            raise ValueError("a position is either a token or an lp, or names a bucket")
        for key in _LP_ONLY:
            if self.lp is None and getattr(self, key) is not None:
                raise ValueError(f"{key} belongs to an lp position")
        if self.entry_block is not None and self.since_block is not None:
            raise ValueError("an lp position has an entry_block or a since_block, not both")
        if self.token is None and self.multiplier != PPM:
            raise ValueError("multiplier belongs to a token")
        return self

    @property
    def label(self) -> str:
        """The position as the file names it."""
        return self.token or self.lp or self.bucket or ""
