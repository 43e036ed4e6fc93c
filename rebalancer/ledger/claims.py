"""Whose positions a wallet holds, as the processes that share this ledger left it to each other."""

from __future__ import annotations

from sqlalchemy import Connection

from rebalancer.ledger import log
from rebalancer.ledger.log import Event
from rebalancer.ledger.schema import CLAIMED
from rebalancer.ledger.store import Ledger


def claims_of(ledger: Ledger, chain_id: int, wallet: str) -> str | None:
    """What was written last about a wallet; None when nothing was."""
    with ledger.reading() as connection:
        return _newest(connection, _subject(chain_id, wallet))


def put_claims(ledger: Ledger, chain_id: int, wallet: str, text: str, seen: str | None) -> bool:
    """Write it, unless somebody wrote something else than ``seen`` meanwhile; returns whether."""
    subject, done = _subject(chain_id, wallet), []

    def unchanged(connection: Connection) -> bool:
        done.append(_newest(connection, subject) == seen)
        return done[0]

    ledger.record(Event(CLAIMED, subject, note=text), check=unchanged)
    return done == [True]


def _newest(connection: Connection, subject: str) -> str | None:
    last = log.last_event(connection, subject, (CLAIMED,))
    return None if last is None else last.note


def _subject(chain_id: int, wallet: str) -> str:
    return f"{chain_id}:{wallet.lower()}"
