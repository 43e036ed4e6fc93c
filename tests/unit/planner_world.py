"""A small market with round numbers, for the planner's tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt
from typing import Any

from rebalancer.amm.valuation import value
from rebalancer.model import (
    E8,
    Amount,
    BlockRef,
    Circumstances,
    Decision,
    LpHolding,
    PairState,
    Policy,
    Price,
    Snapshot,
    SwapLeg,
    Target,
    Token,
)
from rebalancer.planner import Problem, decide
from rebalancer.planner.decision import pose
from rebalancer.planner.routes import min_amount_out

GWEI = 10**9
NOW = 1_700_000_000
WETH = Token("0x00000000000000000000000000000000000000A1", "WETH", 18)
WBTC = Token("0x00000000000000000000000000000000000000A2", "WBTC", 8)
USDC = Token("0x00000000000000000000000000000000000000A3", "USDC", 6)
UNI = Token("0x00000000000000000000000000000000000000A4", "UNI", 18)
DOLLARS = {WETH: 2_000, WBTC: 40_000, USDC: 1, UNI: 5}


def price(token: Token, dollars: int | None = None) -> Price:
    dollars = DOLLARS[token] if dollars is None else dollars
    return Price(token, dollars * E8, 10**token.decimals, "test", NOW)


def worth(token: Token, dollars: int) -> Amount:
    """As much of ``token`` as is worth ``dollars``."""
    return Amount(token, dollars * 10**token.decimals // DOLLARS[token])


def pool(
    number: int, a: Token, b: Token, side: int, *, amm: str = "uni", skew_ppm: int = 0
) -> PairState:
    """A pool with ``side`` dollars of each token, and ``skew_ppm`` more of the second."""
    reserve0 = worth(a, side).raw
    reserve1 = worth(b, side).raw * (1_000_000 + skew_ppm) // 1_000_000
    return PairState(
        address=f"0x{0xB0 + number:040X}",
        amm=amm,
        token0=a,
        token1=b,
        fee_ppm=3_000,
        reserve0=reserve0,
        reserve1=reserve1,
        total_supply=isqrt(reserve0 * reserve1),
        k_last=0,
        protocol_fee_on=False,
    )


USDC_WETH = pool(1, USDC, WETH, 50_000_000)
WBTC_WETH = pool(2, WBTC, WETH, 20_000_000)
WBTC_USDC = pool(3, WBTC, USDC, 200_000)

POLICY = Policy(
    trigger="hybrid",
    band_abs_ppm=30_000,
    band_rel_ppm=None,
    band_rule="tighter",
    calendar_s=3_600,
    dead_band_ppm=5_000,
    reset_ppm=1_000_000,
    drift_aversion_ppm=250_000,
    min_trade_e8=100 * E8,
    max_impact_ppm=10_000,
    max_cost_ppm=20_000,
    max_off_oracle_ppm=20_000,
    slippage_ppm=5_000,
    max_gas_price_wei=100 * GWEI,
    deadline_s=300,
    max_age_blocks=5,
)
TARGETS = (Target("WETH", 500_000), Target("WBTC", 250_000), Target("USDC", 250_000))


def snapshot(
    *balances: Amount,
    pairs: Sequence[PairState] = (USDC_WETH, WBTC_WETH, WBTC_USDC),
    holdings: Sequence[LpHolding] = (),
    gas_gwei: int = 10,
) -> Snapshot:
    return Snapshot(
        block=BlockRef(1, 100, "0x" + "ab" * 32, NOW, (gas_gwei - 1) * GWEI),
        wallet="0x00000000000000000000000000000000000000C1",
        numeraire="USD",
        native=price(Token("0x" + "0" * 40, "ETH", 18), 2_000),
        native_wei=10**18,
        balances=balances,
        holdings=tuple(holdings),
        pairs=tuple(pairs),
        prices=tuple(price(token) for token in DOLLARS),
        priority_fee_wei=GWEI,
    )


def holding(weth: int = 600_000, wbtc: int = 200_000, usdc: int = 200_000, **more: Any) -> Snapshot:
    """A wallet with so many dollars of each; by default 10 points too much WETH."""
    balances = (worth(WETH, weth), worth(WBTC, wbtc), worth(USDC, usdc))
    return snapshot(*balances, **more)


def problem(at: Snapshot, targets: Sequence[Target] = TARGETS, **changes: Any) -> Problem:
    circumstances = changes.pop("circumstances", Circumstances())
    policy = replace(POLICY, **changes)
    return pose(at, value(at, targets), targets, policy, circumstances)


def decided(
    at: Snapshot,
    targets: Sequence[Target] = TARGETS,
    last_ts: int | None = None,
    **changes: Any,
) -> Decision:
    """The decision under POLICY with ``changes``; some of them go to ``decide`` itself."""
    extra = {key: changes.pop(key) for key in ("proposer", "circumstances") if key in changes}
    policy = replace(POLICY, **changes)
    return decide(at, value(at, targets), targets, policy, last_ts, **extra)


def leg(pair: PairState, token_in: Token, amount_in: int, amount_out: int, **more: Any) -> SwapLeg:
    """A leg as the planner would write it under POLICY."""
    made = SwapLeg(
        pair=pair.address,
        amm=pair.amm,
        token_in=token_in,
        token_out=pair.other(token_in),
        fee_ppm=pair.fee_ppm,
        amount_in=amount_in,
        amount_out=amount_out,
        min_amount_out=min_amount_out(amount_out, POLICY.slippage_ppm),
        chained=False,
    )
    return replace(made, **more)
