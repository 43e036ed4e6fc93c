"""Facts of Ethereum mainnet that the development chain reproduces.

A test compares them with networks.yaml; they stand here because that file is the user's to change.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from rebalancer.config.networks import Amm, sort_tokens
from rebalancer.model import Token

CHAIN_ID = 1
MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
UNISWAP_FACTORY = "0x5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f"
UNISWAP_ROUTER02 = "0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D"
SUSHI_FACTORY = "0xC0AEe478e3658e2610c5F7A4A2E1777cE9e4f2Ac"
SUSHI_USDC_WETH = "0x397FF1542f962076d0BFE58eA045FfA2d347ACa0"
#: SushiMaker: SushiSwap takes its protocol fee (general knowledge), Uniswap V2 does not.
SUSHI_FEE_TO = "0xE11fc0B43ab98Eb91e9836129d1ee7c3Bc95df50"

#: Who created what, and as which of its transactions: the address follows from the two.
UNISWAP_DEPLOYER, FACTORY_NONCE, ROUTER02_NONCE = "0x9C33eaCc2F50E39940D3AfaF2c7B8246B681A374", 0, 3
WETH_DEPLOYER, WETH_NONCE = "0x4F26FfBe5F04ED43630fdC30A87638d53D0b0876", 446

WETH = Token("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", "WETH", 18)
WBTC = Token("0x2260FAC5E5542a773Aa44fBCfeDf7C193bc2C599", "WBTC", 8)
USDC = Token("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC", 6)
USDT = Token("0xdAC17F958D2ee523a2206206994597C13D831ec7", "USDT", 6)
DAI = Token("0x6B175474E89094C44Da98b954EedeAC495271d0F", "DAI", 18)
UNI = Token("0x1f9840a85d5aF5bf1D1762F925BDADdC4201F984", "UNI", 18)
LINK = Token("0x514910771AF9Ca656af840dff83E8264EcF986CA", "LINK", 18)
TOKENS = (WETH, WBTC, USDC, USDT, DAI, UNI, LINK)
STABLECOINS = (USDC, USDT, DAI)
TOKEN_NAMES = {
    WBTC: "Wrapped BTC",
    USDC: "USD Coin",
    DAI: "Dai Stablecoin",
    UNI: "Uniswap",
    LINK: "ChainLink Token",
}


@dataclass(frozen=True, slots=True)
class FeedFact:
    """A Chainlink proxy: ``description`` as the contract says it, answers in 10**-8 USD."""

    address: str
    description: str
    decimals: int = 8


FEEDS = {
    WETH: FeedFact("0x5f4eC3Df9cbd43714FE2740f5E3616155c5b8419", "ETH / USD"),
    WBTC: FeedFact("0xF4030086522a5bEEa4988F8cA5B36dbC97BeE88c", "BTC / USD"),
    LINK: FeedFact("0x2c1d072e956AFFC0D435Cb7AC38EF18d24d9127c", "LINK / USD"),
    UNI: FeedFact("0x553303d460EE0afB37EdFf9bE42922D8FF63220e", "UNI / USD"),
    USDC: FeedFact("0x8fFfFfd4AfB6115b954Bd326cbe7B4BA576818f6", "USDC / USD"),
    USDT: FeedFact("0x3E7d1eAB13ad0104d2750B8863b489D65364e32D", "USDT / USD"),
    DAI: FeedFact("0xAed0c38402a5d19df6E4c03F4E2DceD6e29c1ee9", "DAI / USD"),
}

UNISWAP_V2 = Amm(
    factory=UNISWAP_FACTORY,
    init_code_hash="0x96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f",
    fee="0.3%",
)


#: The creation code of SushiSwap's pairs is another, so their addresses are too.
SUSHISWAP = Amm(
    factory=SUSHI_FACTORY,
    init_code_hash="0xe18a34eb0e04b04f7a0ac29a6e80748dca96319b42c54d679cb821dca90c6303",
    fee="0.3%",
)


def lp_token(a: Token, b: Token) -> Token:
    """The Uniswap V2 pair of two tokens, as the token that its shares are."""
    token0, token1 = sort_tokens(a, b)
    symbol = f"uniswap_v2:{token0.symbol}/{token1.symbol}"
    return Token(UNISWAP_V2.pair_address(a, b), symbol, 18)


#: Every pair that two of TOKENS can form; few of them exist.
LP_TOKENS = tuple(lp_token(a, b) for a, b in combinations(TOKENS, 2))
