"""A plan that was written to a file, read back to be recomputed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebalancer.errors import ConfigError, PlanError

if TYPE_CHECKING:
    from rebalancer.cli.session import Session
    from rebalancer.model import Decision, Valuation
    from rebalancer.planner.inputs import Inputs
    from rebalancer.planner.verification import Finding

#: What ``plan --json`` writes beside the decision and its inputs.
_BESIDE = ("decision", "plan_id", "legs_in_words", "waiting", "why", "slices", "order")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a file says: the decision's canonical JSON, its inputs, and what is told beside."""

    path: Path
    decision: str
    inputs: Inputs
    beside: Mapping[str, Any]


def read_claim(path: Path) -> Claim:
    """What ``plan --json`` wrote.

    Raises ConfigError for a file that is something else.
    """
    from pydantic import TypeAdapter, ValidationError

    from rebalancer.model import to_json
    from rebalancer.planner.inputs import Inputs

    try:
        document: Any = json.loads(path.read_text())
        inputs = TypeAdapter(Inputs).validate_json(json.dumps(document["inputs"]), strict=True)
        claimed = to_json({k: v for k, v in document.items() if k not in (*_BESIDE, "inputs")})
        beside = {key: document[key] for key in _BESIDE if key in document}
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            hint="name a file that `rebalancer plan --json` wrote",
        ) from None
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"{path} is no plan with its inputs", hint="make one with `rebalancer plan --json`"
        ) from None
    return Claim(path, claimed, inputs, beside)


def findings(session: Session, claim: Claim, *, offline: bool) -> tuple[Finding, ...]:
    """All that a file says, recomputed; without ``offline`` its snapshot is read again first.

    Raises PlanError for inputs that arithmetic refuses.
    """
    from rebalancer.planner.verification import compare

    found = [] if offline else [same_as_chain(session, claim.inputs)]
    try:
        valuation, decision = claim.inputs.decide()
        found += compare(claim.decision, claim.inputs, valuation, decision)
        found += _told(session, claim, valuation, decision)
    except (ValueError, ArithmeticError, AssertionError):
        raise PlanError(
            f"{claim.path} is not what its inputs give: no chain gives such inputs",
            hint="do not act on it; plan again",
        ) from None
    return tuple(found)


def _told(
    session: Session, claim: Claim, valuation: Valuation, decision: Decision
) -> Iterator[Finding]:
    """What people read in the file beside the decision: it has to be told of this very one."""
    from rebalancer.keeper.orders import slicing_of
    from rebalancer.model import to_json
    from rebalancer.planner.explain import drifting, why
    from rebalancer.planner.verification import Finding
    from rebalancer.report.orders import slicing_document
    from rebalancer.report.plan import decision_document
    from rebalancer.report.why import waiting_document, why_document

    document = decision_document(decision)
    expected = {key: document[key] for key in _BESIDE if key in document}
    if not valuation.unread:
        expected["waiting"] = waiting_document(drifting(claim.inputs))
    if "why" in claim.beside:
        expected["why"] = why_document(why(claim.inputs))
    sliced = slicing_of(session.resolved, claim.inputs, valuation, decision)
    if sliced is not None and "slices" in claim.beside:
        expected["slices"] = slicing_document(sliced)
    told = {key: value for key, value in claim.beside.items() if key != "order"}
    wrong = [
        key
        for key in sorted(expected.keys() | told.keys())
        if to_json(told.get(key)) != to_json(expected.get(key))
    ]
    detail = f"{', '.join(wrong)}: recomputed it is something else" if wrong else ", ".join(told)
    yield Finding("words", not wrong, detail)
    if "order" in claim.beside:
        yield Finding("order", True, "not recomputed; `rebalancer order show` has it")


def same_as_chain(session: Session, inputs: Inputs) -> Finding:
    """Whether the chain, asked again, gives the very snapshot at that block.

    The suggested priority fee is no part of a block, so it is left out.
    """
    from rebalancer.model import digest
    from rebalancer.planner.verification import Finding
    from rebalancer.readers.inspect import inspect
    from rebalancer.readers.snapshot import read_snapshot

    claimed = inputs.snapshot
    read = inspect(session.rpc, read_snapshot(session.rpc, session.resolved, claimed.block.number))
    read = replace(read, priority_fee_wei=claimed.priority_fee_wei)
    same = digest(read) == digest(claimed)
    number = claimed.block.number
    detail = f"read again at block {number}, it is " + ("the same" if same else "another one")
    return Finding("snapshot", same, detail)
