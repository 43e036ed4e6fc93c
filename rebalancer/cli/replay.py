"""A plan that was written to a file, read back to be recomputed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebalancer.errors import ConfigError, PlanError

if TYPE_CHECKING:
    from rebalancer.cli.session import Session
    from rebalancer.config.portfolio import ResolvedPortfolio
    from rebalancer.model import Decision, Valuation
    from rebalancer.planner.inputs import Inputs
    from rebalancer.planner.verification import Finding

#: The finding that does not speak of the file alone, and how many differences it names.
PORTFOLIO = "portfolio"
_SHOWN = 3
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


def findings(session: Session | None, claim: Claim, *, offline: bool) -> tuple[Finding, ...]:
    """All that a file says, recomputed; without ``offline`` its snapshot is read again first.

    ``session`` is of the portfolio that it is compared with; None for a file by itself, which has
    to be ``offline``. Raises PlanError for inputs that arithmetic refuses.
    """
    from rebalancer.planner.verification import compare

    found = [] if offline or session is None else [same_as_chain(session, claim.inputs)]
    try:
        valuation, decision = claim.inputs.decide()
        found += compare(claim.decision, claim.inputs, valuation, decision)
        found += _told(session, claim, valuation, decision)
        found.append(same_portfolio(session, claim.inputs))
    except (ValueError, ArithmeticError, AssertionError):
        raise PlanError(
            f"{claim.path} is not what its inputs give: no chain gives such inputs",
            hint="do not act on it; plan again",
        ) from None
    return tuple(found)


def _told(
    session: Session | None, claim: Claim, valuation: Valuation, decision: Decision
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
    unheard = {"order"} if session is not None else {"order", "slices"}
    if session is not None and "slices" in claim.beside:
        sliced = slicing_of(session.resolved, claim.inputs, valuation, decision)
        if sliced is not None:
            expected["slices"] = slicing_document(sliced)
    told = {key: value for key, value in claim.beside.items() if key not in unheard}
    wrong = [
        key
        for key in sorted(expected.keys() | told.keys())
        if to_json(told.get(key)) != to_json(expected.get(key))
    ]
    detail = f"{', '.join(wrong)}: recomputed it is something else" if wrong else ", ".join(told)
    yield Finding("words", not wrong, detail)
    if "order" in claim.beside:
        yield Finding("order", True, "not recomputed; `rebalancer order show` has it")
    if session is None and "slices" in claim.beside:
        yield Finding("slices", True, "not recomputed; they follow from the portfolio file")


def same_as_chain(session: Session, inputs: Inputs) -> Finding:
    """Whether the chain, asked again, gives the very snapshot at that block.

    The suggested priority fee is no part of a block, so it is left out.
    """
    from rebalancer.model import digest
    from rebalancer.planner.verification import Finding
    from rebalancer.readers.inspect import inspect
    from rebalancer.readers.snapshot import read_snapshot

    claimed = inputs.snapshot
    if claimed.block.chain_id != session.resolved.network.chain_id:
        return Finding("snapshot", False, f"it is of chain {claimed.block.chain_id}")
    read = inspect(session.rpc, read_snapshot(session.rpc, session.resolved, claimed.block.number))
    read = replace(read, priority_fee_wei=claimed.priority_fee_wei)
    same = digest(read) == digest(claimed)
    number = claimed.block.number
    detail = f"read again at block {number}, it is " + ("the same" if same else "another one")
    return Finding("snapshot", same, detail)


def same_portfolio(session: Session | None, inputs: Inputs) -> Finding:
    """Whether the file's plan is of the portfolio file as it is now, and if not, what differs."""
    from rebalancer.planner.verification import Finding

    if session is None:
        return Finding(PORTFOLIO, True, "not compared: no portfolio file is here")
    other = list(_differences(session.resolved, inputs))
    if not other:
        return Finding(PORTFOLIO, True, f"{session.portfolio_path} asks for the same")
    more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
    return Finding(
        PORTFOLIO,
        False,
        f"{session.portfolio_path} says something else by now: {'; '.join(other[:_SHOWN])}{more}",
    )


def _differences(resolved: ResolvedPortfolio, inputs: Inputs) -> Iterator[str]:
    """What the portfolio asks for that the inputs do not have, in words."""
    from rebalancer.keeper.gas import schedule_for

    snapshot, portfolio = inputs.snapshot, resolved.portfolio
    yield from _differ("chain", resolved.network.chain_id, snapshot.block.chain_id)
    yield from _differ("wallet", portfolio.wallet, snapshot.wallet)
    yield from _differ("numeraire", portfolio.numeraire, snapshot.numeraire)
    watched = [other.wallet for other in snapshot.watched]
    yield from _differ("watch", ", ".join(portfolio.watch), ", ".join(watched))
    reserves = [
        "none" if reserve is None else f"{reserve.wei} wei"
        for reserve in (resolved.gas_reserve, snapshot.gas_reserve)
    ]
    yield from _differ("gas_reserve", *reserves)
    yield from _other_targets(resolved, inputs)
    figures = schedule_for(resolved, (amount.token for amount in snapshot.balances))
    if inputs.circumstances.gas not in (None, figures):
        yield f"gas by {figures.name} and networks.yaml, in the plan by other figures"
    for rule in fields(inputs.policy):
        name = rule.name
        yield from _differ(name, getattr(resolved.policy, name), getattr(inputs.policy, name))


def _other_targets(resolved: ResolvedPortfolio, inputs: Inputs) -> Iterator[str]:
    from rebalancer.report.numbers import percent

    then = {target.position: target for target in inputs.targets}
    names = set(resolved.scheme.positions)
    if names != then.keys():
        yield from _differ("positions", ", ".join(sorted(names)), ", ".join(sorted(then)))
        return
    for target in resolved.targets_at(inputs.snapshot):
        was = then[target.position]
        weights = percent(target.weight_ppm), percent(was.weight_ppm)
        if target != was and target.weight_ppm == was.weight_ppm:
            yield f"{target.position} has other bands, bucket or multiplier"
        yield from _differ(f"target of {target.position}", *weights)


def _differ(what: str, now: object, then: object) -> Iterator[str]:
    if now != then:
        here, there = ("none" if value in (None, "") else value for value in (now, then))
        yield f"{what} {here}, in the plan {there}"
