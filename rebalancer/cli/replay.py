"""A plan that was written to a file, read back to be recomputed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebalancer.errors import ConfigError

if TYPE_CHECKING:
    from rebalancer.cli.session import Session
    from rebalancer.planner.inputs import Inputs
    from rebalancer.planner.verification import Finding

#: What ``plan --json`` adds to the decision.
_ADDED = ("decision", "plan_id", "legs_in_words", "inputs", "waiting", "why")


def read_claim(path: Path) -> tuple[str, Inputs]:
    """The decision's canonical JSON and its inputs, from what ``plan --json`` wrote.

    Raises ConfigError for a file that is something else.
    """
    from pydantic import TypeAdapter, ValidationError

    from rebalancer.model import to_json
    from rebalancer.planner.inputs import Inputs

    try:
        document: Any = json.loads(path.read_text())
        inputs = TypeAdapter(Inputs).validate_json(json.dumps(document["inputs"]), strict=True)
        claimed = to_json({k: v for k, v in document.items() if k not in _ADDED})
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            hint="name a file that `rebalancer plan --json` wrote",
        ) from None
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"{path} is no plan with its inputs", hint="make one with `rebalancer plan --json`"
        ) from None
    return claimed, inputs


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
