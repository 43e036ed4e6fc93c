"""What a batch costs, exactly: a change of one gas shows up as a change of gas_snapshot.json.

Written anew by ``EXECUTOR_GAS_UPDATE=1 .venv/bin/pytest -p ape.pytest.plugin tests/contracts``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import ape
import pytest
from executor_world import UNIT, Leg, World, build_world

SNAPSHOT = Path(__file__).with_name("gas_snapshot.json")
#: Accounts that no other test uses, so that addresses, and their zero bytes, never change.
FIRST_ACCOUNT = 5
BLOCK_INTERVAL_S = 12


@pytest.fixture
def gas_world() -> World:
    """A world of its own: real block times, every pool traded once, every balance non-zero."""
    world = build_world(FIRST_ACCOUNT)
    # Blocks in the same second skip the pair's price accumulators, which no mainnet block does.
    world.rpc.call("anvil_setBlockTimestampInterval", BLOCK_INTERVAL_S)
    for pool in world.pools.values():
        world.execute(pool.leg(pool.a, UNIT))
        world.execute(pool.leg(pool.b, UNIT))
    return world


def test_execute__gas_used__equals_the_snapshot(gas_world: World) -> None:
    measured = {
        f"{count}_swaps_of_one_token": gas_used(gas_world, *one_token(gas_world, count))
        for count in (1, 2, 3, 5)
    }
    first, second = gas_world.pools[0, 1], gas_world.pools[1, 2]
    measured["1_route_of_2_hops"] = gas_used(
        gas_world, first.leg(first.a, UNIT, 1), second.leg(second.a, 0, UNIT)
    )
    if os.environ.get("EXECUTOR_GAS_UPDATE"):
        SNAPSHOT.write_text(json.dumps(measured, indent=1) + "\n")

    assert measured == json.loads(SNAPSHOT.read_text())


def one_token(world: World, count: int) -> list[Leg]:
    """Sell token 0 for ``count`` others, each in a pool of its own."""
    pools = [world.pools[0, j] for j in range(1, count + 1)]
    return [pool.leg(pool.a, UNIT, UNIT) for pool in pools]


def gas_used(world: World, *legs: Leg) -> int:
    receipt = world.execute(*legs)
    assert receipt.status == 1
    previous = ape.chain.blocks[receipt.block_number - 1].timestamp
    assert ape.chain.blocks[receipt.block_number].timestamp == previous + BLOCK_INTERVAL_S
    return int(receipt.gas_used)
