"""The plan with its proof: integer legs, what they are worth, and what no plan can exceed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, localcontext
from typing import Any

import numpy as np

from rebalancer.errors import PlanError
from rebalancer.model import to_json, to_plain
from rebalancer.planner.optimal.branch import Answer, Limits, solve
from rebalancer.planner.optimal.candidates import (
    Candidate,
    around,
    calm_kappa_ppm,
    candidates,
    legs_of,
    shortened,
    sold,
    with_chains,
)
from rebalancer.planner.optimal.exact import Refused, worth
from rebalancer.planner.optimal.legs import Leg, Liquidity, Swap
from rebalancer.planner.optimal.statement import Statement
from rebalancer.planner.optimal.tree import Node
from rebalancer.planner.optimal.verify import recompute, seal

#: What the executor takes in one batch.
MAX_LEGS = 32
#: Dual prices in a certificate are integers of this many decimals.
_PRICE_DECIMALS = 15
_DIGITS = 50
#: How many supports are turned into integers; more than a few only where legs run in circles.
_MOST_SUPPORTS = 24
#: How many are in any case, however late it is; and of how many pools of a
#: circle, of each and of all together.
_LEAST_SUPPORTS, _MOST_AROUND, _MOST_RINGS = 4, 6, 40
#: The search that a toll is tried with, and how often the range of tolls is halved.
_QUICK, _TOLL_HALVINGS = Limits(nodes=1), 8


@dataclass(frozen=True, slots=True)
class Planned:
    """The best executable plan found; no legs is to hold. Values in 1e-8 of the numeraire.

    ``realised_e8`` is the objective of the statement after the legs, replayed exactly and rounded
    down, ``hold_e8`` the same without legs. ``dropped`` are pools that a plan could not use in any
    order, ``circles`` those that feed each other in a circle which what the wallet holds could not
    start in full. ``answer`` is what the solver knows; ``certificate`` makes the proof of it.
    """

    statement: Statement
    legs: tuple[Leg, ...]
    dropped: tuple[str, ...]
    circles: tuple[str, ...]
    hold_e8: int
    realised_e8: int
    answer: Answer

    @property
    def gain_e8(self) -> int:
        """How much better than doing nothing, all costs paid; at least 0."""
        return self.realised_e8 - self.hold_e8

    @property
    def upper_e8(self) -> int:
        """What no plan exceeds, in the solver's floats; the certificate has it exactly."""
        return max(int(np.ceil(_bound_e8(self.statement, self.answer))), self.realised_e8)

    @property
    def gap_e8(self) -> int:
        """How much better a plan could be at most, as the solver sees it."""
        return self.upper_e8 - self.realised_e8


def plan(made: Statement, limits: Limits | None = None, max_legs: int = MAX_LEGS) -> Planned:
    """The best plan of ``made`` in exact integers; never worth less than doing nothing.

    Of the good supports that the search met, takes the one whose legs are worth most once they are
    floored, put in order and replayed. A limit on what is sold has its price: the toll at which the
    best plan keeps it, so that the bound counts the limit and needs no plan to be cut.
    """
    answer = solve(made, limits)
    waiting = candidates(made, answer)
    if made.max_sold_e8 is not None and _sells_e8(made, answer) > made.max_sold_e8:
        tolled = [solve(made, limits, toll) for toll in _tolls(made)]
        waiting += [found for other in tolled for found in candidates(made, other)]
        waiting.sort(key=lambda x: -x.value)
        answer = min(tolled, key=lambda other: _bound_e8(made, other))
    best = _best(made, answer, waiting, limits, max_legs)
    calm = calm_kappa_ppm(made, answer.graph)
    if calm is not None and (answer.supports or answer.upper > answer.hold):
        # Where it is worth more to lose a dollar than to hold it, plans that lose none are found
        # by caring less; the bound stays that of the statement.
        calmer = replace(made, kappa_ppm=calm)
        found = solve(calmer, limits, answer.graph.toll)
        other = _best(made, found, candidates(calmer, found), limits, max_legs, promised=False)
        if other.realised_e8 > best.realised_e8:
            best = replace(other, answer=answer)
    return best


def judged(planned: Planned, legs: tuple[Leg, ...]) -> Planned:
    """Other legs as a plan of the same problem, under the same bound; none if holding is better.

    Raises PlanError for legs that the statement refuses: they are those of another problem.
    """
    realised = _floor_worth(to_plain(planned.statement), legs)
    if realised is None:
        raise PlanError("these legs are not a plan of this problem")
    if realised < planned.hold_e8:
        return replace(planned, legs=(), dropped=(), realised_e8=planned.hold_e8)
    return replace(planned, legs=legs, dropped=(), realised_e8=realised)


