"""What the synthetic mainnet is worth and who owns it.

Prices are round; the pools hold them exactly, except SushiSwap's, which is 0.17 % dearer (inside
its fee band), so that two pools of one pair differ in depth and price.
"""

from __future__ import annotations

from rebalancer.devchain.mainnet import DAI, LINK, UNI, USDC, USDT, WBTC, WETH
from rebalancer.model import E8, Amount, Token, parse_units


def _of(token: Token, quantity: str) -> Amount:
    return Amount(token, parse_units(quantity, token.decimals))


#: Oracle prices in 1e-8 USD.
PRICES_E8 = {
    WETH: 3_000 * E8,
    WBTC: 60_000 * E8,
    USDC: E8,
    USDT: E8,
    DAI: E8,
    UNI: 8 * E8,
    LINK: 15 * E8,
}

UNISWAP_POOLS = (
    (_of(USDC, "60,000,000"), _of(WETH, "20,000")),
    (_of(WETH, "16,000"), _of(USDT, "48,000,000")),
    (_of(DAI, "24,000,000"), _of(WETH, "8,000")),
    (_of(WBTC, "600"), _of(WETH, "12,000")),
    (_of(WBTC, "250"), _of(USDC, "15,000,000")),
    (_of(UNI, "1,500,000"), _of(WETH, "4,000")),
    (_of(LINK, "1,000,000"), _of(WETH, "5,000")),
    (_of(USDC, "12,000,000"), _of(USDT, "12,000,000")),
    (_of(DAI, "15,000,000"), _of(USDC, "15,000,000")),
)
SUSHI_POOL = (_of(USDC, "18,030,000"), _of(WETH, "6,000"))

#: With the first of its LP positions 1,000,000 USD at the targets of the demo: 40 % WETH, 20 %
#: WBTC, 20 % USDC, 20 % USDC/WETH LP. The second LP position is 20,000 USD outside of them.
TREASURY_TOKENS = (
    _of(WETH, "133.333333333333333333"),
    _of(WBTC, "3.33333333"),
    _of(USDC, "200,000"),
)
#: At the pools' prices, the second amount as Router02 quotes it: rounded down.
TREASURY_LP = (
    (_of(USDC, "100,000"), _of(WETH, "33.333333333333333333")),
    (_of(DAI, "10,000"), _of(WETH, "3.333333333333333333")),
)
#: What the arbitrageur trades with.
ARBITRAGEUR_TOKENS = (
    _of(WETH, "50,000"),
    _of(WBTC, "3,000"),
    _of(USDC, "200,000,000"),
    _of(USDT, "200,000,000"),
    _of(DAI, "200,000,000"),
    _of(UNI, "10,000,000"),
    _of(LINK, "10,000,000"),
)


def total(*parts: tuple[Amount, ...]) -> tuple[Amount, ...]:
    """The amounts of all parts, one per token in order of first appearance."""
    sums: dict[Token, Amount] = {}
    for amount in (amount for part in parts for amount in part):
        sums[amount.token] = sums.get(amount.token, Amount(amount.token, 0)) + amount
    return tuple(sums.values())


#: Tokens that the treasury needs before it enters its LP positions; and all tokens there are.
TREASURY_NEEDS = total(TREASURY_TOKENS, *TREASURY_LP)
SUPPLY = total(ARBITRAGEUR_TOKENS, TREASURY_NEEDS, *UNISWAP_POOLS, SUSHI_POOL)
