"""Nobody can lie to it: flash swaps, lying and silent price sources, unreadable tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from rebalancer.amm.swap import get_amount_out
from rebalancer.devchain.accounts import ARBITRAGEUR, MARKET_MAKER, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block, view, word
from rebalancer.evm.abi import checksum
from rebalancer.model import E8, PPM
from rebalancer.readers.proxies import EIP1967_SLOT, ZEPPELINOS_SLOT
from scripts.compile_contracts import CONTRACTS, compile_contract

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.config.networks import Network
    from rebalancer.devchain.fork import DevChain

LP = "uniswap_v2:USDC/WETH"
FEED = "decimals: 18, feed: ETH/USD}"
#: Chainlink, an average of the pool that the portfolio is in, and the spot price of another one.
QUORUM = """decimals: 18, price: {
      sources: [
        {feed: ETH/USD},
        [{twap: "uniswap_v2:WETH/USDC", window: 20m}, {feed: USDC/USD}],
        [{spot: "uniswap_v2:WETH/USDT"}, {feed: USDT/USD}]],
      quorum: 2, max_deviation: 1%}}"""


@pytest.fixture(scope="module")
def flash_swapper() -> str:
    """Runtime code of contracts/mocks/FlashSwapper.vy."""
    return str(compile_contract(CONTRACTS / "mocks" / "FlashSwapper.vy")["runtime"])


@pytest.fixture
def flash(devchain: DevChain, mainnet: Network, flash_swapper: str) -> Callable[..., int]:
    """Flash-swaps a share of the pool's reserve away, paying what the pair asks for it."""
    trader = checksum("0x" + "f1" * 20)
    devchain.rpc.call("anvil_setCode", trader, flash_swapper)

    def swap(paid: str, times_reserve_ppm: int) -> int:
        """Pay this multiple of the reserve of ``paid``; returns the fee in its units."""
        weth, usdc = mainnet.token("WETH"), mainnet.token("USDC")
        pair = mainnet.amms["uniswap_v2"].pair_address(weth, usdc)
        types = ("uint112", "uint112", "uint32")
        r_usdc, r_weth, _ = view(devchain.rpc, pair, "getReserves()", types)
        sold = weth if paid == "WETH" else usdc
        reserve_in, reserve_out = (r_weth, r_usdc) if sold == weth else (r_usdc, r_weth)
        amount_in = reserve_in * times_reserve_ppm // PPM
        amount_out = get_amount_out(amount_in, reserve_in, reserve_out, 3_000)
        outs = (amount_out, 0) if sold == weth else (0, amount_out)
        pay = call_of(sold.address, "transfer(address,uint256)", trader, amount_in)
        signature = "trade(address,uint256,uint256,address,uint256)"
        trade = call_of(trader, signature, pair, *outs, sold.address, amount_in)
        mine_block(devchain.rpc, ARBITRAGEUR, [pay, trade])
        return amount_in * 3 // 1_000

    return swap


def lp_of(document: Any) -> tuple[int, int]:
    """Fair and spot value of the LP position."""
    position = next(p for p in document["positions"] if p["name"] == LP)
    return position["value_e8"], position["lp"]["spot_value_e8"]


@pytest.mark.parametrize(
    ("paid", "times_ppm", "oracle_e8", "decimals", "moved"),
    [
        # Paying 2.17 times the WETH there divides its price in USDC by ten: down by 90 %.
        ("WETH", 2_170_000, 3_000 * E8, 18, (98_000, 102_000)),
        # Paying 2.17 times the USDC there multiplies it by ten: WETH in it is down by 90 %.
        ("USDC", 2_170_000, E8, 6, (9_800_000, 10_200_000)),
    ],
)
def test_a_flash_swap_that_moves_spot_by_90_percent(
    workspace: Workspace,
    devchain: DevChain,
    flash: Callable[..., int],
    paid: str,
    times_ppm: int,
    oracle_e8: int,
    decimals: int,
    moved: tuple[int, int],
) -> None:
    """The fair value moves by no more than our part of the fees it paid, and never down."""
    before = workspace.run("status", "--json").json
    assert before["alarms"] == []
    fee = flash(paid, times_ppm)
    after = workspace.run("status", "--json").json
    (fair_before, spot_before), (fair, spot) = lp_of(before), lp_of(after)
    fees_e8 = fee * oracle_e8 // 10**decimals
    assert 0 <= fair - fair_before <= fees_e8
    # Our part of the pool is less than all of it, and so is what we gain.
    pool_e8 = 120_000_000 * E8
    assert fair - fair_before <= fees_e8 * fair_before // pool_e8 + 1
    # Meanwhile what burning would pay, at the oracle's prices, is worth half as much again.
    assert spot_before - fair_before <= fair_before // 1_000
    assert spot > fair * 3 // 2
    assert spot_price_ppm(devchain, workspace) in range(*moved)

    (alarm,) = after["alarms"]
    assert alarm.startswith(f"the pool of {LP} is ")
    assert "off the oracle" in alarm
    table = workspace.run("status").out
    assert "alarm: the pool of uniswap_v2:USDC/WETH is " in " ".join(table.split())
    # The planner sees it too: that pool is not used.
    plan = workspace.run("plan", "--json").json
    legs = plan.get("plan", {}).get("legs", [])
    assert all(leg["pair"] != pair_of(before) for leg in legs)


