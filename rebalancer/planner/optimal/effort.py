"""How long a plan is searched for: by the size of the problem, never by a clock.

So the same problem has the same answer wherever and whenever it is solved, and a decision can be
made again byte by byte.
"""

from __future__ import annotations

from dataclasses import replace

from rebalancer.planner.optimal.branch import Limits
from rebalancer.planner.optimal.candidates import sold
from rebalancer.planner.optimal.certificate import Planned, judged, plan
from rebalancer.planner.optimal.legs import Swap
from rebalancer.planner.optimal.statement import Statement

#: What a search may take: nodes times what a node takes, which is about proportional to assets and
#: pools, and to the cube of the assets, by which a Newton step goes, over so many.
_WORK, _CUBES = 130_000, 1_000
#: A search has that many nodes in any case, and no more than so many.
_LEAST_NODES, _MOST_NODES = 20, 1_500
#: The gap that is good enough: half a basis point of what is traded, and never less than a tenth of
#: a cent.
_GAPS_OF_TRADED, _LEAST_GAP_E8 = 20_000, 100_000
#: A problem of that many assets and pools is small: it is solved to the least gap.
_SMALL = 24
_AT_ONCE = Limits(nodes=1)


def thorough(made: Statement) -> Planned:
    """The best plan of ``made`` and its bound, to half a basis point of what it trades.

    A first plan says how much that is; where it is as near already, it is the answer. Where the
    best trades so much less that its gap is too wide for that, or its legs cannot be executed, it
    is sought once more.
    """
    first = quick(replace(made, max_sold_e8=None))
    good_e8 = _good_gap_e8(made, sold_e8(first) or _promised_e8(first))
    if made.max_sold_e8 is None and first.gap_e8 <= good_e8:
        return first
    limits = Limits(gap_e8=good_e8, nodes=most_nodes(made))
    found = _better(plan(made, limits), first)
    good_e8 = _good_gap_e8(made, sold_e8(found) or _promised_e8(found))
    if found.gap_e8 > good_e8 * 3 // 2 and found.answer.nodes < limits.nodes:
        closer = replace(limits, gap_e8=max(good_e8 // 4, _LEAST_GAP_E8))
        found = _better(plan(made, closer), found)
    return found


def _better(planned: Planned, other: Planned) -> Planned:
    """A plan, or under its bound the legs of another plan of the problem if they are worth more."""
    if planned.statement != other.statement or other.realised_e8 <= planned.realised_e8:
        return planned
    return judged(planned, other.legs)


def quick(made: Statement) -> Planned:
    """A good plan of ``made`` without any search: to learn from, or of a problem of few pools."""
    return plan(made, _AT_ONCE)


def most_nodes(made: Statement) -> int:
    """How many nodes a search of ``made`` may have."""
    node = _size(made) + len(made.assets) ** 3 // _CUBES
    return min(max(_WORK // node, _LEAST_NODES), _MOST_NODES)


def sold_e8(planned: Planned) -> int:
    """Oracle value of what the plan's swaps take from the wallet, 1e-8 of the numeraire."""
    assets = {asset.key: asset for asset in planned.statement.assets}
    return sum(
        leg.amount_in * assets[leg.sold].price_numerator // assets[leg.sold].price_denominator
        for leg in planned.legs
        if isinstance(leg, Swap) and not leg.chained
    )


def _promised_e8(planned: Planned) -> int:
    """What the best support takes, where its legs run in a circle that cannot start."""
    answer = planned.answer
    if not answer.supports:
        return 0
    return int(sold(answer.graph, answer.trades(answer.supports[0])) * planned.statement.nav_e8)


def _good_gap_e8(made: Statement, traded_e8: int) -> int:
    if _size(made) <= _SMALL:
        return _LEAST_GAP_E8
    if made.max_sold_e8 is not None:
        traded_e8 = min(traded_e8, made.max_sold_e8)
    return max(traded_e8 // _GAPS_OF_TRADED, _LEAST_GAP_E8)


def _size(made: Statement) -> int:
    return len(made.assets) + len(made.pools)
