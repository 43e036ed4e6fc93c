"""The bands that hold for a portfolio: of its file, or derived at a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rebalancer.cli.session import Session
    from rebalancer.model import Snapshot, Target, Valuation
    from rebalancer.planner.bands import Drift


def drifts_at(
    session: Session, snapshot: Snapshot, valuation: Valuation, targets: Sequence[Target]
) -> tuple[Drift, ...]:
    """Every drift beside the band that ``plan`` judges it by; asks no ledger into being.

    Where a position could not be valued nothing is derived, and the file's bands are shown.
    """
    from rebalancer.keeper.circumstances import circumstances
    from rebalancer.planner.bands import drifts
    from rebalancer.planner.explain import posed
    from rebalancer.planner.inputs import Inputs

    policy, resolved = session.resolved.policy, session.resolved
    derived = policy.reset == "optimal" or policy.band_volatility_ppm is not None
    if not derived or valuation.unread:
        return drifts(valuation, targets, policy)
    book = session.ledger_if_any()
    if book is None:
        past = circumstances(resolved, snapshot, targets, None, None)
    else:
        with book:
            past = circumstances(resolved, snapshot, targets, None, book)
    settled = posed(Inputs(snapshot, tuple(targets), policy, None, past))
    return drifts(valuation, settled.targets, settled.policy)
