"""What a plan costs and what it brings, priced exactly on the snapshot it is made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rebalancer.amm.liquidity import effective_total_supply
from rebalancer.amm.valuation import value
from rebalancer.model import (
    PPM,
    AddLeg,
    Amount,
    Costs,
    Leg,
    Price,
    Reason,
    RemoveLeg,
    Snapshot,
    SwapLeg,
    Valuation,
    mul_div_up,
)
from rebalancer.planner.aside import reserve_e8, tax_e8
from rebalancer.planner.bands import drifts
from rebalancer.planner.benefit import benefit_e8
from rebalancer.planner.metric import metric_of
from rebalancer.planner.problem import Problem
from rebalancer.planner.replay import replay
from rebalancer.planner.texts import money, percent, told_apart
from rebalancer.planner.wallet import balance, counted, moved_tokens, value_down


@dataclass(frozen=True, slots=True)
class Appraisal:
    """Legs with their costs, their benefit and the portfolio that they leave behind."""

    legs: tuple[Leg, ...]
    after: Valuation
    net: tuple[Amount, ...]
    costs: Costs
    benefit_e8: int

    @property
    def trading_cost_e8(self) -> int:
        """The total cost, but with no credit for what a pool off the oracle seems to give away."""
        return self.costs.total_e8 - min(self.costs.off_oracle_e8, 0)

    @property
    def gate_cost_e8(self) -> int:
        """What a plan must be worth: that, its tax, and what is set aside for slippage."""
        return self.trading_cost_e8 + self.costs.beside_e8

    @property
    def gain_e8(self) -> int:
        """Benefit less cost as the gate counts it."""
        return self.benefit_e8 - self.gate_cost_e8


def appraise(problem: Problem, legs: Sequence[Leg]) -> Appraisal:
    """Replay ``legs`` and price them; raises PlanError where they cannot be replayed."""
    snapshot = problem.snapshot
    done = replay(snapshot, legs)
    after = value(problem.without_owed(done), problem.targets)
    net = net_changes(snapshot, done, legs)
    return Appraisal(
        legs=tuple(legs),
        after=after,
        net=net,
        costs=_costs(problem, legs, done, net),
        benefit_e8=benefit_e8(
            problem.valuation, after, problem.policy.drift_aversion_ppm, metric_of(problem)
        ),
    )


def loss_e8(problem: Problem, legs: Sequence[Leg]) -> int:
    """What is lost by ``legs``: fee, impact and off-oracle together, no gas."""
    done = replay(problem.snapshot, legs)
    return lost_e8(problem.snapshot, done, net_changes(problem.snapshot, done, legs))


def lost_e8(before: Snapshot, after: Snapshot, net: Sequence[Amount]) -> int:
    """What the balances of ``net`` are worth less after than before, at the prices before."""
    return sum(_sold_e8(before, after, net))


def net_changes(before: Snapshot, after: Snapshot, legs: Sequence[Leg]) -> tuple[Amount, ...]:
    """Change of every balance that changes, in order of the tokens' first use in ``legs``."""
    changes = (
        Amount(token, balance(after, token) - balance(before, token))
        for token in moved_tokens(legs)
    )
    return tuple(change for change in changes if change.raw)


def cost_gate(problem: Problem, appraisal: Appraisal) -> tuple[Reason, ...]:
    """Why the plan is not worth it: benefit not above cost, or cost too large a share; or ().

    Both are judged by ``gate_cost_e8``: a stale pool's gift pays for nothing. The benefit must
    exceed the cost, tax and reserve for slippage included, by the policy's margin; the share is of
    what trading costs. What is owed to a withdrawal need not be worth it, and while the drift is
    extreme no share of the traded value is too large.
    """
    reasons = []
    cost, numeraire = appraisal.gate_cost_e8, problem.snapshot.numeraire
    margin_ppm = problem.policy.cost_margin_ppm
    short = appraisal.benefit_e8 * PPM <= cost * (PPM + margin_ppm)
    if short and problem.owed is None:
        spent, gained = told_apart(
            lambda v, places: money(v, numeraire, places), cost, appraisal.benefit_e8
        )
        parts = _parts(appraisal.costs, numeraire)
        reasons.append(
            Reason(
                code="cost_above_benefit_e8",
                text=(
                    f"Rebalancing would cost {spent} ({parts}), and the drift penalty "
                    f"that it removes is {gained}"
                    + (f"; it must be more by {percent(margin_ppm)}" if margin_ppm else "")
                ),
                measured=cost,
                limit=appraisal.benefit_e8,
            )
        )
    trading = appraisal.trading_cost_e8
    share = cost_share_ppm(trading, appraisal.costs.traded_e8)
    if share > problem.policy.max_cost_ppm and not is_extreme(problem):
        shown, limit = told_apart(percent, share, problem.policy.max_cost_ppm, most_places=4)
        traded = money(appraisal.costs.traded_e8, numeraire)
        reasons.append(
            Reason(
                code="max_cost_ppm",
                text=(
                    f"Rebalancing would cost {money(trading, numeraire)}, {shown} of the {traded} "
                    f"traded; allowed is {limit}"
                ),
                measured=share,
                limit=problem.policy.max_cost_ppm,
            )
        )
    return tuple(reasons)


