"""A policy's rules as numbers for one snapshot: kappa, bands and edges of reset.

Where the portfolio file gives a risk aversion and a volatility, what a drift costs follows from
them, and with ``reset: optimal`` the bands do too. Source: docs/planner.md, "The J-band".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rebalancer.model import (
    PPM,
    Circumstances,
    Policy,
    Snapshot,
    Target,
    mul_div_down,
    mul_div_nearest,
)
from rebalancer.planner.bands import band_ppm, group_of, grouped
from rebalancer.planner.gas_schedule import GasSchedule
from rebalancer.planner.jband import best_band, kappa
from rebalancer.planner.market import Market, open_market

#: Bands that scale with volatility stay within these multiples of what the file says.
LEAST_SCALE_PPM, MOST_SCALE_PPM = PPM // 4, 4 * PPM


@dataclass(frozen=True, slots=True)
class Wander:
    """How a position or bucket drifts, what that costs, and the band that costs least; all ppm.

    ``volatility_ppm`` is a year's against the rest, ``drift_ppm`` that of the weight,
    ``fixed_ppm`` and ``rate_ppm`` what a trade costs of NAV and of its size, ``trigger_ppm`` and
    ``reset_ppm`` the band, ``cost_ppm`` what keeping it costs of NAV a year.
    """

    name: str
    volatility_ppm: int
    drift_ppm: int
    fixed_ppm: int
    rate_ppm: int
    trigger_ppm: int
    reset_ppm: int
    cost_ppm: int
    kappa_ppm: int


@dataclass(frozen=True, slots=True)
class Rules:
    """Policy and targets with every number settled, and where kappa comes from.

    ``wanders`` are there with a risk aversion; ``governs`` names the one whose kappa was taken.
    """

    policy: Policy
    targets: tuple[Target, ...]
    edges: Mapping[str, int] | None = None
    wanders: tuple[Wander, ...] = ()
    governs: Wander | None = None


def settle(
    snapshot: Snapshot,
    nav_e8: int,
    targets: Sequence[Target],
    policy: Policy,
    schedule: GasSchedule,
    circumstances: Circumstances,
) -> Rules:
    """The rules at ``snapshot``; where nothing is derived, just those of the file.

    With a risk aversion kappa is the smallest of the positions' own: no drift is priced higher than
    its own band would. ``reset: optimal`` gives every position that has no band of its own its
    J-band; where no band can be derived, for want of a pool, or of a planner that moves LP
    positions, the file's stands.
    """
    settled = tuple(targets)
    wanders: tuple[Wander, ...] = ()
    governs = None
    if policy.risk_aversion_ppm is not None:
        wanders = tuple(_wanders(snapshot, nav_e8, settled, policy, schedule, circumstances))
        governs = min(wanders, key=lambda w: (w.kappa_ppm, w.name), default=None)
        if governs is not None:
            policy = replace(policy, drift_aversion_ppm=governs.kappa_ppm)
    if policy.reset == "optimal" or policy.band_volatility_ppm:
        bands = _bands(settled, policy, circumstances, wanders)
        settled = tuple(
            replace(target, band_abs_ppm=bands[group_of(target)], band_rel_ppm=None)
            for target in settled
        )
        policy = replace(policy, band_rel_ppm=None)
    return Rules(policy, settled, _edges(settled, policy, wanders), wanders, governs)


def volatility_ppm(name: str, policy: Policy, circumstances: Circumstances) -> int | None:
    """What was measured, else what the file says; None where it says nothing."""
    measured = circumstances.volatility_ppm(name)
    return policy.volatility_ppm if measured is None else measured


def _wanders(
    snapshot: Snapshot,
    nav_e8: int,
    targets: Sequence[Target],
    policy: Policy,
    schedule: GasSchedule,
    circumstances: Circumstances,
) -> list[Wander]:
    market, _ = open_market(snapshot, policy)
    gas_price = snapshot.block.base_fee_wei + snapshot.priority_fee_wei
    ways: dict[str, list[_Way]] = {}
    for target in targets:
        ways.setdefault(group_of(target), []).extend(
            _ways(snapshot, market, policy, schedule, target)
        )
    found = []
    for name, together in grouped(targets).items():
        weight_ppm = together.weight_ppm
        volatility = volatility_ppm(name, policy, circumstances)
        way = min(ways[name], default=None)
        if not volatility or way is None or not 0 < weight_ppm < PPM:
            continue
        weight, sigma, rate = weight_ppm / PPM, volatility / PPM, way.rate_ppm / PPM
        fixed = snapshot.native.value_up(way.gas_units * gas_price) / nav_e8
        if fixed + rate <= 0:
            continue
        variance = (weight * (1 - weight) * sigma) ** 2
        aversion = (policy.risk_aversion_ppm or 0) / PPM * sigma**2
        band = best_band(variance, aversion, fixed, rate)
        found.append(
            Wander(
                name=name,
                volatility_ppm=volatility,
                drift_ppm=_ppm(weight * (1 - weight) * sigma),
                fixed_ppm=_ppm(fixed),
                rate_ppm=_ppm(rate),
                trigger_ppm=min(_ppm(band.trigger), PPM),
                reset_ppm=min(_ppm(band.reset), PPM),
                cost_ppm=_ppm(band.cost),
                kappa_ppm=max(_ppm(kappa(band, variance)), 1),
            )
        )
    return found


@dataclass(frozen=True, slots=True, order=True)
class _Way:
    """What trading a position costs in gas and of its size; the way with the least gas first.

    A bucket is traded by its tokens, whose swap needs less gas than any move of liquidity.
    """

    gas_units: int
    rate_ppm: float


def _ways(
    snapshot: Snapshot, market: Market, policy: Policy, schedule: GasSchedule, target: Target
) -> list[_Way]:
    """How the position can be traded: by a swap in each usable pool of its token.

    An LP position, where the planner moves it: by redeeming shares and one swap of half of what
    comes out, in the cheapest pool of its two tokens.
    """
    name, pools = target.position, market.now.values()
    read = {amount.token for amount in snapshot.balances}
    token = next((token for token in read if token.symbol == name), None)
    if token is not None:
        return [_Way(schedule.trade(), p.fee_ppm) for p in pools if p.has(token)]
    pair = next((p for p in pools if p.name == name), None)
    if pair is None or policy.planner != "optimal" or target.kept:
        return []
    sides = {pair.token0, pair.token1}
    if not sides <= read:
        return []
    fee = min(p.fee_ppm for p in pools if sides & {p.token0, p.token1})
    gas = schedule.trade() + schedule.per_remove + schedule.per_approval
    gas += schedule.protocol_fee if pair.protocol_fee_on else 0
    return [_Way(gas, fee / 2)]


def _bands(
    targets: Sequence[Target],
    policy: Policy,
    circumstances: Circumstances,
    wanders: Sequence[Wander],
) -> dict[str, int]:
    """Band of each position or bucket; one that it has of its own stands, but for its scale."""
    optimal = {w.name: w.trigger_ppm for w in wanders} if policy.reset == "optimal" else {}
    bands = {}
    for name, together in grouped(targets).items():
        own = (together.band_abs_ppm, together.band_rel_ppm) != (None, None)
        band = band_ppm(together, policy)
        if name in optimal and not own:
            bands[name] = optimal[name]
        elif policy.band_volatility_ppm:
            volatility = volatility_ppm(name, policy, circumstances) or policy.band_volatility_ppm
            scale = mul_div_nearest(volatility, PPM, policy.band_volatility_ppm)
            scale = min(max(scale, LEAST_SCALE_PPM), MOST_SCALE_PPM)
            bands[name] = min(mul_div_down(band, scale, PPM), PPM)
        else:
            bands[name] = band
    return bands


def _edges(
    targets: Sequence[Target], policy: Policy, wanders: Sequence[Wander]
) -> dict[str, int] | None:
    """The drift that trading leaves at most, by position or bucket; None for a share of the way."""
    if policy.reset == "share":
        return None
    resets = {w.name: w.reset_ppm for w in wanders}
    edges = {}
    for name, together in grouped(targets).items():
        band = band_ppm(together, policy)
        if policy.reset == "edge":
            edges[name] = mul_div_down(band, policy.reset_edge_ppm, PPM)
        else:
            edges[name] = min(band, resets.get(name, 0))
    return edges


def _ppm(share: float) -> int:
    return round(share * PPM)
