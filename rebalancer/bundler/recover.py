"""What became of bundles that an earlier run left open; runs first in every cycle."""

from __future__ import annotations

from rebalancer.bundler.follow import Pace
from rebalancer.bundler.head import check_chain
from rebalancer.bundler.journal import Journal
from rebalancer.bundler.lane import Desk, Lane
from rebalancer.bundler.settle import Settlement, settle
from rebalancer.bundler.submit import check_outcome
from rebalancer.evm.rpc import Rpc


def recover(
    rpc: Rpc, journal: Journal, chain_id: int, wallet: str, pace: Pace, lane: Lane | None = None
) -> tuple[Settlement, ...]:
    """Settle every open bundle of a wallet, oldest first; returns how each of them ended.

    A bundle that was stored but not mined is sent on before its deadline, as the bytes that are
    stored; with a signer in the ``lane`` its fees are raised, and it is cancelled after the
    deadline. A dropped transaction is no error here: that is how a person frees a nonce. Raises
    TransactionReverted and ExecutionError after all bundles were settled and recorded, and what
    ``follow`` raises (stuck, refused, node or chain standing still) at once.
    """
    opened = journal.open_bundles(chain_id, wallet)
    if not opened:
        return ()
    check_chain(rpc, chain_id)
    desk = Desk(rpc, journal, pace, lane or Lane())
    settlements = tuple(settle(desk, plan, bundle) for plan, bundle in opened)
    for settlement in settlements:
        for outcome in settlement.outcomes:
            check_outcome(rpc, outcome, settlement.bundle)
    return settlements
