"""``status`` about the time before and about what the file does not say, as a user has it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block
from rebalancer.devchain.market import move
from rebalancer.readers.chain import read_block

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.config.networks import Network
    from rebalancer.devchain.fork import DevChain

COMMAND = str(Path(sys.executable).parent / "rebalancer")
LP = "uniswap_v2:USDC/WETH"
PARTS = ("price", "composition", "fees", "deposits", "trades", "other")


def gift(chain: DevChain, usdc: int) -> None:
    raw = usdc * 10**6
    mine_block(
        chain.rpc,
        ARBITRAGEUR,
        [call_of(m.USDC.address, "transfer(address,uint256)", TREASURY, raw)],
    )


def adds_up(attribution: dict[str, Any]) -> None:
    """Every position's parts, in value and in weight, and the portfolio's."""
    for change in attribution["positions"]:
        value = sum(change["value"][part] for part in PARTS)
        weight = sum(change["weight"][part] for part in PARTS)
        assert change["after_e8"] - change["before_e8"] == value
        assert change["after_ppm"] - change["before_ppm"] == weight
    for part in PARTS:
        in_positions = sum(change["value"][part] for change in attribution["positions"])
        assert in_positions == attribution["nav"][part]
    total = sum(attribution["nav"][part] for part in PARTS)
    assert attribution["nav_after_e8"] - attribution["nav_before_e8"] == total


def test_since_a_block__price_composition_fees_and_flows(
    workspace: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    start = devchain.block_number
    move(devchain.rpc, mainnet, {"WETH": 250_000})
    gift(devchain, 5_000)
    document = workspace.run("status", "--since", str(start), "--json").json
    why = document["attribution"]
    assert (why["since"], why["from_block"]) == (f"block {start}", start)
    adds_up(why)
    assert why["nav_after_e8"] == document["nav_e8"]
    assert why["nav"]["price"] == 125_000 * 10**8
    assert why["nav"]["composition"] < 0 < why["nav"]["fees"]
    assert why["nav"]["deposits"] == 5_000 * 10**8
    assert (why["nav"]["trades"], why["nav"]["other"]) == (0, 0)
    table = workspace.run("status", "--since", str(start)).out
    assert f"Why it moved since block {start}" in table
    assert "+125,000.00" in table
    assert "…" not in table.replace(document["block"]["hash"][:10] + "…", "")


def test_since_the_last_rebalance__is_told_unasked(
    drifted: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    assert drifted.run("status", "--json").json["attribution"] is None  # nothing happened yet
    before = drifted.run("status", "--json").json["block"]["number"]
    done = drifted.run("rebalance", "--execute", "--json").json
    move(devchain.rpc, mainnet, {"WETH": -50_000})
    document = drifted.run("status", "--json").json
    why = document["attribution"]
    assert why["since"] == "the last rebalance"
    assert why["from_block"] == max(t["block_number"] for t in done["transactions"])
    assert why["nav_before_e8"] == done["nav"]["after_e8"]
    adds_up(why)
    assert why["nav"]["price"] < 0
    assert sum(why["nav"][part] for part in ("deposits", "trades", "other")) == 0
    # Across the rebalance: what it traded, and what that cost, is all in the trades.
    at = ("--at", str(why["from_block"]))
    across = drifted.run("status", "--since", str(before), *at, "--json").json["attribution"]
    adds_up(across)
    assert across["nav"]["trades"] < 0
    assert across["nav"]["deposits"] == across["nav"]["other"] == 0
    assert {c["name"] for c in across["positions"] if c["value"]["trades"]} >= {"WETH"}
    # Before the rebalance nothing had happened.
    assert drifted.run("status", "--at", str(before), "--json").json["attribution"] is None


def test_since__position_that_cannot_be_read__is_left_out_of_the_explanation(
    workspace: Workspace, devchain: DevChain
) -> None:
    devchain.rpc.call("anvil_setCode", m.WBTC.address, "0x")
    devchain.rpc.call("evm_mine")
    document = workspace.run("status", "--since", str(devchain.block_number), "--json").json
    assert document["unread"] == ["WBTC"]
    why = document["attribution"]
    assert [change["name"] for change in why["positions"]] == ["WETH", "USDC", LP]
    assert why["nav_before_e8"] == why["nav_after_e8"] == document["nav_e8"]


def test_since__block_that_cannot_be__is_refused_in_one_line(
    workspace: Workspace, devchain: DevChain
) -> None:
    later = workspace.run("status", "--since", str(devchain.block_number + 5))
    assert later.code == 2
    assert "is after block" in later.err
    early = workspace.run("status", "--since", "1")
    assert early.code == 3
    assert early.err.count("\n") == 2
    number = str(devchain.block_number)
    same = workspace.run("status", "--since", number, "--at", number)
    assert f"nothing moved since block {number}: it is the one that is read" in same.out


@pytest.mark.parametrize("verb", ["status --since", "status --at", "plan --at"])
def test_block_before_there_was_anything__is_named(workspace: Workspace, verb: str) -> None:
    dead = workspace.run(*verb.split(), "1")
    assert dead.code == 3
    assert "error: at block 1: feed ETH/USD answers 0" in dead.err
    assert "name another block" in dead.err
    empty = workspace.run(*verb.split(), "2")
    assert empty.code == 3
    assert "error: at block 2: LP position" in empty.err
    assert "name a later block" in empty.err


def test_since_block__lots_from_the_logs(
    workspace: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    position = '{lp: "uniswap_v2:WETH/USDC", target: 20%}'
    workspace.edit(workspace.portfolio, position, position[:-1] + ", since_block: 1}")
    move(devchain.rpc, mainnet, {"WETH": 250_000})
    document = workspace.run("status", "--json").json
    (holding,) = document["holdings"]
    (lot,) = holding["lots"]
    assert (lot["how"], lot["amount0"]) == ("added", 100_000 * 10**6)
    lp = next(p["lp"] for p in document["positions"] if p["lp"])
    value = next(p["value_e8"] for p in document["positions"] if p["lp"])
    assert value == lp["held_value_e8"] + lp["il_e8"] + lp["fees_e8"]
    assert lp["il_e8"] < 0 < lp["fees_e8"]
    assert document["notes"] == []
    # A rebalance does not need the logs: the plan is the same with and without.
    with_logs = workspace.run("plan", "--json").json
    workspace.edit(workspace.portfolio, ", since_block: 1", "")
    assert workspace.run("plan", "--json").json == with_logs


def test_since_block__after_the_block_that_is_read__costs_the_loss_alone(
    workspace: Workspace, devchain: DevChain
) -> None:
    position = '{lp: "uniswap_v2:WETH/USDC", target: 20%}'
    workspace.edit(workspace.portfolio, position, position[:-1] + ", since_block: 99999}")
    result = workspace.run("status")
    assert result.code == 0
    assert "the impermanent loss of uniswap_v2:USDC/WETH is not known" in result.out
    assert "entry unknown" in result.out


def test_discover__prints_a_line_that_the_file_takes(
    workspace: Workspace, devchain: DevChain
) -> None:
    table = workspace.run("status", "--discover").out
    line = '- {lp: "uniswap_v2:DAI/WETH", target: 0%}'
    assert line in table
    from_logs = workspace.run("status", "--discover-since", "1", "--json").json["unlisted"]
    (found,) = from_logs
    assert found["line"] == line.replace("}", f", since_block: {devchain.lp_block}}}")
    workspace.edit(workspace.portfolio, "positions:\n", f"positions:\n  {found['line']}\n")
    assert yaml.safe_load(workspace.portfolio.read_text())["positions"][0]["target"] == "0%"
    again = workspace.run("status", "--discover", "--json").json
    assert again["unlisted"] == []
    assert {p["name"] for p in again["positions"]} > {LP, "uniswap_v2:DAI/WETH"}
    assert "No LP position is held" in workspace.run("status", "--discover").out


def test_buckets_and_exposures__from_file_to_plan(drifted: Workspace) -> None:
    text = drifted.portfolio.read_text()
    start, end = text.index("positions:"), text.index("policy:")
    bucketed = """buckets: {eth: [WETH, "uniswap_v2:WETH/USDC"]}
