"""No plan is worth more than a certificate says: chains through positions, built up greedily."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from optimal_world import market, with_everything

from rebalancer.model import E8, to_plain
from rebalancer.planner.optimal.branch import Limits
from rebalancer.planner.optimal.certificate import certificate, plan
from rebalancer.planner.optimal.exact import Refused, worth
from rebalancer.planner.optimal.statement import Statement
from rebalancer.planner.optimal.verify import verify


def instance(seed: int) -> Statement:
    """Approvals of six sevenths of a swap, a chained leg a fifth cheaper."""
    gas = [0.3, 1.0, 3.0, 8.0][seed % 4]
    more = {"gas": gas, "kappa": [0.3, 1.0, 3.0][seed % 3], "middle": seed % 5 // 4}
    if seed % 7 == 0:
        return with_everything(seed, 5, 8, gas=gas, kappa=0.7)
    return market(seed, 5, 9, chained_saving_e8=int(gas * E8 / 5), **more)


def ways(made: Statement, used: set[str]) -> Iterator[tuple[tuple[Any, str, str], ...]]:
    """One to three pools in a row, each once."""
    steps = [
        (pool, *pair)
        for pool in made.pools
        if pool.key not in used
        for pair in ((pool.asset0, pool.asset1), (pool.asset1, pool.asset0))
    ]
    for first in steps:
        yield (first,)
        for second in steps:
            if second[0] is not first[0] and second[1] == first[2]:
                yield first, second
                for third in steps:
                    if third[0] not in (first[0], second[0]) and third[1] == second[2]:
                        yield first, second, third


def along(way: tuple[tuple[Any, str, str], ...], amount: int, feeds: bool) -> list[dict[str, Any]]:
    """The legs of ``amount`` along a way; ``feeds`` if each pool pays the next one."""
    legs: list[dict[str, Any]] = []
    for pool, sold, bought in way:
        there = (pool.reserve0, pool.reserve1)
        r_in, r_out = there if sold == pool.asset0 else there[::-1]
        after_fee = amount * (10**6 - pool.fee_ppm)
        out = after_fee * r_out // (r_in * 10**6 + after_fee)
        leg = {"kind": "swap", "pool": pool.key, "sold": sold, "bought": bought}
        chained = feeds and bool(legs)
        legs.append(leg | {"amount_in": amount, "amount_out": out, "chained": chained})
        amount = out
    return legs


def bounded(seed: int) -> int:
    """Check all plans tried; how many there were in which a position was fed."""
    made = instance(seed)
    planned = plan(made, Limits(nodes=60))
    upper = verify(certificate(planned))["upper_e8"]
    plain, assets = to_plain(made), {a.key: a for a in made.assets}
    legs: list[dict[str, Any]] = []
    best, fed = worth(plain, []), 0
    for _ in range(3):
        found: list[tuple[Decimal, list[dict[str, Any]]]] = []
        for way in ways(made, {leg["pool"] for leg in legs}):
            for part in (3, 12, 50):
                amount = assets[way[0][1]].held // part
                for feeds in (True, False) if len(way) > 1 else (True,):
                    tried = legs + along(way, amount, feeds)
                    try:
                        value = worth(plain, tried)
                    except Refused:
                        continue
                    assert value <= upper
                    found.append((value, tried))
                    fed += any(
                        x["chained"] and assets[x["sold"]].target_ppm is not None for x in tried
                    )
        top = max(found, key=lambda x: x[0], default=None)
        if top is None or top[0] <= best:
            break
        best, legs = top
    return fed


@pytest.mark.parametrize("seed", range(24))
def test_no_plan_is_worth_more_than_the_bound(seed: int) -> None:
    assert bounded(seed) > 100
