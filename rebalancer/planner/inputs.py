"""All that a decision follows from, in one piece: with it, the same bytes can be made again."""

from __future__ import annotations

from dataclasses import dataclass

from rebalancer.amm.valuation import value
from rebalancer.model import Circumstances, Decision, Policy, Snapshot, Target, Valuation
from rebalancer.planner.decision import decide
from rebalancer.planner.problem import NOTHING_ELSE


@dataclass(frozen=True, slots=True)
class Inputs:
    """What ``decide`` is asked with; times are unix seconds, None for never."""

    snapshot: Snapshot
    targets: tuple[Target, ...]
    policy: Policy
    last_rebalance_ts: int | None
    circumstances: Circumstances = NOTHING_ELSE

    def decide(self) -> tuple[Valuation, Decision]:
        """Value the snapshot and decide; raises what ``value`` and ``decide`` raise."""
        valuation = value(self.snapshot, self.targets)
        decision = decide(
            self.snapshot,
            valuation,
            self.targets,
            self.policy,
            self.last_rebalance_ts,
            circumstances=self.circumstances,
        )
        return valuation, decision
