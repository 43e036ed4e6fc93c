"""``rebalancer doctor``: where things stand, and for each of them the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rebalancer.bundler.executor import EXECUTOR_ADDRESS, WALLET_EXECUTOR
from rebalancer.devchain.accounts import DEV_ACCOUNTS, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block
from rebalancer.devchain.mainnet import USDC, WETH
from rebalancer.devchain.market import move
from rebalancer.devchain.safes import install_safe
from rebalancer.keeper.lease import hold_lease

STRANGER = "0x00000000000000000000000000000000000000A1"


def check(place: Any, name: str) -> Any:
    """The check of this name; the doctor's exit code is that of the first failed one."""
    result = place.run("doctor", "--json")
    checks = result.json["checks"]
    failed = [found["exit_code"] for found in checks if found["exit_code"]]
    assert result.code == (failed[0] if failed else 0)
    (found,) = [found for found in checks if found["name"] == name]
    assert found["hint"] or not (found["exit_code"] or found["warning"]), "no way out"
    return found


def test_all_well__nothing_is_warned_of(workspace: Any) -> None:
    checks = workspace.run("doctor", "--json").json["checks"]

    assert not [found for found in checks if found["exit_code"] or found["warning"]]
    by_name = {found["name"]: found["detail"] for found in checks}
    assert by_name["delegation"] == "the wallet delegates to nobody"
    assert by_name["allowances"].startswith("none stands")
    assert by_name["lane"].startswith("public: sent to every endpoint; fees are raised every 3")
    assert by_name["nonce"].startswith("nothing is out; the next nonce of")
    assert by_name["mode"].endswith("no other mode would as things are")
    assert by_name["pause"] == "nothing is paused"
    assert by_name["planner"].startswith("greedy, which leaves uniswap_v2:USDC/WETH alone")


def test_pause__and_the_kill_switch(workspace: Any) -> None:
    assert workspace.run("pause", "--reason", "tax year").code == 0
    paused = check(workspace, "pause")
    assert (paused["exit_code"], "tax year" in paused["detail"]) == (8, True)
    assert "rebalancer resume" in paused["hint"]

    assert workspace.bare("pause", "--all", "--reason", "lunch").code == 0
    killed = check(workspace, "pause")
    assert "the kill switch is set: lunch" in killed["detail"]
    assert "resume --all" in killed["hint"]

    assert workspace.bare("resume", "--all").code == 0
    assert workspace.run("resume").code == 0
    assert check(workspace, "pause")["exit_code"] == 0


def test_nonce__transactions_of_somebody_else_are_pending(workspace: Any, devchain: Any) -> None:
    rpc = devchain.rpc
    rpc.call("evm_setAutomine", False)
    rpc.call("anvil_impersonateAccount", TREASURY)
    rpc.call("eth_sendTransaction", {"from": TREASURY, "to": TREASURY, "gas": hex(21_000)})

    found = check(workspace, "nonce")

    assert found["exit_code"] == 5
    assert "1 pending transactions" in found["detail"]
    assert "sending 0 ETH" in found["hint"]


def test_nonce__another_process_acts_for_the_wallet(workspace: Any, tmp_path: Path) -> None:
    (folder,) = (tmp_path / "state" / "rebalancer").glob("anvil-*")
    with hold_lease(folder, 1, TREASURY):
        found = check(workspace, "nonce")

    assert found["warning"]
    assert "another rebalancer acts" in found["detail"]


def test_delegation__foreign_and_own(workspace: Any, devchain: Any) -> None:
    devchain.rpc.call("anvil_setCode", TREASURY, "0xef0100" + STRANGER[2:])
    foreign = check(workspace, "delegation")
    assert foreign["warning"]
    assert STRANGER in foreign["detail"]
    assert "rebalancer revoke --execute" in foreign["hint"]

    devchain.rpc.call("anvil_setCode", TREASURY, "0xef0100" + WALLET_EXECUTOR.address[2:])
    own = check(workspace, "delegation")
    assert not own["warning"]
    assert "mode: allowance makes no use of it" in own["detail"]


def test_mode__that_does_not_work__names_one_that_does(workspace: Any) -> None:
    workspace.edit(workspace.portfolio, "approvals: exact", "mode: eip7702\napprovals: exact")

    mode = check(workspace, "mode")

    assert mode["exit_code"] == 5
    assert "rebalancer deploy --execute" in mode["hint"]
    assert "mode: allowance would work as things are" in mode["hint"]


