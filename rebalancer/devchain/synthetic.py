"""A mainnet from nothing: the official contracts at their real addresses, with deep pools.

Deterministic to the block hash: genesis time, base fee and block times are fixed and every block
holds the transactions of one sender. Prices are round numbers; the pools hold them exactly, except
SushiSwap's, which is 0.17 % dearer (inside its fee band) so that two pools of one pair differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import ARBITRAGEUR, MARKET_MAKER, TREASURY
from rebalancer.devchain.anvil import BLOCK_INTERVAL_S, AnvilOptions
from rebalancer.devchain.artifacts import init_code, official, own
from rebalancer.devchain.cheats import Call, call_of, mine_block, runtime_of, word, write_all
from rebalancer.devchain.feeds import feed_code
from rebalancer.evm.abi import from_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import E8, Token, parse_units

BASE_FEE_WEI = 20 * 10**9
OPTIONS = AnvilOptions(
    chain_id=m.CHAIN_ID,
    timestamp=1_750_000_000,  # 2025-06-15, after Pectra
    base_fee_wei=BASE_FEE_WEI,
    gas_limit=36_000_000,
    balance_eth=10,
)

#: Oracle prices of the first block in 1e-8 USD.
PRICES_E8 = {
    m.WETH: 3_000 * E8,
    m.WBTC: 60_000 * E8,
    m.USDC: E8,
    m.USDT: E8,
    m.DAI: E8,
    m.UNI: 8 * E8,
    m.LINK: 15 * E8,
}

#: Uniswap V2 pools: whole tokens of each side, worth the same at PRICES_E8.
POOLS: tuple[tuple[Token, int, Token, int], ...] = (
    (m.USDC, 60_000_000, m.WETH, 20_000),
    (m.WETH, 16_000, m.USDT, 48_000_000),
    (m.DAI, 24_000_000, m.WETH, 8_000),
    (m.WBTC, 600, m.WETH, 12_000),
    (m.WBTC, 250, m.USDC, 15_000_000),
    (m.UNI, 1_500_000, m.WETH, 4_000),
    (m.LINK, 1_000_000, m.WETH, 5_000),
    (m.USDC, 12_000_000, m.USDT, 12_000_000),
    (m.DAI, 15_000_000, m.USDC, 15_000_000),
)
SUSHI_POOL = (m.USDC, 18_030_000, m.WETH, 6_000)

#: What the treasury owns beside its LP positions; with them 1,000,000 USD at the targets of the
#: demo (40 % WETH, 20 % WBTC, 20 % USDC, 20 % USDC/WETH LP), and 20,000 USD of DAI/WETH LP.
TREASURY_TOKENS = (
    (m.WETH, parse_units("133.333333333333333333", 18)),
    (m.WBTC, parse_units("3.33333333", 8)),
    (m.USDC, parse_units("200000", 6)),
)
TREASURY_LP = (
    (m.USDC, parse_units("100000", 6), m.WETH),
    (m.DAI, parse_units("10000", 18), m.WETH),
)
#: What the arbitrageur may trade with, in whole tokens.
ARBITRAGEUR_TOKENS = {
    m.WETH: 50_000,
    m.WBTC: 3_000,
    m.USDC: 200_000_000,
    m.USDT: 200_000_000,
    m.DAI: 200_000_000,
    m.UNI: 10_000_000,
    m.LINK: 10_000_000,
}
_FOR_EVER = 2**63


@dataclass(frozen=True, slots=True)
class Built:
    """Where the chain stands: its last block, in which the treasury entered its LP positions."""

    block_number: int
    block_hash: str


def build(rpc: Rpc) -> Built:
    """Put the synthetic mainnet on a fresh Anvil that was started with OPTIONS."""
    rpc.call("anvil_setBlockTimestampInterval", BLOCK_INTERVAL_S)
    _place_code(rpc)
    _deploy(rpc, m.UNISWAP_DEPLOYER, m.FACTORY_NONCE, _factory())
    _deploy(rpc, m.WETH_DEPLOYER, m.WETH_NONCE, "0x" + official("WETH9")["bytecode"])
    _deploy(rpc, m.UNISWAP_DEPLOYER, m.ROUTER02_NONCE, _router())
    _block(rpc, MARKET_MAKER, [*_prices(), *_issue()])
    _block(rpc, MARKET_MAKER, [_add_liquidity(*pool) for pool in _raw_pools()])
    _block(rpc, MARKET_MAKER, [*_sushi_liquidity(), *_hand_out()])
    _block(rpc, TREASURY, _treasury_liquidity())
    head = rpc.call("eth_getBlockByNumber", "latest", False)
    return Built(int(head["number"], 16), head["hash"])


def _block(rpc: Rpc, sender: str, calls: Sequence[Call]) -> None:
    """A block at the fixed base fee, or building at full blocks would raise it."""
    rpc.call("anvil_setNextBlockBaseFeePerGas", hex(BASE_FEE_WEI))
    mine_block(rpc, sender, calls)


def _deploy(rpc: Rpc, deployer: str, nonce: int, code: str) -> None:
    """Create as the real deployer's real transaction, so that the address is the real one."""
    rpc.call("anvil_setNonce", deployer, hex(nonce))
    _block(rpc, deployer, [Call(None, code, gas_limit=8_000_000)])


