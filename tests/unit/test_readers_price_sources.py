"""Prices of several parts: pools, crosses, bounds, sequencers, quorums, and what they ask."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from readers_fake_node import (
    NOW,
    REVERT,
    ROOT,
    FakeNode,
    mainnet,
    network,
    portfolio,
    put_feed,
    put_pair,
    word,
)

from rebalancer.amm.valuation import value
from rebalancer.config.networks import Network, TokenSpec
from rebalancer.errors import ConfigError, PriceDisagreement, ReadError, StalePrice
from rebalancer.evm.abi import checksum
from rebalancer.model import E8, Price, Snapshot
from rebalancer.readers.prices import quotes
from rebalancer.readers.snapshot import read_snapshot

NET = network()
WETH, USDC, WBTC = map(NET.token, ("WETH", "USDC", "WBTC"))
ETH_FEED = NET.feeds["ETH/USD"].address
TWAP = {"twap": "uniswap_v2:WETH/USDC", "window": "20m"}
SPOT = {"spot": "sushiswap:WETH/USDC"}
USDC_USD = {"feed": "USDC/USD"}
THREE: dict[str, Any] = {
    "sources": [{"feed": "ETH/USD"}, [TWAP, USDC_USD], [SPOT, USDC_USD]],
    "quorum": 2,
    "max_deviation": "1%",
}


def priced_by(spec: dict[str, Any], symbol: str = "WETH", **changes: Any) -> Network:
    """The network with another way to price a token."""
    net = network(**changes)
    token = net.tokens[symbol].model_dump() | {"feed": "", "price": spec}
    return net.model_copy(update={"tokens": {**net.tokens, symbol: TokenSpec(**token)}})


def read(node: FakeNode, on: Network, numeraire: str = "USD") -> Snapshot:
    positions = ({"token": "WETH", "target": "50%"}, {"token": "USDC", "target": "50%"})
    return read_snapshot(node, portfolio(*positions, on=on, numeraire=numeraire))


def price_of(snapshot: Snapshot, symbol: str = "WETH") -> Price:
    return next(p for p in snapshot.prices if p.token.symbol == symbol)


def whole(price: Price) -> Fraction:
    """USD of one whole token."""
    return Fraction(price.numerator * 10**price.token.decimals, price.denominator * E8)


def put_pool(
    state: FakeNode, amm: str, *, usd: int, last: int, cumulative: int, weth: int = 1_000
) -> str:
    """A USDC/WETH pool at ``usd`` for a WETH; USDC is token0, so WETH's sum is price1's."""
    r0, r1 = usd * weth * 10**6, weth * 10**18
    pair = put_pair(state, amm, "USDC", "WETH", r0=r0, r1=r1, supply=10**15)
    state.put(pair, "getReserves()", (), word(r0, r1, last % 2**32))
    state.put(pair, "price1CumulativeLast()", (), word(cumulative))
    return pair


def rate(usd: int, weth: int = 1_000) -> int:
    """What one second adds to the sum of a pool at ``usd``."""
    return usd * weth * 10**6 * 2**112 // (weth * 10**18)


def market(*, feed: int = 3_000, twap: int = 3_000, spot: int = 3_000) -> FakeNode:
    """A node whose sources say so; the average is of the 1,200 s up to the block."""
    node = mainnet()
    put_feed(node, "ETH/USD", feed * E8)
    put_feed(node, "USDC/USD", E8)
    past = mainnet()
    put_pool(past, "uniswap_v2", usd=1, last=NOW - 1_200, cumulative=2**256 - 7)
    put_pool(past, "sushiswap", usd=1, last=NOW, cumulative=0)
    # Since the block of then the pool has stood at the average, and was moved in this very block.
    grown = (2**256 - 7 + rate(twap) * 1_200) % 2**256
    put_pool(node, "uniswap_v2", usd=77, last=NOW, cumulative=grown)
    put_pool(node, "sushiswap", usd=spot, last=NOW, cumulative=0)
    node.past[0] = past.state
    return node


def test_three_sources_that_agree__the_median_is_taken_with_all_they_said() -> None:
    price = price_of(read(market(feed=3_001, twap=2_999, spot=3_010), priced_by(THREE)))
    assert whole(price) == 3_001
    assert price.source == "chainlink ETH/USD"
    assert [(q.source, q.agrees, q.block_number, q.fault) for q in price.quotes] == [
        ("chainlink ETH/USD", True, 100, ""),
        ("twap of 1200 s on uniswap_v2:WETH/USDC x chainlink USDC/USD", True, 0, ""),
        ("spot sushiswap:WETH/USDC x chainlink USDC/USD", True, 100, ""),
    ]
    twap = price.quotes[1]
    # The sum has been rounded down once for each second's rate.
    exact = Fraction(rate(2_999) * 10**18, 2**112 * 10**6)
    assert Fraction(twap.numerator * 10**18, twap.denominator * E8) == exact
    assert (price.updated_at, twap.updated_at) == (NOW - 60, NOW - 60)


def test_a_pool_that_nobody_trades__is_as_old_as_its_last_trade() -> None:
    node = market()
    put_pool(node, "sushiswap", usd=3_000, last=NOW - 7_200, cumulative=0)
    price = price_of(read(node, priced_by({"sources": [[SPOT, USDC_USD]]})))
    assert price.updated_at == NOW - 7_200
    spec = {"sources": [[TWAP, USDC_USD]]}
    put_pool(node, "uniswap_v2", usd=3_000, last=NOW - 9_000, cumulative=2**256 - 7)
    node.past[0] = node.state
    price = price_of(read(node, priced_by(spec)))
    assert whole(price) == Fraction(rate(3_000) * 10**12, 2**112)
    assert price.updated_at == NOW - 9_000


def test_the_requests__are_two_more_for_a_window() -> None:
    node = market()
    read(node, priced_by(THREE))
    assert [methods[0] for methods in node.requests] == [
        "eth_chainId",
        "eth_call",
        "eth_getBlockByNumber",
        "eth_call",
        "eth_maxPriorityFeePerGas",
    ]
    then = [call[2] for call in node.calls if call[0] == "eth_call"][1]
    assert then == {"blockHash": node.block_hash(0)}


@pytest.mark.parametrize(
    ("said", "median"),
    [
        ({"feed": 9_000}, 3_001),
        ({"feed": 1}, 2_999),
        ({"twap": 9_000}, 3_000),
        ({"twap": 1}, 3_000),
        ({"spot": 300}, 3_000),
        ({"spot": 10**9}, 3_000),
    ],
)
def test_one_liar_of_three__the_price_stands(said: dict[str, int], median: int) -> None:
    price = price_of(read(market(**said), priced_by(THREE)))
    assert abs(whole(price) - 3_000) <= 1
    assert [q.agrees for q in price.quotes] == [s not in said for s in ("feed", "twap", "spot")]
    assert abs(median - whole(price)) <= 1


def test_no_two_of_three__are_a_disagreement_with_every_number() -> None:
    with pytest.raises(PriceDisagreement) as caught:
        read(market(feed=3_000, twap=3_100, spot=2_900), priced_by(THREE))
    said = str(caught.value)
    assert said.startswith(
        "the sources of WETH's price do not agree: chainlink ETH/USD: 3,000.00000000, "
        "twap of 1200 s on uniswap_v2:WETH/USDC x chainlink USDC/USD: 3,09"
    )
    assert "spot sushiswap:WETH/USDC x chainlink USDC/USD: 2,900.00000000 (USD); " in said
    assert said.endswith("2 of 3 must be within 1.00 % of their median")
    assert "quorum and max_deviation of WETH" in caught.value.hint
    assert (caught.value.block, caught.value.exit_code) == (100, 3)


def test_a_silent_source__says_why__and_the_others_decide() -> None:
    node = market()
    put_feed(node, "ETH/USD", 3_000 * E8, age=4_501)
    # The chain's own currency is priced by the same feed, and pays for gas.
    native = {"symbol": "ETH", "price": {"sources": [[SPOT, USDC_USD]]}}
    on = priced_by(THREE, native=native)
    price = price_of(read(node, on))
    assert price.source.startswith("twap of 1200 s")
    assert price.quotes[0].fault == "feed ETH/USD is 4501 s old, 4500 s are allowed"
    assert (price.quotes[0].numerator, price.quotes[0].denominator) == (0, 0)
    node.put(ETH_FEED, "latestRoundData()", (), REVERT)
    node.put(NET.amms["sushiswap"].pair_address(WETH, USDC), "getReserves()", (), word(0, 0, 0))
    native["price"] = {"sources": [{"fixed": 3_000}]}
    with pytest.raises(PriceDisagreement, match="is empty") as caught:
        read(node, priced_by(THREE, native=native))
    assert "latestRoundData() reverts" in str(caught.value)


def test_a_chain_younger_than_the_window__is_a_silent_source() -> None:
    spec = {**THREE, "sources": [{"feed": "ETH/USD"}, [{**TWAP, "window": "21m"}, USDC_USD]]}
    price = price_of(read(market(), priced_by({**spec, "quorum": 1})))
    assert price.quotes[1].fault.endswith("the chain has no block from 1260 s before")
    with pytest.raises(PriceDisagreement, match=r"2 of 2 must be"):
        read(market(), priced_by(spec))


def test_a_token_as_numeraire__divides_what_every_source_said() -> None:
    node, on = market(twap=2_999), priced_by(THREE)
    in_usd, in_btc = price_of(read(node, on)), price_of(read(node, on, "WBTC"))
    bitcoin = Fraction(67_890_12345678, E8)
    assert whole(in_btc) * bitcoin == whole(in_usd)
    for usd, btc in zip(in_usd.quotes, in_btc.quotes, strict=True):
        told = Fraction(btc.numerator, btc.denominator) * bitcoin
        assert told == Fraction(usd.numerator, usd.denominator)
    assert in_btc.source == "chainlink ETH/USD over BTC/USD"


def test_spot__is_the_ratio_of_the_reserves_in_whole_units() -> None:
    snapshot = read(market(spot=3_456), priced_by({"sources": [[SPOT, USDC_USD]]}))
    assert whole(price_of(snapshot)) == 3_456
    usdc = {"sources": [[{"spot": "sushiswap:USDC/WETH"}, {"feed": "ETH/USD"}]]}
    snapshot = read(market(spot=3_456), priced_by(usdc, "USDC"))
    assert whole(price_of(snapshot, "USDC")) == Fraction(3_000, 3_456)


def test_fixed__is_exact_and_never_old() -> None:
    price = price_of(read(market(), priced_by({"sources": [{"fixed": "0.998"}]}, "USDC")), "USDC")
    assert whole(price) == Fraction(998, 1_000)
    assert (price.source, price.updated_at) == ("fixed", NOW)


BOUNDED = {"min": "1000", "max": "9_999.5"}


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (1_000 * E8, "which is at or below its min in networks.yaml"),
        (1, "which is at or below its min in networks.yaml"),
        (9_999 * E8 + E8 // 2, "which is at or above its max in networks.yaml"),
        (10**6 * E8, "which is at or above its max in networks.yaml"),
        (1_000 * E8 + 1, ""),
        (9_999 * E8 + E8 // 2 - 1, ""),
    ],
)
def test_bounds__an_answer_at_or_beyond_them_is_none(answer: int, fault: str) -> None:
    """An aggregator that clamps repeats its bound while the market is elsewhere (LUNA, 2022)."""
    feeds = {name: feed.model_dump() for name, feed in NET.feeds.items()}
    for name, feed in feeds.items():
        feed["max_age"] = f"{feed['max_age']}s"
        feed.update(BOUNDED if name == "ETH/USD" else {"min": None, "max": None})
    node = market()
    put_feed(node, "ETH/USD", answer)
    on = network(feeds=feeds)
    if not fault:
        assert whole(price_of(read(node, on))) == Fraction(answer, E8)
        return
    with pytest.raises(StalePrice) as caught:
        read(node, on)
    assert str(caught.value) == f"feed ETH/USD answers {answer}, {fault}"


UPTIME = "0xFdB631F5EE196F0ed6FAa767959853A9F217697D"


@pytest.mark.parametrize(
    ("answer", "since", "fault"),
    [
        (0, NOW - 3_601, ""),
        (0, NOW - 3_600, "the sequencer is up for 3600 s, feeds are believed after 3600 s"),
        (0, NOW, "the sequencer is up for 0 s, feeds are believed after 3600 s"),
        (0, 0, "the sequencer is down, so no feed is believed"),
        (1, NOW - 9_999, "the sequencer is down, so no feed is believed"),
    ],
)
def test_sequencer__feeds_are_believed_only_while_it_is_up(
    answer: int, since: int, fault: str
) -> None:
    node, on = market(), network(sequencer={"address": UPTIME, "grace": "1h"})
    node.put(UPTIME, "latestRoundData()", (), word(1, answer, since, since, 1))
    if not fault:
        assert whole(price_of(read(node, on))) == 3_000
        return
    with pytest.raises(StalePrice) as caught:
        read(node, on)
    assert str(caught.value) == fault


def test_sequencer__that_cannot_be_read__is_no_price() -> None:
    on = network(sequencer={"address": UPTIME, "grace": "1h"})
    with pytest.raises(ReadError, match=r"the sequencer's uptime feed at 0xFdB63\S+ .* nothing"):
        read(market(), on)


def chainlink_rounds(name: str) -> Iterator[dict[str, str]]:
    """Real rounds, or a skip."""
    folder = Path(os.environ.get("REBALANCER_DATA", ROOT.parent / "shared" / "data")) / "chainlink"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set REBALANCER_DATA to run this test")
    (path,) = folder.glob(f"{name}_0x*.csv")
    with path.open() as file:
        yield from csv.DictReader(file)


def test_cross__stETH_over_ETH__with_real_rounds() -> None:
    """Every hundredth real round of stETH/ETH times the next one of ETH/USD, both exact."""
    ratio_feed = "0x86392dC19c0b719886221c78AB11eb8Cf5c52812"
    feeds = {**NET.feeds}
    body = {"address": ratio_feed, "decimals": 18, "max_age": "25h", "max": "1.01"}
    feeds["stETH/ETH"] = type(NET.feeds["ETH/USD"])(**body)
    steth = TokenSpec.model_validate(
        {
            "address": "0xae7ab96520DE3A18E5e111B5EaAb095312D7fE84",
            "decimals": 18,
            "price": {"sources": [[{"feed": "stETH/ETH"}, {"feed": "ETH/USD"}]]},
        }
    )
    tokens = {**NET.tokens, "stETH": steth}
    on = NET.model_copy(update={"tokens": tokens, "feeds": feeds, "intermediates": ()})
    eth_rounds = list(chainlink_rounds("ETH_USD"))
    checked = 0
    for row in list(chainlink_rounds("stETH_ETH"))[::100]:
        eth = next((r for r in eth_rounds if int(r["updated_at"]) >= int(row["updated_at"])), None)
        if eth is None:
            continue
        node = FakeNode({})
        node.put(NET.multicall3, "getEthBalance(address)", (portfolio().portfolio.wallet,), word(1))
        token = on.token("stETH")
        wallet = portfolio().portfolio.wallet
        node.put(token.address, "balanceOf(address)", (wallet,), word(10**18))
        node.put(token.address, "decimals()", (), word(18))
        for address, decimals, rounds in ((ratio_feed, 18, row), (ETH_FEED, 8, eth)):
            answer = int(rounds["answer_raw"])
            node.put(address, "latestRoundData()", (), word(9, answer, NOW - 9, NOW - 9, 9))
            node.put(address, "decimals()", (), word(decimals))
        resolved = portfolio({"token": "stETH", "target": "100%"}, on=on)
        price = price_of(read_snapshot(node, resolved), "stETH")
        exact = Fraction(int(row["answer_raw"]) * int(eth["answer_raw"]), 10**26)
        assert whole(price) == exact
        assert price.source == "chainlink stETH/ETH x chainlink ETH/USD"
        checked += 1
    assert checked >= 3


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ([{"feed": "stETH/ETH"}], "stETH/ETH, which is not a feed in USD"),
        ([SPOT], "sushiswap:WETH/USDC, which is not a feed in USD"),
        ([{"spot": "sushiswap:WBTC/USDC"}, USDC_USD], "sushiswap:WBTC/USDC, which is not a price"),
        ([SPOT, {"feed": "BTC/USD"}], "sushiswap:WETH/USDC and then BTC/USD, which do not fit"),
        ([{"fixed": 1}, USDC_USD], "a fixed price and then USDC/USD, which do not fit"),
    ],
)
def test_parts_that_do_not_lead_to_usd__are_refused_unasked(
    source: list[dict[str, Any]], why: str
) -> None:
    with pytest.raises(ConfigError, match=r"^mainnet: WETH is priced by ") as caught:
        quotes(priced_by({"sources": [source]}), (WETH,), "USD")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"sources": []}, "at least 1 item"),
        ({"sources": [[]]}, "at least 1 item"),
        ({"sources": [{"feed": "A/USD", "fixed": 1}]}, "is one of feed, twap, spot and fixed"),
        ({"sources": [{}]}, "is one of feed, twap, spot and fixed"),
        ({"sources": [{"twap": "a:A/B"}]}, "a twap needs a window"),
        ({"sources": [{"spot": "a:A/B", "window": "1h"}]}, "a twap needs a window"),
        ({"sources": [{"twap": "a:A/B", "window": "0s"}]}, "at least a second"),
        ({"sources": [{"fixed": 0}]}, "must be positive"),
        ({"sources": [{"fixed": "one"}]}, "is not a number"),
        ({"sources": [{"feed": "A/USD"}], "quorum": 2}, "a quorum of 2 needs more than 1 source"),
        ({"sources": [{"feed": "A/USD"}], "quorum": 0}, "greater than or equal to 1"),
    ],
)
def test_a_price_that_is_written_wrong__says_what_is_wrong(spec: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        priced_by(spec)


def test_a_feed_and_a_price__are_one_too_many__and_neither_one_too_few() -> None:
    body = NET.tokens["WETH"].model_dump()
    with pytest.raises(ValidationError, match="either a feed or a price"):
        TokenSpec(**{**body, "price": THREE})
    with pytest.raises(ValidationError, match="either a feed or a price"):
        TokenSpec(**{**body, "feed": ""})


@pytest.mark.parametrize("decimals", [0, 1, 30])
def test_decimals__from_0_to_30__are_valued_exactly(decimals: int) -> None:
    """Three whole tokens and one smallest unit at 2.5 USD, with no decimals and with thirty."""
    address = "0x" + "0D" * 20
    body = {"address": checksum(address), "decimals": decimals, "price": {"sources": [DEARLY]}}
    odd = TokenSpec.model_validate(body)
    on = NET.model_copy(update={"tokens": {**NET.tokens, "ODD": odd}, "intermediates": ()})
    resolved = portfolio({"token": "ODD", "target": "100%"}, on=on)
    raw = 3 * 10**decimals + 1
    node = mainnet()
    node.put(address, "balanceOf(address)", (resolved.portfolio.wallet,), word(raw))
    node.put(address, "decimals()", (), word(decimals))
    snapshot = read_snapshot(node, resolved)
    assert snapshot.held_out == ()
    assert snapshot.balance(on.token("ODD")) == raw
    valued = value(snapshot, resolved.targets)
    assert valued.nav_e8 == raw * 250_000_000 // 10**decimals


DEARLY = {"fixed": "2.5"}
