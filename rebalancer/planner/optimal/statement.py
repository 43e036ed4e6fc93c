"""The planner's problem in exact integers: what the solver solves and the certificate is about.

    maximise   sum_i v_i(y_i)  -  kappa/(2V) * [sum_i d_i (v_i(y_i) - w_i V)^2 + sum_j f_j^2]
               -  tax(sold)  -  reserve * value of every output  -  gas  -  missing
    over       swaps in the pools, LP shares burned and minted;  y >= 0

``v`` is value at the oracle's price in 1e-8 of the numeraire, ``V`` the NAV before, ``w`` the
target, ``f_j = sum_i F_ji (v_i(y_i) - w_i V)`` the drift of factor ``j`` (a bucket, an exposure).
``d = 1`` without factors is the plain drift penalty. An asset without a target is an intermediate:
there is as much of it afterwards as before. What is owed to somebody is no part of ``V`` or ``v``;
of what is missing of it, ``M`` of ``O``, each dollar costs ``(2 + 2 kappa) (1 + M / (2 O))``: more
than any drift is worth, so that as much of it is raised as the limits allow. What is watched drifts
with the rest, but is not counted in the objective, as nothing changes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rebalancer.errors import PlanError
from rebalancer.model import PPM
from rebalancer.model.canonical import ADDED_LATER
from rebalancer.planner.optimal.exact import pending_shares


@dataclass(frozen=True, slots=True)
class TaxTier:
    """Of what is sold net beyond ``above_raw`` units, ``rate_ppm`` of its oracle value is due."""

    above_raw: int
    rate_ppm: int


@dataclass(frozen=True, slots=True)
class Asset:
    """A token; ``price_numerator / price_denominator`` is the value in 1e-8 of one smallest unit.

    ``target_ppm`` of NAV, None for an intermediate. ``touch_e8`` is the gas of moving it at all,
    ``approval_e8`` that of selling it from the wallet. ``drift_weight_ppm`` is ``d``. Tiers of
    ``tax`` start ever higher and are ever dearer, so that the tax is convex.

    In smallest units: ``watched`` counts towards the weight and cannot be sold; ``owed`` must be
    there at the end and counts for nothing; if the wallet has less of it at the end than before,
    then by ``least_sold`` at least; it has ``most`` at the end at most, None for no limit.
    """

    key: str
    held: int
    price_numerator: int
    price_denominator: int
    target_ppm: int | None
    touch_e8: int = 0
    approval_e8: int = 0
    drift_weight_ppm: int = PPM
    tax: tuple[TaxTier, ...] = ()
    watched: int = 0
    owed: int = 0
    least_sold: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """A constant-product pool; ``swap_e8`` is the gas of one swap in it.

    A swap may not push the average price further than ``max_impact_ppm`` below spot, the fee
    apart: input after fee at most ``m / (1 - m)`` of its reserve.
    """

    key: str
    asset0: str
    asset1: str
    reserve0: int
    reserve1: int
    fee_ppm: int
    swap_e8: int = 0
    max_impact_ppm: int = PPM


@dataclass(frozen=True, slots=True)
class Stake:
    """``shares`` of ``supply`` (with the protocol's pending ones) of a pool, as one position.

    Valued at the fair price ``2 * sqrt(v0(reserve0) * v1(reserve1)) * shares / supply``. Gas of
    burning and of minting, each on top of the touched tokens. Where the protocol takes its fee,
    ``k_last`` is the product of the reserves when it last did, else 0, and ``stored`` the supply
    without the pending shares: a swap before a mint makes them more.
    """

    key: str
    pool: str
    shares: int
    supply: int
    target_ppm: int
    burn_e8: int = 0
    mint_e8: int = 0
    drift_weight_ppm: int = PPM
    stored: int = field(default=0, metadata=ADDED_LATER)
    k_last: int = field(default=0, metadata=ADDED_LATER)


@dataclass(frozen=True, slots=True)
class Factor:
    """A combination of positions whose common drift costs: ``(position, load_ppm)`` by key."""

    key: str
    loads: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """The whole problem. Make it with ``statement``, which checks it and brings it into order.

    ``kappa_ppm`` is the drift aversion, ``base_e8`` the gas of a transaction before its first leg,
    ``chained_saving_e8`` what an intermediate saves that one pool pays straight into the next, and
    ``reserve_ppm`` the share of every output's value that is set aside for slippage. No leg sells
    more than ``max_leg_e8``, and the wallet not more than ``max_sold_e8`` net, all assets together;
    None for no limit.
    """

    nav_e8: int
    kappa_ppm: int
    assets: tuple[Asset, ...]
    pools: tuple[Pool, ...]
    stakes: tuple[Stake, ...] = ()
    factors: tuple[Factor, ...] = ()
    base_e8: int = 0
    chained_saving_e8: int = 0
    reserve_ppm: int = 0
    max_leg_e8: int | None = None
    max_sold_e8: int | None = None


def statement(
    *,
    nav_e8: int,
    kappa_ppm: int,
    assets: Iterable[Asset],
    pools: Iterable[Pool],
    stakes: Iterable[Stake] = (),
    factors: Iterable[Factor] = (),
    base_e8: int = 0,
    chained_saving_e8: int = 0,
    reserve_ppm: int = 0,
    max_leg_e8: int | None = None,
    max_sold_e8: int | None = None,
) -> Statement:
    """Check a problem and put it in order of keys, so that no order of the input matters.

    Raises PlanError that names what is wrong and the way out.
    """
    made = Statement(
        nav_e8=nav_e8,
        kappa_ppm=kappa_ppm,
        assets=tuple(sorted(assets, key=lambda a: a.key)),
        pools=tuple(sorted(pools, key=lambda p: p.key)),
        stakes=tuple(sorted(stakes, key=lambda s: s.key)),
        factors=tuple(
            sorted((Factor(f.key, tuple(sorted(f.loads))) for f in factors), key=lambda f: f.key)
        ),
        base_e8=base_e8,
        chained_saving_e8=chained_saving_e8,
        reserve_ppm=reserve_ppm,
        max_leg_e8=max_leg_e8,
        max_sold_e8=max_sold_e8,
    )
    check(made)
    return made


def check(made: Statement) -> None:
    """Raise PlanError for a statement that says no problem: what is wrong and the way out."""
    if made.nav_e8 <= 0:
        raise PlanError("a portfolio that is worth nothing cannot be planned for")
    if made.kappa_ppm <= 0:
        raise PlanError(
            f"a drift aversion of {made.kappa_ppm} ppm gives no reason to trade",
            hint="set drift_aversion above 0",
        )
    if not 0 <= made.reserve_ppm < PPM:
        raise PlanError(f"a slippage reserve of {made.reserve_ppm} ppm is not below {PPM}")
    if min(made.base_e8, made.chained_saving_e8) < 0:
        raise PlanError("gas cannot cost less than nothing")
    if min(made.max_leg_e8 or 0, made.max_sold_e8 or 0) < 0:
        raise PlanError("a limit on what is sold is below nothing")
    for kind, keys in (
        ("asset", [a.key for a in made.assets]),
        ("pool", [p.key for p in made.pools]),
        ("position", [a.key for a in made.assets] + [s.key for s in made.stakes]),
        ("factor", [f.key for f in made.factors]),
        ("pool with a position", [s.pool for s in made.stakes]),
    ):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise PlanError(f"the {kind} {twice[0]} is there twice", hint="name each only once")
    for asset in made.assets:
        _check_asset(asset)
    assets = {a.key for a in made.assets}
    for pool in made.pools:
        _check_pool(pool, assets)
    pools = {p.key: p for p in made.pools}
    for stake in made.stakes:
        _check_stake(stake, pools)
    positions = {a.key for a in made.assets if a.target_ppm is not None}
    positions |= {s.key for s in made.stakes}
    for factor in made.factors:
        for key, _ in factor.loads:
            if key not in positions:
                raise PlanError(f"the factor {factor.key} loads on {key}, which is no position")


def _check_asset(asset: Asset) -> None:
    if asset.price_numerator <= 0 or asset.price_denominator <= 0:
        raise PlanError(f"the price of {asset.key} is not positive", hint="check its feed")
    if asset.held < 0:
        raise PlanError(f"the balance of {asset.key} is negative")
    if min(asset.watched, asset.owed, asset.least_sold, asset.most or 0) < 0:
        raise PlanError(f"a limit or a balance of {asset.key} is negative")
    if asset.most is not None and asset.most < max(asset.held, asset.owed):
        raise PlanError(f"{asset.key} would have to be sold: its limit is below what is held")
    if asset.target_ppm is not None and not 0 <= asset.target_ppm <= PPM:
        raise PlanError(f"the target of {asset.key} is {asset.target_ppm} ppm of NAV")
    if asset.drift_weight_ppm <= 0:
        raise PlanError(
            f"drift of {asset.key} alone costs nothing, so there is no best plan",
            hint="give every position a small drift weight of its own beside the factors",
        )
    if min(asset.touch_e8, asset.approval_e8) < 0:
        raise PlanError("gas cannot cost less than nothing")
    above, rate = -1, 0
    for tier in asset.tax:
        if tier.above_raw <= above or not rate <= tier.rate_ppm < PPM:
            raise PlanError(
                f"the tax on selling {asset.key} does not rise with the amount sold",
                hint="order the lots by their tax, the cheapest first; a rate is below 100 %",
            )
        above, rate = tier.above_raw, tier.rate_ppm
    if asset.tax and asset.target_ppm is None:
        raise PlanError(f"{asset.key} has a tax but no target, so none of it is ever sold")


def _check_pool(pool: Pool, assets: set[str]) -> None:
    for key in (pool.asset0, pool.asset1):
        if key not in assets:
            raise PlanError(f"the pool {pool.key} trades {key}, which is no asset here")
    if pool.asset0 == pool.asset1:
        raise PlanError(f"the pool {pool.key} trades {pool.asset0} for itself")
    if pool.reserve0 <= 0 or pool.reserve1 <= 0:
        raise PlanError(f"the pool {pool.key} is empty", hint="leave empty pools out")
    if not 0 <= pool.fee_ppm < PPM:
        raise PlanError(f"the fee of {pool.key} is {pool.fee_ppm} ppm, it must be below {PPM}")
    if pool.swap_e8 < 0:
        raise PlanError("gas cannot cost less than nothing")
    if not 0 < pool.max_impact_ppm <= PPM:
        raise PlanError(
            f"the impact limit of {pool.key} is {pool.max_impact_ppm} ppm",
            hint="leave a pool out that may not be used; 1000000 is no limit",
        )


def _check_stake(stake: Stake, pools: dict[str, Pool]) -> None:
    if stake.pool not in pools:
        raise PlanError(f"{stake.key} is a share of {stake.pool}, which is no pool here")
    if not 0 <= stake.shares <= stake.supply or stake.supply <= 0:
        raise PlanError(f"{stake.key} has {stake.shares} of {stake.supply} shares")
    pool = pools[stake.pool]
    product = pool.reserve0 * pool.reserve1
    pending = pending_shares(stake.stored, product, stake.k_last)
    if stake.k_last and stake.stored + pending != stake.supply:
        raise PlanError(f"{stake.key} has a supply without all that is due to the protocol")
    if not 0 <= stake.target_ppm <= PPM:
        raise PlanError(f"the target of {stake.key} is {stake.target_ppm} ppm of NAV")
    if stake.drift_weight_ppm <= 0:
        raise PlanError(f"drift of {stake.key} alone costs nothing, so there is no best plan")
    if min(stake.burn_e8, stake.mint_e8) < 0:
        raise PlanError("gas cannot cost less than nothing")
