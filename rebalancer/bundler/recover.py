"""What became of bundles that an earlier run left open; runs first in every cycle."""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.bundler.follow import Pace
from rebalancer.bundler.head import check_chain
from rebalancer.bundler.journal import Journal
from rebalancer.bundler.lane import Desk, Lane
from rebalancer.bundler.outcome import read_outcome
from rebalancer.bundler.settle import Settlement, settle
from rebalancer.bundler.submit import check_outcome
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Plan, SignedTransaction


def recover(
    rpc: Rpc, journal: Journal, chain_id: int, wallet: str, pace: Pace, lane: Lane | None = None
) -> tuple[Settlement, ...]:
    """Settle every open bundle of a wallet, oldest first; returns how each of them ended.

    A bundle that was stored but not mined is sent on before its deadline, as the bytes that are
    stored; with a signer in the ``lane`` its fees are raised, and it is cancelled after the
    deadline. What was given up and mined all the same is recorded first, and then followed like
    the rest. A dropped transaction is no error here: that is how a person frees a nonce. Raises
    TransactionReverted and ExecutionError after all bundles were settled and recorded, and what
    ``follow`` raises (stuck, refused, node or chain standing still) at once.
    """
    given_up = journal.given_up(chain_id, wallet)
    if given_up:
        check_chain(rpc, chain_id)
        record_late(rpc, journal, given_up)
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


def record_late(
    rpc: Rpc, journal: Journal, given_up: Sequence[tuple[Plan, SignedTransaction]]
) -> None:
    """Record what was mined after it had been given up: with that it is open until it is final.

    An approval has no deadline; it may wait in somebody's pool for longer than its plan.
    """
    for plan, transaction in given_up:
        receipt = rpc.call("eth_getTransactionReceipt", transaction.tx_hash)
        if receipt is not None:
            journal.record_outcome(read_outcome(rpc, plan, transaction, receipt))
