"""Large plans in slices as a user has them: to the end, stopped, expired, approved, kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from test_crash import killed_run

from rebalancer.cli.session import Session
from rebalancer.cli.slices import LookAfter
from rebalancer.devchain.accounts import ARBITRAGEUR
from rebalancer.devchain.cheats import call_of, mine_block
from rebalancer.devchain.mainnet import WETH
from rebalancer.devchain.market import move

if TYPE_CHECKING:
    from conftest import Result, Workspace

    from rebalancer.config.networks import Network
    from rebalancer.devchain.fork import DevChain

WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
EXECUTION = "execution: {slices: 4, every_blocks: 5}\nsubmission: public"


@pytest.fixture
def large(devchain: DevChain, mainnet: Network, workspace: Workspace) -> Workspace:
    """ETH rose by six tenths, and the plan for it is to be traded in four slices."""
    move(devchain.rpc, mainnet, {"WETH": 600_000})
    workspace.edit(workspace.portfolio, "submission: public", EXECUTION)
    return workspace


def turn(place: Workspace) -> Any:
    """One run that trades at most one slice; its document."""
    result = place.run("rebalance", "--execute", "--no-wait", "--json")
    assert result.code == 0, result.err
    return result.json


def order(place: Workspace) -> Any:
    return place.run("order", "show", "--json").json


def pass_blocks(chain: DevChain, blocks: int = 5) -> None:
    chain.rpc.call("anvil_mine", blocks)


def nonce(chain: DevChain) -> int:
    return int(chain.rpc.call("eth_getTransactionCount", WALLET, "pending"), 16)


def sold(document: Any) -> int:
    return sum(amount["raw"] for amount in document["so_far"]["sold"])


def most(document: Any) -> int:
    return sum(amount["raw"] for amount in document["order"]["sells"])


def test_plan_says_how_it_would_be_cut__and_why(large: Workspace, devchain: DevChain) -> None:
    start = nonce(devchain)
    found = large.run("plan", "--json").json["slices"]
    assert (found["worth_it"], found["slices"]) == (True, 4)
    assert found["saved_e8"] == found["whole"]["impact_e8"] - found["sliced"]["impact_e8"]
    assert found["saved_e8"] > found["more_gas_e8"] > 0
    shown = large.run("plan").out
    assert "In slices" in shown
    assert "together they sell at most" in shown
    assert "of price impact in one go" in shown
    assert "In slices" in large.run("rebalance").out
    assert large.run("order", "list", "--json").json == []
    large.edit(large.portfolio, "every_blocks: 5", "every_blocks: 5, above: 99000000")
    assert "is below execution.above" in large.run("plan").out
    assert nonce(devchain) == start


def test_four_slices__less_impact_than_one_go__reconciled(
    large: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    documents = []
    for _ in range(4):
        documents.append(turn(large))
        assert documents[-1]["executed"] is True
        move(devchain.rpc, mainnet, {})  # an arbitrageur brings the pools back
        pass_blocks(devchain)
    assert turn(large)["decision"] == "hold"
    done = order(large)
    assert done["state"] == "closed"
    assert (done["so_far"]["slices"], len(done["slices"])) == (4, 4)
    assert most(done) * 99 // 100 <= sold(done) <= most(done)
    impact = sum(document["plan"]["costs"]["impact_e8"] for document in documents)
    assert impact * 3 < done["order"]["whole"]["impact_e8"]
    assert done["loss_ppm"] < done["one_go_loss_ppm"]
    assert done["so_far"]["cost_e8"] <= done["order"]["max_cost_e8"]
    for document, item in zip(documents, done["slices"], strict=True):
        assert document["plan"]["order"] == done["order_id"]
        assert item["sold"][0]["raw"] == sum(
            fill["amount_in"] for fill in document["fills"] if fill["token_in"]["symbol"] == "WETH"
        )
    assert large.run("audit", "reconcile").code == 0
    audit = large.run("audit", "gas", "--json").json
    (by_order,) = audit["orders"]
    assert (by_order["order"], by_order["rebalances"]) == (done["order_id"], 4)
    assert by_order["gas_used"] == sum(item["gas_used"] for item in done["slices"])
    assert "Gas per order" in large.run("audit", "gas").out
    shown = large.run("order", "show").out
    assert "Average prices in USD" in shown
    assert "one go at the start would have lost" in shown
    assert "4 slices, one every 5 blocks, until block" in shown
    assert done["order_id"][:12] in large.run("order", "list").out


def test_with_a_gas_reserve__what_is_wrapped_for_a_slice_is_no_sale(
    large: Workspace, devchain: DevChain
) -> None:
    large.edit(large.portfolio, "submission: public", "gas_reserve: 1 ETH\nsubmission: public")
    devchain.rpc.call("anvil_setBalance", WALLET, hex(200 * 10**18))
    away = call_of(WETH.address, "transfer(address,uint256)", ARBITRAGEUR, 130 * 10**18)
    mine_block(devchain.rpc, WALLET, [away])
    for made in range(1, 4):
        document = turn(large)
        assert document["executed"] is True
        assert document["order"]["so_far"]["slices"] == made
        assert document["plan"]["legs"][0]["kind"] == "wrap"
        swapped = [fill for fill in document["fills"] if fill["token_in"]["symbol"] == "WETH"]
        taken = sum(fill["amount_in"] for fill in swapped)
        assert document["order"]["slices"][-1]["sold"][0]["raw"] == taken
        pass_blocks(devchain)
    assert sold(order(large)) <= most(order(large))
    assert large.run("audit", "reconcile").code == 0


def test_too_early__waits(large: Workspace, devchain: DevChain) -> None:
    assert turn(large)["executed"] is True
    start = nonce(devchain)
    early = turn(large)
    assert (early["decision"], early["reasons"][0]["code"]) == ("hold", "slice_not_due")
    assert nonce(devchain) == start


def test_stopped__nothing_trades__resumed__only_the_rest(
    large: Workspace, devchain: DevChain
) -> None:
    first = turn(large)["order"]
    stopped = large.run("order", "stop", first["order_id"][:12], "--reason", "odd", "--json")
    assert stopped.json["state"] == "stopped"
    start = nonce(devchain)
    pass_blocks(devchain)
    refused = large.run("rebalance", "--execute", "--no-wait")
    assert refused.code == 8
    assert "is stopped: odd" in refused.err
    assert large.run("keeper", "--once", "--execute").code == 8
    assert nonce(devchain) == start
    assert large.run("order", "resume", "--json").json["state"] == "open"
    second = turn(large)["order"]
    assert second["order_id"] == first["order_id"]
    assert second["so_far"]["slices"] == 2
    part = sold(second) - sold(first)
    assert abs(part * 3 - (most(first) - sold(first))) * 50 < most(first)


def test_cancelled__for_good__the_next_cycle_decides_anew(
    large: Workspace, devchain: DevChain
) -> None:
    first = turn(large)["order"]
    assert "Cancelled: enough" in large.run("order", "cancel", "--reason", "enough").out
    assert large.run("order", "resume").code == 2
    after = turn(large)
    assert after["decision"] == "hold"  # the calendar: a slice was traded within the hour
    now = int(devchain.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    devchain.rpc.call("evm_setNextBlockTimestamp", now + 3_700)
    pass_blocks(devchain, 1)
    again = turn(large)["order"]
    assert again["order_id"] != first["order_id"]
    assert len(large.run("order", "list", "--json").json) == 2


def test_expired__says_so__and_is_over(large: Workspace, devchain: DevChain) -> None:
    turn(large)
    pass_blocks(devchain, 41)
    late = turn(large)
    assert (late["decision"], late["executed"]) == ("hold", False)
    assert late["order"]["state"] == "closed"
    assert late["order"]["note"].startswith("Expired: its time was over after 1 of 4")


def test_pause_and_kill_switch_hold_here_too(large: Workspace, devchain: DevChain) -> None:
    turn(large)
    pass_blocks(devchain)
    start = nonce(devchain)
    for flags in ((), ("--all",)):
        assert large.run("pause", *flags).code == 0 if not flags else True
        if flags:
            assert large.bare("pause", *flags).code == 0
        assert large.run("rebalance", "--execute", "--no-wait").code == 8
        released = large.bare("resume", *flags) if flags else large.run("resume")
        assert released.code == 0
    assert nonce(devchain) == start
    assert turn(large)["executed"] is True


def test_consent_once__for_all_slices(large: Workspace, devchain: DevChain) -> None:
    large.edit(large.portfolio, "submission: public", "approve_above: 1000\nsubmission: public")
    start = nonce(devchain)
    waiting = turn(large)
    assert (waiting["awaits_approval"], waiting["executed"]) == (True, False)
    order_id = waiting["order"]["order_id"]
    assert turn(large)["order"]["order_id"] == order_id  # the same one waits
    assert nonce(devchain) == start
    shown = large.run("rebalance", "--execute", "--no-wait").out
    assert f"rebalancer approve {order_id[:12]}" in shown
    said = large.run("approve", order_id[:12]).out
    (amount,) = waiting["order"]["order"]["sells"]
    assert f"sells at most {amount['raw'] / 10**18:.6f}"[:22] in said
    assert "WETH 4,800.00" in said
    for _ in range(2):
        done = turn(large)
        assert (done["awaits_approval"], done["executed"]) == (False, True)
        pass_blocks(devchain)
    assert done["order"]["so_far"]["slices"] == 2
    assert large.run("audit", "reconcile").code == 0


def test_nothing_is_raised_beside_an_order(large: Workspace) -> None:
    turn(large)
    refused = large.run("rebalance", "--raise", "1000 USDC")
    assert refused.code == 2
    assert "order cancel" in refused.err


def test_the_keeper_drives_it(large: Workspace, devchain: DevChain) -> None:
    session = Session.open(large.portfolio, rpc_url=large.rpc_url)
    looks: list[int] = []
    look = LookAfter(session, lambda: looks.append(slices_done(large)))
    look()  # there is no order
    assert large.run("keeper", "--once", "--execute").code == 0
    look()  # too early
    assert looks == []
    pass_blocks(devchain)
    look()
    look()  # the cycle traded nothing: again only after a while
    assert looks == [1]
    line = large.run("keeper", "--once", "--execute").out
    assert "2 of 4 slices" in line
    planned = large.run("plan", "--json").json
    assert planned["order"]["so_far"]["slices"] == 2
    assert "without it: order" in large.run("plan").out
    assert "2 of 4 slices" in large.run("status").out
    assert large.run("status", "--json").json["order"] == planned["order"]
    dry = large.run("rebalance", "--json").json
    assert dry["reasons"][0]["code"] == "slice_not_due"


def test_ctrl_c__finishes_the_slice__and_the_next_run_goes_on(
    large: Workspace, devchain: DevChain
) -> None:
    command = [sys.executable, "-m", "rebalancer", "rebalance", "--execute", "--json"]
    command[1:3] = ["-c", "import sys; from rebalancer.cli.main import main; main(sys.argv[1:])"]
    process = subprocess.Popen(
        [*command, "-p", str(large.portfolio), "--rpc-url", large.rpc_url],
        cwd=large.folder,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: slices_done(large) == 1)
        pass_blocks(devchain)
        wait_for(lambda: slices_done(large) == 2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    assert json.loads(out)["order"]["state"] == "open"
    pass_blocks(devchain)
    assert turn(large)["order"]["so_far"]["slices"] == 3
    assert large.run("audit", "reconcile").code == 0


def test_kill_9_in_the_second_slice__goes_on_with_what_is_left(
    large: Workspace, devchain: DevChain
) -> None:
    first = turn(large)["order"]
    pass_blocks(devchain)
    killed_run(large, "after", 2)  # at the execution, behind its approval
    pass_blocks(devchain)
    settled = turn(large)
    assert settled["recovered"][0]["transactions"][-1]["purpose"] == "execute"
    (done,) = [settled["order"]]
    assert done["order_id"] == first["order_id"]
    for _ in range(4):
        pass_blocks(devchain)
        if turn(large)["order"] is None or order(large)["state"] == "closed":
            break
    end = order(large)
    assert (end["state"], end["so_far"]["slices"]) == ("closed", 4)
    assert most(end) * 99 // 100 <= sold(end) <= most(end)
    assert large.run("audit", "reconcile").code == 0


def slices_done(place: Workspace) -> int:
    result: Result = place.run("order", "show", "--json")
    return int(result.json["so_far"]["slices"]) if result.code == 0 else 0


def wait_for(happened: Any) -> None:
    import time

    for _ in range(600):
        if happened():
            return
        time.sleep(0.1)
    pytest.fail("it never happened")
