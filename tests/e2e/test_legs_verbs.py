"""Liquidity through the verbs: planned, told in words, approved, executed and audited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.config.networks import Network
    from rebalancer.devchain.fork import DevChain

LP = "uniswap_v2:USDC/WETH"


@pytest.fixture
def leaving(workspace: Workspace) -> Workspace:
    """The LP position is to shrink from a fifth to a twentieth, in favour of WBTC."""
    book = workspace.portfolio
    old = '{lp: "uniswap_v2:WETH/USDC", target: 20%}'
    workspace.edit(book, old, old.replace("20%", "5%"))
    workspace.edit(book, "{token: WBTC, target: 20%}", "{token: WBTC, target: 35%}")
    workspace.edit(book, "policy:\n", "policy:\n  planner: optimal\n")
    return workspace


def trade_on_the_pool(chain: DevChain, mainnet: Network) -> None:
    """Somebody swaps 10 ether there: what shares are redeemed for is other than before."""
    from rebalancer.amm.swap import get_amount_out
    from rebalancer.devchain.accounts import ARBITRAGEUR
    from rebalancer.devchain.cheats import call_of, mine_block, view
    from rebalancer.devchain.mainnet import USDC, WETH

    pair = mainnet.amms["uniswap_v2"].pair_address(USDC, WETH)
    usdc, ether, _ = view(chain.rpc, pair, "getReserves()", ["uint112", "uint112", "uint32"])
    bought = get_amount_out(10**19, ether, usdc, 3_000)
    swap = call_of(pair, "swap(uint256,uint256,address,bytes)", bought, 0, ARBITRAGEUR, b"")
    pay = call_of(WETH.address, "transfer(address,uint256)", pair, 10**19)
    mine_block(chain.rpc, ARBITRAGEUR, [pay, swap])


def kinds(legs: Any) -> list[str]:
    """The kind of each leg of a plan's document; swaps say none."""
    return [leg.get("kind", "swap") for leg in legs]


def test_lp_position_shrinks__in_words_to_the_wei_and_reconciled(
    leaving: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    leaving.edit(leaving.portfolio, "approvals: exact", "approve_above: 1000\napprovals: exact")
    waits = leaving.run("rebalance", "--execute", "--json").json
    assert waits["awaits_approval"]
    assert "remove" in kinds(waits["plan"]["legs"])
    words = waits["legs_in_words"]
    (removal,) = (text for text in words if text.startswith("remove"))
    assert f" shares of {LP} for " in removal
    assert removal.endswith(" WETH")

    approved = leaving.run("approve", waits["plan_id"])
    assert f" shares of {LP} for at least " in approved.out
    trade_on_the_pool(devchain, mainnet)
    done = leaving.run("rebalance", "--execute")

    assert done.code == 0, done.err
    assert LP in done.out
    assert "equal to the wei" in done.out
    assert leaving.run("audit", "reconcile", "--json").json["ok"]
    (audited,) = leaving.run("audit", "gas", "--json").json["rebalances"]
    assert "removals" in {line["component"] for line in audited["lines"]}
    status = leaving.run("status", "--json").json
    (position,) = (p for p in status["positions"] if p["name"] == LP)
    assert abs(position["weight_ppm"] - 50_000) < 5_000
