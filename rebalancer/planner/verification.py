"""A decision recomputed from its inputs: the same bytes, and by arithmetic of its own.

Nothing here calls the AMM room or the planner's own replay: legs are executed by the line that the
pair contract checks, so that a mistake over there does not vouch for itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from rebalancer.errors import PlanError
from rebalancer.model import PPM, Decision, Plan, Rebalance, Snapshot, Token, digest, to_json
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.optimal.verify import verify as verify_certificate


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was recomputed, whether it came out the same, and what came out."""

    what: str
    ok: bool
    detail: str


def verify(claimed: str, inputs: Inputs) -> tuple[Finding, ...]:
    """Recompute the decision whose canonical JSON is ``claimed``.

    Raises what ``Inputs.decide`` raises for inputs that do not belong together.
    """
    valuation, decision = inputs.decide()
    found = [_same("decision", to_json(decision) == claimed, digest(decision))]
    if decision.parent != digest(valuation) or valuation.parent != digest(inputs.snapshot):
        found.append(Finding("parents", False, "the decision does not descend from its snapshot"))
    return (*found, *_plan(decision, inputs))


def _plan(decision: Decision, inputs: Inputs) -> Iterator[Finding]:
    if not isinstance(decision, Rebalance):
        return
    plan, snapshot = decision.plan, inputs.snapshot
    balances = _execute(plan, snapshot)
    if isinstance(balances, str):
        yield Finding("legs", False, balances)
        return
    yield Finding("legs", True, f"{len(plan.legs)} pay what they say, to the unit")
    net = {change.token: change.raw for change in plan.net}
    before = {amount.token: amount.raw for amount in snapshot.balances}
    changes = {t: raw - before[t] for t, raw in balances.items() if raw != before[t]}
    yield _same("balances", net == changes, f"{len(net)} change as the plan says")
    lost = 0
    for token, raw in balances.items():
        price = snapshot.price(token)
        held = before[token]
        lost += held * price.numerator // price.denominator
        lost -= raw * price.numerator // price.denominator
    costs = plan.costs
    parts = costs.fee_e8 + costs.impact_e8 + costs.off_oracle_e8
    yield _same("costs", (parts, parts + costs.gas_e8) == (lost, costs.total_e8), f"{lost} e8 lost")
    wei = costs.gas_units * costs.gas_price_wei
    native = snapshot.native
    gas = -(-wei * native.numerator // native.denominator)
    yield from _certificate(plan, inputs)
    yield _same("gas", gas == costs.gas_e8, f"{costs.gas_units:,} units, {gas} e8")


def _certificate(plan: Plan, inputs: Inputs) -> Iterator[Finding]:
    """The bound recomputed by the independent checker, and that it is about this very problem."""
    if plan.certificate is None:
        return
    try:
        numbers = verify_certificate(plan.certificate)
    except PlanError as error:
        yield Finding("certificate", False, str(error))
        return
    yield Finding("certificate", True, f"no plan is better by more than {numbers['gap_e8']} e8")
    claim = json.loads(plan.certificate)
    about = {a["key"]: (a["held"], a["price_numerator"]) for a in claim["statement"]["assets"]}
    there = {
        a.token.address.lower(): (a.raw, inputs.snapshot.price(a.token).numerator)
        for a in inputs.snapshot.balances
        if a.token.address.lower() in about
    }
    pools = {p["key"]: (p["reserve0"], p["reserve1"]) for p in claim["statement"]["pools"]}
    pairs = {
        p.address.lower(): (p.reserve0, p.reserve1)
        for p in inputs.snapshot.pairs
        if p.address.lower() in pools
    }
    yield _same("statement", (about, pools) == (there, pairs), "it is about this snapshot")


def _execute(plan: Plan, snapshot: Snapshot) -> dict[Token, int] | str:
    """Balances after the legs, or why they cannot be what the plan says."""
    balances = {amount.token: amount.raw for amount in snapshot.balances}
    reserves = {p.address: {p.token0: p.reserve0, p.token1: p.reserve1} for p in snapshot.pairs}
    fees = {p.address: p.fee_ppm for p in snapshot.pairs}
    for index, leg in enumerate(plan.legs):
        pool = reserves.get(leg.pair, {})
        if set(pool) != {leg.token_in, leg.token_out} or fees[leg.pair] != leg.fee_ppm:
            return f"leg {index} names a pool that is not there"
        if leg.chained:
            feeder = plan.legs[index - 1]
            given = (feeder.token_out, feeder.amount_out)
            if not index or given != (leg.token_in, leg.amount_in):
                return f"leg {index} is not fed by the one before"
        elif balances[leg.token_in] < leg.amount_in:
            return f"leg {index} sells more than is there by then"
        balances[leg.token_in] -= leg.amount_in
        reserve_in, reserve_out = pool[leg.token_in], pool[leg.token_out]
        # The pair's K-check: what it pays is accepted, one unit more would not be.
        paid = (reserve_in + leg.amount_in) * PPM - leg.amount_in * leg.fee_ppm
        least = reserve_in * reserve_out * PPM
        if paid * (reserve_out - leg.amount_out) < least:
            return f"leg {index} pays less than {leg.amount_out}"
        if paid * (reserve_out - leg.amount_out - 1) >= least:
            return f"leg {index} pays more than {leg.amount_out}"
        if not 0 < leg.min_amount_out <= leg.amount_out:
            return f"leg {index} accepts {leg.min_amount_out}"
        pool[leg.token_in] += leg.amount_in
        pool[leg.token_out] -= leg.amount_out
        balances[leg.token_out] += leg.amount_out
    return balances


def _same(what: str, same: bool, detail: str) -> Finding:
    return Finding(what, same, detail if same else f"recomputed it is something else ({detail})")
