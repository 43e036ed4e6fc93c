"""When to trade, how much, and by which route: one pure function from a snapshot to a decision.

``decide`` asks the triggers, lets a ``Proposer`` find trades, prices them exactly, asks whether
they are worth it and passes them by the guards. No I/O and no clock: the chain's state, the time
(the snapshot's block), the rules and the circumstances are arguments. Amounts and costs are exact
integers; floats estimate bands and volatilities, and search in ``optimal``. Two proposers stand
behind ``Proposer``. docs/planner.md says the same in words and formulas.
"""

from rebalancer.planner.decision import decide
from rebalancer.planner.gas_schedule import PRAGUE, GasSchedule
from rebalancer.planner.greedy import GreedyProposer
from rebalancer.planner.problem import Problem, Proposal, Proposer
from rebalancer.planner.replay import replay

__all__ = [
    "PRAGUE",
    "GasSchedule",
    "GreedyProposer",
    "Problem",
    "Proposal",
    "Proposer",
    "decide",
    "replay",
]
