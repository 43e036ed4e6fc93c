"""Canonical JSON in and out: what is stored, by its digest, and loaded back byte for byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rebalancer.errors import LedgerError
from rebalancer.model import (
    Bundle,
    Hold,
    Order,
    Plan,
    Rebalance,
    Snapshot,
    TransactionOutcome,
    Valuation,
    to_json,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One look at a portfolio; its digest is the decision id, the other ids are digests too.

    ``mode`` is ``dry-run`` or ``execute``.
    """

    portfolio: str
    mode: str
    snapshot: str
    valuation: str
    decision: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's yes to a plan, or an order: to exactly the amounts that its digest names.

    ``expires_ts`` is in unix seconds and the last at which it holds.
    """

    portfolio: str
    plan_id: str
    expires_ts: int


#: What may be stored, by the name it is stored under.
KINDS: dict[str, type[Any]] = {
    "snapshot": Snapshot,
    "valuation": Valuation,
    "hold": Hold,
    "rebalance": Rebalance,
    "plan": Plan,
    "bundle": Bundle,
    "outcome": TransactionOutcome,
    "evaluation": Evaluation,
    "approval": Approval,
    "order": Order,
}
_NAMES = {cls: name for name, cls in KINDS.items()}


def kind_of(value: Any) -> str:
    """The name that ``value`` is stored under; raises TypeError for what is never stored."""
    try:
        return _NAMES[type(value)]
    except KeyError:
        raise TypeError(f"{type(value).__name__} is not stored in the ledger") from None


def digest_of_text(body: str) -> str:
    """SHA-256 of ``body``, as 64 hex digits."""
    return hashlib.sha256(body.encode()).hexdigest()


def load(cls: type[T], digest: str, body: str) -> T:
    """The object whose canonical JSON is ``body``.

    Raises LedgerError when the text is not what ``digest`` names, is no ``cls``, or would not be
    written again byte for byte.
    """
    if digest_of_text(body) != digest:
        raise _damaged(digest, "its text has another digest")
    try:
        value: T = _adapter(_NAMES[cls]).validate_json(body, strict=True)
    except ValidationError as error:
        raise _damaged(digest, f"it is no {cls.__name__}") from error
    if to_json(value) != body:
        raise _damaged(digest, "it is not in canonical form")
    return value


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(KINDS[kind])


def _damaged(digest: str, why: str) -> LedgerError:
    return LedgerError(
        f"the ledger is damaged: object {digest[:12]}: {why}",
        hint="restore the ledger from a backup, or start a new one beside it",
    )
