"""A person in the loop: approvals, pauses and the kill switch, across processes and restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rebalancer.errors import Paused
from rebalancer.keeper.stop import kill_guard, release_all, stop_all

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Workspace

    from rebalancer.config.networks import Network
    from rebalancer.devchain.fork import DevChain

WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


def nonce(chain: DevChain) -> int:
    return int(chain.rpc.call("eth_getTransactionCount", WALLET, "pending"), 16)


@pytest.fixture
def careful(drifted: Workspace) -> Workspace:
    """Everything above 1,000 USD waits for a person."""
    drifted.edit(drifted.portfolio, "approvals: exact", "approve_above: 1000\napprovals: exact")
    return drifted


def waiting(place: Workspace) -> Any:
    """The plan that waits, after a cycle that was allowed to send and did not."""
    result = place.run("rebalance", "--execute", "--json")
    assert result.code == 0, result.err
    document = result.json
    assert (document["awaits_approval"], document["executed"]) == (True, False)
    return document


def plan_id_of(document: Any) -> str:
    return str(document["plan_id"])


def sell_weth(chain: DevChain, mainnet: Network) -> None:
    """Somebody sells 0.5 % of what the pair of the plan holds: its price falls by 1 %."""
    from rebalancer.amm.swap import get_amount_out
    from rebalancer.devchain.accounts import ARBITRAGEUR
    from rebalancer.devchain.cheats import call_of, mine_block, view
    from rebalancer.devchain.mainnet import USDC, WETH

    pair = mainnet.amms["uniswap_v2"].pair_address(USDC, WETH)
    usdc, ether, _ = view(chain.rpc, pair, "getReserves()", ["uint112", "uint112", "uint32"])
    weth = ether // 200
    bought = get_amount_out(weth, ether, usdc, 3_000)
    mine_block(
        chain.rpc,
        ARBITRAGEUR,
        [
            call_of(WETH.address, "transfer(address,uint256)", pair, weth),
            call_of(pair, "swap(uint256,uint256,address,bytes)", bought, 0, ARBITRAGEUR, b""),
        ],
    )


def test_a_large_plan_waits__and_goes_exactly_as_approved__once(
    careful: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    start = nonce(devchain)
    document = waiting(careful)
    assert nonce(devchain) == start
    approved = careful.run("approve", plan_id_of(document)[:12], "--for", "1d", "--json").json
    assert approved["plan_id"] == plan_id_of(document)

    devchain.rpc.call("anvil_mine", 20)  # far beyond the age that the plan itself may have
    done = careful.run("rebalance", "--execute", "--json")
    assert done.code == 0, done.err
    legs = document["plan"]["legs"]
    assert done.json["executed"] is True
    assert [leg["min_amount_out"] for leg in done.json["plan"]["legs"]] == [
        leg["min_amount_out"] for leg in legs
    ]
    for fill, leg in zip(done.json["fills"], legs, strict=True):
        assert fill["amount_in"] == leg["amount_in"]
        assert fill["amount_out"] >= leg["min_amount_out"]
    assert careful.run("audit", "reconcile").code == 0

    from rebalancer.devchain.market import move

    pass_time(devchain, 3_700)  # a rebalance an hour at most
    move(devchain.rpc, mainnet, {"WETH": -300_000})
    waiting(careful)


def pass_time(chain: DevChain, seconds: int) -> None:
    now = int(chain.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    chain.rpc.call("evm_setNextBlockTimestamp", now + seconds)
    chain.rpc.call("evm_mine")


def test_the_table_says_what_to_type(careful: Workspace) -> None:
    shown = careful.run("rebalance", "--execute").out
    document = waiting(careful)
    command = shown[shown.index("rebalancer approve ") :].split("`")[0]
    assert command.split() == ["rebalancer", "approve", plan_id_of(document)]
    assert "nothing is signed" in shown
    approved = careful.run("approve", plan_id_of(document)).out
    assert "approved until " in approved
    assert "for at least" in approved


def test_a_plan_that_is_only_shown__says_that_it_would_wait(careful: Workspace) -> None:
    says = "larger than approve_above, 1,000.00 USD: with --execute it waits"
    assert says in careful.run("plan").out
    assert says in careful.run("rebalance").err
    careful.edit(careful.portfolio, "approve_above: 1000", "approve_above: 10000000")
    assert "approve_above" not in careful.run("plan").out


def test_below_the_size__nobody_is_asked(drifted: Workspace, devchain: DevChain) -> None:
    drifted.edit(drifted.portfolio, "approvals: exact", "approve_above: 99000000\napprovals: exact")
    document = drifted.run("rebalance", "--execute", "--json").json
    assert (document["executed"], document["awaits_approval"]) == (True, False)


def test_an_approval_expires_by_the_chains_time(careful: Workspace, devchain: DevChain) -> None:
    document = waiting(careful)
    assert careful.run("approve", plan_id_of(document), "--for", "1m").code == 0
    start = nonce(devchain)
    pass_time(devchain, 61)
    waiting(careful)
    assert nonce(devchain) == start


def test_at_worse_prices_than_approved__nothing_is_signed(
    careful: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    document = waiting(careful)
    assert document["plan"]["legs"][0]["token_in"]["symbol"] == "WETH"
    assert careful.run("approve", plan_id_of(document)).code == 0
    start = nonce(devchain)
    sell_weth(devchain, mainnet)
    refused = careful.run("rebalance", "--execute")
    assert refused.code == 4, refused.out
    assert "approved are" in refused.err
    assert nonce(devchain) == start


@pytest.mark.parametrize("wrong", ["ff" * 32, "abc", "%%%%%%%%%%"])
def test_what_is_no_waiting_plan_cannot_be_approved(careful: Workspace, wrong: str) -> None:
    waiting(careful)
    refused = careful.run("approve", wrong)
    assert refused.code == 2
    assert "way out" in refused.err


def test_pause__holds_after_a_restart__until_resumed(
    drifted: Workspace, devchain: DevChain
) -> None:
    start = nonce(devchain)
    paused = drifted.run("pause", "--reason", "audit week", "--json").json
    assert (paused["paused"], paused["portfolio"]) == (True, "treasury")
    for verb in (["rebalance", "--execute"], ["keeper", "--once", "--execute"]):
        refused = drifted.run(*verb)
        assert refused.code == 8
        assert "audit week" in refused.err + refused.out
    assert drifted.run("rebalance").code == 0, "a dry run is always possible"
    assert nonce(devchain) == start
    assert drifted.run("resume").code == 0
    assert drifted.run("rebalance", "--execute", "--json").json["executed"] is True


def test_pause__what_is_out_is_still_followed(drifted: Workspace, devchain: DevChain) -> None:
    from test_crash import head, killed_run, swaps

    since, start = head(devchain) + 1, nonce(devchain)
    killed_run(drifted, "after", 2)
    assert drifted.run("pause").code == 0
    assert drifted.run("rebalance", "--execute").code == 8
    assert (swaps(devchain, since), nonce(devchain)) == (1, start + 2)
    assert drifted.run("audit", "reconcile").code == 0


def test_pause__what_was_not_sent_yet_stays_where_it_is(
    drifted: Workspace, devchain: DevChain
) -> None:
    from test_crash import head, killed_run, swaps

    since, start = head(devchain) + 1, nonce(devchain)
    killed_run(drifted, "before", 2)  # the approval is out, the execution is only stored
    assert drifted.run("pause").code == 0
    assert drifted.run("rebalance", "--execute").code == 8
    assert (swaps(devchain, since), nonce(devchain)) == (0, start + 1)
    assert drifted.run("resume").code == 0
    assert drifted.run("rebalance", "--execute").code == 0
    assert (swaps(devchain, since), nonce(devchain)) == (1, start + 2)


def test_kill_switch__stops_every_portfolio__until_released(
    drifted: Workspace, devchain: DevChain
) -> None:
    from test_crash import head, killed_run, swaps

    since, start = head(devchain) + 1, nonce(devchain)
    killed_run(drifted, "before", 2)  # the approval is out, the execution is not
    assert drifted.bare("pause", "--all", "--reason", "something is wrong").code == 0
    stopped = drifted.run("rebalance", "--execute")
    assert stopped.code == 8
    assert "something is wrong" in stopped.err
    assert (swaps(devchain, since), nonce(devchain)) == (0, start + 1), "it sent something"
    assert "but the kill switch is set: something is wrong" in drifted.run("resume").out
    assert drifted.bare("resume", "--all").out == "the kill switch is released\n"
    assert drifted.run("rebalance", "--execute").code == 0
    assert (swaps(devchain, since), nonce(devchain)) == (1, start + 2)


def test_kill_switch__is_looked_at_every_time(tmp_path: Path) -> None:
    guard = kill_guard(tmp_path)
    guard()
    path = stop_all(tmp_path, "now")
    with pytest.raises(Paused, match="now"):
        guard()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Paused, match="cannot be read"):
        guard()
    assert release_all(tmp_path)
    guard()
    assert not release_all(tmp_path)
