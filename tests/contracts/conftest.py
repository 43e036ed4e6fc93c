"""What the contract tests share: the place of the tools, and one world that every test starts from.

Ape looks for Anvil and Vyper on PATH, so those of this tree are put there before it looks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import ape
import pytest
from executor_world import ROOT, World, build_world

ANVIL = next(iter(sorted(ROOT.glob("node_modules/@foundry-rs/anvil-*/bin/anvil*"))), None)
if ANVIL is None:
    raise pytest.UsageError("Anvil is not in node_modules: run `make setup`")
os.environ["PATH"] = os.pathsep.join(
    [str(ANVIL.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
)
# Ape and Vyper's version manager would write into the home directory.
ape.config.DATA_FOLDER = ROOT / ".build" / "ape"
os.environ.setdefault("VVM_BINARY_PATH", str(ROOT / ".build"))


@pytest.fixture(scope="session")
def world() -> World:
    """Official pairs, plain tokens and the executor; Ape rolls back what a test does to it."""
    return build_world()


@pytest.fixture(autouse=True)
def _nothing_stays_in_the_executor(world: World) -> Iterator[None]:
    """Whatever a test does, the executor ends as empty as it was: no token and no ether."""
    before = holdings(world)
    yield
    assert holdings(world) == before


def holdings(world: World) -> list[int]:
    """What the executor holds: ether, plain tokens, LP shares."""
    tokens = [*world.tokens, *(pool.contract for pool in world.pools.values())]
    balances = [int(token.balanceOf(world.executor)) for token in tokens]
    return [int(ape.chain.provider.get_balance(world.executor.address)), *balances]