def _parts(costs: Costs, numeraire: str) -> str:
    """What of a cost is gas, and what comes beside trading if anything does."""
    parts = {"of it gas": costs.gas_e8}
    parts |= {"tax": costs.tax_e8} if costs.tax_e8 else {}
    parts |= {"set aside for slippage": costs.reserve_e8} if costs.reserve_e8 else {}
    return ", ".join(f"{money(value, numeraire)} {name}" for name, value in parts.items())


def is_extreme(problem: Problem) -> bool:
    """Whether a drift is so large that mending it may cost any share of the traded value."""
    limit = problem.policy.extreme_drift_ppm
    if limit is None:
        return False
    largest = drifts(problem.valuation, problem.targets, problem.policy)[0]
    return abs(largest.drift_ppm) > limit


def cost_share_ppm(cost_e8: int, traded_e8: int) -> int:
    """Cost as a share of the traded value in ppm, rounded up; of nothing traded, all of it."""
    if traded_e8 == 0:
        return PPM if cost_e8 > 0 else 0
    return mul_div_up(cost_e8, PPM, traded_e8)


def _costs(problem: Problem, legs: Sequence[Leg], done: Snapshot, net: Sequence[Amount]) -> Costs:
    """Costs by component; ``fee + impact + off_oracle`` is the value sold less the value bought.

    Sold and bought are what the balances, LP shares included, are worth before and after at the
    snapshot's prices, each rounded down as NAV rounds it, so the three are the loss of these
    balances to the unit. Fee and off-oracle are each the exact sum over the legs at the snapshot's
    reserves, rounded to nearest; impact is the rest, and takes the rounding.
    """
    snapshot = problem.snapshot
    changes = _sold_e8(snapshot, done, net)
    loss = sum(changes)
    fee = round(sum((_fee(snapshot, leg) for leg in legs), Fraction(0)))
    off_oracle = round(sum((_off_oracle(snapshot, leg) for leg in legs), Fraction(0)))
    gas_units = problem.gas_units(legs)
    gas_e8 = problem.gas_value_e8(gas_units)
    return Costs(
        traded_e8=sum(change for change in changes if change > 0),
        fee_e8=fee,
        impact_e8=loss - fee - off_oracle,
        off_oracle_e8=off_oracle,
        gas_e8=gas_e8,
        total_e8=loss + gas_e8,
        gas_units=gas_units,
        gas_price_wei=problem.gas_price_wei,
        tax_e8=tax_e8(snapshot, problem.policy, problem.circumstances, net),
        reserve_e8=reserve_e8(snapshot, problem.policy, legs),
        planned_gas=problem.planned_gas,
    )


def _sold_e8(before: Snapshot, after: Snapshot, net: Sequence[Amount]) -> list[int]:
    """Value that each balance of ``net`` loses, negative where it gains."""
    return [
        value_down(before, change.token, counted(before, change.token))
        - value_down(before, change.token, counted(after, change.token))
        for change in net
    ]


def _fee(snapshot: Snapshot, leg: Leg) -> Fraction:
    """What the pool keeps of a swap's input, in the output it would have bought at spot."""
    if not isinstance(leg, SwapLeg):
        return Fraction(0)
    return _worth_at_spot(snapshot, leg) * leg.fee_ppm / PPM


def _off_oracle(snapshot: Snapshot, leg: Leg) -> Fraction:
    """What the leg takes at the oracle's prices, less what its pool as it stands makes of it.

    Of a pool off the oracle the part that shares stand for is worth more than their fair price: to
    redeem them is a gain, to mint them a loss. Wrapping turns one price into the other.
    """
    if isinstance(leg, SwapLeg):
        price = snapshot.price(leg.token_in)
        return leg.amount_in * _ratio(price) - _worth_at_spot(snapshot, leg)
    if isinstance(leg, AddLeg | RemoveLeg):
        above = _share_at_spot(snapshot, leg) - value_down(snapshot, leg.share, leg.shares)
        return above if isinstance(leg, AddLeg) else -above
    given, got = (
        value_down(snapshot, token, leg.amount) for token in (leg.takes[0].token, leg.pays[0].token)
    )
    return Fraction(given - got)


def _share_at_spot(snapshot: Snapshot, leg: AddLeg | RemoveLeg) -> Fraction:
    """What the shares' part of the snapshot's reserves is worth at the oracle's prices."""
    pair = snapshot.pair(leg.pair)
    both = pair.reserve0 * _ratio(snapshot.price(pair.token0))
    both += pair.reserve1 * _ratio(snapshot.price(pair.token1))
    return both * leg.shares / effective_total_supply(pair)


def _worth_at_spot(snapshot: Snapshot, leg: SwapLeg) -> Fraction:
    reserve_in, reserve_out = snapshot.pair(leg.pair).reserves(leg.token_in)
    price = snapshot.price(leg.token_out)
    return Fraction(leg.amount_in * reserve_out, reserve_in) * _ratio(price)


def _ratio(price: Price) -> Fraction:
    return Fraction(price.numerator, price.denominator)
