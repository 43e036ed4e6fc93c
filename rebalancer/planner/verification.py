"""A decision recomputed from its inputs: the same bytes, and by arithmetic of its own.

Nothing here calls the AMM room or the planner's own replay: legs are executed by the line that the
pair contract checks, so that a mistake over there does not vouch for itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rebalancer.errors import PlanError
from rebalancer.model import (
    PPM,
    AddLeg,
    Decision,
    Hold,
    Leg,
    PairState,
    Plan,
    Rebalance,
    RemoveLeg,
    Snapshot,
    SwapLeg,
    Token,
    Valuation,
    digest,
    to_json,
)
from rebalancer.planner.explain import proposal_for
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.optimal.verify import verify as verify_certificate
from rebalancer.planner.proof import proof
from rebalancer.planner.restated import differences
from rebalancer.planner.tally import holds, supply, worth

#: How many differences of a certificate's problem are named.
_SHOWN = 3


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
    return compare(claimed, inputs, *inputs.decide())


def compare(
    claimed: str, inputs: Inputs, valuation: Valuation, decision: Decision
) -> tuple[Finding, ...]:
    """The same for inputs that have been decided already, as ``decision``."""
    found = [_same("decision", to_json(decision) == claimed, digest(decision))]
    if decision.parent != digest(valuation) or valuation.parent != digest(inputs.snapshot):
        found.append(Finding("parents", False, "the decision does not descend from its snapshot"))
    if isinstance(decision, Rebalance):
        return (*found, *_plan(decision, inputs))
    return (*found, *_hold(decision, inputs))


def _hold(decision: Hold, inputs: Inputs) -> Iterator[Finding]:
    """What a hold says that any plan could gain: proved again, and of this very problem."""
    for reason in decision.reasons:
        if reason.code == "most_gain_e8":
            certificate = proposal_for(inputs)[1].certificate
            proved = None if certificate is None else proof(certificate)
            most = None if proved is None else proved.upper_e8 - proved.hold_e8
            yield _same("most gain", most == reason.measured, f"{reason.measured} e8")
            yield from _certificate(certificate, (), inputs)


def _plan(decision: Rebalance, inputs: Inputs) -> Iterator[Finding]:
    plan, snapshot = decision.plan, inputs.snapshot
    balances = _execute(plan, snapshot)
    if isinstance(balances, str):
        yield Finding("legs", False, balances)
        return
    yield Finding("legs", True, f"{len(plan.legs)} pay what they say, to the unit")
    net = {change.token: change.raw for change in plan.net}
    before = holds(snapshot)
    changes = {t: raw - before[t] for t, raw in balances.items() if raw != before[t]}
    yield _same("balances", net == changes, f"{len(net)} change as the plan says")
    lost = _lost_e8(plan, snapshot, before, changes)
    costs = plan.costs
    parts = costs.fee_e8 + costs.impact_e8 + costs.off_oracle_e8
    adds_up = abs(parts - lost) <= _unsure(plan, snapshot)
    adds_up &= parts + costs.gas_e8 == costs.total_e8
    yield _same("costs", adds_up, f"{lost} e8 lost")
    wei = costs.gas_units * costs.gas_price_wei
    native = snapshot.native
    gas = -(-wei * native.numerator // native.denominator)
    yield from _certificate(plan.certificate, plan.legs, inputs)
    yield _same("gas", gas == costs.gas_e8, f"{costs.gas_units:,} units, {gas} e8")


def _certificate(certificate: str | None, legs: Sequence[Leg], inputs: Inputs) -> Iterator[Finding]:
    """The bound recomputed by the independent checker, and that it is about this very problem."""
    if certificate is None:
        return
    try:
        numbers = verify_certificate(certificate)
    except PlanError as error:
        yield Finding("certificate", False, str(error))
        return
    yield Finding("certificate", True, f"no plan is better by more than {numbers['gap_e8']} e8")
    other = differences(legs, inputs, json.loads(certificate)["statement"])
    more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
    detail = f"it is of another problem: {'; '.join(other[:_SHOWN])}{more}"
    yield Finding("statement", not other, detail if other else "it is about this very problem")


def _lost_e8(
    plan: Plan, snapshot: Snapshot, before: Mapping[Token, int], changes: Mapping[Token, int]
) -> int:
    """What NAV loses: every balance as it counts there, less what a withdrawal takes of it.

    With a gas reserve ether above it counts as wrapped, and what fills it up counts no more.
    """
    counts, moved, reserve = dict(before), dict(changes), snapshot.gas_reserve
    if reserve is not None:
        change = moved.pop(snapshot.native.token, 0)
        above = max(snapshot.native_wei - reserve.wei, 0)
        counts[reserve.wrapped] += above - max(change, 0)
        moved[reserve.wrapped] = moved.get(reserve.wrapped, 0) + change
    if plan.withdrawal is not None:
        token = plan.withdrawal.token
        counts[token] -= min(counts[token], plan.withdrawal.raw)
    return sum(
        worth(snapshot, token, counts[token]) - worth(snapshot, token, counts[token] + raw)
        for token, raw in moved.items()
    )


def _unsure(plan: Plan, snapshot: Snapshot) -> int:
    """By how many e8 the loss may be off: by the rounding of one balance, where it is not known.

    Of a withdrawal of the wrapped token a part may be in ether that stays for the plan's own gas.
    """
    reserve, withdrawal = snapshot.gas_reserve, plan.withdrawal
    if reserve is None or withdrawal is None:
        return 0
    return int(withdrawal.token == reserve.wrapped)


def _execute(plan: Plan, snapshot: Snapshot) -> dict[Token, int] | str:
    """Balances after the legs, or why they cannot be what the plan says."""
    legs: Sequence[Leg] = plan.legs
    run = _Books(holds(snapshot), {p.address: p for p in snapshot.pairs})
    for index, leg in enumerate(legs):
        before = legs[index - 1] if index else None
        after = legs[index + 1] if index + 1 < len(legs) else None
        wrong = run.step(leg, before, isinstance(after, SwapLeg) and after.chained)
        if wrong is not None:
            return f"leg {index} {wrong}"
    return run.balances


@dataclass(slots=True)
class _Books:
    """Balances of the wallet and pairs as they stand between two legs."""

    balances: dict[Token, int]
    pairs: dict[str, PairState]

    def step(self, leg: Leg, before: Leg | None, forwarded: bool) -> str | None:
        """Book one leg; what is wrong with it, if anything."""
        chained = isinstance(leg, SwapLeg) and leg.chained
        if isinstance(leg, SwapLeg) and chained:
            given = isinstance(before, SwapLeg) and (before.token_out, before.amount_out)
            if given != (leg.token_in, leg.amount_in):
                return "is not fed by the one before"
        for amount in leg.takes:
            self.balances[amount.token] = self.balances.get(amount.token, 0) - amount.raw
            if self.balances[amount.token] < 0 or amount.raw <= 0:
                return "sells more than is there by then"
        for paid, accepted in zip(leg.pays, leg.least, strict=True):
            if not 0 < accepted.raw <= paid.raw:
                return f"accepts {accepted.raw}"
            if not forwarded:
                self.balances[paid.token] = self.balances.get(paid.token, 0) + paid.raw
        if isinstance(leg, SwapLeg):
            return self._swap(leg)
        if isinstance(leg, AddLeg | RemoveLeg):
            return self._liquidity(leg)
        return None

    def _swap(self, leg: SwapLeg) -> str | None:
        pair = self.pairs.get(leg.pair)
        if pair is None or {pair.token0, pair.token1} != {leg.token_in, leg.token_out}:
            return "names a pool that is not there"
        if pair.fee_ppm != leg.fee_ppm:
            return "names a pool that is not there"
        zero = leg.token_in == pair.token0
        there, other = (pair.reserve0, pair.reserve1) if zero else (pair.reserve1, pair.reserve0)
        # The pair's K-check: what it pays is accepted, one unit more would not be.
        paid = (there + leg.amount_in) * PPM - leg.amount_in * leg.fee_ppm
        least = there * other * PPM
        if paid * (other - leg.amount_out) < least:
            return f"pays less than {leg.amount_out}"
        if paid * (other - leg.amount_out - 1) >= least:
            return f"pays more than {leg.amount_out}"
        sides = (there + leg.amount_in, other - leg.amount_out)
        self._book(pair, *(sides if zero else sides[::-1]), pair.total_supply, pair.k_last)
        return None

    def _liquidity(self, leg: AddLeg | RemoveLeg) -> str | None:
        """Shares are those that the least of both sides pays for; all of both sides is used."""
        pair = self.pairs.get(leg.pair)
        if pair is None or (pair.token0, pair.token1) != (leg.token0, leg.token1):
            return "names a pool that is not there"
        whole, r0, r1 = supply(pair), pair.reserve0, pair.reserve1
        sign = 1 if isinstance(leg, AddLeg) else -1
        if sign > 0:
            if min(leg.amount0 * whole // r0, leg.amount1 * whole // r1) != leg.shares:
                return f"mints something else than {leg.shares} shares"
            if leg.amount0 * r1 // r0 != leg.amount1:
                return "adds more than the pool's ratio asks for"
        elif (leg.shares * r0 // whole, leg.shares * r1 // whole) != (leg.amount0, leg.amount1):
            return f"redeems something else than {leg.amount0} and {leg.amount1}"
        r0, r1 = r0 + sign * leg.amount0, r1 + sign * leg.amount1
        k_last = r0 * r1 if pair.protocol_fee_on else 0
        self._book(pair, r0, r1, whole + sign * leg.shares, k_last)
        return None

    def _book(self, pair: PairState, r0: int, r1: int, supply: int, k_last: int) -> None:
        self.pairs[pair.address] = replace(
            pair, reserve0=r0, reserve1=r1, total_supply=supply, k_last=k_last
        )


def _same(what: str, same: bool, detail: str) -> Finding:
    return Finding(what, same, detail if same else f"recomputed it is something else ({detail})")
