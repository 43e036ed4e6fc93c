"""The facts that the synthetic mainnet is built from, against networks.yaml and the sources."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_utils.crypto import keccak

from rebalancer.config.networks import Network
from rebalancer.devchain import economy
from rebalancer.devchain import mainnet as m
from rebalancer.devchain.artifacts import official, own
from rebalancer.evm.abi import checksum, from_hex
from rebalancer.model import E8, Amount
from scripts.compile_contracts import ROOT, compile_contract


def test_tokens__are_those_of_networks_yaml(mainnet: Network) -> None:
    assert {t.symbol: t for t in m.TOKENS} == {s: mainnet.token(s) for s in mainnet.tokens}


def test_feeds__are_those_of_networks_yaml(mainnet: Network) -> None:
    for token, fact in m.FEEDS.items():
        name = mainnet.tokens[token.symbol].feed
        assert fact.description == name.replace("/", " / ")
        feed = mainnet.feeds[name]
        assert (fact.address, fact.decimals) == (feed.address, feed.decimals)
    assert len(m.FEEDS) == len(mainnet.feeds)


def test_amms__are_those_of_networks_yaml(mainnet: Network) -> None:
    assert mainnet.amms == {"uniswap_v2": m.UNISWAP_V2, "sushiswap": m.SUSHISWAP}
    assert mainnet.multicall3 == m.MULTICALL3
    assert mainnet.chain_id == m.CHAIN_ID


def test_sushi_pair__address__follows_from_its_factory() -> None:
    assert m.SUSHISWAP.pair_address(m.USDC, m.WETH) == m.SUSHI_USDC_WETH


def test_uniswap_pair__init_code__is_the_npm_packages() -> None:
    code = bytes.fromhex(official("UniswapV2Pair")["bytecode"])
    assert "0x" + keccak(code).hex() == m.UNISWAP_V2.init_code_hash


def test_addresses__every_constant__has_its_checksum() -> None:
    constants = [v for v in vars(m).values() if isinstance(v, str) and v[:2] == "0x"]
    assert len(constants) >= 8
    for address in constants:
        assert checksum(address) == address


@pytest.mark.parametrize("name", ["MockFeed", "DevToken", "DevTether"])
def test_artifact__recompiled__is_what_the_package_ships(name: str) -> None:
    assert compile_contract(ROOT / "contracts" / "devchain" / f"{name}.vy") == own(name)


def test_multicall3__runtime__is_mainnets(real_data: Path) -> None:
    import json

    real = json.loads((real_data / "mainnet" / "runtime_by_name.json").read_text())["Multicall3"]
    assert own("Multicall3")["runtime"] == real["runtime"]
    assert "0x" + keccak(from_hex(real["runtime"])).hex() == real["code_hash"]


def _worth_e8(amount: Amount) -> int:
    return amount.raw * economy.PRICES_E8[amount.token] // 10**amount.token.decimals


def test_treasury__worth__is_a_million_at_the_demos_targets() -> None:
    worth = {a.token.symbol: _worth_e8(a) for a in economy.TREASURY_TOKENS}
    worth["LP"] = sum(_worth_e8(a) for a in economy.TREASURY_LP[0])
    for name, thousands in (("WETH", 400), ("WBTC", 200), ("USDC", 200), ("LP", 200)):
        assert abs(worth[name] - thousands * 1_000 * E8) < E8, name


def test_pools__both_sides__are_worth_the_same_at_the_oracle() -> None:
    for a, b in economy.UNISWAP_POOLS:
        assert _worth_e8(a) == _worth_e8(b)
    a, b = economy.SUSHI_POOL
    assert _worth_e8(a) != _worth_e8(b)


def test_treasury_lp__second_amount__is_what_router02_quotes() -> None:
    pools = {(a.token, b.token): (a.raw, b.raw) for a, b in economy.UNISWAP_POOLS}
    for a, b in economy.TREASURY_LP:
        reserve_a, reserve_b = pools[a.token, b.token]
        assert b.raw == a.raw * reserve_b // reserve_a
