"""Costs that no transaction pays: tax on what is sold, and a reserve for slippage.

A tax is a convex cost of the net amount that a plan takes of a token: of its value by the tiers of
the file, or of the gain over what it cost. A loss is no income: it costs nothing and brings
nothing. To add to a pool is to sell, to redeem is to buy; wrapping is neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from rebalancer.model import (
    E8,
    PPM,
    Amount,
    Circumstances,
    Leg,
    Policy,
    Snapshot,
    SwapLeg,
    Token,
)

#: What costs and tiers of the policy count in.
_NUMBER = 10**18


@dataclass(frozen=True, slots=True)
class Tier:
    """Of what is sold net beyond ``above_raw`` units, ``rate_ppm`` of its oracle value is due."""

    above_raw: int
    rate_ppm: int


def tax_tiers(
    snapshot: Snapshot, policy: Policy, circumstances: Circumstances, token: Token
) -> tuple[Tier, ...]:
    """What selling ``token`` is taxed with, as shares of its oracle value; () for nothing.

    Rates are rounded up, the amounts from which they hold down.
    """
    own = [(above, rate) for symbol, above, rate in policy.tax_tiers if symbol == token.symbol]
    if own:
        # Tokens of few decimals may not tell two tiers apart: the dearer one holds.
        tiers = {above * 10**token.decimals // _NUMBER: rate for above, rate in own}
        return tuple(Tier(raw, rate) for raw, rate in sorted(tiers.items()))
    cost = cost_of(policy, circumstances, token)
    price = snapshot.price(token)
    now = Fraction(price.numerator * 10**token.decimals, price.denominator * E8)
    if not policy.tax_rate_ppm or cost is None or now <= cost:
        return ()
    return (Tier(0, ceil(policy.tax_rate_ppm * (1 - cost / now))),)


def cost_of(policy: Policy, circumstances: Circumstances, token: Token) -> Fraction | None:
    """What a whole ``token`` cost on average; None where nobody knows, so that no gain is known.

    By the ledger, which starts from the file's cost; by the file alone where there is no ledger.
    """
    cost = dict(circumstances.costs).get(token.symbol)
    if cost is None:
        cost = dict(policy.tax_costs).get(token.symbol)
    return None if cost is None else Fraction(cost, _NUMBER)


def tax_e8(
    snapshot: Snapshot, policy: Policy, circumstances: Circumstances, net: Sequence[Amount]
) -> int:
    """Tax on the net changes of a plan, in 1e-8 of the numeraire; rounded up for each token."""
    if not policy.tax_rate_ppm and not policy.tax_tiers:
        return 0
    known = {price.token for price in snapshot.prices}
    due = 0
    for change in net:
        if change.raw >= 0 or change.token not in known:
            continue
        price, taxed, last = snapshot.price(change.token), 0, 0
        for tier in tax_tiers(snapshot, policy, circumstances, change.token):
            taxed += max(-change.raw - tier.above_raw, 0) * (tier.rate_ppm - last)
            last = tier.rate_ppm
        due += -(-taxed * price.numerator // (price.denominator * PPM))
    return due


def reserve_e8(snapshot: Snapshot, policy: Policy, legs: Sequence[Leg]) -> int:
    """What is set aside for slippage: the policy's share of what every swap pays, rounded up."""
    if not policy.slippage_reserve_ppm:
        return 0
    worth = Fraction(0)
    for leg in legs:
        if isinstance(leg, SwapLeg):
            price = snapshot.price(leg.token_out)
            worth += Fraction(leg.amount_out * price.numerator, price.denominator)
    return ceil(worth * policy.slippage_reserve_ppm / PPM)
