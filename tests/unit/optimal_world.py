"""Random markets for the optimal planner's tests, and cvxpy + Clarabel as their oracle."""

from __future__ import annotations

import warnings
from typing import Any

import cvxpy as cp
import numpy as np

from rebalancer.model import E8, PPM
from rebalancer.planner.optimal.graph import Graph
from rebalancer.planner.optimal.statement import (
    Asset,
    Factor,
    Pool,
    Stake,
    Statement,
    TaxTier,
    statement,
)

FEES = (500, 1_000, 2_500, 3_000, 10_000)


def market(
    seed: int,
    tokens: int,
    pools: int,
    *,
    nav: float = 100_000,
    depth: tuple[float, float] = (0.3, 300),
    off: float = 0.002,
    drift: float = 0.1,
    kappa: float | None = None,
    middle: int = 0,
    gas: float = 0.0,
    **more: Any,
) -> Statement:
    """A connected graph of ``pools`` over ``tokens``, the last ``middle`` of them intermediates.

    ``depth`` is a pool's side over NAV, ``off`` the spread of spot prices around the oracle's and
    ``gas`` the dollars per swap; a touched token costs a seventh of it, an approval six sevenths,
    the transaction three sevenths.
    """
    rng = np.random.default_rng(seed)
    decimals = rng.choice([6, 8, 18], tokens)
    dollars = 10 ** rng.uniform(-2, 4.5, tokens)
    kept = tokens - middle
    weights = rng.dirichlet(np.ones(kept))
    held = np.maximum(weights + rng.normal(0, drift / np.sqrt(kept), kept), 0)
    held /= held.sum()

    def raw(i: int, worth: float) -> int:
        return max(int(worth / dollars[i] * 10.0 ** decimals[i]), 1)

    assets = [
        Asset(
            key=f"t{i:03}",
            held=raw(i, held[i] * nav) if i < kept and held[i] > 0 else 0,
            price_numerator=int(dollars[i] * E8),
            price_denominator=10 ** int(decimals[i]),
            target_ppm=int(weights[i] * PPM) if i < kept else None,
            touch_e8=int(gas * E8 / 7),
            approval_e8=int(gas * E8 * 6 / 7),
        )
        for i in range(tokens)
    ]
    made = []
    for k in range(pools):
        if k < tokens - 1:
            a, b = k + 1, int(rng.integers(0, k + 1))
        else:
            a, b = (int(i) for i in rng.choice(tokens, 2, replace=False))
        side = nav * 10 ** rng.uniform(*np.log10(depth))
        made.append(
            Pool(
                key=f"p{k:03}",
                asset0=f"t{a:03}",
                asset1=f"t{b:03}",
                reserve0=raw(a, side * float(np.exp(rng.normal(0, off)))),
                reserve1=raw(b, side),
                fee_ppm=int(rng.choice(FEES)),
                swap_e8=int(gas * E8),
            )
        )
    kappa = float(10 ** rng.uniform(-1, 0.7)) if kappa is None else kappa
    return statement(
        nav_e8=int(nav * E8),
        kappa_ppm=int(kappa * PPM),
        assets=assets,
        pools=made,
        base_e8=int(gas * E8 * 3 / 7),
        **more,
    )


