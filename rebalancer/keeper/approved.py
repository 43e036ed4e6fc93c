"""A plan that a person approved, on the block of today: the same trades, never worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rebalancer.amm.liquidity import apply_burn, apply_mint, whole_amounts
from rebalancer.amm.swap import apply_swap
from rebalancer.errors import Infeasible, LimitBreached, PlanError
from rebalancer.model import (
    AddLeg,
    Circumstances,
    Leg,
    PairState,
    Plan,
    Policy,
    Rebalance,
    RemoveLeg,
    Snapshot,
    SwapLeg,
    Target,
    Token,
    Valuation,
    forwards,
)
from rebalancer.planner.costs import appraise, cost_gate
from rebalancer.planner.decision import pose
from rebalancer.planner.guards import keeps_the_gas_reserve, net_of, undressed
from rebalancer.planner.problem import NOTHING_ELSE
from rebalancer.planner.purse import trades_of


def as_approved(
    decision: Rebalance,
    approved: Plan,
    snapshot: Snapshot,
    valuation: Valuation,
    targets: tuple[Target, ...],
    policy: Policy,
    circumstances: Circumstances = NOTHING_ELSE,
) -> Rebalance:
    """The decision of this block, with the approved trades instead of its own.

    What is sold and the minimum of every leg are those that were approved, to the unit; what each
    leg is expected to pay, what is wrapped before and unwrapped after, and with it costs and
    benefit, are those of this block. Raises
    LimitBreached when a leg would bring less than its approved minimum, or the plan is not worth
    its cost any more, PlanError when it cannot be done as it stands.
    """
    problem = pose(snapshot, valuation, targets, policy, circumstances)
    appraisal = appraise(problem, repriced(trades_of(approved.legs, problem.purse), snapshot))
    if reasons := cost_gate(problem, appraisal):
        raise LimitBreached(
            f"the approved plan is not worth it any more: {reasons[0].text}",
            hint="nothing was signed; approve a newer plan",
            block=snapshot.block.number,
        )
    legs = problem.whole(appraisal.legs)
    plan = replace(
        decision.plan,
        legs=legs,
        net=net_of(legs),
        positions=tuple(
            replace(position, after_ppm=appraisal.after.position(position.name).weight_ppm)
            for position in decision.plan.positions
        ),
        nav_after_e8=appraisal.after.nav_e8,
        costs=appraisal.costs,
        benefit_e8=appraisal.benefit_e8,
    )
    if short := tuple(keeps_the_gas_reserve(problem, undressed(problem, plan))):
        raise LimitBreached(
            f"the approved plan would wrap what is for gas: {short[0].text}",
            hint="nothing was signed; approve a newer plan",
            block=snapshot.block.number,
        )
    return replace(decision, plan=plan)


def repriced(trades: Sequence[Leg], snapshot: Snapshot) -> tuple[Leg, ...]:
    """The approved trades with what their pairs would pay now.

    A leg that was to live on what earlier ones bring takes no more than that: they may bring less
    by now. Raises LimitBreached below an approved minimum, PlanError for what cannot be done.
    """
    pairs = {pair.address: pair for pair in snapshot.pairs}
    legs: list[Leg] = []
    then: dict[Token, int] = {}
    now: dict[Token, int] = {}
    for number, approved in enumerate(trades, 1):
        try:
            leg = _now(_within(approved, then, now), legs[-1] if legs else None, pairs)
        except KeyError:
            raise PlanError(
                f"leg {number} of the approved plan trades on a pair that is not read",
                hint="approve a newer plan",
            ) from None
        except Infeasible as error:
            raise PlanError(
                f"leg {number} of the approved plan cannot be done: {error}",
                hint="approve a newer plan",
            ) from None
        for brings, least in zip(leg.pays, approved.least, strict=True):
            if brings.raw < least.raw:
                raise LimitBreached(
                    f"leg {number} of the approved plan would bring {brings.raw} smallest units of "
                    f"{brings.token.symbol}, approved are {least.raw} or more",
                    hint="nothing was signed; wait for the price to come back, or approve a newer "
                    "plan",
                    block=snapshot.block.number,
                )
        legs.append(leg)
        _book(then, approved, forwards(trades, number - 1))
        _book(now, leg, forwards(trades, number - 1))
    return tuple(legs)


def _within(leg: Leg, then: Mapping[Token, int], now: Mapping[Token, int]) -> Leg:
    """An approved leg, cut to what the legs before it bring now where they were to pay for it."""

    def cut(token: Token, raw: int) -> int:
        return min(raw, now.get(token, 0)) if then.get(token, 0) >= raw else raw

    if isinstance(leg, SwapLeg) and not leg.chained:
        return replace(leg, amount_in=cut(leg.token_in, leg.amount_in))
    if isinstance(leg, AddLeg):
        amount0, amount1 = cut(leg.token0, leg.amount0), cut(leg.token1, leg.amount1)
        return replace(leg, amount0=amount0, amount1=amount1)
    return leg


def _book(net: dict[Token, int], leg: Leg, forwarded: bool) -> None:
    """Add what a leg takes from the wallet and pays to it."""
    for taken in leg.takes:
        net[taken.token] = net.get(taken.token, 0) - taken.raw
    for paid in () if forwarded else leg.pays:
        net[paid.token] = net.get(paid.token, 0) + paid.raw


def _now(leg: Leg, before: Leg | None, pairs: dict[str, PairState]) -> Leg:
    """One approved leg on the pairs as they stand now, and the pairs after it.

    An addition takes no more of either token than was approved. Raises KeyError for a pair that is
    not there, Infeasible for what cannot be done.
    """
    if isinstance(leg, SwapLeg):
        amount_in = leg.amount_in
        if leg.chained and isinstance(before, SwapLeg):
            amount_in = before.amount_out
        pairs[leg.pair], amount_out = apply_swap(pairs[leg.pair], leg.token_in, amount_in)
        return replace(leg, amount_in=amount_in, amount_out=amount_out)
    if isinstance(leg, AddLeg):
        pair = pairs[leg.pair]
        amount0, amount1 = whole_amounts(pair.reserve0, pair.reserve1, leg.amount0, leg.amount1)
        pairs[leg.pair], shares = apply_mint(pair, amount0, amount1)
        return replace(leg, amount0=amount0, amount1=amount1, shares=shares)
    if isinstance(leg, RemoveLeg):
        pairs[leg.pair], amount0, amount1 = apply_burn(pairs[leg.pair], leg.shares)
        return replace(leg, amount0=amount0, amount1=amount1)
    return leg
