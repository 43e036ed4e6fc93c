"""Ether above a gas reserve as a user has it: counted, wrapped, traded, explained, reconciled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import ARBITRAGEUR, DEV_ACCOUNTS
from rebalancer.devchain.cheats import Call, call_of, mine_block

if TYPE_CHECKING:
    from conftest import Result, Workspace

    from rebalancer.devchain.fork import DevChain

#: An account that has ether and nothing else.
WALLET = DEV_ACCOUNTS[3]
ETHER = 10**18
RESERVE = ETHER // 2
PORTFOLIO = f"""
name: ether
network: mainnet
wallet: "{WALLET}"
gas_reserve: 0.5 ETH
positions:
  - {{token: WETH, target: 50%}}
  - {{token: USDC, target: 30%}}
  - {{token: WBTC, target: 20%}}
"""


class User:
    """A second portfolio in the workspace's folder: that of ``WALLET``."""

    def __init__(self, workspace: Workspace, chain: DevChain, ether: int) -> None:
        self.chain = chain
        self._workspace = workspace
        self._path: Path = workspace.folder / "ether.yaml"
        self._path.write_text(PORTFOLIO)
        self.give(ether)

    def run(self, *args: str) -> Result:
        where = ("-p", str(self._path), "--rpc-url", self._workspace.rpc_url)
        return self._workspace.bare(*args, *where)

    def configure(self, *lines: str, instead_of: str = "") -> None:
        """More lines of the portfolio file, or others."""
        self._path.write_text(PORTFOLIO.replace(instead_of, "") + "\n".join(lines) + "\n")

    def give(self, wei: int) -> None:
        self.chain.rpc.call("anvil_setBalance", WALLET, hex(wei))
        self.chain.rpc.call("evm_mine")

    def wrap(self, wei: int) -> None:
        """By hand, as any wallet does."""
        mine_block(self.chain.rpc, WALLET, [call_of(m.WETH.address, "deposit()", value_wei=wei)])

    @property
    def native_wei(self) -> int:
        return int(self.chain.rpc.call("eth_getBalance", WALLET, "latest"), 16)

    @property
    def head(self) -> int:
        return int(self.chain.rpc.call("eth_blockNumber"), 16)


@pytest.fixture
def user(workspace: Workspace, devchain: DevChain) -> User:
    return User(workspace, devchain, 20 * ETHER + RESERVE)


def gas_of(done: dict[str, Any]) -> int:
    return sum(t["gas_used"] * t["effective_gas_price_wei"] for t in done["transactions"])


def parts_add_up(why: dict[str, Any]) -> None:
    parts = ("price", "composition", "fees", "deposits", "trades", "other", "gas")
    for change in why["positions"]:
        for of in ("value", "weight"):
            unit = "e8" if of == "value" else "ppm"
            total = sum(change[of].get(part, 0) for part in parts)
            assert change[f"after_{unit}"] - change[f"before_{unit}"] == total
    nav = sum(why["nav"].get(part, 0) for part in parts)
    assert why["nav_after_e8"] - why["nav_before_e8"] == nav


