"""A statement as arrays of floats in shares of NAV, the form that the solver takes."""

from __future__ import annotations

from math import inf, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rebalancer.model import PPM
from rebalancer.planner.optimal.statement import Asset, Pool, Statement

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Graph(NamedTuple):
    """``n`` assets, ``K`` pools, ``L`` stakes, ``m`` factors, ``T`` tax tiers.

    Amounts and reserves are values at the oracle's prices over NAV, so every oracle price is 1 and
    a dual price near 1 is a token that is neither wanted nor unwanted. ``held`` is beyond what is
    ``owed``, so it can be below 0, and ``target`` beyond what is watched. ``stiff`` is ``kappa *
    d``, 0 for an intermediate. ``reach`` bounds ``sqrt(price before / price after)`` of a swap, by
    what is sold. A stake's ``unit`` is the fair value of its whole pool; ``stake_of`` is -1 for a
    pool without. ``toll`` is due on whatever is sold net, ``urgency`` on what is owed and missing.
    """

    held: Floats  # (n,)
    target: Floats  # (n,)
    stiff: Floats  # (n,)
    owed: Floats  # (n,)
    least_sold: Floats  # (n,)
    most: Floats  # (n,), inf where there is no limit
    tax_above: Floats  # (n, T), inf where there is no tier
    tax_rate: Floats  # (n, T)
    token: Ints  # (K, 2)
    reserve: Floats  # (K, 2)
    gamma: Floats  # (K,)
    reach: Floats  # (K, 2)
    stake_of: Ints  # (K,)
    stake_held: Floats  # (L,)
    stake_target: Floats  # (L,)
    stake_stiff: Floats  # (L,)
    stake_unit: Floats  # (L,)
    load: Floats  # (m, n + L)
    kappa: float
    setaside: float
    urgency: float
    toll: float


def lay_out(made: Statement) -> Graph:
    """The arrays of ``made``, in its order; each number is rounded once."""
    index = {asset.key: i for i, asset in enumerate(made.assets)}
    position = index | {s.key: len(index) + j for j, s in enumerate(made.stakes)}
    stake_of = {stake.pool: j for j, stake in enumerate(made.stakes)}
    kappa = made.kappa_ppm / PPM
    tiers = max((len(asset.tax) for asset in made.assets), default=0)
    tax_above = np.full((len(index), tiers), np.inf)
    tax_rate = np.zeros((len(index), tiers))
    for i, asset in enumerate(made.assets):
        for t, tier in enumerate(asset.tax):
            tax_above[i, t] = share(made, asset, tier.above_raw)
            tax_rate[i, t] = tier.rate_ppm / PPM
    token = np.array([[index[p.asset0], index[p.asset1]] for p in made.pools], dtype=np.int64)
    reserve = np.array(
        [
            [
                share(made, made.assets[index[p.asset0]], p.reserve0),
                share(made, made.assets[index[p.asset1]], p.reserve1),
            ]
            for p in made.pools
        ],
        dtype=np.float64,
    )
    load = np.zeros((len(made.factors), len(position)))
    for j, factor in enumerate(made.factors):
        for key, load_ppm in factor.loads:
            load[j, position[key]] += load_ppm / PPM
    row = {pool.key: k for k, pool in enumerate(made.pools)}
    unit = [2 * sqrt(reserve[row[s.pool], 0] * reserve[row[s.pool], 1]) for s in made.stakes]
    return Graph(
        held=_floats([share(made, a, a.held - a.owed) for a in made.assets]),
        target=_floats(
            [
                0.0 if a.target_ppm is None else a.target_ppm / PPM - share(made, a, a.watched)
                for a in made.assets
            ]
        ),
        stiff=_floats(
            [0.0 if a.target_ppm is None else kappa * a.drift_weight_ppm / PPM for a in made.assets]
        ),
        owed=_floats([share(made, a, a.owed) for a in made.assets]),
        least_sold=_floats([share(made, a, a.least_sold) for a in made.assets]),
        most=_floats(
            [inf if a.most is None else share(made, a, a.most - a.owed) for a in made.assets]
        ),
        tax_above=tax_above,
        tax_rate=tax_rate,
        token=token.reshape(-1, 2),
        reserve=reserve.reshape(-1, 2),
        gamma=_floats([1 - p.fee_ppm / PPM for p in made.pools]),
        reach=np.array(
            [
                [_reach(made, p, float(r)) for r in row]
                for p, row in zip(made.pools, reserve, strict=True)
            ],
            dtype=np.float64,
        ).reshape(-1, 2),
        stake_of=np.array([stake_of.get(p.key, -1) for p in made.pools], dtype=np.int64),
        stake_held=_floats(
            [u * s.shares / s.supply for u, s in zip(unit, made.stakes, strict=True)]
        ),
        stake_target=_floats([s.target_ppm / PPM for s in made.stakes]),
        stake_stiff=_floats([kappa * s.drift_weight_ppm / PPM for s in made.stakes]),
        stake_unit=_floats(unit),
        load=load,
        kappa=kappa,
        setaside=made.reserve_ppm / PPM,
        urgency=2.0 + 2.0 * kappa,
        toll=0.0,
    )


def _reach(made: Statement, pool: Pool, reserve: float) -> float:
    """How far one swap may push the pool: its impact limit, and what one leg may sell at most."""
    most = PPM / (PPM - pool.max_impact_ppm) if pool.max_impact_ppm < PPM else inf
    if made.max_leg_e8 is None:
        return most
    return min(most, 1 + (1 - pool.fee_ppm / PPM) * made.max_leg_e8 / made.nav_e8 / reserve)


def share(made: Statement, asset: Asset, raw: int) -> float:
    """Value of ``raw`` units over NAV, rounded once."""
    return raw * asset.price_numerator / (asset.price_denominator * made.nav_e8)


def _floats(values: list[float]) -> Floats:
    return np.array(values, dtype=np.float64)