def _factory() -> str:
    bytecode = official("UniswapV2Factory")["bytecode"]
    # feeTo stays zero, as on mainnet: the protocol fee of Uniswap V2 is off.
    return init_code(bytecode, ["address"], [m.UNISWAP_DEPLOYER])


def _router() -> str:
    bytecode = official("UniswapV2Router02")["bytecode"]
    return init_code(bytecode, ["address", "address"], [m.UNISWAP_FACTORY, m.WETH.address])


def _place_code(rpc: Rpc) -> None:
    """Contracts whose deployers are of no interest: code, and what their constructors stored."""
    codes = {
        m.MULTICALL3: own("Multicall3")["runtime"],
        m.SUSHI_FACTORY: "0x" + official("UniswapV2Factory")["runtime"],
        m.SUSHI_USDC_WETH: "0x" + official("UniswapV2Pair")["runtime"],
    }
    for token, name in m.TOKEN_NAMES.items():
        args = (name, token.symbol, token.decimals, MARKET_MAKER)
        types = ("string", "string", "uint8", "address")
        code = init_code(own("DevToken")["bytecode"], types, args)
        codes[token.address] = runtime_of(rpc, code)
    tether = init_code(own("DevTether")["bytecode"], ["address"], [MARKET_MAKER])
    codes[m.USDT.address] = runtime_of(rpc, tether)
    for fact in m.FEEDS.values():
        codes[fact.address] = feed_code(rpc, fact.decimals, fact.description)
    write_all(rpc, [("anvil_setCode", item) for item in codes.items()])
    write_all(rpc, [("anvil_setStorageAt", slot) for slot in _sushi_storage()])


def _sushi_storage() -> list[tuple[str, str, str]]:
    """What SushiSwap's constructors and ``createPair`` would have stored (address, key, value).

    Factory: feeTo 0, feeToSetter 1, getPair 2, allPairs 3. Pair: DOMAIN_SEPARATOR 3, factory 5,
    token0 6, token1 7, unlocked 12. Its real creation code is not in the npm package, and another
    would give another address.
    """
    token0, token1, pair = m.USDC.address, m.WETH.address, m.SUSHI_USDC_WETH
    in_factory: dict[str, int | str] = {
        word(0): m.SUSHI_FEE_TO,
        word(1): m.SUSHI_FEE_TO,
        _pair_slot(token0, token1): pair,
        _pair_slot(token1, token0): pair,
        word(3): 1,
        _hashed(word(3)): pair,
    }
    in_pair: dict[str, int | str] = {
        word(3): _lp_domain_separator(pair),
        word(5): m.SUSHI_FACTORY,
        word(6): token0,
        word(7): token1,
        word(12): 1,
    }
    return [
        *((m.SUSHI_FACTORY, key, word(value)) for key, value in in_factory.items()),
        *((pair, key, word(value)) for key, value in in_pair.items()),
    ]


def _pair_slot(token_a: str, token_b: str) -> str:
    """Slot of ``getPair[token_a][token_b]`` in a factory."""
    return _hashed(word(token_b), _hashed(word(token_a), word(2)))


def _hashed(*words: str) -> str:
    return "0x" + keccak(b"".join(map(from_hex, words))).hex()


def _lp_domain_separator(pair: str) -> str:
    """EIP-712 domain of the LP token (UniswapV2ERC20's constructor)."""
    domain = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    types = ("bytes32", "bytes32", "bytes32", "uint256", "address")
    hashes = (keccak(text=domain), keccak(text="Uniswap V2"), keccak(text="1"))
    return "0x" + keccak(encode(types, (*hashes, m.CHAIN_ID, pair))).hex()


def _prices() -> list[Call]:
    return [
        call_of(m.FEEDS[token].address, "set_answer(int256)", price)
        for token, price in PRICES_E8.items()
    ]


