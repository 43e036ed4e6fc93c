"""The rules a portfolio is kept by: when to consider trading, how far to trade, and the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TriggerKind = Literal["threshold", "calendar", "hybrid"]
BandRule = Literal["tighter", "wider"]


@dataclass(frozen=True, slots=True)
class Policy:
    """All ratios in parts per million, all values in 1e-8 of the numeraire.

    ``trigger``: ``threshold`` fires when any position leaves its band, ``calendar`` when
    ``calendar_s`` seconds have passed since the last rebalance, ``hybrid`` when both hold.
    ``band_abs_ppm`` is of NAV, ``band_rel_ppm`` of the target; ``band_rule`` picks the tighter or
    the wider when both are set. Nothing trades while no drift exceeds ``dead_band_ppm`` of NAV.
    ``reset_ppm`` is how much of the drift is traded back: 1_000_000 to the target.
    ``drift_aversion_ppm`` is kappa of docs/planner.md: the penalty of a drift vector d (shares of
    NAV) is ``kappa / 2 * NAV * sum(d_i^2)``; a plan must cost less than the penalty it removes.
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
