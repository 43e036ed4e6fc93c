"""The optimal planner: its relaxation beside cvxpy + Clarabel, plans with gas, and a greedy router.

On the random markets that the tests check it on: $100,000, pools of 0.3 to 300 times that, spot
prices 0.2 % around the oracle's, ten points of drift, kappa 1/2, gas of $0.15 to $2 per swap.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable, Iterator
from decimal import localcontext
from pathlib import Path
from statistics import median
from typing import Any

from scripts.bench.figure import Figure

SIZES = ((8, 20), (20, 100), (50, 500))
PEER = "cvxpy + Clarabel, with build"


def instances(tokens: int, pools: int, count: int, **more: Any) -> list[Any]:
    """Statements of the tests' random markets, the dearest gas fourteen times the cheapest."""
    world = Path(__file__).resolve().parents[2] / "tests" / "unit"
    if str(world) not in sys.path:
        sys.path.append(str(world))
    from optimal_world import market

    gas = more.pop("gas", None)
    return [
        market(
            seed,
            tokens,
            pools,
            kappa=0.5,
            gas=0.15 * (2 / 0.15) ** (seed / max(count - 1, 1)) if gas is None else gas,
            **more,
        )
        for seed in range(count)
    ]


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """The least of several, which is what the work takes when nothing else runs."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def relaxation() -> Iterator[Figure]:
    from optimal_world import oracle

    from rebalancer.planner.optimal.graph import lay_out
    from rebalancer.planner.optimal.relaxation import relax

    targets = {8: 50.0, 20: 200.0, 50: 10_000.0}
    for tokens, pools in SIZES:
        graphs = [lay_out(made) for made in instances(tokens, pools, 30)]
        relax(graphs[0])
        ours = median(seconds(lambda g=graph: relax(g), 300) for graph in graphs) * 1e6  # type: ignore[misc]
        name = f"planner.relaxation_{tokens}_{pools}"
        yield Figure(name, round(ours, 1), "us", targets[tokens])
        if tokens == 8:
            oracle(graphs[0])
            peer = median(seconds(lambda g=graph: oracle(g), 3) for graph in graphs) * 1e6  # type: ignore[misc]
            yield Figure(name + "_vs_peer", round(ours, 1), "us", 0.01, PEER, round(peer, 1))
            gaps = [(found := relax(graph)).upper - found.lower for graph in graphs]
            yield Figure("planner.relaxation_gap", max(gaps), "of NAV", 1e-11)


def no_trade() -> Iterator[Figure]:
    from rebalancer.planner.optimal.graph import lay_out
    from rebalancer.planner.optimal.relaxation import free, nothing, worth
    from rebalancer.planner.optimal.rest import at_rest

    calm = [lay_out(m) for m in instances(50, 500, 20, drift=0.001, off=0.00005)]
    at_rest(calm[0], free(calm[0]))
    taken = median(seconds(lambda g=g: at_rest(g, free(g)), 10) for g in calm)  # type: ignore[misc]
    yield Figure("planner.no_trade_50_500", round(taken * 1e3, 4), "ms", 1.0)
    held = sum(at_rest(g, free(g)).upper <= worth(g, nothing(g)).value + 1e-15 for g in calm)
    yield Figure("planner.no_trade_50_500_unproven", 1 - held / len(calm), "share", 0.0)


def with_gas() -> Iterator[Figure]:
    from rebalancer.planner.optimal.certificate import certificate
    from rebalancer.planner.optimal.effort import quick, sold_e8, thorough
    from rebalancer.planner.optimal.verify import verify

    for tokens, pools, count, unit, scale, target in (
        (8, 20, 40, "ms", 1e3, 20.0),
        (20, 100, 12, "s", 1.0, 1.0),
    ):
        taken, gaps, checked = [], [], []
        made = instances(tokens, pools, count)
        quick(made[0])
        for statement in made:
            start = time.perf_counter()
            planned = thorough(statement)
            taken.append(time.perf_counter() - start)
            text = certificate(planned)
            start = time.perf_counter()
            gap = verify(text)["gap_e8"]
            checked.append(time.perf_counter() - start)
            gaps.append(gap * 10_000 / max(sold_e8(planned), 1))
        name = f"planner.plan_{tokens}_{pools}"
        yield Figure(name, round(median(taken) * scale, 3), unit, target)
        longest = target if tokens == 20 else None
        yield Figure(name + "_longest", round(max(taken) * scale, 3), unit, longest)
        yield Figure(name + "_gap", round(median(gaps), 4), "bp of traded", 1.0)
        yield Figure(name + "_gap_widest", round(max(gaps), 4), "bp of traded", 1.0)
        yield Figure(name + "_gap_above_1", sum(gap > 1 for gap in gaps), f"of {count}", 0)
        yield Figure(name + "_verify", round(median(checked) * 1e3, 1), "ms", None)


def against_one_path() -> Iterator[Figure]:
    from rebalancer.planner.optimal.certificate import plan

    for tokens, pools, count in ((8, 20, 20), (20, 100, 5)):
        lost = []
        for statement in instances(tokens, pools, count):
            planned = plan(statement)
            lost.append((planned.gain_e8 - _one_path_gain_e8(statement)) / 1e8)
        name = f"planner.single_path_loss_{tokens}_{pools}"
        yield Figure(name, round(median(lost), 2), "USD", None)
        yield Figure(name + "_most", round(max(lost), 2), "USD", None)


def _one_path_gain_e8(made: Any) -> int:
    """What the best greedy router gains that sends each trade along one path of up to three pools.

    Sells the most overweight for the most underweight, of five sizes and all paths the one that is
    worth most with its gas, until nothing gains; each pool once, as in ours.
    """
    from rebalancer.model import to_plain
    from rebalancer.planner.optimal.exact import worth

    plain = to_plain(made)
    legs: list[dict[str, Any]] = []
    with localcontext() as context:
        context.prec = 40
        hold = best = worth(plain, [])
        while True:
            found = []
            for path in _paths(made, plain, legs):
                for part in (1.0, 0.8, 0.6, 0.4, 0.2):
                    tried = _along(plain, legs, path, part)
                    if tried is not None:
                        found.append((worth(plain, tried), tried))
            top = max(found, key=lambda x: x[0], default=None)
            if top is None or top[0] <= best:
                return int(best - hold)
            best, legs = top


def _paths(made: Any, plain: Any, legs: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Ways from the most over- to the most underweight asset over pools that are not used yet."""
    off = _off(plain, legs)
    start, end = max(off, key=off.__getitem__), min(off, key=off.__getitem__)
    used = {leg["pool"] for leg in legs}
    pools = [p for p in made.pools if p.key not in used]
    near: dict[str, list[Any]] = {}
    for pool in pools:
        near.setdefault(pool.asset0, []).append((pool, pool.asset1))
        near.setdefault(pool.asset1, []).append((pool, pool.asset0))
    waiting: list[tuple[str, tuple[Any, ...]]] = [(start, ())]
    for _ in range(3):
        further = []
        for at, path in waiting:
            for pool, to in near.get(at, []):
                if to == end:
                    yield (*path, (pool, at, to))
                elif to != start and all(to != step[1] for step in path):
                    further.append((to, (*path, (pool, at, to))))
        waiting = further


