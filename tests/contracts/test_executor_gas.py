"""What a batch costs, exactly: a change of one gas shows up as a change of gas_snapshot.json.

Written anew by ``EXECUTOR_GAS_UPDATE=1 .venv/bin/pytest -p ape.pytest.plugin tests/contracts``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import ape
import pytest
from executor_world import UNIT, World, build_world
from test_executor_steps import Caller, swap, transact

from rebalancer.bundler.steps import Swap, Watch

SNAPSHOT = Path(__file__).with_name("gas_snapshot.json")
#: Accounts that no other test uses, so that addresses, and their zero bytes, never change.
FIRST_ACCOUNT = 5
BLOCK_INTERVAL_S = 12
#: Pools by their tokens, in the order in which they are sold and bought.
SCENARIOS: dict[str, list[tuple[int, int]]] = {
    **{f"{n} swaps": [(0, j) for j in range(1, n + 1)] for n in (1, 2, 3, 5)},
    "8 swaps": [*[(0, j) for j in range(1, 6)], (2, 1), (3, 0), (4, 0)],
    "2 hops": [(0, 1), (1, 2)],
    "3 hops": [(3, 0), (0, 1), (1, 2)],
}


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
    measured: dict[str, int] = {}
    for as_wallet in (False, True):
        caller = Caller(gas_world, as_wallet)
        for name, path in SCENARIOS.items():
            measured[f"{'wallet' if as_wallet else 'executor'}: {name}"] = gas_used(caller, path)
    if os.environ.get("EXECUTOR_GAS_UPDATE"):
        SNAPSHOT.write_text(json.dumps(measured, indent=1) + "\n")

    assert measured == json.loads(SNAPSHOT.read_text())


def gas_used(caller: Caller, pools: Sequence[tuple[int, int]]) -> int:
    """Swaps with all protections on; hops follow each other where a token is passed on."""
    world = caller.world
    steps: list[Swap] = []
    for number, (i, j) in enumerate(pools):
        follows = number + 1 < len(pools) and pools[number + 1][0] == j
        forwarded = number > 0 and pools[number - 1][1] == i
        steps.append(swap(world, i, j, UNIT, 1, forwarded=forwarded, forward=follows))
    bought = dict.fromkeys(step.token_out for step in steps if not step.forward)
    sold = {step.token_in for step in steps if not step.forwarded}
    receipt = transact(
        world,
        caller.request(
            *steps,
            # As the bundler asks for it, so that what is one route goes by `route`.
            watched=tuple(
                Watch(token, 0, 10 * UNIT) if token in sold else Watch(token, 1) for token in bought
            ),
            max_base_fee_wei=300 * 10**9,
            deadline_ts=2**33,
        ),
    )
    number = int(receipt["blockNumber"], 16)
    previous = ape.chain.blocks[number - 1].timestamp
    assert ape.chain.blocks[number].timestamp == previous + BLOCK_INTERVAL_S
    return int(receipt["gasUsed"], 16)
