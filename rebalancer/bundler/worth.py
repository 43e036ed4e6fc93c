"""Whether a plan is still worth its gas, at the price of this moment."""

from __future__ import annotations

from rebalancer.bundler.fees import gwei
from rebalancer.errors import LimitBreached
from rebalancer.model import Plan, format_units, mul_div_up


def check_worth(plan: Plan, gas_units: int, gas_price_wei: int) -> None:
    """Raise LimitBreached when gas has become so dear that the plan costs what it brings.

    The plan states its gas as units, price and value; the value now is that, scaled and rounded up.
    The rule is the planner's own: no credit for what a pool off the oracle seems to give away, and
    the benefit must be above the cost. Gas that is no dearer than planned passes: then nothing
    changed since the planner decided. So does a plan that assumes no gas cost at all, and one that
    raises what its owner asked for, whatever it brings. A slice is not worth it by itself: its gas
    must be within what its order has left.
    """
    costs = plan.costs
    assumed_wei = costs.gas_units * costs.gas_price_wei
    now_wei = gas_units * gas_price_wei
    if assumed_wei == 0 or now_wei <= assumed_wei or plan.withdrawal is not None:
        return
    now_e8 = mul_div_up(costs.gas_e8, now_wei, assumed_wei)
    if plan.most_gas_e8 is not None:
        _check_slice(plan, plan.most_gas_e8, now_e8)
        return
    trading_e8 = costs.total_e8 - min(costs.off_oracle_e8, 0) - costs.gas_e8 + now_e8
    cost_e8 = trading_e8 + costs.beside_e8
    if plan.benefit_e8 <= cost_e8:
        cost, gas, benefit = (format_units(v, 8) for v in (cost_e8, now_e8, plan.benefit_e8))
        raise LimitBreached(
            f"the plan would cost {cost} {plan.numeraire} now, {gas} of it gas ({gas_units:,} at"
            f" {gwei(gas_price_wei)}), and brings {benefit}",
            hint="nothing was signed; wait for cheaper blocks, the next cycle plans anew",
        )


def _check_slice(plan: Plan, most_gas_e8: int, now_e8: int) -> None:
    if now_e8 > most_gas_e8:
        gas, most = format_units(now_e8, 8), format_units(most_gas_e8, 8)
        raise LimitBreached(
            f"the slice's gas would cost {gas} {plan.numeraire} now, its order has {most} left",
            hint="nothing was signed; wait for cheaper blocks, the order goes on until it expires",
        )
