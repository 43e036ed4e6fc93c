"""Watched wallets on a chain: their farm, rewards, lots and flows, all to the unit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode

from rebalancer.amm import value
from rebalancer.amm.attribution import attribute
from rebalancer.amm.fair import fair_value_e8
from rebalancer.amm.lots import total_shares
from rebalancer.config.networks import Network
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import ARBITRAGEUR, DEV_ACCOUNTS, MARKET_MAKER, TREASURY
from rebalancer.devchain.cheats import Call, call_of, mine_block, view
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.funding import deal
from rebalancer.devchain.market import move
from rebalancer.evm.abi import checksum
from rebalancer.model import Amount, Snapshot
from rebalancer.readers.chain import read_block
from rebalancer.readers.discovery import discover
from rebalancer.readers.flows import read_flows
from rebalancer.readers.history import LotReader
from rebalancer.readers.snapshot import read_snapshot
from scripts.compile_contracts import compile_contract

ROOT = Path(__file__).resolve().parents[2]
LP = "uniswap_v2:USDC/WETH"
COLD = DEV_ACCOUNTS[2]
NAMES = ("WETH", "USDC", "LINK", LP)


@pytest.fixture(scope="module")
def farm_code() -> str:
    return str(compile_contract(ROOT / "contracts" / "mocks" / "StakingFarm.vy")["bytecode"])


@pytest.fixture
def farm(devchain: DevChain, mainnet: Network, farm_code: str) -> str:
    """A farm of USDC/WETH that pays a thousandth of a LINK a second and has a million."""
    pair = mainnet.amms["uniswap_v2"].pair_address(m.USDC, m.WETH)
    link = mainnet.token("LINK")
    args = encode(["address", "address", "uint256"], [pair, link.address, 10**15]).hex()
    call = Call(None, farm_code + args, gas_limit=3_000_000)
    (receipt,) = mine_block(devchain.rpc, MARKET_MAKER, [call])
    address = checksum(receipt["contractAddress"])
    deal(devchain.rpc, Amount(link, 10**24), address)
    return address


def watching(mainnet: Network, farm: str, *watch: str, **lp: Any) -> ResolvedPortfolio:
    positions = [
        {"token": "WETH", "target": "50%"},
        {"token": "USDC", "target": "20%"},
        {"token": "LINK", "target": "10%"},
        {"lp": LP, "target": "20%", "staked_in": farm, **lp},
    ]
    spec = {"name": "w", "network": "mainnet", "wallet": TREASURY, "watch": watch}
    return resolve(Portfolio.model_validate({**spec, "positions": positions}), mainnet)


def stake(chain: DevChain, pair: str, farm: str, wallet: str, shares: int) -> None:
    approve = call_of(pair, "approve(address,uint256)", farm, shares)
    mine_block(chain.rpc, wallet, [approve, call_of(farm, "stake(uint256)", shares)])


def send(chain: DevChain, token: str, sender: str, to: str, raw: int) -> None:
    mine_block(chain.rpc, sender, [call_of(token, "transfer(address,uint256)", to, raw)])


def earned(chain: DevChain, farm: str, wallet: str) -> int:
    (owed,) = view(chain.rpc, farm, "earned(address)", ("uint256",), wallet)
    return int(owed)


def test_stakes_and_rewards_of_every_wallet_count(
    devchain: DevChain, mainnet: Network, farm: str
) -> None:
    resolved = watching(mainnet, farm, COLD)
    pair = resolved.lps[0].pair
    held = read_snapshot(devchain.rpc, resolved).holdings[0].shares
    send(devchain, pair, TREASURY, COLD, held // 3)
    stake(devchain, pair, farm, TREASURY, held // 5)
    stake(devchain, pair, farm, COLD, held // 4)
    devchain.rpc.call("anvil_mine", "0x7")
    snapshot = read_snapshot(devchain.rpc, resolved)
    (own,), (cold,) = snapshot.holdings, snapshot.watched[0].holdings
    assert (own.shares, own.staked) == (held - held // 3, held // 5)
    assert (cold.shares, cold.staked, cold.farm) == (held // 3, held // 4, farm)
    owed = {wallet: earned(devchain, farm, wallet) for wallet in (TREASURY, COLD)}
    assert own.reward is not None
    assert cold.reward is not None
    assert (own.reward.raw, cold.reward.raw) == (owed[TREASURY], owed[COLD])
    assert min(owed.values()) > 0
    # All of it is one position: shares at their fair price, and both rewards.
    (together,) = snapshot.whole().holdings
    assert (together.shares, together.staked) == (held, held // 5 + held // 4)
    state = snapshot.pair(pair)
    prices = snapshot.price(state.token0), snapshot.price(state.token1)
    link = snapshot.price(mainnet.token("LINK"))
    position = value(snapshot, resolved.targets).position(LP)
    assert position.lp is not None
    assert position.lp.reward_value_e8 == link.value_down(sum(owed.values()))
    fair = fair_value_e8(state, held, *prices)
    assert position.value_e8 == fair + position.lp.reward_value_e8


def test_farm_that_cannot_pay_all__pays_the_wallets_in_their_order(
    devchain: DevChain, mainnet: Network, farm: str
) -> None:
    resolved = watching(mainnet, farm, COLD)
    pair = resolved.lps[0].pair
    send(devchain, pair, TREASURY, COLD, 10**10)
    stake(devchain, pair, farm, TREASURY, 10**9)
    stake(devchain, pair, farm, COLD, 10**9)
    devchain.rpc.call("anvil_mine", "0x3")
    least = earned(devchain, farm, TREASURY)
    link = mainnet.token("LINK")
    left = view(devchain.rpc, link.address, "balanceOf(address)", ("uint256",), farm)[0]
    send(devchain, link.address, farm, ARBITRAGEUR, left - least - 5)
    snapshot = read_snapshot(devchain.rpc, resolved)
    rewards = [h.reward for s in snapshot.alone() for h in s.holdings]
    assert sum(reward.raw for reward in rewards if reward) == least + 5
    assert rewards[0] is not None
    assert rewards[0].raw == min(earned(devchain, farm, TREASURY), least + 5)


def test_farm_that_has_fewer_shares_than_the_wallets_together__is_not_believed(
    devchain: DevChain, mainnet: Network, farm: str
) -> None:
    """Each wallet's claim alone would be covered."""
    resolved = watching(mainnet, farm, COLD)
    pair = resolved.lps[0].pair
    send(devchain, pair, TREASURY, COLD, 10**9)
    for wallet in (TREASURY, COLD):
        stake(devchain, pair, farm, wallet, 10**9)
    send(devchain, pair, farm, ARBITRAGEUR, 1)
    snapshot = read_snapshot(devchain.rpc, resolved)
    assert (snapshot.holdings, snapshot.watched[0].holdings) == ((), ())
    (item,) = snapshot.held_out
    claim = f"says that it holds {2 * 10**9} shares for the wallets, and has {2 * 10**9 - 1}"
    assert claim in item.text