def pair_of(document: Any) -> str:
    return str(next(p for p in document["positions"] if p["name"] == LP)["lp"]["pair"])


def spot_price_ppm(chain: DevChain, workspace: Workspace) -> int:
    """The pool's price of WETH, in parts per million of the 3,000 that it began with."""
    pair = pair_of(workspace.run("status", "--json").json)
    r_usdc, r_weth, _ = view(chain.rpc, pair, "getReserves()", ("uint112", "uint112", "uint32"))
    return int(r_usdc * 10**12 * PPM // (r_weth * 3_000))


@pytest.fixture
def quorum(workspace: Workspace, devchain: DevChain) -> Workspace:
    """WETH by three sources, half an hour into the pools' life."""
    workspace.edit(workspace.networks, FEED, QUORUM)
    devchain.rpc.call("anvil_mine", hex(150), hex(12))
    return workspace


def weth_price(document: Any) -> Any:
    return next(p for p in document["prices"] if p["token"]["symbol"] == "WETH")


def set_feed(chain: DevChain, network: Network, name: str, answer: int) -> None:
    mine_block(
        chain.rpc,
        MARKET_MAKER,
        [call_of(network.feeds[name].address, "set_answer(int256)", answer)],
    )


def test_three_sources__each_with_its_block_and_age(quorum: Workspace) -> None:
    document = quorum.run("status", "--json").json
    assert document["alarms"] == []
    price = weth_price(document)
    assert price["source"] == "chainlink ETH/USD"
    now = document["block"]["number"]
    assert [(q["source"], q["agrees"], q["block_number"]) for q in price["quotes"]] == [
        ("chainlink ETH/USD", True, now),
        ("twap of 1200 s on uniswap_v2:WETH/USDC x chainlink USDC/USD", True, now - 100),
        ("spot uniswap_v2:WETH/USDT x chainlink USDT/USD", True, now),
    ]
    table = quorum.run("status").out
    assert "3 of 3" in table
    assert "twap of 1200 s on uniswap_v2:WETH/USDC" in table


def lie_chainlink(chain: DevChain, network: Network, flash: Callable[..., int]) -> None:
    set_feed(chain, network, "ETH/USD", 9_000 * E8)


def lie_spot(chain: DevChain, network: Network, flash: Callable[..., int]) -> None:
    weth, usdt = network.token("WETH"), network.token("USDT")
    pair = network.amms["uniswap_v2"].pair_address(weth, usdt)
    pay = call_of(weth.address, "transfer(address,uint256)", pair, 16_000 * 10**18)
    out = get_amount_out(16_000 * 10**18, 16_000 * 10**18, 48_000_000 * 10**6, 3_000)
    swap = call_of(pair, "swap(uint256,uint256,address,bytes)", 0, out, ARBITRAGEUR, b"")
    mine_block(chain.rpc, ARBITRAGEUR, [pay, swap])


def lie_twap(chain: DevChain, network: Network, flash: Callable[..., int]) -> None:
    """Who holds a pool off the market for a third of the window moves its average."""
    flash("WETH", 2_170_000)
    chain.rpc.call("anvil_mine", hex(40), hex(12))


def silence_chainlink(chain: DevChain, network: Network, flash: Callable[..., int]) -> None:
    chain.rpc.call("anvil_setCode", network.feeds["ETH/USD"].address, "0xfe")
    chain.rpc.call("evm_mine")


@pytest.mark.parametrize(
    ("lie", "liar", "taken"),
    [
        (lie_chainlink, "chainlink ETH/USD", "twap of 1200 s"),
        (lie_twap, "twap of 1200 s", "chainlink ETH/USD"),
        (lie_spot, "spot uniswap_v2:WETH/USDT", "chainlink ETH/USD"),
    ],
)
def test_one_lying_source_of_three__the_price_stands(
    quorum: Workspace,
    devchain: DevChain,
    mainnet: Network,
    flash: Callable[..., int],
    lie: Callable[..., None],
    liar: str,
    taken: str,
) -> None:
    lie(devchain, mainnet, flash)
    document = quorum.run("status", "--json").json
    price = weth_price(document)
    whole_e8 = price["numerator"] * 10**18 // price["denominator"]
    assert abs(whole_e8 - 3_000 * E8) <= E8
    assert price["source"].startswith(taken)
    assert [q["source"].split(" x ")[0] for q in price["quotes"] if not q["agrees"]] == [
        next(q["source"].split(" x ")[0] for q in price["quotes"] if q["source"].startswith(liar))
    ]
    told = f"a source of WETH's price is contradicted by the others: {liar}"
    assert any(alarm.startswith(told) for alarm in document["alarms"])
    assert quorum.run("plan", "--json").code == 0


def test_one_silent_source_of_three__the_price_stands_and_it_is_told(
    quorum: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    """The native currency needs the feed for the price of gas, so it too has other sources."""
    native = "native: {symbol: ETH, feed: ETH/USD}"
    quorum.edit(
        quorum.networks,
        native,
        "native: {symbol: ETH, price: {sources: [{feed: ETH/USD}, "
        '[{spot: "uniswap_v2:WETH/USDT"}, {feed: USDT/USD}]]}}',
    )
    silence_chainlink(devchain, mainnet, lambda *_: 0)
    document = quorum.run("status", "--json").json
    assert weth_price(document)["source"].startswith("twap of 1200 s")
    told = "a source of WETH's price is silent: chainlink ETH/USD: feed ETH/USD at "
    assert any(alarm.startswith(told) for alarm in document["alarms"])


@pytest.mark.parametrize("verb", ["status", "plan", "rebalance"])
def test_no_two_sources_agree__nothing_is_traded__and_the_numbers_are_told(
    quorum: Workspace, devchain: DevChain, mainnet: Network, verb: str
) -> None:
    lie_chainlink(devchain, mainnet, lambda *_: 0)
    lie_spot(devchain, mainnet, lambda *_: 0)
    result = quorum.run(verb, *(["--execute"] if verb == "rebalance" else []))
    assert result.code == 3
    said = " ".join(result.err.split())
    assert "the sources of WETH's price do not agree: chainlink ETH/USD: 9,000.00000000, " in said
    assert "twap of 1200 s on uniswap_v2:WETH/USDC x chainlink USDC/USD: 3,000.0" in said
    assert "spot uniswap_v2:WETH/USDT x chainlink USDT/USD: 75" in said
    assert "2 of 3 must be within 1.00 % of their median" in said


def test_an_unreadable_token__is_told__and_nothing_is_traded(
    drifted: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    assert drifted.run("plan", "--json").json["decision"] == "rebalance"
    whole = drifted.run("status", "--json").json
    wbtc = mainnet.tokens["WBTC"].address
    devchain.rpc.call("anvil_setCode", wbtc, "0x5b600056")  # burns all gas
    devchain.rpc.call("evm_mine")
    document = drifted.run("status", "--json").json
    assert document["unread"] == ["WBTC"]
    value = {p["name"]: p["value_e8"] for p in document["positions"]}
    before = {p["name"]: p["value_e8"] for p in whole["positions"]}
    assert value == {**before, "WBTC": 0}
    assert document["alarms"] == [
        f"the NAV is without WBTC, and nothing is traded: token WBTC at {wbtc} cannot be read: "
        "balanceOf() reverts"
    ]
    table = " ".join(drifted.run("status").out.split())
    assert "USD without WBTC" in table
    assert "WBTC unreadable" in table
    plan = drifted.run("plan", "--json").json
    assert plan["decision"] == "hold"
    assert [reason["code"] for reason in plan["reasons"]] == ["unreadable"]
    assert drifted.run("rebalance", "--execute", "--json").json["decision"] == "hold"


def test_a_token_that_begins_to_keep_a_fee__is_held_out_and_the_rest_is_traded(
    drifted: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    """UNI becomes what PAXG can become: the same balances behind code that charges 1 %."""
    uni, weth = mainnet.token("UNI"), mainnet.token("WETH")
    drifted.edit(drifted.portfolio, "{token: WBTC, target: 20%}", "{token: UNI, target: 20%}")
    gift = call_of(uni.address, "transfer(address,uint256)", TREASURY, 10_000 * 10**18)
    mine_block(devchain.rpc, ARBITRAGEUR, [gift])
    assert "UNI" in traded(drifted.run("plan", "--json").json)

    pool = mainnet.amms["uniswap_v2"].pair_address(uni, weth)
    balances = [
        (holder, view(devchain.rpc, uni.address, "balanceOf(address)", ("uint256",), holder)[0])
        for holder in (TREASURY, pool)
    ]
    code = compile_contract(CONTRACTS / "mocks" / "FeeOnTransferToken.vy")["runtime"]
    devchain.rpc.call("anvil_setCode", uni.address, code)
    mints = [call_of(uni.address, "mint(address,uint256)", *balance) for balance in balances]
    mine_block(devchain.rpc, MARKET_MAKER, mints)

    fee = "UNI keeps a fee of 1.0000 % of what is transferred"
    document = drifted.run("status", "--json").json
    assert [(item["name"], item["text"]) for item in document["held_out"]] == [("UNI", fee)]
    assert document["alarms"] == [f"UNI is held out of every trade: {fee}"]
    assert next(p for p in document["positions"] if p["name"] == "UNI")["value_e8"] > 0

    plan = drifted.run("plan", "--json").json
    assert traded(plan) == {"WETH", "USDC"}
    assert f"UNI is held out of every trade: {fee}" in {limit["text"] for limit in plan["limits"]}
    assert " ".join(fee.split()) in " ".join(drifted.run("plan").out.split())


def traded(plan: Any) -> set[str]:
    assert plan["decision"] == "rebalance", plan
    legs = plan["plan"]["legs"]
    return {leg[side]["symbol"] for leg in legs for side in ("token_in", "token_out")}


def test_a_proxy_with_other_code_than_at_the_last_decision__is_told(
    workspace: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    usdc = mainnet.tokens["USDC"].address
    old, new = (checksum("0x" + digits * 20) for digits in ("0a", "0b"))
    devchain.rpc.call("anvil_setStorageAt", usdc, ZEPPELINOS_SLOT, word(old))
    devchain.rpc.call("evm_mine")
    first = workspace.run("status", "--json").json
    assert [proxy["implementation"] for proxy in first["proxies"]] == [old]
    assert first["alarms"] == []  # nothing is remembered yet
    assert workspace.run("rebalance").code == 0
    devchain.rpc.call("evm_mine")
    assert workspace.run("status", "--json").json["alarms"] == []

    block = first["block"]["number"]
    devchain.rpc.call("anvil_setStorageAt", usdc, ZEPPELINOS_SLOT, word(new))
    devchain.rpc.call("evm_mine")
    told = f"the code of USDC was exchanged since block {block}: it was {old}, it is {new}"
    assert workspace.run("status", "--json").json["alarms"] == [told]
    keeper = workspace.run("keeper", "--once", "--json")
    assert keeper.json["exchanged"] == [told]
    # It has been told, and the decision that was made on it is remembered.
    devchain.rpc.call("evm_mine")
    assert workspace.run("status", "--json").json["alarms"] == []


def test_doctor__tells_what_the_tokens_are(
    workspace: Workspace, devchain: DevChain, mainnet: Network
) -> None:
    def tokens() -> Any:
        checks = workspace.run("doctor", "--json").json["checks"]
        return next(check for check in checks if check["name"] == "tokens")

    well = tokens()
    assert (well["exit_code"], well["warning"]) == (0, False)
    assert well["detail"] == "WBTC, USDC, WETH"
    code = checksum("0x" + "0c" * 20)
    devchain.rpc.call(
        "anvil_setStorageAt", mainnet.tokens["USDC"].address, EIP1967_SLOT, word(code)
    )
    devchain.rpc.call("evm_mine")
    assert f"USDC (code at {code}, exchangeable)" in tokens()["detail"]

    wbtc = mainnet.tokens["WBTC"].address
    devchain.rpc.call("anvil_setCode", wbtc, "0xfe")
    devchain.rpc.call("evm_mine")
    ill = tokens()
    assert ill["exit_code"] == 3
    assert ill["detail"] == f"token WBTC at {wbtc} cannot be read: balanceOf() reverts"
    assert "nothing is traded while WBTC cannot be valued" in ill["hint"]
