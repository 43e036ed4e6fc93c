"""Between the planner's problem and the solver's statement; LP positions are left alone."""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.errors import PlanError
from rebalancer.model import SwapLeg
from rebalancer.planner.market import open_market
from rebalancer.planner.optimal.integers import Leg, Swap
from rebalancer.planner.optimal.statement import Asset, Pool, Statement, TaxTier, statement
from rebalancer.planner.problem import Problem
from rebalancer.planner.routes import min_amount_out


def statement_of(
    problem: Problem,
    *,
    taxes: dict[str, tuple[TaxTier, ...]] | None = None,
    reserve_ppm: int = 0,
) -> Statement:
    """The tokens of ``problem`` with their targets and every pool that may be used.

    NAV is the whole portfolio's; LP positions stay as they are. A token in a usable pool that has
    no target is an intermediate, if its balance was read. Keys are addresses in lower case;
    ``taxes`` by such a key. Gas is the problem's schedule at its gas price, each part rounded up.
    """
    snapshot, policy = problem.snapshot, problem.policy
    targets = {
        token.address.lower(): target.weight_ppm
        for target in problem.targets
        if (token := problem.token(target.position)) is not None
    }
    market, _ = open_market(snapshot, policy)
    held = {amount.token.address.lower(): amount for amount in snapshot.balances}
    pairs = [
        pair
        for pair in market.now.values()
        if {pair.token0.address.lower(), pair.token1.address.lower()} <= set(held)
    ]
    if not policy.max_impact_ppm:
        pairs = []
    used = set(targets) | {t.address.lower() for p in pairs for t in (p.token0, p.token1)}
    gas = problem.gas_schedule
    touch, approval = problem.gas_value_e8(gas.per_token), problem.gas_value_e8(gas.per_approval)
    assets = []
    for key in used:
        price = snapshot.price(held[key].token)
        assets.append(
            Asset(
                key=key,
                held=held[key].raw,
                price_numerator=price.numerator,
                price_denominator=price.denominator,
                target_ppm=targets.get(key),
                touch_e8=touch,
                approval_e8=approval,
                tax=(taxes or {}).get(key, ()),
            )
        )
    return statement(
        nav_e8=problem.valuation.nav_e8,
        kappa_ppm=policy.drift_aversion_ppm,
        assets=assets,
        pools=[
            Pool(
                key=pair.address.lower(),
                asset0=pair.token0.address.lower(),
                asset1=pair.token1.address.lower(),
                reserve0=pair.reserve0,
                reserve1=pair.reserve1,
                fee_ppm=pair.fee_ppm,
                swap_e8=problem.gas_value_e8(gas.per_swap),
                max_impact_ppm=policy.max_impact_ppm,
            )
            for pair in pairs
        ],
        base_e8=problem.gas_value_e8(gas.base),
        chained_saving_e8=problem.gas_value_e8(gas.chained_saving),
        reserve_ppm=reserve_ppm,
    )


def swap_legs(problem: Problem, legs: Sequence[Leg]) -> tuple[SwapLeg, ...]:
    """The solver's legs as the plan carries them, with minimum outputs from the policy."""
    pairs = {pair.address.lower(): pair for pair in problem.snapshot.pairs}
    made = []
    for leg in legs:
        if not isinstance(leg, Swap):
            raise PlanError("a plan has no legs yet that burn or mint LP shares")
        pair = pairs[leg.pool]
        token_in = pair.token0 if pair.token0.address.lower() == leg.sold else pair.token1
        made.append(
            SwapLeg(
                pair=pair.address,
                amm=pair.amm,
                token_in=token_in,
                token_out=pair.other(token_in),
                fee_ppm=pair.fee_ppm,
                amount_in=leg.amount_in,
                amount_out=leg.amount_out,
                min_amount_out=min_amount_out(leg.amount_out, problem.policy.slippage_ppm),
                chained=leg.chained,
            )
        )
    return tuple(made)
