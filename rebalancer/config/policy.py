"""The ``policy`` section of portfolio.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from rebalancer.config.aside import TaxSpec
from rebalancer.config.calendar import cron_trigger
from rebalancer.config.quantities import (
    Aversion,
    Duration,
    GasPrice,
    Ratio,
    Share,
    Value,
    parse_share,
)
from rebalancer.config.risk import RiskSpec
from rebalancer.config.strict import Strict
from rebalancer.model import PPM, PlannerKind, Policy, ResetRule, TriggerKind, format_units

_MOST_SLIPPAGE, _BLOCK_S = PPM // 2, 12
_RESETS = ("edge", "optimal")


def parse_reset(value: Any) -> int | str:
    """Read ``full``, ``edge``, ``optimal``, or a share of the way such as ``50%``."""
    if value == "full":
        return PPM
    return value if value in _RESETS else parse_share(value)


class PolicySpec(Strict):
    """Every key has a default, see the README's reference.

    ``drift_aversion`` is a number of its own, or follows from ``risk_aversion`` and the volatility.
    """

    trigger: TriggerKind = "hybrid"
    every: Duration = 3_600
    cron: str | None = None
    cooldown: Duration = 0
    band: Share = 30_000
    band_relative: Ratio | None = None
    band_rule: Literal["tighter", "wider"] = "tighter"
    band_volatility: Ratio | None = None
    dead_band: Share = 5_000
    reset: Annotated[int | Literal["edge", "optimal"], BeforeValidator(parse_reset)] = PPM
    reset_edge: Share = PPM
    planner: PlannerKind | None = None
    drift_aversion: Ratio | None = None
    risk_aversion: Aversion | None = None
    volatility: Ratio | None = None
    volatility_half_life: Duration | None = None
    cost_margin: Ratio = 0
    min_trade: Value = 100 * 10**8
    max_trade: Value | None = None
    max_turnover: Ratio | None = None
    max_impact: Share = 10_000
    max_pool_share: Share | None = None
    max_cost: Share = 20_000
    extreme_drift: Share | None = None
    max_off_oracle: Share = 20_000
    max_stale_gain: Share | None = None
    max_price_age: Duration | None = None
    slippage: Share = 5_000
    slippage_reserve: Share = 0
    tax: TaxSpec | None = None
    risk: RiskSpec | None = None
    max_gas_price: GasPrice = 100 * 10**9
    deadline: Duration = 300
    max_age_blocks: Annotated[int, Field(ge=0, strict=True)] = 5

    @model_validator(mode="after")
    def _belongs_together(self) -> PolicySpec:
        if self.cron is not None:
            if "every" in self.model_fields_set:
                raise ValueError("the calendar is either every or cron")
            cron_trigger(self.cron)
        if self.risk_aversion is not None:
            if self.drift_aversion is not None:
                raise ValueError(
                    "drift_aversion follows from risk_aversion and the volatility; give one of them"
                )
            if not self.volatility:
                raise ValueError("risk_aversion needs a volatility, yearly, like 60%")
        if self.reset == "optimal" and self.risk_aversion is None:
            raise ValueError("reset: optimal needs risk_aversion and volatility")
        if "reset_edge" in self.model_fields_set and self.reset != "edge":
            raise ValueError("reset_edge belongs to reset: edge")
        if self.planner == "optimal" and self.reset not in (PPM, "optimal"):
            raise ValueError(
                f"{self._reset_key()} has no meaning with planner: optimal, which trades as far as "
                "each step is worth its cost; leave reset away, or set planner: greedy"
            )
        if self.volatility_half_life is not None:
            if self.volatility is None:
                raise ValueError(
                    "volatility_half_life needs a volatility, used until enough prices are known"
                )
            if self.volatility_half_life == 0:
                raise ValueError("volatility_half_life must be at least a second")
        if self.band_volatility is not None and (not self.band_volatility or not self.volatility):
            raise ValueError("band_volatility needs a volatility to scale the bands by")
        if self.max_trade is not None and self.max_trade < self.min_trade:
            raise ValueError("max_trade is below min_trade, so nothing could ever be traded")
        return self

    def _reset_key(self) -> str:
        """The key as it may stand in the file."""
        if isinstance(self.reset, int):
            return f"reset: {format_units(self.reset, 4)}%"
        return f"reset: {self.reset}"

    @model_validator(mode="after")
    def _can_ever_trade(self) -> PolicySpec:
        """Refuse values under which nothing could be traded, or nothing would be protected."""
        if self.slippage >= _MOST_SLIPPAGE:
            raise ValueError("slippage must be below 50%, or minimum outputs protect from nothing")
        if self.slippage_reserve > self.slippage:
            raise ValueError("slippage_reserve is above slippage, more than a plan can ever lose")
        if self.reset == 0:
            raise ValueError("reset must be more than 0%, or nothing is ever traded back")
        if self.deadline < _BLOCK_S:
            raise ValueError("deadline must be at least a block's time, 12s")
        return self

    def to_policy(self) -> Policy:
        rule: ResetRule = "share" if isinstance(self.reset, int) else self.reset
        return Policy(
            trigger=self.trigger,
            band_abs_ppm=self.band,
            band_rel_ppm=self.band_relative,
            band_rule=self.band_rule,
            calendar_s=self.every,
            dead_band_ppm=self.dead_band,
            reset_ppm=self.reset if isinstance(self.reset, int) else PPM,
            drift_aversion_ppm=500_000 if self.drift_aversion is None else self.drift_aversion,
            min_trade_e8=self.min_trade,
            max_impact_ppm=self.max_impact,
            max_cost_ppm=self.max_cost,
            max_off_oracle_ppm=self.max_off_oracle,
            slippage_ppm=self.slippage,
            max_gas_price_wei=self.max_gas_price,
            deadline_s=self.deadline,
            max_age_blocks=self.max_age_blocks,
            calendar_cron=self.cron,
            cooldown_s=self.cooldown,
            cost_margin_ppm=self.cost_margin,
            reset=rule,
            reset_edge_ppm=self.reset_edge,
            planner=self.planner or ("optimal" if rule == "optimal" else "greedy"),
            risk_aversion_ppm=self.risk_aversion,
            volatility_ppm=self.volatility,
            volatility_half_life_s=self.volatility_half_life,
            band_volatility_ppm=self.band_volatility,
            max_trade_e8=self.max_trade,
            max_turnover_ppm=self.max_turnover,
            max_pool_share_ppm=self.max_pool_share,
            max_price_age_s=self.max_price_age,
            max_stale_gain_ppm=self.max_stale_gain,
            extreme_drift_ppm=self.extreme_drift,
            tax_rate_ppm=0 if self.tax is None else self.tax.rate or 0,
            tax_costs=() if self.tax is None else tuple(sorted(self.tax.costs.items())),
            tax_tiers=() if self.tax is None else self.tax.tiers(),
            slippage_reserve_ppm=self.slippage_reserve,
            risk_volatilities=() if self.risk is None else self.risk.by_token(),
            risk_correlations=() if self.risk is None else self.risk.by_pair(),
            risk_half_life_s=None if self.risk is None else self.risk.half_life,
        )