def _off(plain: Any, legs: list[dict[str, Any]]) -> dict[str, float]:
    """Value beyond the target of each asset, in 1e-8."""
    held = {a["key"]: a["held"] for a in plain["assets"]}
    for leg in legs:
        held[leg["sold"]] -= leg["amount_in"]
        held[leg["bought"]] += leg["amount_out"]
    return {
        a["key"]: held[a["key"]] * a["price_numerator"] / a["price_denominator"]
        - plain["nav_e8"] * a["target_ppm"] / 1e6
        for a in plain["assets"]
    }


def _along(
    plain: Any, legs: list[dict[str, Any]], path: tuple[Any, ...], part: float
) -> list[dict[str, Any]] | None:
    """``legs`` and ``part`` of what is over along ``path``, each hop fed by the one before."""
    off = _off(plain, legs)
    assets = {a["key"]: a for a in plain["assets"]}
    first = assets[path[0][1]]
    size = min(off[path[0][1]], -off[path[-1][2]]) * part
    amount = int(size * first["price_denominator"] / first["price_numerator"])
    made = list(legs)
    for hop, (pool, sold, bought) in enumerate(path):
        there = (pool.reserve0, pool.reserve1)
        r_in, r_out = there if sold == pool.asset0 else there[::-1]
        after_fee = amount * (10**6 - pool.fee_ppm)
        out = after_fee * r_out // (r_in * 10**6 + after_fee)
        if amount <= 0 or out <= 0:
            return None
        leg = {"kind": "swap", "pool": pool.key, "sold": sold, "bought": bought}
        made.append(leg | {"amount_in": amount, "amount_out": out, "chained": hop > 0})
        amount = out
    return made


def figures() -> Iterator[Figure]:
    instances(3, 3, 1)
    yield from relaxation()
    yield from no_trade()
    yield from with_gas()
    yield from against_one_path()
