"""A few rebalances on, gas is planned as it is used: what the ledger measured corrects the plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain

#: ETH's price up and down, in ppm of what it is then.
MOVES = (250_000, -200_000, 250_000)


def off(done: Any) -> float:
    """How far a plan's gas was from what it used."""
    planned, used = done["plan"]["costs"]["gas_units"], done["gas_used"]
    return float(abs(planned - used) / used)


def test_a_few_rebalances_on__gas_is_planned_as_it_is_used(
    devchain: DevChain, mainnet: Any, workspace: Workspace
) -> None:
    """On the synthetic chain USDC and WBTC are plain ERC-20s, cheaper than in networks.yaml."""
    from rebalancer.devchain.market import move

    workspace.edit(workspace.portfolio, "trigger: hybrid", "trigger: threshold")
    for change_ppm in MOVES:
        move(devchain.rpc, mainnet, {"WETH": change_ppm})
        done = workspace.run("rebalance", "--execute", "--json").json
        assert done["executed"] is True
        assert done["plan"]["costs"]["planned_gas"] == {"schedule": "prague", "correction": None}
        assert 0.08 < off(done) < 0.16
    move(devchain.rpc, mainnet, {"WETH": -200_000})

    planned = workspace.run("plan", "--json")
    correction = planned.json["inputs"]["circumstances"]["gas_correction"]
    assert correction["rebalances"] == len(MOVES)
    assert 850_000 < correction["execution_ppm"] < 900_000
    assert 980_000 < correction["approval_ppm"] < 1_020_000
    words = "planned from prague, corrected x0.87"
    assert f"gas: {words}" in workspace.run("plan").out
    assert words in workspace.run("audit", "gas").out
    assert workspace.run("audit", "gas", "--json").json["next"]["correction"] == correction
    checks = {c["name"]: c["detail"] for c in workspace.run("doctor", "--json").json["checks"]}
    assert checks["gas figures"].startswith(words)

    # The file has all that the plan follows from: whoever has no ledger gets the same bytes.
    path = workspace.folder / "plan.json"
    path.write_text(planned.out)
    alone = ("plan", "--verify", str(path), "--offline", "--json")
    assert workspace.bare(*alone).json["ok"] is True
    fork = ("  chain_id: 1\n", "  chain_id: 1\n  fork: osaka\n")
    workspace.edit(workspace.networks, *fork)
    refused = workspace.bare(*alone)
    assert refused.code == 4
    assert "gas by osaka and networks.yaml, in the plan by other figures" in refused.out
    workspace.edit(workspace.networks, *reversed(fork))
    tampered = planned.json
    tampered["inputs"]["circumstances"]["gas_correction"]["execution_ppm"] += 1_000
    path.write_text(json.dumps(tampered))
    assert workspace.bare(*alone).code == 4

    done = workspace.run("rebalance", "--execute", "--json").json
    assert done["plan"]["costs"]["planned_gas"]["correction"] == correction
    assert off(done) < 0.03