def test_only_ether__is_wrapped_traded_and_reconciled_to_the_wei(user: User) -> None:
    status = user.run("status", "--json").json
    assert status["nav_e8"] == 60_000 * 10**8
    assert status["native"] == {
        "wei": 20 * ETHER + RESERVE,
        "value_e8": 1_500 * 10**8,
        "reserve_wei": RESERVE,
        "surplus_wei": 20 * ETHER,
        "surplus_value_e8": 60_000 * 10**8,
        "counts_as": "WETH",
    }
    table = user.run("status").out
    assert "native above the gas reserve 20.000000 ETH (60,000.00, counts as WETH)" in table
    assert "gas purse 0.500000 ETH (1,500.00, not part of NAV)" in table

    before, start = user.native_wei, user.head
    done = user.run("rebalance", "--execute", "--json").json
    assert done["executed"]
    wrap, *swaps = done["plan"]["legs"]
    assert wrap["kind"] == "wrap"
    sold = sum(leg["amount_in"] for leg in swaps if leg["token_in"]["symbol"] == "WETH")
    assert wrap["amount"] == sold
    # What the pools took is what they were to take; the gas stands beside it.
    costs, nav = done["plan"]["costs"], done["nav"]
    planned = costs["fee_e8"] + costs["impact_e8"] + costs["off_oracle_e8"]
    assert abs(nav["cost_e8"] - planned) <= 1
    assert nav["before_e8"] - nav["after_e8"] == nav["cost_e8"] + nav["gas_e8"]
    # To the wei: what was wrapped and what the gas cost, and no WETH is left over.
    assert user.native_wei == before - sold - gas_of(done)
    after = user.run("status", "--json").json
    assert next(b["raw"] for b in after["balances"] if b["token"]["symbol"] == "WETH") == 0
    assert after["native"]["surplus_wei"] == user.native_wei - RESERVE
    assert abs(next(p for p in after["positions"] if p["name"] == "WETH")["drift_ppm"]) < 500
    reconciled = user.run("audit", "reconcile", "--json")
    assert (reconciled.code, reconciled.json["findings"]) == (0, [])
    assert user.run("rebalance", "--json").json["decision"] == "hold"

    # Why it moved across the rebalance: trades, and the gas by itself.
    why = user.run("status", "--since", str(start), "--json").json["attribution"]
    parts_add_up(why)
    gas_e8 = -(-gas_of(done) * 3_000 * 10**8 // ETHER)
    assert why["nav"]["gas"] in (-gas_e8, 1 - gas_e8)
    assert why["nav"]["trades"] < 0
    assert why["nav"]["deposits"] == why["nav"]["other"] == why["nav"]["price"] == 0
    assert "gas" in user.run("status", "--since", str(start)).out

    # Ether that comes in is money that came in, less the gas that the rebalance has cost.
    user.give(user.native_wei + ETHER)
    circumstances = user.run("plan", "--json").json["inputs"]["circumstances"]
    ((came, raw),) = [(d["token"]["symbol"], d["raw"]) for d in circumstances["deposits"]]
    assert (came, raw) == ("WETH", ETHER - gas_of(done))


def test_ether_that_comes__is_a_deposit_and_what_is_wrapped_by_hand_is_none(user: User) -> None:
    start = user.head
    chain = user.chain
    mine_block(chain.rpc, ARBITRAGEUR, [Call(WALLET, "0x", 3 * ETHER)])
    paid = user.native_wei
    user.wrap(2 * ETHER)
    gas = paid - 2 * ETHER - user.native_wei
    why = user.run("status", "--since", str(start), "--json").json["attribution"]
    parts_add_up(why)
    assert why["nav"]["deposits"] == 9_000 * 10**8
    assert why["nav"]["trades"] == why["nav"]["other"] == 0
    assert -why["nav"]["gas"] in (gas * 3_000 * 10**8 // ETHER, gas * 3_000 * 10**8 // ETHER + 1)


def test_reserve_that_is_short__is_filled_by_the_plan_and_said(user: User) -> None:
    user.wrap(20 * ETHER)
    user.give(RESERVE // 5)
    assert "gas reserve short of 0.400000 ETH" in user.run("status").out
    done = user.run("rebalance", "--execute", "--json").json
    assert done["executed"]
    assert done["plan"]["legs"][-1]["kind"] == "unwrap"
    assert done["plan"]["legs"][-1]["amount"] == RESERVE - RESERVE // 5
    assert user.native_wei == RESERVE - gas_of(done)
    costs, nav = done["plan"]["costs"], done["nav"]
    planned = costs["fee_e8"] + costs["impact_e8"] + costs["off_oracle_e8"]
    assert nav["cost_e8"] == planned
    text = "0.4 WETH are unwrapped to fill up the gas reserve of 0.5 ETH"
    assert text in [limit["text"] for limit in done["limits"]]
    assert user.run("audit", "reconcile").code == 0


def test_delegated_wallet__wraps_its_own_ether(user: User) -> None:
    user.configure("mode: eip7702")
    assert user.run("deploy", "--execute").code == 0
    assert user.run("delegate", "--execute").code == 0
    before = user.native_wei
    done = user.run("rebalance", "--execute", "--json").json
    assert done["plan"]["legs"][0]["kind"] == "wrap"
    assert user.native_wei == before - done["plan"]["legs"][0]["amount"] - gas_of(done)
    assert user.run("audit", "reconcile").code == 0


def test_in_slices__each_wraps_its_own_part(user: User) -> None:
    """What the order has sold of WETH is what its slices wrapped: nothing counts twice."""
    user.configure("policy: {max_impact: 0.02%}", "execution: {slices: 2, every: 1s, expires: 1h}")
    last = user.run("rebalance", "--execute", "--json").json
    wrap = last["plan"]["legs"][0]
    order = user.run("order", "show", "--json").json
    sold = [amount for one in order["slices"] for amount in one["sold"]]
    assert [amount["token"]["symbol"] for amount in sold] == ["WETH", "WETH"]
    assert (wrap["kind"], wrap["amount"]) == ("wrap", sold[-1]["raw"])
    assert sum(amount["raw"] for amount in sold) <= order["order"]["sells"][0]["raw"]
    assert order["note"] == "Sold in 2 slices"
    after = user.run("status", "--json").json
    assert next(b["raw"] for b in after["balances"] if b["token"]["symbol"] == "WETH") == 0
    assert user.run("audit", "reconcile").code == 0


def test_doctor__tells_the_reserve_and_one_that_pays_for_nothing(user: User) -> None:
    def purse() -> dict[str, Any]:
        checks = user.run("doctor", "--json").json["checks"]
        return next(check for check in checks if check["name"] == "gas purse")

    assert purse()["detail"].endswith("; above gas_reserve, 0.5 ETH, it counts as WETH")
    assert not purse()["warning"]
    user.configure("gas_reserve: 0.0001 ETH", instead_of="gas_reserve: 0.5 ETH")
    found = purse()
    assert (found["exit_code"], found["warning"]) == (0, True)
    assert "gas_reserve keeps 0.0001 ETH: what is above may be traded away" in found["detail"]
