"""What LP positions are expected to lose to arbitrage: loss versus rebalancing.

A pool sells what rises and buys what falls, always a little too late. Against a portfolio that
holds the same amounts and trades at the market's price, a constant-product pool loses
``sigma^2 / 8`` of its value a year (Milionis, Moallemi, Roughgarden, Zhang 2022, arXiv 2208.06046).
With a fee ``phi`` and blocks that come at random, ``lambda`` a year, arbitrage takes of it only
``1 / (1 + sqrt(2 lambda) phi / sigma)`` (Milionis, Moallemi, Roughgarden 2023, arXiv 2305.14604):
the rest of these price moves pays the fee, or stays where the fee keeps everybody off. Only what
others trade pays for the remainder. All rounded down, in integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from rebalancer.model import PPM, PairState, mul_div_down
from rebalancer.planner.metric import COVARIANCE_UNIT, covariances_of
from rebalancer.planner.problem import Problem
from rebalancer.planner.texts import money, percent
from rebalancer.planner.volatility import YEAR_S

#: Seconds between two blocks, on average, of the chain that fees and blocks are reckoned for.
BLOCK_S = 12


@dataclass(frozen=True, slots=True)
class Lvr:
    """What an LP position of ``value_e8`` is expected to lose in a year, both in ppm of its value.

    ``volatility_ppm`` is a year's, of the price of one of its tokens in the other. ``lvr_ppm`` is
    the loss without fees, ``after_fee_ppm`` what arbitrage takes of it with the pool's fee.
    ``source`` says in words where the volatility is from.
    """

    name: str
    value_e8: int
    volatility_ppm: int
    fee_ppm: int
    lvr_ppm: int
    after_fee_ppm: int
    source: str


def lvr_ppm(volatility_ppm: int) -> int:
    """``sigma^2 / 8`` a year, in ppm of the position's value, rounded down."""
    return volatility_ppm**2 // (8 * PPM)


def after_fee_ppm(volatility_ppm: int, fee_ppm: int) -> int:
    """What arbitrage takes of that with a fee and a block each ``BLOCK_S``, rounded down."""
    if not volatility_ppm:
        return 0
    root_ppm = isqrt(2 * YEAR_S * PPM**2 // BLOCK_S)
    kept = volatility_ppm * PPM
    return mul_div_down(lvr_ppm(volatility_ppm), kept, kept + root_ppm * fee_ppm)


def expected_losses(problem: Problem) -> tuple[Lvr, ...]:
    """Of every LP position that holds something; nothing where no volatility is known.

    The volatility is that of the two tokens' covariance, where that is measured or in the portfolio
    file; else ``policy.volatility``, of a position against the rest, is taken for it.
    """
    found = []
    for position in problem.valuation.positions:
        if position.lp is None:
            continue
        pair = problem.snapshot.pair(position.lp.pair)
        volatility, source = _volatility_ppm(problem, pair)
        value_e8 = position.value_e8 - position.lp.reward_value_e8
        if value_e8 > 0 and volatility:
            losses = lvr_ppm(volatility), after_fee_ppm(volatility, pair.fee_ppm)
            found.append(Lvr(position.name, value_e8, volatility, pair.fee_ppm, *losses, source))
    return tuple(found)


def _volatility_ppm(problem: Problem, pair: PairState) -> tuple[int, str]:
    """Of the pair's price, a year, rounded down, and where it is from; 0 where nothing is known."""
    covariances, measured = covariances_of(problem)
    known = {frozenset((a, b)): value for a, b, value in covariances}
    own = [known.get(frozenset((token.symbol,))) for token in (pair.token0, pair.token1)]
    if own[0] is not None and own[1] is not None:
        both = known.get(frozenset((pair.token0.symbol, pair.token1.symbol)), 0)
        variance = max(own[0] + own[1] - 2 * both, 0)
        source = "measured" if measured else "by policy.risk"
        return isqrt(variance * PPM**2 // COVARIANCE_UNIT), source
    return problem.policy.volatility_ppm or 0, "by policy.volatility"


def in_words(lvr: Lvr, numeraire: str) -> str:
    """One sentence, with the money of a year."""
    gross, net = (mul_div_down(lvr.value_e8, ppm, PPM) for ppm in (lvr.lvr_ppm, lvr.after_fee_ppm))
    sigma, taken = percent(lvr.volatility_ppm), percent(lvr.after_fee_ppm)
    return (
        f"{lvr.name} is expected to lose {percent(lvr.lvr_ppm)} a year against rebalancing without "
        f"fees, {money(gross, numeraire)} (LVR, volatility {sigma} {lvr.source}); arbitrage takes "
        f"{taken} of it, {money(net, numeraire)}, beyond the fee of {percent(lvr.fee_ppm)}, at a "
        f"block each {BLOCK_S} s"
    )