def _issue() -> list[Call]:
    """The market maker gets all tokens there will be, and lets the router take them."""
    calls: list[Call] = []
    for token, raw in _supply().items():
        if token == m.WETH:
            calls.append(call_of(token.address, "deposit()", value_wei=raw))
        else:
            calls.append(call_of(token.address, "mint(address,uint256)", MARKET_MAKER, raw))
        calls.append(_approve(token, 2**256 - 1))
    return calls


def _supply() -> dict[Token, int]:
    """Smallest units of each token that the pools and the wallets are given."""
    total = {token: _raw(token, whole) for token, whole in ARBITRAGEUR_TOKENS.items()}
    for token_a, raw_a, token_b, raw_b in [*_raw_pools(), _raw_pool(SUSHI_POOL)]:
        total[token_a] += raw_a
        total[token_b] += raw_b
    for token, raw in _treasury_needs():
        total[token] += raw
    return total


def _raw(token: Token, whole: int) -> int:
    return int(whole * 10**token.decimals)


def _raw_pool(pool: tuple[Token, int, Token, int]) -> tuple[Token, int, Token, int]:
    token_a, whole_a, token_b, whole_b = pool
    return token_a, _raw(token_a, whole_a), token_b, _raw(token_b, whole_b)


def _raw_pools() -> list[tuple[Token, int, Token, int]]:
    return [_raw_pool(pool) for pool in POOLS]


def _treasury_entries() -> list[tuple[Token, int, Token, int]]:
    """The amounts of the treasury's LP positions: the second as Router02 quotes it."""
    reserves = {(a, b): (raw_a, raw_b) for a, raw_a, b, raw_b in _raw_pools()}
    entries = []
    for token_a, raw_a, token_b in TREASURY_LP:
        reserve_a, reserve_b = reserves[token_a, token_b]
        entries.append((token_a, raw_a, token_b, raw_a * reserve_b // reserve_a))
    return entries


def _treasury_needs() -> list[tuple[Token, int]]:
    needs = list(TREASURY_TOKENS)
    for token_a, raw_a, token_b, raw_b in _treasury_entries():
        needs += [(token_a, raw_a), (token_b, raw_b)]
    return needs


def _approve(token: Token, raw: int) -> Call:
    return call_of(token.address, "approve(address,uint256)", m.UNISWAP_ROUTER02, raw, gas=100_000)


def _transfer(token: Token, to: str, raw: int) -> Call:
    return call_of(token.address, "transfer(address,uint256)", to, raw, gas=150_000)


def _add_liquidity(
    token_a: Token, raw_a: int, token_b: Token, raw_b: int, to: str = MARKET_MAKER
) -> Call:
    """Router02 creates the pair when there is none; ``raw_a, raw_b`` go in whole."""
    signature = "addLiquidity(address,address,uint256,uint256,uint256,uint256,address,uint256)"
    tokens = (token_a.address, token_b.address)
    args: tuple[Any, ...] = (*tokens, raw_a, raw_b, raw_a, raw_b, to, _FOR_EVER)
    return call_of(m.UNISWAP_ROUTER02, signature, *args, gas=3_500_000)


def _sushi_liquidity() -> list[Call]:
    token_a, raw_a, token_b, raw_b = _raw_pool(SUSHI_POOL)
    return [
        _transfer(token_a, m.SUSHI_USDC_WETH, raw_a),
        _transfer(token_b, m.SUSHI_USDC_WETH, raw_b),
        call_of(m.SUSHI_USDC_WETH, "mint(address)", MARKET_MAKER),
    ]


def _hand_out() -> list[Call]:
    needs: dict[Token, int] = {}
    for token, raw in _treasury_needs():
        needs[token] = needs.get(token, 0) + raw
    to_treasury = [_transfer(token, TREASURY, raw) for token, raw in needs.items()]
    to_arbitrageur = [
        _transfer(token, ARBITRAGEUR, _raw(token, whole))
        for token, whole in ARBITRAGEUR_TOKENS.items()
    ]
    return [*to_treasury, *to_arbitrageur]


def _treasury_liquidity() -> list[Call]:
    """Exact approvals, so that no allowance is left standing."""
    calls: list[Call] = []
    for token_a, raw_a, token_b, raw_b in _treasury_entries():
        calls += [_approve(token_a, raw_a), _approve(token_b, raw_b)]
        calls.append(_add_liquidity(token_a, raw_a, token_b, raw_b, TREASURY))
    return calls
