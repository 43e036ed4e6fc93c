"""Asking a proposer, again where the gas of what it found was not left for it."""

from __future__ import annotations

from collections.abc import Callable

from rebalancer.planner.problem import Problem, Proposal, Proposer

#: How often a problem is posed anew because its plan needs more gas than was left for it.
_MAX_POSES = 3


def proposed(
    problem: Problem, proposer: Proposer, again: Callable[[int], Problem]
) -> tuple[Problem, Proposal]:
    """What ``proposer`` finds, and the problem that it is found for.

    With a gas reserve the plan's own gas must not be wrapped away, and how much that is one knows
    only with the plan: where too little was left beside the reserve, the problem is posed ``again``
    with so much wei left.
    """
    proposal = proposer.propose(problem)
    for _ in range(_MAX_POSES):
        gas_wei = problem.worst_gas_wei(proposal.legs)
        if problem.purse is None or not problem.purse.short_of_gas(
            problem.whole(proposal.legs), gas_wei
        ):
            break
        problem = again(gas_wei)
        proposal = proposer.propose(problem)
    return problem, proposal
