"""A mainnet from nothing: the official contracts at their real addresses, with deep pools.

Deterministic to the block hash: genesis time, base fee and block times are fixed, and every block
holds the transactions of one sender. What the chain is worth stands in ``economy``.
"""

from __future__ import annotations

from collections.abc import Sequence

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from rebalancer.devchain import economy
from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import ARBITRAGEUR, MARKET_MAKER, TREASURY
from rebalancer.devchain.anvil import BLOCK_INTERVAL_S, AnvilOptions
from rebalancer.devchain.artifacts import init_code, official, own
from rebalancer.devchain.calls import UINT256_MAX, add_liquidity, approve_router, transfer
from rebalancer.devchain.cheats import (
    Call,
    call_of,
    mine_block,
    pair_slot,
    runtime_of,
    word,
    write_all,
)
from rebalancer.devchain.feeds import feed_code
from rebalancer.evm.abi import from_hex
from rebalancer.evm.rpc import Rpc

BASE_FEE_WEI = 20 * 10**9
OPTIONS = AnvilOptions(
    chain_id=m.CHAIN_ID,
    timestamp=1_750_000_000,  # 2025-06-15, after Pectra
    base_fee_wei=BASE_FEE_WEI,
    gas_limit=36_000_000,
    balance_eth=10,
)


def build(rpc: Rpc) -> None:
    """Put the synthetic mainnet on a fresh Anvil that was started with OPTIONS.

    In the last block the treasury enters its LP positions.
    """
    rpc.call("anvil_setBlockTimestampInterval", BLOCK_INTERVAL_S)
    _place_code(rpc)
    _deploy(rpc, m.UNISWAP_DEPLOYER, m.FACTORY_NONCE, _factory())
    _deploy(rpc, m.WETH_DEPLOYER, m.WETH_NONCE, "0x" + official("WETH9")["bytecode"])
    _deploy(rpc, m.UNISWAP_DEPLOYER, m.ROUTER02_NONCE, _router())
    _block(rpc, MARKET_MAKER, [*_prices(), *_issue()])
    pools = [add_liquidity(a, b, MARKET_MAKER) for a, b in economy.UNISWAP_POOLS]
    _block(rpc, MARKET_MAKER, pools)
    _block(rpc, MARKET_MAKER, [*_sushi_liquidity(), *_hand_out()])
    _block(rpc, TREASURY, _treasury_liquidity())


def _block(rpc: Rpc, sender: str, calls: Sequence[Call]) -> None:
    """A block at the fixed base fee: full blocks would raise it, empty ones lower it."""
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
    """Contracts whose creation is of no interest: code, and what their constructors stored."""
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
    token0 6, token1 7, unlocked 12. Its real creation code is not in the npm packages, and another
    would give another address.
    """
    token0, token1, pair = m.USDC.address, m.WETH.address, m.SUSHI_USDC_WETH
    in_factory: dict[str, int | str] = {
        word(0): m.SUSHI_FEE_TO,
        word(1): m.SUSHI_FEE_TO,
        pair_slot(token0, token1): pair,
        pair_slot(token1, token0): pair,
        word(3): 1,
        "0x" + keccak(from_hex(word(3))).hex(): pair,
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


def _lp_domain_separator(pair: str) -> str:
    """EIP-712 domain of the LP token (UniswapV2ERC20's constructor)."""
    domain = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    types = ("bytes32", "bytes32", "bytes32", "uint256", "address")
    hashes = (keccak(text=domain), keccak(text="Uniswap V2"), keccak(text="1"))
    return "0x" + keccak(encode(types, (*hashes, m.CHAIN_ID, pair))).hex()


def _prices() -> list[Call]:
    return [
        call_of(m.FEEDS[token].address, "set_answer(int256)", price)
        for token, price in economy.PRICES_E8.items()
    ]


def _issue() -> list[Call]:
    """The market maker gets all tokens there will be, and lets the router take them."""
    calls: list[Call] = []
    for amount in economy.SUPPLY:
        token = amount.token
        if token == m.WETH:
            calls.append(call_of(token.address, "deposit()", value_wei=amount.raw))
        else:
            calls.append(call_of(token.address, "mint(address,uint256)", MARKET_MAKER, amount.raw))
        calls.append(approve_router(token, UINT256_MAX))
    return calls


def _sushi_liquidity() -> list[Call]:
    paid = [transfer(amount, m.SUSHI_USDC_WETH) for amount in economy.SUSHI_POOL]
    return [*paid, call_of(m.SUSHI_USDC_WETH, "mint(address)", MARKET_MAKER)]


def _hand_out() -> list[Call]:
    return [
        *(transfer(amount, TREASURY) for amount in economy.TREASURY_NEEDS),
        *(transfer(amount, ARBITRAGEUR) for amount in economy.ARBITRAGEUR_TOKENS),
    ]


def _treasury_liquidity() -> list[Call]:
    """Exact approvals, so that no allowance is left standing."""
    calls: list[Call] = []
    for a, b in economy.TREASURY_LP:
        calls += [approve_router(amount.token, amount.raw) for amount in (a, b)]
        calls.append(add_liquidity(a, b, TREASURY))
    return calls
