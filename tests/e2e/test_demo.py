"""The demo: from nothing to an audited rebalance, in one object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict:  # type: ignore[type-arg]
    folder = tmp_path_factory.mktemp("demo")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("REBALANCER_")}
    process = subprocess.run(
        [str(Path(sys.executable).parent / "rebalancer"), "demo", "--json"],
        cwd=folder,
        env={**environment, "XDG_STATE_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert list(folder.iterdir()) in ([], [folder / "rebalancer"])  # leaves nothing but its lease
    return json.loads(process.stdout)


def test_decided_and_done_in_one_atomic_transaction(demo: dict) -> None:  # type: ignore[type-arg]
    assert demo["decision"] == "rebalance"
    assert demo["plan"]["block_hash"] == demo["block"]["hash"]
    executes = [tx for tx in demo["transactions"] if tx["purpose"] == "execute"]
    assert [tx["tx_hash"] for tx in executes] == [demo["tx_hash"]]
    assert len(demo["fills"]) == len(demo["plan"]["legs"])
    assert all(tx["status"] == 1 for tx in demo["transactions"])


def test_fills_equal_the_plan_to_the_wei(demo: dict) -> None:  # type: ignore[type-arg]
    for leg, fill in zip(demo["plan"]["legs"], demo["fills"], strict=True):
        assert (fill["amount_in"], fill["amount_out"]) == (leg["amount_in"], leg["amount_out"])


def test_every_weight_ends_inside_its_band(demo: dict) -> None:  # type: ignore[type-arg]
    weights = demo["weights"].values()
    assert sum(w["target_ppm"] for w in weights) == 1_000_000
    assert sum(w["before_ppm"] for w in weights) == sum(w["after_ppm"] for w in weights) == 10**6
    assert any(abs(w["before_ppm"] - w["target_ppm"]) > 30_000 for w in weights)
    assert all(abs(w["after_ppm"] - w["target_ppm"]) <= 30_000 for w in weights)


def test_nav__what_it_lost_is_what_was_planned(demo: dict) -> None:  # type: ignore[type-arg]
    nav, costs = demo["nav"], demo["plan"]["costs"]
    assert nav["cost_e8"] == nav["before_e8"] - nav["after_e8"]
    assert nav["after_e8"] == nav["planned_after_e8"]
    assert 0 < nav["cost_e8"] < costs["traded_e8"] // 100


def test_gas__components_add_up(demo: dict) -> None:  # type: ignore[type-arg]
    assert demo["gas_used"] == sum(tx["gas_used"] for tx in demo["transactions"])
    for tx in demo["transactions"]:
        assert sum(component["gas"] for component in tx["components"]) == tx["gas_used"]
    assert demo["gas"][0]["gas_used"] == demo["gas_used"]


def test_reconciled(demo: dict) -> None:  # type: ignore[type-arg]
    assert demo["reconciled"] is True
