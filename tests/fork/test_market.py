"""The market moves: feeds, arbitrage to the band's edge, and what it does to who provides."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rebalancer.amm import amount_to_fee_band
from rebalancer.config.networks import Network
from rebalancer.devchain import economy
from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.cheats import view
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.market import MarketMove, move, oracle_price, pools, set_prices
from rebalancer.errors import ConfigError
from rebalancer.evm.rpc import Rpc
from rebalancer.model import E8, PPM, PairState, Price

ROUND = ("uint80", "int256", "uint256", "uint256", "uint80")


def _prices(chain: DevChain, network: Network) -> dict[str, Price]:
    """Oracle prices by token symbol, read from the chain."""
    found = {}
    for symbol, spec in network.tokens.items():
        feed = network.feeds[spec.feed]
        answer = view(chain.rpc, feed.address, "latestRoundData()", ROUND)[1]
        found[symbol] = oracle_price(feed, network.token(symbol), answer)
    return found


def _off_oracle(pair: PairState, prices: dict[str, Price]) -> Fraction:
    """The pool's price of token0 over the oracle's."""
    price0, price1 = prices[pair.token0.symbol], prices[pair.token1.symbol]
    oracle = Fraction(price0.numerator, price0.denominator) / Fraction(
        price1.numerator, price1.denominator
    )
    return Fraction(pair.reserve1, pair.reserve0) / oracle


def _lp_value_e8(chain: DevChain, prices: dict[str, Price]) -> int:
    """What the treasury's USDC/WETH shares would pay, at the oracle's prices."""
    pair = m.lp_token(m.USDC, m.WETH).address
    reserve0, reserve1, _ = view(chain.rpc, pair, "getReserves()", ("uint112", "uint112", "uint32"))
    (supply,) = view(chain.rpc, pair, "totalSupply()", ("uint256",))
    (shares,) = view(chain.rpc, pair, "balanceOf(address)", ("uint256",), TREASURY)
    return prices["USDC"].value_down(reserve0 * shares // supply) + prices["WETH"].value_down(
        reserve1 * shares // supply
    )


def _arbitrageur_value_e8(chain: DevChain, prices: dict[str, Price]) -> int:
    values = 0
    for token in m.TOKENS:
        (raw,) = view(chain.rpc, token.address, "balanceOf(address)", ("uint256",), ARBITRAGEUR)
        values += prices[token.symbol].value_down(raw)
    return values


MOVES = [
    {"WETH": 250_000},
    {"WETH": -400_000},
    {"ETH": 9_000_000, "WBTC": -300_000},
    {"UNI": -999_000, "LINK": 37, "USDT": -20_000},
    {"USDC": 50_000},
    {},
]


@pytest.mark.parametrize("changes_ppm", MOVES, ids=str)
def test_move__every_pool_ends_inside_its_fee_band_and_no_k_falls(
    devchain: DevChain, mainnet: Network, changes_ppm: dict[str, int]
) -> None:
    before = {pair.address: pair for pair in pools(devchain.rpc, mainnet)}
    moved = move(devchain.rpc, mainnet, changes_ppm)
    prices = _prices(devchain, mainnet)
    after = pools(devchain.rpc, mainnet)
    assert len(after) == len(before) == 10
    for pair in after:
        gamma = Fraction(PPM - pair.fee_ppm, PPM)
        assert gamma <= _off_oracle(pair, prices) <= 1 / gamma, pair.name
        sold = amount_to_fee_band(pair, prices[pair.token0.symbol], prices[pair.token1.symbol])
        assert sold.raw == 0, pair.name
        old = before[pair.address]
        traded = pair.name in {trade.pair for trade in moved.trades}
        k, old_k = pair.reserve0 * pair.reserve1, old.reserve0 * old.reserve1
        assert (k > old_k) if traded else (pair == old), pair.name
    assert len(moved.trades) == len({trade.pair for trade in moved.trades})


@pytest.mark.parametrize("change_ppm", [250_000, -400_000])
def test_move__pools_are_left_at_the_edge_and_not_beyond(
    devchain: DevChain, mainnet: Network, change_ppm: int
) -> None:
    """The last unit sold still paid, and by less than a ppm more than it had to."""
    moved = move(devchain.rpc, mainnet, {"WETH": change_ppm})
    prices = _prices(devchain, mainnet)
    by_name = {pair.name: pair for pair in pools(devchain.rpc, mainnet)}
    assert {trade.pair for trade in moved.trades} >= {
        "uniswap_v2:USDC/WETH",
        "sushiswap:USDC/WETH",
    }
    for trade in moved.trades:
        pair = by_name[trade.pair]
        off = _off_oracle(pair, prices)
        # What the pool pays for the token sold, against the oracle, when the last unit came in:
        # its fee is in the reserve by now, but did not count in the pool's formula.
        pays = off if trade.sold.token == pair.token0 else 1 / off
        reserve, _ = pair.reserves(trade.sold.token)
        marginal = pays * Fraction(reserve, reserve - Fraction(trade.sold.raw * pair.fee_ppm, PPM))
        needed = Fraction(PPM, PPM - pair.fee_ppm)
        assert 0 <= marginal - needed < Fraction(1, PPM), trade.pair


def test_move__lp_loses_against_holding_but_less_than_without_fees(
    devchain: DevChain, mainnet: Network
) -> None:
    value_before = _lp_value_e8(devchain, _prices(devchain, mainnet))
    profit_before = _arbitrageur_value_e8(devchain, _prices(devchain, mainnet))
    move(devchain.rpc, mainnet, {"WETH": 250_000})
    prices = _prices(devchain, mainnet)
    value = _lp_value_e8(devchain, prices)
    # Held apart, half of it would have risen by a quarter; a pool without fees gives sqrt(1.25).
    held = value_before + value_before // 2 // 4
    assert value_before < value < held
    no_fee_square = value_before**2 * 5 // 4
    assert value**2 > no_fee_square
    # What the arbitrageur gained by revaluation alone is 50,000 ETH * 750; trading added to it.
    revaluation = 50_000 * 750 * E8
    assert _arbitrageur_value_e8(devchain, prices) > profit_before + revaluation


def test_move__there_and_back__leaves_the_fees_with_the_providers(
    devchain: DevChain, mainnet: Network
) -> None:
    start = _lp_value_e8(devchain, _prices(devchain, mainnet))
    move(devchain.rpc, mainnet, {"WETH": 250_000})
    move(devchain.rpc, mainnet, {"WETH": -200_000})
    prices = _prices(devchain, mainnet)
    assert prices["WETH"].numerator == economy.PRICES_E8[m.WETH] * E8
    assert _lp_value_e8(devchain, prices) > start


def test_move__feeds_are_fresh_even_after_a_long_time(devchain: DevChain, mainnet: Network) -> None:
    devchain.rpc.call("evm_increaseTime", 100_000)
    moved = move(devchain.rpc, mainnet, {})
    block = devchain.rpc.call("eth_getBlockByNumber", hex(moved.block_number), False)
    assert moved.trades == ()
    for feed in mainnet.feeds.values():
        updated_at = view(devchain.rpc, feed.address, "latestRoundData()", ROUND)[3]
        assert updated_at == int(block["timestamp"], 16)


def test_move__is_one_block_and_says_what_happened(devchain: DevChain, mainnet: Network) -> None:
    moved = move(devchain.rpc, mainnet, {"WETH": 100_000})
    head = devchain.rpc.call("eth_getBlockByNumber", "latest", False)
    assert moved.block_number == int(head["number"], 16) == devchain.block_number + 1
    feeds = {feed.feed: (feed.before, feed.after) for feed in moved.feeds}
    assert feeds["ETH/USD"] == (3_000 * E8, 3_300 * E8)
    assert feeds["BTC/USD"] == (60_000 * E8, 60_000 * E8)
    assert len(feeds) == 7
    # A feed each, and for each trade a payment and a swap.
    assert len(head["transactions"]) == 7 + 2 * len(moved.trades)


def test_move__the_same_twice__is_the_same(devchain: DevChain, mainnet: Network) -> None:
    def once(rpc: Rpc) -> MarketMove:
        snapshot = rpc.call("evm_snapshot")
        moved = move(rpc, mainnet, {"WETH": 123_456})
        assert rpc.call("evm_revert", snapshot)
        return moved

    assert once(devchain.rpc) == once(devchain.rpc)


def test_move__arbitrageur_without_money__is_given_some(
    devchain: DevChain, mainnet: Network
) -> None:
    from rebalancer.devchain.funding import deal
    from rebalancer.model import Amount

    for token in m.TOKENS:
        deal(devchain.rpc, Amount(token, 0), ARBITRAGEUR)
    moved = move(devchain.rpc, mainnet, {"WETH": 250_000})
    assert len(moved.trades) == 7


def test_set_prices__is_exact(devchain: DevChain, mainnet: Network) -> None:
    set_prices(devchain.rpc, mainnet, {"WETH": 2_999 * E8 + 1, "WBTC": 61_000 * E8})
    prices = _prices(devchain, mainnet)
    assert prices["WETH"].value_down(10**18) == 2_999 * E8 + 1
    assert prices["WBTC"].value_down(10**8) == 61_000 * E8


@pytest.mark.parametrize(
    ("changes_ppm", "message"),
    [
        ({"PEPE": 1}, "no price of 'PEPE'"),
        ({"WETH": -1_000_000}, "ETH/USD cannot be 0"),
        ({"WETH": -1_000_001}, "ETH/USD cannot be -"),
    ],
)
def test_move__nonsense__is_refused_and_nothing_moves(
    devchain: DevChain, mainnet: Network, changes_ppm: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        move(devchain.rpc, mainnet, changes_ppm)
    assert int(devchain.rpc.call("eth_blockNumber"), 16) == devchain.block_number
    assert _prices(devchain, mainnet)["WETH"].numerator == 3_000 * E8 * E8


def test_move__of_a_token_with_several_sources__goes_by_its_feed(
    devchain: DevChain, mainnet: Network
) -> None:
    """The feed moves and the pools follow, as for a token with one feed; ETH alone has none."""
    parts = [[{"spot": "uniswap_v2:WETH/USDT"}, {"feed": "USDT/USD"}], {"feed": "ETH/USD"}]
    body = mainnet.tokens["WETH"].model_dump() | {"feed": "", "price": {"sources": parts}}
    weth = type(mainnet.tokens["WETH"]).model_validate(body)
    network = mainnet.model_copy(update={"tokens": {**mainnet.tokens, "WETH": weth}})
    moved = move(devchain.rpc, network, {"WETH": 100_000})
    (feed,) = [feed for feed in moved.feeds if feed.before != feed.after]
    assert (feed.feed, feed.after) == ("ETH/USD", 3_300 * E8)
    assert moved.trades