def _best(
    made: Statement,
    answer: Answer,
    waiting: list[Candidate],
    limits: Limits | None,
    max_legs: int,
    promised: bool = True,
) -> Planned:
    """The best of the candidates and of those around them, by what is ``promised`` of each."""
    plain = to_plain(made)
    hold = _floor_worth(plain, ())
    best = Planned(made, (), (), (), hold or 0, hold or 0, answer)
    most_spared = float(answer.gas.approval.max(initial=0.0)) + answer.gas.chained
    tried = rings = 0
    while waiting and tried < _MOST_SUPPORTS:
        if tried >= _LEAST_SUPPORTS and limits is not None and limits.late():
            break
        candidate = waiting.pop(0)
        # What the floats promise bounds what integers can do: go on only if it is enough.
        spare = 0.0 if candidate.chains else most_spared
        if promised and (candidate.value + spare) * made.nav_e8 <= best.realised_e8 + 1:
            continue
        tried += 1
        candidate = shortened(candidate, max_legs)
        found, trades = legs_of(made, candidate)
        realised = _floor_worth(plain, found.legs) if found.sound else None
        if realised is not None and realised > best.realised_e8:
            best = replace(best, legs=found.legs, dropped=found.dropped, realised_e8=realised)
        ring = found.ring
        if not found.sound and not ring:
            # What was lent to a circle did not all come back, or could not all go on.
            ring = tuple(leg.pool for leg in found.legs if isinstance(leg, Swap))
        if not candidate.chains:
            waiting += with_chains(answer, candidate)
        if ring:
            best = replace(best, circles=tuple(sorted({*best.circles, *ring})))
        for pool in ring[: min(_MOST_AROUND, _MOST_RINGS - rings)]:
            waiting += around(made, candidate, trades, pool)
            rings += 1
        waiting.sort(key=lambda x: -x.value)
    return best


def _sells_e8(made: Statement, answer: Answer) -> int:
    """What the best support sells net."""
    if not answer.supports:
        return 0
    support = answer.supports[0]
    return int(sold(answer.graph, answer.trades(support)) * made.nav_e8) + 1


def _bound_e8(made: Statement, answer: Answer) -> float:
    """What no plan within the limit on what is sold is worth more than."""
    return answer.bound * made.nav_e8 + answer.graph.toll * (made.max_sold_e8 or 0)


def _tolls(made: Statement) -> tuple[float, float]:
    """Two tolls near each other: a quick plan keeps the limit at the higher, at the other not.

    In units of a certificate's prices. Gas makes what is sold jump between the two, so what lies
    between is found by fitting the supports of both.
    """

    def keeps(toll: float) -> bool:
        return _sells_e8(made, solve(made, _QUICK, toll)) <= (made.max_sold_e8 or 0)

    unit: int = 10**_PRICE_DECIMALS
    low, high = 0, unit // 1_000
    while not keeps(high / unit) and high < 100 * unit:
        low, high = high, 4 * high
    for _ in range(_TOLL_HALVINGS):
        middle = (low + high) // 2
        if keeps(middle / unit):
            high = middle
        else:
            low = middle
    return low / unit, high / unit


def certificate(planned: Planned, *, whole: bool = True) -> str:
    """Canonical JSON that ``verify.verify`` accepts: statement, legs, dual prices, four numbers.

    ``whole`` writes the dual prices of the whole tree, which proves the gap that the search has
    closed; without it only those of the root, which are few and prove less. Raises PlanError if the
    exact bound is not the one that the floats have found.
    """
    claim: dict[str, Any] = {
        "statement": to_plain(planned.statement),
        "legs": to_plain(planned.legs),
        "tree": _tree(planned, planned.answer.root, whole),
        "links": [round(2 * float(x)) for x in planned.answer.links],
        "toll": round(planned.answer.graph.toll * 10**_PRICE_DECIMALS),
    }
    claim |= recompute(json.loads(to_json(claim)))
    off = abs(claim["upper_e8"] - planned.upper_e8)
    if whole and off > 10 + planned.statement.nav_e8 // 10**10:
        raise PlanError(
            f"the bound in floats and the exact one differ by {off} / 1e8",
            hint="nothing was sent; this is a defect of the planner, please report it",
        )
    return to_json(claim | {"seal": seal(claim)})


def _floor_worth(plain: dict[str, Any], legs: tuple[Leg, ...]) -> int | None:
    """What the exact replay says, None where it refuses the legs."""
    with localcontext() as context:
        context.prec = _DIGITS
        try:
            return int(worth(plain, to_plain(legs)).to_integral_value(ROUND_FLOOR))
        except Refused:
            return None


def _tree(planned: Planned, node: Node, whole: bool) -> dict[str, Any]:
    """The search tree: its decisions, and at each leaf the dual prices that bound it."""
    if not whole or node.item < 0 or node.used is None or node.unused is None:
        scaled = [round(float(x) * 10**_PRICE_DECIMALS) for x in node.prices]
        assets = len(planned.statement.assets)
        return {"nu": [max(nu, 1) for nu in scaled[:assets]], "u": scaled[assets:]}
    return {
        "item": _name(planned.statement, node.item),
        "used": _tree(planned, node.used, whole),
        "unused": _tree(planned, node.unused, whole),
    }


def _name(made: Statement, item: int) -> str:
    """``pool>asset sold`` for a direction of a pool, ``stake-`` for a burn, ``stake+`` a mint,
    ``asset-`` for less of it in the end, ``>asset`` for paying its approval."""
    if item < 2 * len(made.pools):
        pool = made.pools[item // 2]
        return f"{pool.key}>{(pool.asset0, pool.asset1)[item % 2]}"
    item -= 2 * len(made.pools)
    if item < 2 * len(made.stakes):
        return made.stakes[item // 2].key + "-+"[item % 2]
    item -= 2 * len(made.stakes)
    if item < len(made.assets):
        return made.assets[item].key + "-"
    return ">" + made.assets[item - len(made.assets)].key


__all__ = ["Liquidity", "Planned", "Swap", "certificate", "plan"]
