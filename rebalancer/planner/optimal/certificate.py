"""The plan with its proof: integer legs, what they are worth, and what no plan can exceed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, localcontext
from typing import Any

import numpy as np

from rebalancer.errors import PlanError
from rebalancer.model import to_json, to_plain
from rebalancer.planner.optimal import search
from rebalancer.planner.optimal.branch import Answer, Limits, Node, Support, solve
from rebalancer.planner.optimal.exact import worth
from rebalancer.planner.optimal.graph import Graph
from rebalancer.planner.optimal.integers import Leg, Liquidity, Swap, schedule
from rebalancer.planner.optimal.relaxation import Trades, best_trades
from rebalancer.planner.optimal.search import IN, OUT, Gas
from rebalancer.planner.optimal.statement import Statement
from rebalancer.planner.optimal.verify import recompute, seal

#: What the executor takes in one batch.
MAX_LEGS = 32
#: Dual prices in a certificate are integers of this many decimals.
_PRICE_DECIMALS = 15
_DIGITS = 50
#: How many supports are turned into integers; more than a few only where legs run in circles.
_MOST_SUPPORTS = 24
#: How many are in any case, however late it is; and of how many pools of a circle each.
_LEAST_SUPPORTS, _MOST_AROUND = 4, 6
#: How many changes of such a support are tried.
_RING_TRIES = 40


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
        exact = int(np.ceil(self.answer.upper * self.statement.nav_e8))
        return max(exact, self.realised_e8)

    @property
    def gap_e8(self) -> int:
        """How much better a plan could be at most, as the solver sees it."""
        return self.upper_e8 - self.realised_e8


def plan(made: Statement, limits: Limits | None = None, max_legs: int = MAX_LEGS) -> Planned:
    """The best plan of ``made`` in exact integers; never worth less than doing nothing.

    Of the good supports that the search met, takes the one whose legs are worth most once they are
    floored, put in order and replayed.
    """
    answer = solve(made, limits)
    plain = to_plain(made)
    hold = _floor_worth(plain, ())
    best = Planned(made, (), (), (), hold, hold, answer)
    waiting = [(answer.graph, support) for support in answer.supports]
    tried = 0
    while waiting and tried < _MOST_SUPPORTS:
        if tried >= _LEAST_SUPPORTS and limits is not None and limits.late():
            break
        graph, support = waiting.pop(0)
        # What the floats promise bounds what integers can do: go on only if it is enough.
        if support.value * made.nav_e8 <= best.realised_e8 + 1:
            continue
        tried += 1
        support = _short(graph, answer.gas, support, max_legs)
        trades = _trades(graph, answer.gas, support)
        found = schedule(made, graph, trades)
        ring = found.ring
        try:
            realised = _floor_worth(plain, found.legs)
        except ValueError:  # an intermediate was lent to a circle and did not all come back
            ring = tuple(leg.pool for leg in found.legs if isinstance(leg, Swap))
            realised = hold
        if realised > best.realised_e8:
            best = replace(best, legs=found.legs, dropped=found.dropped, realised_e8=realised)
        if ring:
            best = replace(best, circles=tuple(sorted({*best.circles, *ring})))
        for pool in ring[:_MOST_AROUND]:
            waiting += _around(made, graph, answer.gas, support, trades, pool)
        waiting.sort(key=lambda x: -x[1].value)
    return best


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
    }
    claim |= recompute(json.loads(to_json(claim)))
    off = abs(claim["upper_e8"] - planned.upper_e8)
    if whole and off > 10 + planned.statement.nav_e8 // 10**10:
        raise PlanError(
            f"the bound in floats and the exact one differ by {off} / 1e8",
            hint="nothing was sent; this is a defect of the planner, please report it",
        )
    return to_json(claim | {"seal": seal(claim)})


def _short(graph: Graph, gas: Gas, support: Support, max_legs: int) -> Support:
    """The support with no more items than the batch takes: what earns least is left out."""
    edge, stake, prices = support.edge.copy(), support.stake.copy(), support.prices.copy()
    value = support.value
    low, high = np.zeros(stake.shape[0]), np.full(stake.shape[0], np.inf)
    while (edge == IN).sum() + (stake == IN).sum() > max_legs:
        earned, moved = search.earnings(graph, low, high, prices)
        states, earns = (edge, earned) if (edge == IN).any() else (stake, moved)
        least = np.where(states == IN, earns, np.inf).argmin()
        states[np.unravel_index(least, states.shape)] = OUT
        value = search.solve_support(graph, gas, edge, stake, prices)
    return Support(edge, stake, prices, value)


def _trades(graph: Graph, gas: Gas, support: Support) -> Trades:
    charge, _, _, low, high, _ = search.charges(graph, gas, support.edge, support.stake)
    return best_trades(graph, charge, low, high, support.prices)


def _around(
    made: Statement, graph: Graph, gas: Gas, support: Support, trades: Trades, pool: str
) -> list[tuple[Graph, Support]]:
    """What to try where legs that run in a circle could not start at ``pool``.

    Plan anew with no more in that pool than the wallet holds of what it sells, and without it.
    """
    k = [p.key for p in made.pools].index(pool)
    side = int(trades.side[k])
    room = float(graph.gamma[k] * graph.held[graph.token[k, side]] / graph.reserve[k, side])
    found = []
    for most in (1.0 + room * (1.0 - 1e-9), 1.0):
        reach = graph.reach.copy()
        reach[k] = min(reach[k], most)
        limited = graph._replace(reach=reach)
        edge, stake, prices = support.edge.copy(), support.stake.copy(), support.prices.copy()
        value = search.improve(limited, gas, edge, stake, prices, _RING_TRIES)
        found.append((limited, Support(edge, stake, prices, value)))
    return found


def _floor_worth(plain: dict[str, Any], legs: tuple[Leg, ...]) -> int:
    with localcontext() as context:
        context.prec = _DIGITS
        return int(worth(plain, to_plain(legs)).to_integral_value(ROUND_FLOOR))


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
    """``pool>asset sold`` for a direction of a pool, ``stake-`` for a burn, ``stake+`` a mint."""
    if item < 2 * len(made.pools):
        pool = made.pools[item // 2]
        return f"{pool.key}>{(pool.asset0, pool.asset1)[item % 2]}"
    item -= 2 * len(made.pools)
    return made.stakes[item // 2].key + "-+"[item % 2]


__all__ = ["Liquidity", "Planned", "Swap", "certificate", "plan"]
