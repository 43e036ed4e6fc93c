"""The rules a portfolio is kept by: when to consider trading, how far to trade, and the limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rebalancer.model.canonical import ADDED_LATER
from rebalancer.model.units import PPM

TriggerKind = Literal["threshold", "calendar", "hybrid", "cost_aware"]
BandRule = Literal["tighter", "wider"]
ResetRule = Literal["share", "edge", "optimal"]
PlannerKind = Literal["greedy", "optimal"]


@dataclass(frozen=True, slots=True)
class Policy:
    """All ratios in parts per million, all values in 1e-8 of the numeraire.

    ``trigger``: ``threshold`` fires when any position leaves its band, ``calendar`` when
    ``calendar_s`` seconds have passed since the last rebalance, ``hybrid`` when both hold,
    ``cost_aware`` whenever a plan is worth its cost. With ``calendar_cron``, five fields in UTC,
    the calendar is due at its first time after the last rebalance instead. Nothing trades within
    ``cooldown_s`` of the last rebalance.
    ``band_abs_ppm`` is of NAV, ``band_rel_ppm`` of the target; ``band_rule`` picks the tighter or
    the wider when both are set. Nothing trades while no drift exceeds ``dead_band_ppm`` of NAV.
    ``reset``: ``share`` trades ``reset_ppm`` of the drift back, 1_000_000 to the target; ``edge``
    what is outside its band back to ``reset_edge_ppm`` of it, 1_000_000 to its edge; ``optimal``
    takes band and reset from the J-band of docs/planner.md, which needs ``risk_aversion_ppm``.
    ``drift_aversion_ppm`` is kappa of docs/planner.md: the penalty of a drift vector d (shares of
    NAV) is ``kappa / 2 * NAV * sum(d_i^2)``; a plan must cost less than the penalty it removes,
    by ``cost_margin_ppm`` of the cost. It is derived anew at each block where ``risk_aversion_ppm``
    (eta, 4_000_000 for 4) is set. ``volatility_ppm`` is that of a position against the others, a
    year; with ``volatility_half_life_s`` it is measured, by an EWMA of the ledger's prices.
    ``band_volatility_ppm`` is the one that the bands are for: they scale with the true one.

    Limits that are None are off: ``max_trade_e8`` of one token for another in a plan,
    ``max_turnover_ppm`` of NAV in 24 hours, ``max_pool_share_ppm`` of a pool's reserve paid in,
    ``max_price_age_s``, and ``max_stale_gain_ppm`` of the traded value that pools off the oracle
    may seem to give (None: ``max_off_oracle_ppm``). Beyond a drift of ``extreme_drift_ppm``
    ``max_cost_ppm`` does not apply.

    Costs that are not paid in the transaction, see docs/planner.md: ``tax_rate_ppm`` of the gain
    over what a token cost, on average by the ledger and before that by ``tax_costs`` (1e-18 of the
    numeraire for a whole token, by symbol); for tokens in ``tax_tiers`` (symbol, whole tokens in
    1e-18, ppm) instead so much of the value of what is sold of them beyond so many, the tiers of a
    token in rising order; and ``slippage_reserve_ppm`` of every swap's output.

    With ``risk_volatilities`` (a year's, ppm, by symbol) and ``risk_correlations`` (of two symbols,
    ppm) drifts cost by their covariance and not each by itself; with ``risk_half_life_s`` it is
    measured, by an EWMA of the ledger's prices.
    """

    trigger: TriggerKind
    band_abs_ppm: int
    band_rel_ppm: int | None
    band_rule: BandRule
    calendar_s: int
    dead_band_ppm: int
    reset_ppm: int
    drift_aversion_ppm: int
    min_trade_e8: int
    max_impact_ppm: int
    max_cost_ppm: int
    max_off_oracle_ppm: int
    slippage_ppm: int
    max_gas_price_wei: int
    deadline_s: int
    max_age_blocks: int
    calendar_cron: str | None = field(default=None, metadata=ADDED_LATER)
    cooldown_s: int = field(default=0, metadata=ADDED_LATER)
    cost_margin_ppm: int = field(default=0, metadata=ADDED_LATER)
    reset: ResetRule = field(default="share", metadata=ADDED_LATER)
    reset_edge_ppm: int = field(default=PPM, metadata=ADDED_LATER)
    planner: PlannerKind = field(default="greedy", metadata=ADDED_LATER)
    risk_aversion_ppm: int | None = field(default=None, metadata=ADDED_LATER)
    volatility_ppm: int | None = field(default=None, metadata=ADDED_LATER)
    volatility_half_life_s: int | None = field(default=None, metadata=ADDED_LATER)
    band_volatility_ppm: int | None = field(default=None, metadata=ADDED_LATER)
    max_trade_e8: int | None = field(default=None, metadata=ADDED_LATER)
    max_turnover_ppm: int | None = field(default=None, metadata=ADDED_LATER)
    max_pool_share_ppm: int | None = field(default=None, metadata=ADDED_LATER)
    max_price_age_s: int | None = field(default=None, metadata=ADDED_LATER)
    max_stale_gain_ppm: int | None = field(default=None, metadata=ADDED_LATER)
    extreme_drift_ppm: int | None = field(default=None, metadata=ADDED_LATER)
    tax_rate_ppm: int = field(default=0, metadata=ADDED_LATER)
    tax_costs: tuple[tuple[str, int], ...] = field(default=(), metadata=ADDED_LATER)
    tax_tiers: tuple[tuple[str, int, int], ...] = field(default=(), metadata=ADDED_LATER)
    slippage_reserve_ppm: int = field(default=0, metadata=ADDED_LATER)
    risk_volatilities: tuple[tuple[str, int], ...] = field(default=(), metadata=ADDED_LATER)
    risk_correlations: tuple[tuple[str, str, int], ...] = field(default=(), metadata=ADDED_LATER)
    risk_half_life_s: int | None = field(default=None, metadata=ADDED_LATER)
