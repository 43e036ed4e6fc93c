"""How past prices are averaged for the trigger."""

from __future__ import annotations

from pydantic import model_validator

from rebalancer.config.quantities import Duration
from rebalancer.config.strict import Strict


class Smoothing(Strict):
    """A simple (``sma``) or an exponential (``ema``) average over so many seconds."""

    sma: Duration | None = None
    ema: Duration | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Smoothing:
        if (self.sma is None) == (self.ema is None):
            raise ValueError("smoothing is either sma or ema, like {sma: 1h}")
        if 0 in (self.sma, self.ema):
            raise ValueError("smoothing over no time is none: leave it out")
        return self