def with_everything(seed: int, tokens: int, pools: int, **more: Any) -> Statement:
    """A market with two LP positions, a tax, two buckets, a slippage reserve, impact limits."""
    from dataclasses import replace

    rng = np.random.default_rng(seed + 10_000)
    made = market(seed, tokens, pools, **more)
    gas = max((pool.swap_e8 for pool in made.pools), default=0)
    chosen = [int(k) for k in rng.choice(pools, 2, replace=False)]
    positions = [a.key for a in made.assets if a.target_ppm is not None]
    stakes = []
    for k in chosen:
        supply = 10**20
        worth = min(made.nav_e8 * float(rng.uniform(0, 0.3)), 1e30)
        price = next(a for a in made.assets if a.key == made.pools[k].asset1)
        whole = 2 * made.pools[k].reserve1 * price.price_numerator / price.price_denominator
        stakes.append(
            Stake(
                key=f"lp{k:03}",
                pool=made.pools[k].key,
                shares=int(min(worth / whole, 0.9) * supply),
                supply=supply,
                target_ppm=int(rng.uniform(0, 0.3) * PPM),
                burn_e8=gas * 2,
                mint_e8=gas * 3,
            )
        )
    assets = list(made.assets)
    for i in rng.choice(len(positions), min(2, len(positions)), replace=False):
        low, high = sorted(int(r) for r in rng.integers(0, 30_000, 2))
        tiers = (TaxTier(0, low), TaxTier(assets[i].held // 10 + 1, high))
        assets[i] = replace(assets[i], tax=tiers)
    keys = [*positions, *(s.key for s in stakes)]
    factors = [
        Factor(f"f{j}", tuple((key, int(rng.integers(300_000, PPM))) for key in some))
        for j, some in enumerate((keys[::2], keys[1::2]))
    ]
    limited = tuple(
        replace(p, max_impact_ppm=int(rng.choice([3_000, 20_000, PPM]))) for p in made.pools
    )
    return statement(
        nav_e8=made.nav_e8,
        kappa_ppm=made.kappa_ppm,
        assets=assets,
        pools=limited,
        stakes=stakes,
        factors=factors,
        base_e8=made.base_e8,
        reserve_ppm=int(rng.integers(0, 1_000)),
    )


def oracle(graph: Graph) -> tuple[float, bool]:
    """The relaxation's optimum by cvxpy + Clarabel, and whether it calls itself exact.

    Each pool's cone is scaled by ``sqrt(R0 R1)``: ``x0 x1 >= kept^2`` with ``x`` the reserves after
    over those before.
    """
    n, pools = graph.held.size, graph.gamma.size
    stakes, factors = graph.stake_held.size, graph.load.shape[0]
    first = np.zeros((n, pools))
    second = np.zeros((n, pools))
    first[graph.token[:, 0], np.arange(pools)] = 1
    second[graph.token[:, 1], np.arange(pools)] = 1
    r0, r1 = graph.reserve[:, 0], graph.reserve[:, 1]
    in0, in1 = cp.Variable(pools, nonneg=True), cp.Variable(pools, nonneg=True)
    out0, out1 = cp.Variable(pools, nonneg=True), cp.Variable(pools, nonneg=True)
    y = cp.Variable(n)
    kept: Any = np.ones(pools)
    flow = first @ (out0 - in0) + second @ (out1 - in1)
    held: Any = None
    cons: list[Any] = []
    if stakes:
        burn = cp.Variable(stakes)
        where = np.zeros((pools, stakes))
        for k in range(pools):
            if graph.stake_of[k] >= 0:
                where[k, graph.stake_of[k]] = 1
        kept = 1 - where @ burn
        flow += first @ cp.multiply(r0, where @ burn) + second @ cp.multiply(r1, where @ burn)
        held = graph.stake_held - cp.multiply(burn, graph.stake_unit)
        cons.append(held >= 0)
    x0 = kept + cp.multiply(1 / r0, cp.multiply(graph.gamma, in0) - out0)
    x1 = kept + cp.multiply(1 / r1, cp.multiply(graph.gamma, in1) - out1)
    cons += [cp.SOC(x0 + x1, cp.vstack([2 * kept, x0 - x1]), axis=0), y == graph.held + flow]
    for k in np.flatnonzero(np.isfinite(graph.reach).any(axis=1)):
        for side, (amount, reserve) in enumerate(((in0, r0), (in1, r1))):
            room = reserve[k] * (graph.reach[k, side] - 1) / graph.gamma[k]
            cons.append(amount[k] <= (kept[k] if stakes else 1.0) * room)
    is_position = graph.stiff > 0
    cons.append(y[is_position] >= 0)
    if not is_position.all():
        cons.append(y[~is_position] >= graph.held[~is_position])
    off = y - graph.target
    value = cp.sum(y[is_position]) - cp.sum(
        cp.multiply(graph.stiff[is_position] / 2, cp.square(off[is_position]))
    )
    for i, tier in np.argwhere(graph.tax_rate > 0):
        before = graph.tax_rate[i, tier - 1] if tier else 0.0
        beyond = cp.pos(graph.held[i] - y[i] - graph.tax_above[i, tier])
        value -= (graph.tax_rate[i, tier] - before) * beyond
    if stakes:
        off_stakes = held - graph.stake_target
        value += cp.sum(held) - cp.sum(cp.multiply(graph.stake_stiff / 2, cp.square(off_stakes)))
    for j in range(factors):
        drift = graph.load[j, :n] @ off
        if stakes:
            drift += graph.load[j, n:] @ off_stakes
        value -= graph.kappa / 2 * cp.square(drift)
    if graph.setaside:
        value -= graph.setaside * cp.sum(out0 + out1)
    task = cp.Problem(cp.Maximize(value), cons)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says in words what the status says
        task.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(task.value), task.status == cp.OPTIMAL
