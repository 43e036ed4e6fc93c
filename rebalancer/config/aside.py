"""``policy.tax`` of portfolio.yaml: what selling costs beside what trading does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from rebalancer.config.quantities import Number, Share
from rebalancer.config.strict import Strict
from rebalancer.model import PPM, format_units


class TierSpec(Strict):
    """Of the value of what a plan sells beyond ``above`` whole tokens, ``rate`` is due."""

    above: Number
    rate: Share


class TaxSpec(Strict):
    """A ``rate`` on the gain, a ``schedule`` by token, or both: a token's schedule is all of its.

    ``costs`` are what whole tokens cost on average, in the numeraire, before the ledger knew them.
    """

    rate: Share | None = None
    costs: dict[str, Number] = Field(default_factory=dict)
    schedule: dict[str, Annotated[tuple[TierSpec, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _says_something(self) -> TaxSpec:
        if self.rate is None and not self.schedule:
            raise ValueError("a tax has a rate on gains, like 25%, or a schedule by token")
        if self.rate is not None and not 0 < self.rate < PPM:
            raise ValueError("the rate of a tax is above 0% and below 100%")
        if self.costs and self.rate is None:
            raise ValueError("costs are what gains are reckoned from: they need a rate")
        for symbol, cost in self.costs.items():
            if cost < 0:
                raise ValueError(f"{symbol} cannot have cost less than nothing")
            if symbol in self.schedule:
                raise ValueError(f"{symbol} has a schedule, so what it cost is never asked")
        return self

    @model_validator(mode="after")
    def _rises(self) -> TaxSpec:
        """A tax that fell as more is sold could not be planned for: it is not convex."""
        for symbol, tiers in self.schedule.items():
            if tiers[0].above < 0 or any(a.above >= b.above for a, b in pairwise(tiers)):
                raise ValueError(f"the tiers of {symbol} start at 0 or above, each after the last")
            for before, after in pairwise(tiers):
                if after.rate < before.rate:
                    above = format_units(after.above, 18)
                    raise ValueError(f"the tax on {symbol} falls above {above}; it can only rise")
            if tiers[-1].rate == PPM:
                raise ValueError(f"a tax of 100% on {symbol} would take all; hold it out instead")
        return self

    def named(self) -> Iterator[tuple[str, str]]:
        """Key and symbol of every token that is named."""
        yield from (("policy.tax.costs", symbol) for symbol in self.costs)
        yield from (("policy.tax.schedule", symbol) for symbol in self.schedule)

    def tiers(self) -> tuple[tuple[str, int, int], ...]:
        """As the policy has them, in order of symbol and amount."""
        return tuple(
            (symbol, tier.above, tier.rate)
            for symbol, tiers in sorted(self.schedule.items())
            for tier in tiers
        )
