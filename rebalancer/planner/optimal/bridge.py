"""Between the planner's problem and the solver's statement, and back to the legs of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.amm.liquidity import effective_total_supply
from rebalancer.model import (
    PPM,
    AddLeg,
    Leg,
    PairState,
    RemoveLeg,
    SwapLeg,
    Target,
    mul_div_nearest,
)
from rebalancer.planner.market import open_market
from rebalancer.planner.optimal import legs as solved
from rebalancer.planner.optimal.statement import (
    Asset,
    Pool,
    Stake,
    Statement,
    TaxTier,
    statement,
)
from rebalancer.planner.problem import Problem
from rebalancer.planner.routes import min_amount_out
from rebalancer.planner.targets import movable_pairs
from rebalancer.planner.wallet import liquid_shares, share_of, value_down


def statement_of(
    problem: Problem,
    *,
    taxes: dict[str, tuple[TaxTier, ...]] | None = None,
    reserve_ppm: int = 0,
) -> Statement:
    """The positions of ``problem`` that can be traded, and every pool that may be used.

    NAV is the whole portfolio's. What of a position cannot be traded, because it is staked, watched
    or owed by a farm, comes off its target; LP positions without a usable pool stay as they are. A
    token in a usable pool that has no target is an intermediate, if its balance was read. Keys are
    addresses in lower case, that of the pair for its shares; ``taxes`` by such a key. Gas is the
    problem's schedule at its gas price, each part rounded up.
    """
    snapshot, policy = problem.snapshot, problem.policy
    targets = {
        token.address.lower(): target
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
    assets = []
    for key in used:
        token, raw, target = held[key].token, held[key].raw, targets.get(key)
        price = snapshot.price(token)
        assets.append(
            Asset(
                key=key,
                held=raw,
                price_numerator=price.numerator,
                price_denominator=price.denominator,
                target_ppm=_target_ppm(problem, target, price.value_down(raw)) if target else None,
                touch_e8=problem.gas_value_e8(gas.touch(token)),
                approval_e8=problem.gas_value_e8(gas.approval(token)),
                tax=(taxes or {}).get(key, ()),
            )
        )
    stakes = movable_pairs(problem, market)
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
                swap_e8=problem.gas_value_e8(
                    gas.per_swap + gas.transfers(pair.token0, pair.token1)
                ),
                max_impact_ppm=policy.max_impact_ppm,
            )
            for pair in pairs
        ],
        stakes=[
            _stake(problem, t, stakes[t.position]) for t in problem.targets if t.position in stakes
        ]
        if pairs
        else [],
        base_e8=problem.gas_value_e8(gas.base),
        chained_saving_e8=problem.gas_value_e8(gas.chained_saving),
        reserve_ppm=reserve_ppm,
    )


def _stake(problem: Problem, target: Target, pair: PairState) -> Stake:
    """The shares of ``pair`` that the wallet can redeem; the allowance for it is their gas."""
    gas, shares = problem.gas_schedule, liquid_shares(problem.snapshot, pair.address)
    protocol = pair.protocol_fee_on and pair.k_last > 0
    both = gas.protocol_fee if pair.protocol_fee_on else 0
    both += gas.transfers(pair.token0, pair.token1)
    return Stake(
        key=pair.address.lower(),
        pool=pair.address.lower(),
        shares=shares,
        supply=effective_total_supply(pair),
        target_ppm=_target_ppm(
            problem, target, value_down(problem.snapshot, share_of(pair), shares)
        ),
        burn_e8=problem.gas_value_e8(gas.per_remove + gas.per_approval + both),
        mint_e8=problem.gas_value_e8(gas.per_add + both),
        stored=pair.total_supply if protocol else 0,
        k_last=pair.k_last if protocol else 0,
    )


def _target_ppm(problem: Problem, target: Target, tradable_e8: int) -> int:
    """The target less what of the position nobody here can trade, at least 0."""
    valuation = problem.valuation
    beside = valuation.position(target.position).value_e8 - tradable_e8
    return max(target.weight_ppm - mul_div_nearest(beside, PPM, valuation.nav_e8), 0)


def plan_legs(problem: Problem, legs: Sequence[solved.Leg]) -> tuple[Leg, ...]:
    """The solver's legs as the plan carries them, with minimums from the policy's slippage."""
    pairs = {pair.address.lower(): pair for pair in problem.snapshot.pairs}
    slippage = problem.policy.slippage_ppm
    made: list[Leg] = []
    for leg in legs:
        pair = pairs[leg.pool]
        if isinstance(leg, solved.Swap):
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
                    min_amount_out=min_amount_out(leg.amount_out, slippage),
                    chained=leg.chained,
                )
            )
        elif leg.kind == "burn":
            made.append(
                RemoveLeg(
                    pair=pair.address,
                    amm=pair.amm,
                    token0=pair.token0,
                    token1=pair.token1,
                    shares=leg.shares,
                    amount0=leg.amount0,
                    amount1=leg.amount1,
                    min_amount0=min_amount_out(leg.amount0, slippage),
                    min_amount1=min_amount_out(leg.amount1, slippage),
                )
            )
        else:
            made.append(
                AddLeg(
                    pair=pair.address,
                    amm=pair.amm,
                    token0=pair.token0,
                    token1=pair.token1,
                    amount0=leg.amount0,
                    amount1=leg.amount1,
                    shares=leg.shares,
                    min_shares=min_amount_out(leg.shares, slippage),
                )
            )
    return tuple(made)