def test_allowances__left_over__are_shown_to_the_unit(workspace: Any, devchain: Any) -> None:
    approve = "approve(address,uint256)"
    mine_block(
        devchain.rpc,
        TREASURY,
        [
            call_of(USDC.address, approve, EXECUTOR_ADDRESS, 1_234_567),
            call_of(WETH.address, approve, EXECUTOR_ADDRESS, 2**256 - 1),
        ],
    )

    found = check(workspace, "allowances")

    assert found["warning"]
    assert "1.234567 USDC" in found["detail"]
    assert "any amount of WETH" in found["detail"]
    assert f"approve 0 for {EXECUTOR_ADDRESS}" in found["hint"]


def test_allowances__never_made_here__names_the_tokens(workspace: Any) -> None:
    workspace.edit(workspace.portfolio, "approvals: exact", "approvals: never")

    found = check(workspace, "allowances")

    assert found["warning"]
    assert "approve WETH, WBTC, USDC for" in found["hint"]


def test_approvals__what_waits_and_what_holds(drifted: Any) -> None:
    drifted.edit(drifted.portfolio, "approvals: exact", "approvals: exact\napprove_above: 1000")
    assert "none was made yet" in check(drifted, "approvals")["detail"]
    waits = drifted.run("rebalance", "--execute", "--json")
    assert waits.json["awaits_approval"] is True
    assert "no approval holds" in check(drifted, "approvals")["detail"]
    plan_id = next(
        word
        for word in drifted.run("rebalance", "--execute").out.replace("`", " ").split()
        if len(word) == 64
    )

    assert drifted.run("approve", plan_id).code == 0

    found = check(drifted, "approvals")["detail"]
    assert f"plan {plan_id[:12]} is approved for another" in found


def test_order__that_is_open_or_stopped(workspace: Any, devchain: Any, mainnet: Any) -> None:
    assert check(workspace, "order")["detail"] == "no order is open"
    move(devchain.rpc, mainnet, {"WETH": 600_000})
    execution = "execution: {slices: 4, every_blocks: 5}\nsubmission: public"
    workspace.edit(workspace.portfolio, "submission: public", execution)
    assert workspace.run("rebalance", "--execute", "--no-wait").code == 0

    is_open = check(workspace, "order")
    assert workspace.run("order", "stop").code == 0
    stopped = check(workspace, "order")

    assert not is_open["warning"]
    assert "is open, 1 slice(s) so far" in is_open["detail"]
    assert stopped["warning"]
    assert "is stopped" in stopped["detail"]
    assert "rebalancer order resume" in stopped["hint"]


def test_order__that_would_end_before_its_last_slice(workspace: Any) -> None:
    execution = "execution: {slices: 4, every_blocks: 1, expires_blocks: 8}\nsubmission: public"
    workspace.edit(workspace.portfolio, "submission: public", execution)
    short = check(workspace, "order")
    assert short["warning"]
    assert "would end after 8 blocks, and 4 slices take 9 at least" in short["detail"]
    assert "leave expires away" in short["hint"]
    workspace.edit(workspace.portfolio, ", expires_blocks: 8", "")
    enough = check(workspace, "order")
    assert not enough["warning"]
    assert enough["detail"] == "no order is open; one would have 24 blocks for 4 slices"


@pytest.mark.parametrize(
    ("submission", "variable"),
    [("private", "REBALANCER_PRIVATE_TX_URL"), ("flashbots", "REBALANCER_RELAY_URL")],
)
def test_lane__that_lacks_its_part_of_the_environment(
    workspace: Any, submission: str, variable: str
) -> None:
    workspace.edit(workspace.portfolio, "submission: public", f"submission: {submission}")

    lane = check(workspace, "lane")

    assert lane["exit_code"] == 2
    assert variable in lane["hint"]


def test_safe__which_keys_are_at_hand(workspace: Any, devchain: Any) -> None:
    owners = [DEV_ACCOUNTS[1], STRANGER]
    install_safe(devchain.rpc, TREASURY, owners, 2, payer=DEV_ACCOUNTS[2])
    workspace.edit(workspace.portfolio, "approvals: exact", "mode: safe\napprovals: exact")

    found = check(workspace, "key")

    assert (found["exit_code"], found["warning"]) == (0, True)
    assert "asks for 2 of 2 owners (its nonce is 0), keys of 1 are at hand" in found["detail"]
    assert "REBALANCER_OWNER_KEYSTORES" in found["hint"]
    assert check(workspace, "mode")["detail"].endswith("no other mode would as things are")
    workspace.edit(workspace.portfolio, "mode: safe\n", "")
    contract = check(workspace, "mode")
    assert "is a contract, not an account with a key" in contract["detail"]
    assert "mode: safe would work as things are" in contract["hint"]
    workspace.edit(workspace.portfolio, "approvals: exact", "mode: safe\napprovals: exact")
    assert check(workspace, "delegation")["detail"] == "a contract delegates to nobody"
    assert DEV_ACCOUNTS[1] in check(workspace, "nonce")["detail"]
