"""Fixtures that need an Anvil: a file's tests share one chain, each starts from the same block.

``devchain`` is what a test wants: a fork of the synthetic mainnet (see rebalancer/devchain), put
back after the test to how it was before. ``networks_yaml`` and ``mainnet`` are the project's own
network file and its chain, ``real_data`` the folder of real mainnet data or a skip.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every machine, so that a red test is red again; HYPOTHESIS_PROFILE=search
# looks for new ones. A loaded machine is slow, and a rare case is rare: neither is a finding.
QUIET = (HealthCheck.too_slow, HealthCheck.filter_too_much)
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=QUIET,
)
settings.register_profile("search", deadline=None, suppress_health_check=QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

if TYPE_CHECKING:
    from rebalancer.config.networks import Network
    from rebalancer.devchain.fork import DevChain

ROOT = Path(__file__).resolve().parents[1]


# One chain per file: snapshots within snapshots make Anvil lose code in old states, and what one
# file does must not decide what the next one can read.
@pytest.fixture(scope="module")
def synthetic_fork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevChain]:
    """The synthetic mainnet behind a forking Anvil; take ``devchain`` unless you change nothing."""
    from rebalancer.devchain.fork import open_fork

    with open_fork(log_dir=tmp_path_factory.mktemp("anvil")) as chain:
        yield chain


@pytest.fixture(scope="module")
def _first_base_fee(synthetic_fork: DevChain) -> str:
    """Base fee of the block after the one that the chain was opened at."""
    history = synthetic_fork.rpc.call("eth_feeHistory", "0x1", "latest", [])
    return str(history["baseFeePerGas"][-1])


@pytest.fixture
def devchain(synthetic_fork: DevChain, _first_base_fee: str) -> Iterator[DevChain]:
    """The synthetic mainnet as it was built, whatever the tests before did to it."""
    rpc = synthetic_fork.rpc
    # Going back to a snapshot leaves the next base fee where the tests before have brought it.
    rpc.call("anvil_setNextBlockBaseFeePerGas", _first_base_fee)
    snapshot = rpc.call("evm_snapshot")
    yield synthetic_fork
    # Nor are these part of a snapshot.
    rpc.batch([("anvil_dropAllTransactions", ()), ("evm_setAutomine", (True,))])
    assert rpc.call("evm_revert", snapshot), "the chain could not be put back"


@pytest.fixture(scope="session")
def networks_yaml() -> Path:
    return ROOT / "networks.yaml"


@pytest.fixture(scope="session")
def mainnet(networks_yaml: Path) -> Network:
    """The chain ``mainnet`` of the project's networks.yaml."""
    from rebalancer.config.load import load_networks

    return load_networks(networks_yaml)["mainnet"]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real mainnet data (REBALANCER_DATA, default ../shared/data); skips without it."""
    folder = Path(os.environ.get("REBALANCER_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set REBALANCER_DATA to run this test")
    return folder
