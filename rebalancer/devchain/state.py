"""A real mainnet block's state on an Anvil: real bytecode, real balances, real reserves.

The file holds what the block's transactions touched and nothing else, so every other slot reads
zero. ``load`` puts it in place unchanged; ``complete`` then writes what a portfolio needs and the
block did not touch. What it made up it says, in notes for the person who uses the chain.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import isqrt
from pathlib import Path
from typing import Any

from rebalancer.config.networks import sort_tokens
from rebalancer.devchain import mainnet as m
from rebalancer.devchain.anvil import BLOCK_INTERVAL_S, AnvilOptions
from rebalancer.devchain.artifacts import official, own
from rebalancer.devchain.cheats import has_code, pair_slot, view, word, write_all
from rebalancer.devchain.feeds import feed_answer, feed_code, install_feed
from rebalancer.devchain.funding import pool_prices_e8
from rebalancer.errors import ConfigError
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Token

#: Blocks before London (August 2021) have no base fee; this is one that a wallet can live with.
_BASE_FEE_BEFORE_LONDON_WEI = 20 * 10**9
#: Gas limits of 2020 are too small for today's deployments.
_GAS_LIMIT = 36_000_000

# Storage layout of the real contracts: where the decimals are, and of a Uniswap V2 pair.
_DECIMALS_SLOT = {m.WETH: 2, m.USDC: 6, m.USDT: 9}
_LP_SUPPLY, _LP_FACTORY, _LP_K_LAST = 0, 5, 11


@dataclass(frozen=True, slots=True)
class BlockState:
    """A block's header and the writes that put its touched accounts in place."""

    number: int
    timestamp: int
    base_fee_wei: int
    writes: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def options(self) -> AnvilOptions:
        """For an Anvil that stands one block before this one, so that mining one is this block."""
        return AnvilOptions(
            chain_id=m.CHAIN_ID,
            block_number=self.number - 1,
            timestamp=self.timestamp - BLOCK_INTERVAL_S,
            base_fee_wei=self.base_fee_wei,
            gas_limit=_GAS_LIMIT,
            balance_eth=10,
        )


def read_state(path: Path) -> BlockState:
    """Read ``blocks/N.json.gz``; the bytecode comes from ``codes_by_hash.json.gz`` above it.

    Raises ConfigError for a file that is missing, damaged or something else.
    """
    document = _read_json(path, "the state of a block")
    codes = _read_json(path.resolve().parents[1] / "codes_by_hash.json.gz", "contract bytecode")
    try:
        header = document["block"]
        return BlockState(
            number=int(header["number"], 16),
            timestamp=int(header["timestamp"], 16),
            base_fee_wei=int(header.get("baseFeePerGas") or hex(_BASE_FEE_BEFORE_LONDON_WEI), 16),
            writes=tuple(_writes(document["pre_state"], codes)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} is not the state of a block: {type(error).__name__} {error}",
            hint="expected `block` (a header) and `pre_state` (accounts with their storage)",
        ) from None


def _read_json(path: Path, what: str) -> Any:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist", hint=f"expected {what}: blocks/NUMBER.json.gz and its folder"
        ) from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} is not {what}: {error}") from None


