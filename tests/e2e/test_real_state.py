"""Real mainnet blocks: status, plan and an executed rebalance on the real contracts' bytecode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain

BLOCKS = (19426586, 12459406)
PORTFOLIO = """
name: real
network: mainnet
wallet: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
positions:
  - {token: WETH, target: 27%}
  - {token: USDC, target: 23%}
  - {token: USDT, target: 30%}
  - {lp: "uniswap_v2:USDC/WETH", target: 20%}
policy: {band: 1%, drift_aversion: 200%, max_gas_price: 500 gwei}
"""


@pytest.fixture(scope="module", params=BLOCKS)
def real_chain(
    request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DevChain]:
    from rebalancer.devchain.fork import open_fork

    state = real_data / "mainnet" / "blocks" / f"{request.param}.json.gz"
    with open_fork(state=state, log_dir=tmp_path_factory.mktemp("anvil")) as chain:
        yield chain


def test_status_plan_rebalance__realised_equals_planned_to_the_wei(
    real_chain: DevChain, workspace_at: Callable[[str], Workspace]
) -> None:
    place = workspace_at(real_chain.url)
    place.portfolio.write_text(PORTFOLIO)
    status = place.run("status", "--json")
    assert status.code == 0, status.err
    assert status.json["nav_e8"] > 0

    assert place.run("deploy", "--execute").code == 0
    plan = place.run("plan", "--json").json
    assert plan["decision"] == "rebalance", plan

    done = place.run("rebalance", "--execute", "--json")
    assert done.code == 0, done.err
    result = done.json
    assert result["executed"] is True
    assert len(result["plan"]["legs"]) >= 2
    for leg, fill in zip(result["plan"]["legs"], result["fills"], strict=True):
        assert fill["amount_in"] == leg["amount_in"]
        assert fill["amount_out"] == leg["amount_out"]
    assert result["nav"]["after_e8"] == result["nav"]["planned_after_e8"]

    # USDC behind its proxy and USDT are no plain ERC-20s, and planned so, approvals included.
    planned, used = result["plan"]["costs"]["gas_units"], result["gas_used"]
    assert abs(planned - used) * 100 < 2 * used, (planned, used)

    before = {b["token"]["symbol"]: b["raw"] for b in status.json["balances"]}
    now = place.run("status", "--json").json
    after = {b["token"]["symbol"]: b["raw"] for b in now["balances"]}
    for change in result["plan"]["net"]:
        symbol = change["token"]["symbol"]
        assert after[symbol] - before[symbol] == change["raw"]
    assert all(abs(p["drift_ppm"]) <= p["band_ppm"] for p in now["positions"])
    assert place.run("audit", "reconcile", "--json").json["ok"] is True
