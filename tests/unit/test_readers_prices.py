"""Prices: exact ratios, exact changes of numeraire, and every answer that is no price."""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from typing import Any

import pytest
from readers_fake_node import ANSWERS, NOW, REVERT, FakeNode, mainnet, network, put_feed, word

from rebalancer.errors import ConfigError, ReadError, StalePrice
from rebalancer.model import BlockRef, Price
from rebalancer.readers.multicall import multicall
from rebalancer.readers.prices import PriceList, price_calls, quotes, read_prices

NET = network()
WETH, WBTC, USDC = map(NET.token, ("WETH", "WBTC", "USDC"))
FEED = NET.feeds["BTC/USD"].address


def read(node: FakeNode, numeraire: str = "USD", on: Any = NET) -> PriceList:
    wanted = quotes(on, (WBTC, USDC, WETH), numeraire)
    calls = tuple(dict.fromkeys(price_calls(wanted)))
    block = node.block_hash(node.head)
    answers = dict(zip(calls, multicall(node, NET.multicall3, calls, block), strict=True))
    return read_prices(answers, wanted, BlockRef(1, 100, block, NOW, 0))


def ratio(price: Price) -> Fraction:
    return Fraction(price.numerator, price.denominator)


def test_usd__is_the_formula() -> None:
    prices = read(mainnet())
    for price, feed in zip(prices.prices, ("BTC/USD", "USDC/USD", "ETH/USD"), strict=True):
        assert ratio(price) == Fraction(ANSWERS[feed] * 10**8, 10 ** (8 + price.token.decimals))
        assert price.source == f"chainlink {feed}"
        assert price.updated_at == NOW - 60
    # One whole bitcoin is worth what the feed says.
    assert prices.prices[0].value_down(10**8) == ANSWERS["BTC/USD"]
    assert prices.prices[1].value_down(10**6) == ANSWERS["USDC/USD"]


def test_native__is_the_zero_address_with_eighteen_decimals() -> None:
    native = read(mainnet()).native
    assert (native.token.address, native.token.symbol) == ("0x" + "00" * 20, "ETH")
    assert native.token.decimals == 18
    assert native.value_down(10**18) == ANSWERS["ETH/USD"]
    assert native.source == "chainlink ETH/USD"


@pytest.mark.parametrize("numeraire", ["USD", "WETH", "USDC", "DAI"])
def test_ratios__are_reduced(numeraire: str) -> None:
    prices = read(mainnet(), numeraire)
    for price in (*prices.prices, prices.native):
        assert gcd(price.numerator, price.denominator) == 1


@pytest.mark.parametrize("numeraire", ["WETH", "USDC", "WBTC", "DAI"])
def test_token_numeraire__is_the_exact_quotient(numeraire: str) -> None:
    unit, usd = NET.token(numeraire), read(mainnet())
    whole = Fraction(ANSWERS[NET.tokens[numeraire].feed])  # 1e-8 USD for one whole unit
    prices = read(mainnet(), numeraire)
    for price, in_usd in zip(
        (*prices.prices, prices.native), (*usd.prices, usd.native), strict=True
    ):
        assert price.token == in_usd.token
        assert ratio(price) == ratio(in_usd) / whole * 10**8
        if price.token == unit:
            assert ratio(price) == Fraction(10**8, 10**unit.decimals)


def test_token_numeraire__is_as_old_as_the_older_feed() -> None:
    node = mainnet()
    put_feed(node, "ETH/USD", 3_000 * 10**8, age=1_000)
    put_feed(node, "BTC/USD", 60_000 * 10**8, age=2_000)
    btc, usdc, _ = read(node, "WETH").prices
    assert (btc.updated_at, usdc.updated_at) == (NOW - 2_000, NOW - 1_000)
    assert btc.source == "chainlink BTC/USD over ETH/USD"
    assert ratio(btc) == Fraction(20 * 10**8, 10**8)


def test_token_numeraire__its_own_stale_feed_is_refused() -> None:
    node = mainnet()
    put_feed(node, "DAI/USD", 10**8, age=10**6)
    assert read(node)  # not needed, not looked at
    with pytest.raises(StalePrice, match="feed DAI/USD"):
        read(node, "DAI")


