"""What an audit found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not add up: ``code`` for machines, ``text`` for people.

    ``expected`` follows from the ledger, ``actual`` is what was found; ``difference`` is
    ``actual - expected`` where both are amounts, in smallest units of ``token`` (None: wei or gas).
    """

    code: str
    text: str
    tx_hash: str | None = None
    plan_id: str | None = None
    block_number: int | None = None
    token: str | None = None
    expected: int | str | None = None
    actual: int | str | None = None
    difference: int | None = None