def _writes(
    accounts: dict[str, Any], codes: dict[str, str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for address, account in accounts.items():
        yield "anvil_setBalance", (address, account["balance"])
        yield "anvil_setNonce", (address, hex(account["nonce"]))
        if account.get("code_hash"):
            yield "anvil_setCode", (address, codes[account["code_hash"]])
        for slot, value in account["storage"].items():
            yield "anvil_setStorageAt", (address, word(slot), word(value))


def load(rpc: Rpc, state: BlockState) -> tuple[str, ...]:
    """Put ``state`` on a fresh Anvil started with its options and complete it; returns the notes.

    The head is then still the block before; the caller mines the block itself when he is done.
    """
    rpc.call("anvil_setBlockTimestampInterval", BLOCK_INTERVAL_S)
    rpc.call("anvil_setNextBlockBaseFeePerGas", hex(state.base_fee_wei))
    write_all(rpc, state.writes)
    parts = (_contracts(rpc), _tokens(rpc), _pairs(rpc), _feeds(rpc, state.timestamp))
    hash_note = f"block {state.number} has the real one's state, number and time, but another hash"
    return (hash_note, *(note for part in parts for note in part))


def _contracts(rpc: Rpc) -> Iterator[str]:
    """Multicall3 and the two factories where the block did not touch them."""
    factory_code = "0x" + official("UniswapV2Factory")["runtime"]
    wanted = {
        "Multicall3": (m.MULTICALL3, own("Multicall3")["runtime"]),
        "the Uniswap V2 factory": (m.UNISWAP_FACTORY, factory_code),
        "SushiSwap's factory (with Uniswap's code)": (m.SUSHI_FACTORY, factory_code),
    }
    missing = {name: item for name, item in wanted.items() if not has_code(rpc, item[0])}
    for address, code in missing.values():
        rpc.call("anvil_setCode", address, code)
        if address == m.SUSHI_FACTORY:
            rpc.call("anvil_setStorageAt", address, word(0), word(m.SUSHI_FEE_TO))
    if missing:
        yield f"not touched by the block and put in place: {', '.join(missing)}"


def _tokens(rpc: Rpc) -> Iterator[str]:
    """Decimals that stand in storage and that the block did not read."""
    absent = [token for token in m.TOKENS if not has_code(rpc, token.address)]
    for token in m.TOKENS:
        if token in absent:
            continue
        if token in _DECIMALS_SLOT:
            slot = word(_DECIMALS_SLOT[token])
            rpc.call("anvil_setStorageAt", token.address, slot, word(token.decimals))
        (decimals,) = view(rpc, token.address, "decimals()", ("uint8",))
        if decimals != token.decimals:
            raise ConfigError(f"{token.symbol} of this state says it has {decimals} decimals")
    if absent:
        yield f"not touched by the block and not there: {', '.join(t.symbol for t in absent)}"


def _pairs(rpc: Rpc) -> Iterator[str]:
    """What LP shares need of the pairs that the block traded on, and only read zero.

    Their factory; the factory's memory of them; and a total supply, which is 0.9 of the first
    minter's, sqrt(R0 * R1), as pairs have it after years of fees. ``kLast`` matters only where the
    protocol fee is on, and is then written as if the last mint had been just now.
    """
    amms = (("uniswap_v2", m.UNISWAP_V2), ("sushiswap", m.SUSHISWAP))
    made_up: list[str] = []
    for token_a, token_b in combinations(m.TOKENS, 2):
        token0, token1 = sort_tokens(token_a, token_b)
        for name, amm in amms:
            pair = amm.pair_address(token0, token1)
            if has_code(rpc, pair) and _complete_pair(rpc, amm.factory, pair, token0, token1):
                made_up.append(f"{name}:{token0.symbol}/{token1.symbol}")
    if made_up:
        yield f"total supplies of LP shares are made up, 0.9 sqrt(k): {', '.join(made_up)}"


def _complete_pair(rpc: Rpc, factory: str, pair: str, token0: Token, token1: Token) -> bool:
    """Whether the total supply had to be made up."""
    reserve0, reserve1, _ = view(rpc, pair, "getReserves()", ("uint112", "uint112", "uint32"))
    (fee_to,) = view(rpc, factory, "feeTo()", ("address",))
    (supply,) = view(rpc, pair, "totalSupply()", ("uint256",))
    writes = [
        (pair, word(_LP_FACTORY), word(factory)),
        (factory, pair_slot(token0.address, token1.address), word(pair)),
        (factory, pair_slot(token1.address, token0.address), word(pair)),
    ]
    if supply == 0:
        made_up = isqrt(reserve0 * reserve1) * 9 // 10
        writes.append((pair, word(_LP_SUPPLY), word(made_up)))
        if int(fee_to, 16):
            writes.append((pair, word(_LP_K_LAST), word(reserve0 * reserve1)))
    rpc.batch([("anvil_setStorageAt", write) for write in writes])
    return bool(supply == 0)


def _feeds(rpc: Rpc, timestamp: int) -> Iterator[str]:
    """Feeds that do not answer become ones that say what the pools say, or 1 for a stablecoin."""
    stand_ins: list[str] = []
    for token, price_e8 in pool_prices_e8(rpc).items():
        fact = m.FEEDS[token]
        if feed_answer(rpc, fact.address) is None:
            code = feed_code(rpc, fact.decimals, fact.description)
            install_feed(rpc, fact.address, code, price_e8, timestamp)
            stand_ins.append(fact.description)
    if stand_ins:
        yield (
            "feeds that are stand-ins and answer the pool's mid price, or 1 for a stablecoin: "
            + ", ".join(stand_ins)
        )