positions:
  - {bucket: eth, target: 60%}
  - {token: WBTC, target: 20%}
  - {token: USDC, target: 20%}

"""
    drifted.portfolio.write_text(text[:start] + bucketed + text[end:])
    document = drifted.run("status", "--json").json
    assert [d["position"] for d in document["drifts"] if d["outside"]] == ["eth"]
    eth = {p["name"]: p["bucket"] for p in document["positions"] if "bucket" in p}
    assert eth == {"WETH": "eth", LP: "eth"}
    table = drifted.run("status").out
    assert "bucket" in table
    assert f"  {LP}" in table
    plan = drifted.run("plan", "--json").json
    assert plan["decision"] == "rebalance"
    assert any("eth drifted" in reason["text"] for reason in plan["reasons"])

    exposed = """targets_on: exposures
positions:
  - {token: WETH, target: 50%}
  - {token: WBTC, target: 20%}
  - {token: USDC, target: 30%}
  - {lp: "uniswap_v2:WETH/USDC"}

"""
    drifted.portfolio.write_text(text[:start] + exposed + text[end:])
    before = drifted.run("status", "--json").json["exposure_goals"]
    assert sum(goal["weight_ppm"] for goal in before) == 1_000_000
    assert max(abs(goal["drift_ppm"]) for goal in before) > 30_000
    assert "Targets on exposure" in drifted.run("status").out
    assert drifted.run("rebalance", "--execute", "--json").json["executed"] is True
    after = drifted.run("status", "--json").json["exposure_goals"]
    assert max(abs(goal["drift_ppm"]) for goal in after) < 1_000


def test_watch__tells_every_new_block__and_ends_with_ctrl_c(
    workspace: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    process = subprocess.Popen(
        [COMMAND, "status", "--watch", "--json", "--since", str(devchain.block_number),
         "--portfolio", str(workspace.portfolio), "--rpc-url", devchain.url],
        cwd=workspace.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first["block"]["number"] == read_block(devchain.rpc).number
        move(devchain.rpc, mainnet, {"WETH": 100_000})
        while (seen := json.loads(process.stdout.readline()))["nav_e8"] == first["nav_e8"]:
            pass
        assert seen["block"]["number"] > first["block"]["number"]
        adds_up(seen["attribution"])
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert err == "stopped\n"
    finally:
        process.kill()
        process.wait()


def test_watch__for_people__says_between_blocks_what_moved(
    workspace: Workspace,
    devchain: DevChain,
    mainnet: Network,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rebalancer.cli.session import Session
    from rebalancer.cli.status import Look

    before = workspace.run("status", "--json").json
    look = Look(Session.open(workspace.portfolio, rpc_url=devchain.url), None, False, None, False)
    capsys.readouterr()
    look.show(before["block"]["hash"])
    assert "NAV as at" not in capsys.readouterr().out
    move(devchain.rpc, mainnet, {"WETH": 100_000})
    now = read_block(devchain.rpc)
    look.show(now.hash)
    look.show(now.hash)
    shown = capsys.readouterr().out
    gained = workspace.run("status", "--json").json["nav_e8"] - before["nav_e8"]
    then = before["block"]["number"]
    moved = f"NAV +{gained / 10**8:,.2f} USD since block {then}"
    assert f"block {now.number}: {moved}" in shown
    assert f"block {now.number}: NAV as at block {now.number}" in shown
    assert "UTC" in shown


def test_watch__of_an_old_block__is_refused(workspace: Workspace) -> None:
    result = workspace.run("status", "--watch", "--at", "5")
    assert result.code == 2
    assert "--watch follows new blocks" in result.err


def test_plan_at_a_past_block__knows_what_was_known_then(
    drifted: Workspace, devchain: DevChain
) -> None:
    """At the block that a rebalance was decided on it had not happened yet, one later it had."""
    done = drifted.run("rebalance", "--execute", "--json").json
    decided, mined = done["block"]["number"], done["transactions"][-1]["block_number"]
    then = drifted.run("plan", "--at", str(decided), "--json").json
    assert (then["decision"], then["inputs"]["last_rebalance_ts"]) == ("rebalance", None)
    assert then["inputs"]["circumstances"]["turnover_e8"] == 0
    after = drifted.run("plan", "--at", str(mined), "--json").json
    assert after["decision"] == "hold"
    assert after["inputs"]["last_rebalance_ts"] == done["block"]["timestamp"]
