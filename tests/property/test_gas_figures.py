"""Whatever the figures of gas and their correction: plans state it, certificates count it.

REBALANCER_GAS_CASES=500 tries more than the suite does.
"""

from __future__ import annotations

import os
from dataclasses import replace
from random import Random

import pytest
import random_markets as world

from rebalancer.errors import PlanError
from rebalancer.model import (
    BlockRef,
    Circumstances,
    GasCorrection,
    Rebalance,
    Snapshot,
    TokenGas,
    to_json,
)
from rebalancer.planner.gas_schedule import PRAGUE, schedule_in
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.verification import verify
from rebalancer.planner.wallet import first_and_due

CHUNKS = 4
CASES = int(os.environ.get("REBALANCER_GAS_CASES", "24")) // CHUNKS
BLOCK_HASH = "0x" + "ab" * 32


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_any_figures__the_plan_states_its_gas_and_is_verified(chunk: int) -> None:
    plans = 0
    for number in range(CASES):
        random = Random(chunk * 1_000_003 + number)  # noqa: S311
        block = BlockRef(1, 100, BLOCK_HASH, 1_700_000_000, random.randint(1, 30) * 10**9)
        made = world.make(random, block).inputs
        inputs = replace(made, circumstances=figured(random, made.circumstances, made.snapshot))
        plans += one(inputs)
    assert plans * 3 > CASES


def figured(random: Random, known: Circumstances, at: Snapshot) -> Circumstances:
    """The same with figures of its own for most tokens, and now and then a correction."""
    tokens = sorted(amount.token.address for amount in at.balances)
    gas = tuple(
        TokenGas(
            address,
            touch=random.randint(7_000, 40_000),
            transfer=random.randint(0, 20_000),
            approval=random.randint(0, 90_000),
        )
        for address in tokens
        if random.random() < 0.6
    )
    correction = GasCorrection(
        execution_ppm=random.randint(800_000, 1_300_000),
        approval_ppm=random.randint(0, 1_300_000),
        rebalances=random.randint(3, 20),
    )
    return replace(
        known,
        gas=replace(PRAGUE, tokens=gas),
        gas_correction=correction if random.random() < 0.5 else None,
    )


def one(inputs: Inputs) -> int:
    """1 for a plan that was made and holds, 0 where there is none."""
    try:
        _, decision = inputs.decide()
    except PlanError as error:  # there is nothing, or less than is to be raised
        if "worth" not in str(error) and "cannot be raised" not in str(error):
            raise
        return 0
    findings = verify(to_json(decision), inputs)
    assert all(finding.ok for finding in findings), findings
    if not isinstance(decision, Rebalance):
        return 0
    plan, circumstances = decision.plan, inputs.circumstances
    if inputs.snapshot.gas_reserve is None and circumstances.withdrawal is None:
        without, due = first_and_due(inputs.snapshot, plan.legs)
        units = schedule_in(circumstances).units(plan.legs, without, due)
        assert plan.costs.gas_units == units
    named = plan.costs.planned_gas
    assert named is not None
    assert named.correction == circumstances.gas_correction
    return 1
