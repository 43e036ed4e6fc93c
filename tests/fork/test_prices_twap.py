"""Averages of an official pair: the accumulators of a real chain, read at two of its blocks."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rebalancer.amm.swap import get_amount_out
from rebalancer.config.networks import Network, TokenSpec
from rebalancer.config.portfolio import Portfolio, resolve
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block, view
from rebalancer.devchain.fork import DevChain
from rebalancer.model import E8, Price
from rebalancer.readers.snapshot import read_snapshot

RESERVES = ("uint112", "uint112", "uint32")
WINDOW_S = 600


def reserves(chain: DevChain, pair: str) -> tuple[int, int]:
    r0, r1, _ = view(chain.rpc, pair, "getReserves()", RESERVES)
    return int(r0), int(r1)


def sell(chain: DevChain, network: Network, symbol: str, part: int) -> None:
    """Sell a share of its reserve to the USDC/WETH pool."""
    weth, usdc = network.token("WETH"), network.token("USDC")
    pair = network.amms["uniswap_v2"].pair_address(weth, usdc)
    r_usdc, r_weth = reserves(chain, pair)
    sold = network.token(symbol)
    r_in, r_out = (r_weth, r_usdc) if sold == weth else (r_usdc, r_weth)
    amount = r_in // part
    out = get_amount_out(amount, r_in, r_out, 3_000)
    outs = (out, 0) if sold == weth else (0, out)
    pay = call_of(sold.address, "transfer(address,uint256)", pair, amount)
    swap = call_of(pair, "swap(uint256,uint256,address,bytes)", *outs, ARBITRAGEUR, b"")
    mine_block(chain.rpc, ARBITRAGEUR, [pay, swap])


def priced(network: Network, symbol: str, pool: str) -> Network:
    """The network with a token priced by its average alone, in a USDC that is worth a dollar."""
    parts = [{"twap": pool, "window": f"{WINDOW_S}s"}, {"feed": "USDC/USD"}]
    if symbol == "USDC":
        parts[1] = {"feed": "ETH/USD"}
    body = network.tokens[symbol].model_dump() | {"feed": "", "price": {"sources": [parts]}}
    return network.model_copy(
        update={"tokens": {**network.tokens, symbol: TokenSpec.model_validate(body)}}
    )


def read(chain: DevChain, network: Network, symbol: str) -> Price:
    positions = [{"token": "WETH", "target": "50%"}, {"token": "USDC", "target": "50%"}]
    body = {"name": "p", "network": "mainnet", "wallet": TREASURY, "positions": positions}
    resolved = resolve(Portfolio.model_validate(body), network)
    return read_snapshot(chain.rpc, resolved).price(network.token(symbol))


@pytest.mark.parametrize(
    ("symbol", "pool"),
    [("WETH", "uniswap_v2:WETH/USDC"), ("USDC", "uniswap_v2:USDC/WETH")],
)
def test_an_average__is_the_sum_of_price_times_time(
    devchain: DevChain, mainnet: Network, symbol: str, pool: str
) -> None:
    """Three prices within the window, one more in the block that is read, which does not count."""
    weth, usdc = mainnet.token("WETH"), mainnet.token("USDC")
    pair = mainnet.amms["uniswap_v2"].pair_address(weth, usdc)
    devchain.rpc.call("anvil_mine", hex(60), hex(12))
    stood: list[tuple[int, int]] = []  # reserves and for how many blocks of 12 s
    spans = (20, 7, 23)
    for index, span in enumerate(spans):
        sell(devchain, mainnet, ("WETH", "USDC", "WETH")[index], 10 + index)
        stood.append(reserves(devchain, pair))
        if span > 1:
            devchain.rpc.call("anvil_mine", hex(span - 1), hex(12))
    sell(devchain, mainnet, "USDC", 2)  # the attack, in the block that is read
    price = read(devchain, priced(mainnet, symbol, pool), symbol)

    def rate(r_usdc: int, r_weth: int) -> int:
        """What a second adds: UQ112.112, rounded down as the pair does."""
        return (r_usdc * 2**112 // r_weth) if symbol == "WETH" else (r_weth * 2**112 // r_usdc)

    total = sum(rate(*r) * 12 * span for r, span in zip(stood, spans, strict=True))
    average = Fraction(total, WINDOW_S * 2**112)
    # Smallest units of one for a smallest unit of the other, worth a dollar or 3,000 of them.
    unit = Fraction(E8, 10**6) if symbol == "WETH" else Fraction(3_000 * E8, 10**18)
    assert Fraction(price.numerator, price.denominator) == average * unit
    assert price.quotes[0].block_number == devchain_head(devchain) - WINDOW_S // 12


def devchain_head(chain: DevChain) -> int:
    return int(chain.rpc.call("eth_blockNumber"), 16)


def test_nobody_traded_since__the_average_is_the_price(
    devchain: DevChain, mainnet: Network
) -> None:
    """The accumulator is continued to both blocks, though nobody has written it there."""
    devchain.rpc.call("anvil_mine", hex(80), hex(12))
    price = read(devchain, priced(mainnet, "WETH", "uniswap_v2:WETH/USDC"), "WETH")
    whole = Fraction(price.numerator * 10**18, price.denominator * E8)
    r_usdc, r_weth = reserves(
        devchain,
        mainnet.amms["uniswap_v2"].pair_address(mainnet.token("WETH"), mainnet.token("USDC")),
    )
    assert whole == Fraction(r_usdc * 2**112 // r_weth * 10**12, 2**112)