def test_age__at_the_limit_is_allowed__one_second_more_is_not() -> None:
    node, limit = mainnet(), NET.feeds["BTC/USD"].max_age
    put_feed(node, "BTC/USD", 10**8, age=limit)
    assert read(node).prices[0].updated_at == NOW - limit
    put_feed(node, "BTC/USD", 10**8, age=limit + 1)
    with pytest.raises(StalePrice) as caught:
        read(node)
    assert str(caught.value) == "feed BTC/USD is 4501 s old, 4500 s are allowed"
    assert "max_age" in caught.value.hint
    assert caught.value.block == 100


def test_answer__of_the_smallest_unit__is_a_price() -> None:
    node = mainnet()
    node.put(FEED, "latestRoundData()", (), word(9, 1, NOW, NOW, 9))
    assert ratio(read(node).prices[0]) == Fraction(1, 10**8)


@pytest.mark.parametrize(
    ("round_data", "fault"),
    [
        ((9, 0, NOW, NOW, 9), "answers 0, which is no price"),
        ((9, -5, NOW, NOW, 9), "answers -5, which is no price"),
        ((9, 5, 0, 0, 9), "has no answer in its round 9 yet"),
        ((9, 5, NOW, NOW, 8), "repeats round 8 in its round 9"),
        ((9, 5, NOW + 7, NOW + 7, 9), "claims to be 7 s younger than the block"),
    ],
)
def test_round__that_is_no_price__is_refused(round_data: tuple[int, ...], fault: str) -> None:
    node = mainnet()
    node.put(FEED, "latestRoundData()", (), word(*round_data))
    with pytest.raises(StalePrice) as caught:
        read(node)
    assert str(caught.value) == f"feed BTC/USD {fault}"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (REVERT, "reverts"),
        (b"", "returns nothing, as an address without code does"),
        (word(1, 2, 3, 4), "returns what does not decode"),
        (word(2**80, 2, 3, 4, 5), "returns what does not decode"),
    ],
)
def test_feed__that_cannot_be_read__is_named(answer: bytes | None, why: str) -> None:
    node = mainnet()
    node.put(FEED, "latestRoundData()", (), answer)
    with pytest.raises(ReadError) as caught:
        read(node)
    assert str(caught.value) == f"feed BTC/USD at {FEED}: latestRoundData() {why}"
    assert "networks.yaml" in caught.value.hint


def test_feed__without_code__is_named() -> None:
    node = mainnet()
    del node.state[FEED.lower()]
    with pytest.raises(ReadError, match=rf"^feed BTC/USD at {FEED}: .* as an address without code"):
        read(node)


@pytest.mark.parametrize("told", [18, 0])
def test_feed__with_other_decimals__is_refused(told: int) -> None:
    node = mainnet()
    node.put(FEED, "decimals()", (), word(told))
    with pytest.raises(ReadError, match=f"has {told} decimals, networks.yaml says 8$"):
        read(node)


def test_feed__with_unreadable_decimals__is_refused() -> None:
    node = mainnet()
    node.put(FEED, "decimals()", (), REVERT)
    with pytest.raises(ReadError, match=r"^feed BTC/USD at .*: decimals\(\) reverts$"):
        read(node)


def test_feed__of_eighteen_decimals__is_scaled() -> None:
    feeds = {name: feed.model_dump() for name, feed in NET.feeds.items()}
    for feed in feeds.values():
        feed["max_age"] = f"{feed['max_age']}s"
    feeds["BTC/USD"]["decimals"] = 18
    node = mainnet()
    node.put(FEED, "decimals()", (), word(18))
    node.put(FEED, "latestRoundData()", (), word(9, 60_000 * 10**18 + 1, NOW, NOW, 9))
    price = read(node, on=network(feeds=feeds)).prices[0]
    assert ratio(price) == Fraction(60_000 * 10**18 + 1, 10**18)


def test_feed__not_in_usd__is_refused_unasked() -> None:
    tokens = {name: spec.model_dump() for name, spec in NET.tokens.items()}
    tokens["WBTC"]["feed"] = "BTC/ETH"
    with pytest.raises(ConfigError, match="WBTC is priced by BTC/ETH, which is not a feed in USD"):
        quotes(network(tokens=tokens), (WBTC,), "USD")
