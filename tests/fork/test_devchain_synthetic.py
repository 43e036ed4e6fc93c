"""The synthetic mainnet: what stands where, and that it is the same on every machine."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest

from rebalancer.config.networks import Network, pair_salt, sort_tokens
from rebalancer.devchain import economy
from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import ARBITRAGEUR, MARKET_MAKER, TREASURY
from rebalancer.devchain.anvil import start_anvil
from rebalancer.devchain.cheats import call_of, has_code, mine_block, view
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.synthetic import BASE_FEE_WEI, OPTIONS, build
from rebalancer.errors import ExecutionError
from rebalancer.evm.abi import checksum, from_hex
from rebalancer.model import Token

#: Of the last block. A change of the economy changes it; another machine must not.
BLOCK_HASH = "0xb7edb3cf98e00a62273b3bbdf3c39615eef54d788cc8b1a727ac8390030cee2e"
CREATE2_DEPLOYER = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
UINT = ("uint256",)


def _pairs(mainnet: Network) -> dict[str, tuple[str, Token, Token]]:
    """Pair addresses as networks.yaml gives them, of all pools that there should be."""
    expected = {}
    for a, b in economy.UNISWAP_POOLS:
        address = mainnet.amms["uniswap_v2"].pair_address(a.token, b.token)
        expected[address] = (mainnet.amms["uniswap_v2"].factory, a.token, b.token)
    usdc, weth = (amount.token for amount in economy.SUSHI_POOL)
    sushi = mainnet.amms["sushiswap"]
    expected[sushi.pair_address(usdc, weth)] = (sushi.factory, usdc, weth)
    return expected


def test_build__twice__gives_the_same_block_hashes(
    synthetic_fork: DevChain, tmp_path: Path
) -> None:
    with start_anvil(OPTIONS, log_dir=tmp_path) as anvil:
        build(anvil.rpc)
        numbers = [hex(n) for n in range(synthetic_fork.block_number + 1)]
        requests = [("eth_getBlockByNumber", (n, False)) for n in numbers]
        again, before = anvil.rpc.batch(requests), synthetic_fork.rpc.batch(requests)
    assert [block["hash"] for block in again] == [block["hash"] for block in before]
    assert again[-1]["hash"] == BLOCK_HASH == synthetic_fork.block_hash


def test_blocks__twelve_seconds_apart_at_a_fixed_base_fee(synthetic_fork: DevChain) -> None:
    for number in range(synthetic_fork.block_number + 1):
        block = synthetic_fork.rpc.call("eth_getBlockByNumber", hex(number), False)
        assert int(block["timestamp"], 16) == 1_750_000_000 + 12 * number
        assert int(block["baseFeePerGas"], 16) == BASE_FEE_WEI


@pytest.mark.parametrize("token", m.TOKENS, ids=lambda token: token.symbol)
def test_token__symbol_decimals_and_supply__are_right(
    synthetic_fork: DevChain, token: Token
) -> None:
    rpc = synthetic_fork.rpc
    assert view(rpc, token.address, "symbol()", ("string",)) == (token.symbol,)
    assert view(rpc, token.address, "decimals()", ("uint8",)) == (token.decimals,)
    holders = [TREASURY, ARBITRAGEUR, MARKET_MAKER, m.SUSHI_USDC_WETH]
    holders += [lp.address for lp in m.LP_TOKENS]
    balances = [view(rpc, token.address, "balanceOf(address)", UINT, h)[0] for h in holders]
    (supply,) = view(rpc, token.address, "totalSupply()", UINT)
    assert sum(balances) == supply > 0


def test_weth__every_unit__is_backed_by_ether(synthetic_fork: DevChain) -> None:
    ether = synthetic_fork.rpc.call("eth_getBalance", m.WETH.address, "latest")
    assert view(synthetic_fork.rpc, m.WETH.address, "totalSupply()", UINT) == (int(ether, 16),)


def test_feeds__answer_the_oracle_prices(synthetic_fork: DevChain, mainnet: Network) -> None:
    rpc = synthetic_fork.rpc
    head = rpc.call("eth_getBlockByNumber", "latest", False)
    for token, fact in m.FEEDS.items():
        feed = mainnet.feeds[mainnet.tokens[token.symbol].feed]
        types = ("uint80", "int256", "uint256", "uint256", "uint80")
        round_id, answer, _, updated_at, answered_in = view(
            rpc, feed.address, "latestRoundData()", types
        )
        assert answer == economy.PRICES_E8[token]
        assert round_id == answered_in > 0
        assert 0 <= int(head["timestamp"], 16) - updated_at < 60 < feed.max_age
        assert view(rpc, feed.address, "decimals()", ("uint8",)) == (feed.decimals,)
        assert view(rpc, feed.address, "description()", ("string",)) == (fact.description,)


def test_pairs__addresses_tokens_and_factories__are_mainnets(
    synthetic_fork: DevChain, mainnet: Network
) -> None:
    rpc = synthetic_fork.rpc
    for address, (factory, token_a, token_b) in _pairs(mainnet).items():
        token0, token1 = sort_tokens(token_a, token_b)
        for pair in ((token0, token1), (token1, token0)):
            args = [token.address for token in pair]
            (found,) = view(rpc, factory, "getPair(address,address)", ("address",), *args)
            assert checksum(found) == address
        for getter, expected in (("token0", token0), ("token1", token1)):
            (found,) = view(rpc, address, f"{getter}()", ("address",))
            assert checksum(found) == expected.address
        assert checksum(view(rpc, address, "factory()", ("address",))[0]) == factory


def test_factories__all_pairs__are_the_expected_ones_in_order(
    synthetic_fork: DevChain, mainnet: Network
) -> None:
    rpc = synthetic_fork.rpc
    for factory in (m.UNISWAP_FACTORY, m.SUSHI_FACTORY):
        (count,) = view(rpc, factory, "allPairsLength()", UINT)
        listed = [
            checksum(view(rpc, factory, "allPairs(uint256)", ("address",), index)[0])
            for index in range(count)
        ]
        assert listed == [a for a, (f, _, _) in _pairs(mainnet).items() if f == factory]


def test_other_pairs__are_not_there(synthetic_fork: DevChain, mainnet: Network) -> None:
    known = _pairs(mainnet)
    for amm in mainnet.amms.values():
        for a, b in combinations(m.TOKENS, 2):
            address = amm.pair_address(a, b)
            assert has_code(synthetic_fork.rpc, address) == (address in known)


def test_pools__balances_reserves_and_shares__agree(
    synthetic_fork: DevChain, mainnet: Network
) -> None:
    rpc = synthetic_fork.rpc
    for address, (_, token_a, token_b) in _pairs(mainnet).items():
        token0, token1 = sort_tokens(token_a, token_b)
        reserve0, reserve1, _ = view(
            rpc, address, "getReserves()", ("uint112", "uint112", "uint32")
        )
        assert view(rpc, token0.address, "balanceOf(address)", UINT, address) == (reserve0,)
        assert view(rpc, token1.address, "balanceOf(address)", UINT, address) == (reserve1,)
        owners = (TREASURY, MARKET_MAKER, "0x" + "00" * 20)  # the last holds MINIMUM_LIQUIDITY
        shares = [view(rpc, address, "balanceOf(address)", UINT, o)[0] for o in owners]
        assert view(rpc, address, "totalSupply()", UINT) == (sum(shares),)
        assert shares[2] == 1_000


def test_one_pair__on_two_amms__differs_in_depth_and_price(
    synthetic_fork: DevChain, mainnet: Network
) -> None:
    types = ("uint112", "uint112", "uint32")
    reserves = [
        view(synthetic_fork.rpc, amm.pair_address(m.USDC, m.WETH), "getReserves()", types)
        for amm in mainnet.amms.values()
    ]
    (usdc_a, weth_a, _), (usdc_b, weth_b, _) = reserves
    assert usdc_a > 3 * usdc_b
    assert usdc_a * weth_b < usdc_b * weth_a


def test_protocol_fee__off_on_uniswap_and_on_on_sushiswap(synthetic_fork: DevChain) -> None:
    rpc = synthetic_fork.rpc
    assert int(view(rpc, m.UNISWAP_FACTORY, "feeTo()", ("address",))[0], 16) == 0
    assert checksum(view(rpc, m.SUSHI_FACTORY, "feeTo()", ("address",))[0]) == m.SUSHI_FEE_TO
    reserve0, reserve1, _ = view(
        rpc, m.SUSHI_USDC_WETH, "getReserves()", ("uint112", "uint112", "uint32")
    )
    assert view(rpc, m.SUSHI_USDC_WETH, "kLast()", UINT) == (reserve0 * reserve1,)


def test_sushi_pair__domain_separator__is_its_own(synthetic_fork: DevChain) -> None:
    """The formula is held against a pair whose constructor computed it."""
    from rebalancer.devchain.synthetic import _lp_domain_separator

    real = m.lp_token(m.USDC, m.WETH).address
    for pair in (real, m.SUSHI_USDC_WETH):
        (separator,) = view(synthetic_fork.rpc, pair, "DOMAIN_SEPARATOR()", ("bytes32",))
        assert "0x" + separator.hex() == _lp_domain_separator(pair)


def test_sushi_factory__asked_for_the_pair_again__knows_it(devchain: DevChain) -> None:
    create = "createPair(address,address)"
    again = call_of(m.SUSHI_FACTORY, create, m.WETH.address, m.USDC.address, gas=5_000_000)
    with pytest.raises(ExecutionError, match="reverted"):
        mine_block(devchain.rpc, TREASURY, [again])
    fresh = call_of(m.SUSHI_FACTORY, create, m.WETH.address, m.DAI.address, gas=5_000_000)
    mine_block(devchain.rpc, TREASURY, [fresh])
    assert view(devchain.rpc, m.SUSHI_FACTORY, "allPairsLength()", UINT) == (2,)


def test_official_contracts__bytecode__is_mainnets(
    synthetic_fork: DevChain, real_data: Path
) -> None:
    names = json.loads((real_data / "mainnet" / "runtime_by_name.json").read_text())
    compared = 0
    for name, real in names.items():
        is_pair = name.startswith("UniV2_")
        if not is_pair and name not in ("UniV2Factory", "UniV2Router02", "Multicall3"):
            continue
        code = synthetic_fork.rpc.call("eth_getCode", real["address"], "latest")
        if code == "0x" and is_pair:
            continue
        assert code == real["runtime"], name
        compared += 1
    assert compared == 3 + 8  # of nine pools the file lacks WBTC/USDC


def test_create2_deployer__is_there_and_works(devchain: DevChain) -> None:
    rpc = devchain.rpc
    init = "600160005360016000f3"  # a contract whose code is one byte, 0x01
    salt = pair_salt(m.USDC.address, m.WETH.address)
    data = "0x" + salt.hex() + init
    answer = rpc.call("eth_call", {"to": CREATE2_DEPLOYER, "data": data}, "latest")
    from eth_utils.crypto import keccak

    from rebalancer.evm.abi import create2_address

    expected = create2_address(CREATE2_DEPLOYER, salt, keccak(bytes.fromhex(init)))
    assert checksum(from_hex(answer)) == expected


def test_usdt__transfer_and_approve__return_nothing(devchain: DevChain) -> None:
    for signature in ("transfer(address,uint256)", "approve(address,uint256)"):
        call = call_of(m.USDT.address, signature, TREASURY, 0)
        answer = devchain.rpc.call(
            "eth_call", {"from": ARBITRAGEUR, "to": call.to, "data": call.data}, "latest"
        )
        assert answer == "0x"
        other = {"from": ARBITRAGEUR, "to": m.USDC.address, "data": call.data}
        assert int(devchain.rpc.call("eth_call", other, "latest"), 16) == 1


def test_usdt__allowance__goes_through_zero(devchain: DevChain) -> None:
    rpc = devchain.rpc

    def approve(raw: int) -> None:
        signature = "approve(address,uint256)"
        mine_block(rpc, ARBITRAGEUR, [call_of(m.USDT.address, signature, TREASURY, raw)])

    approve(5)
    with pytest.raises(ExecutionError, match="reverted"):
        approve(6)
    approve(0)
    approve(6)
    take = "transferFrom(address,address,uint256)"
    mine_block(rpc, TREASURY, [call_of(m.USDT.address, take, ARBITRAGEUR, TREASURY, 4)])
    left = view(rpc, m.USDT.address, "allowance(address,address)", UINT, ARBITRAGEUR, TREASURY)
    assert left == (2,)
    with pytest.raises(ExecutionError, match="reverted"):
        mine_block(rpc, TREASURY, [call_of(m.USDT.address, take, ARBITRAGEUR, TREASURY, 3)])
    assert view(rpc, m.USDT.address, "balanceOf(address)", UINT, TREASURY) == (4,)


@pytest.mark.parametrize("token", [m.USDC, m.USDT], ids=lambda token: token.symbol)
def test_token__more_than_there_is_or_not_by_the_minter__reverts(
    devchain: DevChain, token: Token
) -> None:
    rpc = devchain.rpc
    (owned,) = view(rpc, token.address, "balanceOf(address)", UINT, ARBITRAGEUR)
    for sender, signature, args in (
        (ARBITRAGEUR, "transfer(address,uint256)", (TREASURY, owned + 1)),
        (TREASURY, "transferFrom(address,address,uint256)", (ARBITRAGEUR, TREASURY, 1)),
        (TREASURY, "mint(address,uint256)", (TREASURY, 1)),
    ):
        with pytest.raises(ExecutionError, match="reverted"):
            mine_block(rpc, sender, [call_of(token.address, signature, *args)])
    mine_block(
        rpc,
        ARBITRAGEUR,
        [call_of(token.address, "transfer(address,uint256)", TREASURY, owned)],
    )
    assert view(rpc, token.address, "balanceOf(address)", UINT, ARBITRAGEUR) == (0,)


def test_treasury__wallet__is_what_the_economy_says(synthetic_fork: DevChain) -> None:
    treasury, arbitrageur = synthetic_fork.wallets
    assert treasury.address == TREASURY
    held = {amount.token: amount.raw for amount in treasury.balances}
    assert {a.token: a.raw for a in economy.TREASURY_TOKENS}.items() <= held.items()
    positions = held.keys() - {a.token for a in economy.TREASURY_TOKENS}
    assert positions == {m.lp_token(a.token, b.token) for a, b in economy.TREASURY_LP}
    assert treasury.native_wei == 10 * 10**18
    assert set(arbitrageur.balances) == set(economy.ARBITRAGEUR_TOKENS)


def test_treasury__lp_positions__were_entered_in_lp_block_without_a_rest(
    synthetic_fork: DevChain,
) -> None:
    rpc, block = synthetic_fork.rpc, hex(synthetic_fork.lp_block)
    for a, b in economy.TREASURY_LP:
        pair = m.lp_token(a.token, b.token).address
        data = "0x70a08231" + TREASURY[2:].rjust(64, "0")  # balanceOf(TREASURY)
        call = {"to": pair, "data": data}
        before = rpc.call("eth_call", call, hex(synthetic_fork.lp_block - 1))
        after = rpc.call("eth_call", call, block)
        assert (int(before, 16), int(after, 16) > 0) == (0, True)
        for amount in (a, b):
            signature = "allowance(address,address)"
            address = amount.token.address
            assert view(rpc, address, signature, UINT, TREASURY, m.UNISWAP_ROUTER02) == (0,)