def with_lots(chain: DevChain, mainnet: Network, resolved: ResolvedPortfolio) -> Snapshot:
    """The snapshot with the lots of all wallets, as status has it."""
    snapshot = read_snapshot(chain.rpc, resolved)
    (lp,) = resolved.lps

    def lots(at: Snapshot) -> Any:
        reader = LotReader(chain.rpc, mainnet, at.wallet)
        return tuple(
            replace(h, lots=reader.lots(lp, h.shares, at.block)) if h.shares else h
            for h in at.holdings
        )

    own, *others = snapshot.alone()
    watched = tuple(
        replace(w, holdings=lots(at)) for w, at in zip(snapshot.watched, others, strict=True)
    )
    return replace(snapshot, holdings=lots(own), watched=watched)


def test_lots_of_every_wallet__are_those_of_the_position(
    devchain: DevChain, mainnet: Network, farm: str
) -> None:
    """What a watched wallet got from the treasury entered then; the rest when it was paid in."""
    resolved = watching(mainnet, farm, COLD, since_block=1)
    pair = resolved.lps[0].pair
    held = read_snapshot(devchain.rpc, resolved).holdings[0].shares
    move(devchain.rpc, mainnet, {"WETH": 100_000})
    send(devchain, pair, TREASURY, COLD, held // 3)
    sent = read_block(devchain.rpc).number
    stake(devchain, pair, farm, COLD, held // 4)
    snapshot = with_lots(devchain, mainnet, resolved)
    (together,) = snapshot.whole().holdings
    assert total_shares(together.lots) == together.shares == held
    assert [lot.how for lot in together.lots] == ["added", "received"]
    assert [lot.entry.block_number for lot in together.lots][1] == sent
    lp = value(snapshot, resolved.targets).position(LP).lp
    assert lp is not None
    assert lp.held_value_e8 is not None
    assert lp.il_e8 is not None
    assert lp.fees_e8 is not None
    fair = fair_value_e8(snapshot.pair(pair), held, *(snapshot.price(t) for t in (m.USDC, m.WETH)))
    assert lp.held_value_e8 + lp.il_e8 + lp.fees_e8 == fair
    # One wallet whose entry is not known: none is told for the whole.
    unknown = replace(snapshot.watched[0].holdings[0], lots=())
    less = replace(snapshot, watched=(replace(snapshot.watched[0], holdings=(unknown,)),))
    assert less.whole().holdings[0].lots == ()


def test_attribution_with_watched_wallets__adds_up_and_knows_what_is_none(
    devchain: DevChain, mainnet: Network, farm: str
) -> None:
    """Between the wallets, into the farm and out of it nothing moves; a claim is income."""
    resolved = watching(mainnet, farm, COLD)
    pair, link = resolved.lps[0].pair, mainnet.token("LINK")
    held = read_snapshot(devchain.rpc, resolved).holdings[0].shares
    send(devchain, pair, TREASURY, COLD, held // 2)
    stake(devchain, pair, farm, COLD, held // 4)
    before = read_snapshot(devchain.rpc, resolved)
    move(devchain.rpc, mainnet, {"WETH": -80_000, "LINK": 50_000})
    stake(devchain, pair, farm, TREASURY, held // 8)
    send(devchain, m.USDC.address, TREASURY, COLD, 10**9)
    mine_block(devchain.rpc, COLD, [call_of(farm, "exit()")])
    send(devchain, m.USDC.address, ARBITRAGEUR, COLD, 7 * 10**8)
    after = read_snapshot(devchain.rpc, resolved)
    flows = read_flows(devchain.rpc, after, NAMES, before.block)
    claimed = after.watched_balance(link) - before.watched_balance(link)
    assert claimed > 0
    assert [(f.kind, f.raw) for f in flows] == [("claim", claimed), ("deposit", 7 * 10**8)]
    found = attribute(before, after, NAMES, flows)
    assert found.nav_before_e8 == value(before, resolved.targets).nav_e8
    assert found.nav_after_e8 == value(after, resolved.targets).nav_e8
    assert found.nav.total == found.nav_after_e8 - found.nav_before_e8
    for change in found.positions:
        assert change.value.total == change.after_e8 - change.before_e8
        assert change.weight.total == change.after_ppm - change.before_ppm
    assert found.nav.deposits == after.price(m.USDC).value_down(7 * 10**8)
    assert found.nav.other == 0
    assert abs(found.nav.trades) <= 1  # the claim: from the farm to the wallet
    assert found.nav.fees > 0


def test_discovery__looks_into_every_wallet(
    devchain: DevChain, mainnet: Network, farm: str
) -> None:
    """The treasury holds all of DAI/WETH and of USDC/WETH; half of the latter is given away."""
    link = {"token": "LINK", "target": "100%"}
    spec = {"name": "w", "network": "mainnet", "wallet": ARBITRAGEUR, "watch": (COLD, TREASURY)}
    resolved = resolve(Portfolio.model_validate({**spec, "positions": [link]}), mainnet)
    listed = watching(mainnet, farm, COLD)
    pair = listed.lps[0].pair
    held = read_snapshot(devchain.rpc, listed).holdings[0].shares
    send(devchain, pair, TREASURY, COLD, held // 2)
    stake(devchain, pair, farm, COLD, held // 4)
    head = read_block(devchain.rpc)
    dai, usdc = discover(devchain.rpc, resolved, head)
    assert (dai.name, dai.wallets) == ("uniswap_v2:DAI/WETH", (TREASURY,))
    assert (usdc.name, usdc.wallets) == (LP, (COLD, TREASURY))
    assert usdc.shares == held - held // 4  # a farm takes the logs to find
    (_, usdc) = discover(devchain.rpc, resolved, head, since_block=1)
    assert (usdc.shares, usdc.staked, usdc.farm) == (held - held // 4, held // 4, farm)
    assert usdc.line is not None
    assert f'staked_in: "{farm}"' in usdc.line
