"""Setting aside what its owner wants to take out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rebalancer.errors import PlanError
from rebalancer.model import Amount, Plan, Reason, Snapshot, Valuation, format_units
from rebalancer.planner.problem import Problem
from rebalancer.planner.texts import money


def set_aside(snapshot: Snapshot, withdrawal: Amount | None) -> tuple[Snapshot, Amount | None]:
    """The snapshot without the withdrawal, and what the wallet lacks of it, None if nothing.

    A plan made on that is one for what remains. Raises PlanError for a withdrawal of nothing, or of
    a token whose balance or price was not read.
    """
    if withdrawal is None:
        return snapshot, None
    token, raw = withdrawal.token, withdrawal.raw
    if raw <= 0:
        raise PlanError(
            f"{format_units(raw, token.decimals)} {token.symbol} cannot be raised",
            hint="ask for an amount above 0",
        )
    read = {a.token for a in snapshot.balances} & {p.token for p in snapshot.prices}
    if token not in read:
        raise PlanError(
            f"{token.symbol} cannot be raised: its balance and price are not read",
            hint="make it a position, with a target of 0% if need be, or an intermediate",
        )
    held = snapshot.balance(token)
    rest = tuple(
        Amount(a.token, max(a.raw - raw, 0)) if a.token == token else a for a in snapshot.balances
    )
    lacking = raw - held
    owed = Amount(token, lacking) if lacking > 0 else None
    return replace(snapshot, balances=rest), owed


def check_owed(rest: Snapshot, valuation: Valuation, owed: Amount | None) -> None:
    """Raise PlanError where all that remains is worth no more than what is owed."""
    if owed is None:
        return
    owed_e8 = rest.price(owed.token).value_up(owed.raw)
    if owed_e8 >= valuation.nav_e8:
        raise PlanError(
            f"{format_units(owed.raw, owed.token.decimals)} {owed.token.symbol} more than the "
            f"wallet holds cannot be raised: the rest is worth "
            f"{money(valuation.nav_e8, rest.numeraire)}",
            hint="ask for less",
        )


def raising(problem: Problem) -> Reason:
    """What is asked for, and what the wallet lacks of it."""
    wanted, owed = problem.circumstances.withdrawal, problem.owed
    if wanted is None or owed is None:
        raise ValueError("nothing is owed")
    token = owed.token
    text = (
        f"{format_units(wanted.raw, token.decimals)} {token.symbol} are to be raised, "
        f"{format_units(owed.raw, token.decimals)} of it are not there"
    )
    return Reason("withdrawal_e8", text, problem.owed_e8, 0)


def still_lacking(problem: Problem, plan: Plan) -> tuple[Reason, ...]:
    """What of a withdrawal the plan does not raise."""
    owed = problem.owed
    if owed is None:
        return ()
    bought = sum(change.raw for change in plan.net if change.token == owed.token)
    lacking = owed.raw - bought
    if lacking <= 0:
        return ()
    value_e8 = problem.snapshot.price(owed.token).value_up(lacking)
    text = (
        f"{format_units(lacking, owed.token.decimals)} {owed.token.symbol} of the withdrawal are "
        "not raised by this plan; ask again at the next evaluation"
    )
    return (Reason("withdrawal_short_e8", text, value_e8, 0),)


def proves_raising(certificate: str) -> bool:
    """Whether a certificate is of a plan that pays for a withdrawal.

    Its objective charges more than its value for what is missing, so what such a plan gains over
    holding is no money. Among plans that raise as much the charge is the same, and the gap is.
    """
    claim: Any = json.loads(certificate)
    return any(asset["owed"] for asset in claim["statement"]["assets"])


def raised_e8(problem: Problem, net: Sequence[Amount]) -> int:
    """What the plan buys for the withdrawal and nothing else, and so leaves NAV; rounded down."""
    owed = problem.owed
    if owed is None:
        return 0
    bought = sum(change.raw for change in net if change.token == owed.token)
    if problem.is_position(owed.token):
        bought = min(bought, owed.raw)
    return problem.snapshot.price(owed.token).value_down(bought)
