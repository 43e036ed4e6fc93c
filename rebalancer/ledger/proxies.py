"""Tokens whose code was exchanged since they were last looked at, by what the ledger remembers."""

from __future__ import annotations

from sqlalchemy import select

from rebalancer.ledger import log
from rebalancer.ledger.schema import decisions as decision_table
from rebalancer.ledger.store import Ledger
from rebalancer.model import Snapshot


def exchanged(ledger: Ledger, portfolio: str, now: Snapshot) -> tuple[str, ...]:
    """A sentence for each proxy of ``now`` whose implementation is another than it was.

    Compared with the snapshot of the newest decision on an earlier block; empty without one.
    """
    table = decision_table.c
    statement = (
        select(table.snapshot)
        .where(table.portfolio == portfolio, table.block_number < now.block.number)
        .order_by(table.event.desc())
        .limit(1)
    )
    with ledger.reading() as connection:
        digest = connection.execute(statement).scalar_one_or_none()
        if digest is None:
            return ()
        before = log.get(connection, Snapshot, digest)
    was = {proxy.token.address: proxy.implementation for proxy in before.proxies}
    return tuple(
        f"the code of {proxy.token.symbol} was exchanged since block {before.block.number}: it was "
        f"{was[proxy.token.address]}, it is {proxy.implementation}"
        for proxy in now.proxies
        if was.get(proxy.token.address, proxy.implementation) != proxy.implementation
    )
