"""What tokens do when they move: official pairs, mock tokens, and mainnet's own bytecode."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rebalancer.config.networks import Network, TokenSpec
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.config.pricing import PricePart, PriceSpec
from rebalancer.devchain.accounts import MARKET_MAKER, TREASURY
from rebalancer.devchain.cheats import call_of, mapping_slot, mine_block, runtime_of, view, word
from rebalancer.devchain.fork import DevChain, open_fork
from rebalancer.evm.abi import checksum
from rebalancer.model import HeldOut, Proxy, Token
from rebalancer.readers.chain import read_block
from rebalancer.readers.inspect import inspect
from rebalancer.readers.metadata import Metadata, read_metadata
from rebalancer.readers.proxies import EIP1967_SLOT, ZEPPELINOS_SLOT, read_proxies
from rebalancer.readers.snapshot import read_snapshot
from rebalancer.readers.transfers import Trial, try_transfers
from scripts.compile_contracts import CONTRACTS, compile_contract

AT = checksum("0x" + "0d" * 20)
RAW = 10**24
DOLLAR = PriceSpec(sources=((PricePart.model_validate({"fixed": 1}),),))


@dataclass(frozen=True)
class World:
    """A chain with a token ODD at ``AT`` and a pool of it with WETH."""

    chain: DevChain
    network: Network
    portfolio: ResolvedPortfolio
    pair: str

    def inspected(self) -> tuple[HeldOut, ...]:
        return inspect(self.chain.rpc, read_snapshot(self.chain.rpc, self.portfolio)).held_out


Fund = Callable[[str, int], Any]


@pytest.fixture
def world_of(devchain: DevChain, mainnet: Network) -> Callable[..., World]:
    """Makes a world of a token whose code is at AT, given a way to fund an address with it."""

    def make(fund: Fund, decimals: int = 18) -> World:
        odd = TokenSpec(address=AT, decimals=decimals, price=DOLLAR)
        network = mainnet.model_copy(update={"tokens": {**mainnet.tokens, "ODD": odd}})
        weth, token = network.token("WETH"), network.token("ODD")
        factory = network.amms["uniswap_v2"].factory
        pair = network.amms["uniswap_v2"].pair_address(weth, token)
        create = call_of(factory, "createPair(address,address)", AT, weth.address, gas=6_000_000)
        mine_block(devchain.rpc, MARKET_MAKER, [create])
        fund(pair, RAW)
        ether = call_of(weth.address, "deposit()", value_wei=10**21)
        pay = call_of(weth.address, "transfer(address,uint256)", pair, 10**21)
        mint = call_of(pair, "mint(address)", MARKET_MAKER)
        mine_block(devchain.rpc, MARKET_MAKER, [ether, pay, mint])
        positions = [{"token": "ODD", "target": "50%"}, {"token": "WETH", "target": "50%"}]
        body = {"name": "p", "network": "mainnet", "wallet": TREASURY, "positions": positions}
        resolved = resolve(Portfolio.model_validate(body), network)
        return World(devchain, network, resolved, pair)

    return make


@pytest.fixture(scope="module")
def mock_code() -> Callable[[str], str]:
    """Init code of a mock in contracts/mocks."""
    return lambda name: str(compile_contract(CONTRACTS / "mocks" / f"{name}.vy")["bytecode"])


def install_mock(chain: DevChain, code: str) -> Fund:
    """Put a mock at AT; its open mint is the way to fund."""
    chain.rpc.call("anvil_setCode", AT, runtime_of(chain.rpc, code))

    def fund(to: str, raw: int) -> None:
        mine_block(chain.rpc, MARKET_MAKER, [call_of(AT, "mint(address,uint256)", to, raw)])

    return fund


def only(held_out: tuple[HeldOut, ...]) -> tuple[str, str, str]:
    (item,) = held_out
    assert item.address == AT
    return item.name, item.code, item.text


@pytest.mark.parametrize("name", ["UsdtLikeToken", "ReentrantToken", "FalseReturningToken"])
def test_a_token_that_moves_what_it_says__is_plain(
    devchain: DevChain,
    world_of: Callable[..., World],
    mock_code: Callable[[str], str],
    name: str,
) -> None:
    decimals = 6 if name == "UsdtLikeToken" else 18
    world = world_of(install_mock(devchain, mock_code(name)), decimals)
    assert world.inspected() == ()


def test_a_token_that_keeps_a_fee__is_named_with_it(
    devchain: DevChain, world_of: Callable[..., World], mock_code: Callable[[str], str]
) -> None:
    world = world_of(install_mock(devchain, mock_code("FeeOnTransferToken")))
    text = "ODD keeps a fee of 1.0000 % of what is transferred"
    assert only(world.inspected()) == ("ODD", "fee_on_transfer", text)


def test_a_token_whose_balances_are_shares__rounds_transfers__and_is_named(
    devchain: DevChain, world_of: Callable[..., World], mock_code: Callable[[str], str]
) -> None:
    """At a crooked index a transfer moves a unit less than it says."""
    fund = install_mock(devchain, mock_code("RebasingToken"))
    devchain.rpc.call("anvil_setStorageAt", AT, word(0), word(10**18))  # the constructor's index
    world = world_of(fund)
    crooked = call_of(AT, "rebase(uint256)", 1_234_567_890_123_456_789)
    sync = call_of(world.pair, "sync()")
    mine_block(devchain.rpc, MARKET_MAKER, [crooked, sync])
    name, code, text = only(world.inspected())
    assert (name, code) == ("ODD", "rebasing")
    assert "moves a unit more or less" in text


def test_a_token_whose_balances_grow__is_named(
    devchain: DevChain, world_of: Callable[..., World], mock_code: Callable[[str], str]
) -> None:
    """Within a block it moves what it says; what nobody touched is more a day later."""
    world = world_of(install_mock(devchain, mock_code("AccruingToken")))
    name, code, text = only(world.inspected())
    assert (name, code) == ("ODD", "rebasing")
    assert text == "ODD is rebasing: balances that nobody touched change in a day"


@pytest.mark.parametrize("quietly", [False, True], ids=["reverts", "returns false"])
@pytest.mark.parametrize(
    ("whom", "text"),
    [
        ("wallet receives", "ODD cannot be received: a transfer from its pool fails"),
        ("wallet sends", "ODD cannot be sold: a transfer from the wallet fails"),
    ],
)
def test_a_token_that_blocks_the_wallet__is_named(
    devchain: DevChain,
    world_of: Callable[..., World],
    mock_code: Callable[[str], str],
    whom: str,
    text: str,
    quietly: bool,
) -> None:
    """As USDC and USDT can; a token that can be bought and never sold is the other half of it."""
    world = world_of(install_mock(devchain, mock_code("BlockingToken")))
    assert world.inspected() == ()
    nobody = "0x" + "00" * 20
    sides = (nobody, TREASURY) if whom == "wallet receives" else (TREASURY, nobody)
    block = call_of(AT, "block_address(address,address,bool)", *sides, quietly)
    mine_block(devchain.rpc, MARKET_MAKER, [block])
    assert only(world.inspected()) == ("ODD", "untransferable", text)


@pytest.mark.parametrize(
    ("slot", "other"), [(EIP1967_SLOT, ZEPPELINOS_SLOT), (ZEPPELINOS_SLOT, EIP1967_SLOT)]
)
def test_a_proxy__tells_its_implementation(
    devchain: DevChain, mainnet: Network, slot: str, other: str
) -> None:
    positions = [{"token": "USDC", "target": "100%"}]
    body = {"name": "p", "network": "mainnet", "wallet": TREASURY, "positions": positions}
    resolved = resolve(Portfolio.model_validate(body), mainnet)
    usdc, code = mainnet.token("USDC"), checksum("0x" + "c0de" * 10)
    snapshot = read_snapshot(devchain.rpc, resolved)
    assert inspect(devchain.rpc, snapshot).proxies == ()
    devchain.rpc.call("anvil_setStorageAt", usdc.address, slot, word(code))
    # What is no address is no implementation.
    devchain.rpc.call("anvil_setStorageAt", usdc.address, other, word(2**160))
    devchain.rpc.call("evm_mine")
    snapshot = read_snapshot(devchain.rpc, resolved)
    assert inspect(devchain.rpc, snapshot).proxies == (Proxy(usdc, code),)


def real_chain(real_data: Path, number: int, log_dir: Path) -> Any:
    path = real_data / "mainnet" / "blocks" / f"{number}.json.gz"
    if not path.is_file():
        pytest.skip(f"no real data: {path} is not there")
    return open_fork(state=path, log_dir=log_dir)


AMPL = Token("0xD46bA6D942050d489DBd938a2C909A5d5039A161", "AMPL", 9)
STETH = Token("0xae7ab96520DE3A18E5e111B5EaAb095312D7fE84", "stETH", 18)
USDC = Token("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC", 6)


def test_real_ampl__is_rebasing__though_its_transfers_are_exact(
    real_data: Path, tmp_path: Path, mainnet: Network
) -> None:
    """Mainnet's AMPL in mainnet's AMPL/WETH pair at block 10,760,440."""
    pair = mainnet.amms["uniswap_v2"].pair_address(AMPL, mainnet.token("WETH"))
    with real_chain(real_data, 10_760_440, tmp_path) as chain:
        block = read_block(chain.rpc)
        (held,) = view(chain.rpc, AMPL.address, "balanceOf(address)", ("uint256",), pair)
        assert held > 0
        trial = Trial(AMPL, TREASURY, pair, held // 997)
        (item,) = try_transfers(chain.rpc, [trial], block)
        proxies = read_proxies(chain.rpc, [AMPL], block)
    assert (item.name, item.code) == ("AMPL", "rebasing")
    assert item.text == "AMPL is rebasing: monetaryPolicy() can change its balances"
    # Its proxy is of zeppelinos, as the block's own state has it.
    assert proxies == (Proxy(AMPL, "0xf9e6A96229140195777A1C3Ab47c9Bf16f055406"),)


def test_real_steth__is_rebasing(real_data: Path, tmp_path: Path) -> None:
    """Mainnet's Lido behind its Aragon proxy at block 15,538,827, shares in slot 0."""
    holder = checksum("0x" + "5e" * 20)
    with real_chain(real_data, 15_538_827, tmp_path) as chain:
        slot = mapping_slot(holder, word(0))
        chain.rpc.call("anvil_setStorageAt", STETH.address, slot, word(10**21))
        chain.rpc.call("evm_mine")
        (held,) = view(chain.rpc, STETH.address, "balanceOf(address)", ("uint256",), holder)
        assert held > 10**21  # a share is worth more than an ether by then
        trial = Trial(STETH, TREASURY, holder, held // 997)
        (item,) = try_transfers(chain.rpc, [trial], read_block(chain.rpc))
    assert (item.name, item.code) == ("stETH", "rebasing")
    assert item.text == "stETH is rebasing: sharesOf() can change its balances"


@pytest.mark.parametrize("number", [12_459_406, 15_538_827, 19_426_586])
def test_real_usdc_and_weth__are_plain__and_usdc_is_a_proxy(
    real_data: Path, tmp_path: Path, mainnet: Network, number: int
) -> None:
    weth = mainnet.token("WETH")
    pair = mainnet.amms["uniswap_v2"].pair_address(USDC, weth)
    implementations = {
        12_459_406: "0xa2327a938Febf5FEC13baCFb16Ae10EcBc4cbDCF",
        15_538_827: "0xa2327a938Febf5FEC13baCFb16Ae10EcBc4cbDCF",
        19_426_586: "0x43506849D7C04F9138D1A2050bbF3A0c054402dd",
    }
    with real_chain(real_data, number, tmp_path) as chain:
        block = read_block(chain.rpc)
        wanted = [Trial(token, TREASURY, pair, 10**6) for token in (USDC, weth)]
        for trial in wanted:
            token = trial.token.address
            (held,) = view(chain.rpc, token, "balanceOf(address)", ("uint256",), pair)
            assert held > trial.amount
        assert try_transfers(chain.rpc, wanted, block) == ()
        proxies = read_proxies(chain.rpc, [USDC, weth], block)
    assert proxies == (Proxy(USDC, implementations[number]),)


def test_real_mkr__tells_its_symbol_as_bytes32(devchain: DevChain, real_data: Path) -> None:
    """Maker's token as deployed; symbol and decimals are its slots 5 and 6 (DSToken)."""
    path = real_data / "mainnet" / "runtime_by_name.json"
    if not path.is_file():
        pytest.skip(f"no real data: {path} is not there")
    mkr = json.loads(path.read_text())["MKR"]
    address, rpc = mkr["address"], devchain.rpc
    rpc.call("anvil_setCode", address, mkr["runtime"])
    symbol = int.from_bytes(b"MKR".ljust(32, b"\0"), "big")
    for slot, value in ((5, symbol), (6, 18)):
        rpc.call("anvil_setStorageAt", address, word(slot), word(value))
    rpc.call("evm_mine")
    block = read_block(rpc)
    multicall3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
    assert read_metadata(rpc, multicall3, [address, USDC.address], block.hash) == (
        Metadata(address, "MKR", 18),
        Metadata(USDC.address, "USDC", 6),
    )
