"""Random portfolios and markets, and the same of official bytecode on a bare Anvil.

Tokens and pairs are put there once; a case writes reserves, supplies and balances into their
storage, which takes some milliseconds where transactions would take seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import isqrt
from random import Random
from typing import Any

from eth_utils.crypto import keccak

from rebalancer.bundler.executor import EXECUTOR, WALLET_EXECUTOR
from rebalancer.devchain.artifacts import init_code, official, own
from rebalancer.devchain.cheats import mapping_slot, runtime_of, word, write_all
from rebalancer.evm.abi import checksum, encode_call, from_hex, to_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import (
    E8,
    PPM,
    Amount,
    BlockRef,
    Circumstances,
    GasReserve,
    LpHolding,
    PairState,
    Policy,
    Price,
    Snapshot,
    Target,
    Token,
    Watched,
)
from rebalancer.planner.inputs import Inputs

DECIMALS = (6, 18, 8, 18, 6, 8)
AMMS = ("one", "two")
FEE_PPM = 3_000
#: The protocol takes its fee where ``feeTo`` is set: on the second AMM.
FEE_TO = checksum("0x" + "fe" * 20)
MANY = 2**255


def _address(number: int) -> str:
    return checksum(f"0x{number:040x}")


#: Allowances are enough for the executor; the other wallet runs its own code.
BY_ALLOWANCE, DELEGATED = _address(0xA11CE), _address(0xDE1E6A7E)
TOKENS = tuple(Token(_address(0x7000 + i), f"T{i}", d) for i, d in enumerate(DECIMALS))
FACTORIES = {amm: _address(0xFAC0 + i) for i, amm in enumerate(AMMS)}
NATIVE = Token("0x" + "0" * 40, "ETH", 18)
#: The token that is wrapped ether: WETH9, where the others are plain.
WRAPPED = TOKENS[1]


@dataclass(frozen=True)
class Place:
    """Where a pair stands."""

    amm: str
    address: str
    token0: Token
    token1: Token

    @property
    def name(self) -> str:
        return f"{self.amm}:{self.token0.symbol}/{self.token1.symbol}"


PLACES = tuple(
    Place(amm, _address(0x9A0000 + 0x1000 * a + 16 * i + j), TOKENS[i], TOKENS[j])
    for a, amm in enumerate(AMMS)
    for i, j in combinations(range(len(TOKENS)), 2)
)


def build(rpc: Rpc) -> None:
    """Official pairs and factories, plain tokens, both executors, and a wallet for each."""
    pair = "0x" + official("UniswapV2Pair")["runtime"]
    codes = {EXECUTOR.address: to_hex(EXECUTOR.runtime_code)}
    codes[WALLET_EXECUTOR.address] = to_hex(_runtime(rpc, WALLET_EXECUTOR.init_code))
    codes[EXECUTOR.address] = to_hex(_runtime(rpc, EXECUTOR.init_code))
    codes[DELEGATED] = "0xef0100" + WALLET_EXECUTOR.address[2:].lower()
    codes |= {
        factory: "0x" + official("UniswapV2Factory")["runtime"] for factory in FACTORIES.values()
    }
    codes |= {place.address: pair for place in PLACES}
    types = ("string", "string", "uint8", "address")
    for token in TOKENS:
        if token == WRAPPED:
            continue
        args = (token.symbol, token.symbol, token.decimals, DELEGATED)
        codes[token.address] = runtime_of(rpc, init_code(own("DevToken")["bytecode"], types, args))
    codes[WRAPPED.address] = "0x" + official("WETH9")["runtime"]
    slots = [(FACTORIES[AMMS[1]], word(0), word(FEE_TO))]
    for place in PLACES:
        tokens = {6: place.token0.address, 7: place.token1.address}
        # 9 and 10: the price accumulators, which no pair has at zero once it was used.
        facts = {5: FACTORIES[place.amm], **tokens, 9: 1, 10: 1, 12: 1}
        slots += [(place.address, word(slot), word(fact)) for slot, fact in facts.items()]
        allowed = mapping_slot(EXECUTOR.address, mapping_slot(BY_ALLOWANCE, word(2)))
        slots.append((place.address, allowed, word(MANY)))
        slots.append((place.address, mapping_slot(FEE_TO, word(1)), word(1)))
    for token in TOKENS:
        slots.append((token.address, _allowance_slot(token), word(MANY)))
    write_all(rpc, [("anvil_setCode", item) for item in codes.items()])
    write_all(rpc, [("anvil_setStorageAt", slot) for slot in slots])
    rpc.call("anvil_setBalance", WRAPPED.address, hex(10**30))
    for wallet in (BY_ALLOWANCE, DELEGATED):
        rpc.call("anvil_impersonateAccount", wallet)


def _runtime(rpc: Rpc, code: bytes) -> bytes:
    return from_hex(runtime_of(rpc, to_hex(code)))


def _nested(slot: int, *keys: str) -> str:
    """Slot in a HashMap of Vyper, which hashes the slot first."""
    found = word(slot)
    for key in keys:
        found = "0x" + keccak(from_hex(found) + from_hex(word(key))).hex()
    return found


def _balance_slot(token: Token, owner: str) -> str:
    """Vyper's tokens and WETH9 keep their balances in slots 1 and 3, each in its own way."""
    return mapping_slot(owner, word(3)) if token == WRAPPED else _nested(1, owner)


def _allowance_slot(token: Token) -> str:
    if token == WRAPPED:
        return mapping_slot(EXECUTOR.address, mapping_slot(BY_ALLOWANCE, word(4)))
    return _nested(2, BY_ALLOWANCE, EXECUTOR.address)


def write(rpc: Rpc, at: Snapshot) -> None:
    """Make the chain what the snapshot says, as far as its wallet can see."""
    slots = []
    held = dict.fromkeys((pair.address for pair in at.pairs), 0)
    held |= {holding.pair: holding.liquid for holding in at.holdings}
    stamp = at.block.timestamp % 2**32
    for pair in at.pairs:
        packed = pair.reserve0 | pair.reserve1 << 112 | stamp << 224
        facts = {0: pair.total_supply, 8: packed, 11: pair.k_last}
        slots += [(pair.address, word(slot), word(fact)) for slot, fact in facts.items()]
        own_shares = mapping_slot(at.wallet, word(1))
        slots.append((pair.address, own_shares, word(held[pair.address])))
        for token, raw in ((pair.token0, pair.reserve0), (pair.token1, pair.reserve1)):
            slots.append((token.address, _balance_slot(token, pair.address), word(raw)))
    for amount in at.balances:
        slot = _balance_slot(amount.token, at.wallet)
        slots.append((amount.token.address, slot, word(amount.raw)))
    write_all(rpc, [("anvil_setStorageAt", slot) for slot in slots])
    rpc.call("anvil_setBalance", at.wallet, hex(at.native_wei))


def read(rpc: Rpc, at: Snapshot) -> dict[str, tuple[int, ...]]:
    """The wallet's balance of each token; of each pair its shares, reserves, supply and kLast."""
    asked: list[tuple[str, bytes]] = []
    for amount in at.balances:
        asked.append((amount.token.address, encode_call("balanceOf(address)", at.wallet)))
    for pair in at.pairs:
        asked.append((pair.address, encode_call("balanceOf(address)", at.wallet)))
        asked += [(pair.address, encode_call(f"{name}()")) for name in _VIEWS]
    answers = write_all(
        rpc, [("eth_call", ({"to": to, "data": to_hex(data)}, "latest")) for to, data in asked]
    )
    found: dict[str, tuple[int, ...]] = {}
    for (to, _), answer in zip(asked, answers, strict=True):
        data = from_hex(answer)
        words = tuple(int.from_bytes(data[i : i + 32]) for i in range(0, len(data), 32))
        found[to] = found.get(to, ()) + words[:2]
    return found


_VIEWS = ("getReserves", "totalSupply", "kLast")


def expected(done: Snapshot) -> dict[str, tuple[int, ...]]:
    """What ``read`` would find once the snapshot is ``done``."""
    held = dict.fromkeys((pair.address for pair in done.pairs), 0)
    held |= {holding.pair: holding.liquid for holding in done.holdings}
    found: dict[str, tuple[int, ...]] = {a.token.address: (a.raw,) for a in done.balances}
    for p in done.pairs:
        found[p.address] = held[p.address], p.reserve0, p.reserve1, p.total_supply, p.k_last
    return found


@dataclass(frozen=True)
class Case:
    """What ``Inputs`` are made of; a quarter of them is asked for a withdrawal or has deposits."""

    snapshot: Snapshot
    targets: tuple[Target, ...]
    policy: Policy
    circumstances: Circumstances

    @property
    def inputs(self) -> Inputs:
        return Inputs(self.snapshot, self.targets, self.policy, None, self.circumstances)


def make(random: Random, block: BlockRef) -> Case:
    """A portfolio that has drifted: two to six tokens, up to ten pairs, LP positions in some."""
    count = random.randint(2, len(TOKENS))
    tokens = random.sample(TOKENS, count)
    kept = random.randint(2, count)
    prices = {
        t: Price(t, random.randint(10**6, 10**13), 10**t.decimals, "test", block.timestamp)
        for t in tokens
    }
    nav_e8 = int(10 ** random.uniform(3.5, 7)) * E8
    pairs = tuple(_pairs(random, prices, nav_e8))
    balances = tuple(
        Amount(t, prices[t].raw_down(int(random.choice((0, 1, 1, 1)) * random.random() * nav_e8)))
        for t in tokens
    )
    lps = random.sample(pairs, random.randint(0, min(3, len(pairs))))
    holdings = tuple(_holding(random, pair, prices, nav_e8) for pair in lps)
    names = [t.symbol for t in tokens[:kept]] + [pair.name for pair in lps]
    weights = _weights(random, len(names))
    wallet = random.choice((BY_ALLOWANCE, DELEGATED))
    reserve = None
    if WRAPPED.symbol in names and random.random() < 0.5:
        reserve = GasReserve(WRAPPED, random.randint(1, 5 * 10**18))
    snapshot = Snapshot(
        block=block,
        wallet=wallet,
        numeraire="USD",
        native=Price(NATIVE, random.randint(100, 5_000) * E8, 10**18, "test", block.timestamp),
        native_wei=10**18 + random.randint(0, 10**19),
        balances=balances,
        holdings=holdings,
        pairs=pairs,
        prices=tuple(prices.values()),
        priority_fee_wei=random.randint(0, 2 * 10**9),
        gas_reserve=reserve,
    )
    if random.random() < 0.2:
        snapshot = replace(snapshot, watched=(_watched(random, snapshot),))
    bucket = random.sample(names, random.choice((0, 0, 0, 2)))
    targets = tuple(
        Target(name, weight, bucket="both" if name in bucket else None)
        for name, weight in zip(names, weights, strict=True)
    )
    return Case(snapshot, targets, _policy(random), _circumstances(random, snapshot, names))


def _watched(random: Random, at: Snapshot) -> Watched:
    """Another wallet with some of the same; its shares are within what there is of them."""
    return Watched(
        wallet=_address(0xC01D),
        balances=tuple(replace(a, raw=random.randint(0, a.raw)) for a in at.balances),
        holdings=tuple(LpHolding(h.pair, h.shares // 2, None) for h in at.holdings),
    )


def _circumstances(random: Random, at: Snapshot, names: Sequence[str]) -> Circumstances:
    held = [a for a in at.balances if a.raw and a.token.symbol in names]
    if not held or random.random() < 0.75:
        return Circumstances()
    some = random.choice(held)
    part = Amount(some.token, random.randint(1, some.raw))
    if random.random() < 0.5:
        return Circumstances(deposits=(part,))
    return Circumstances(withdrawal=replace(part, raw=part.raw * random.choice((1, 2))))


def _pairs(random: Random, prices: Mapping[Token, Price], nav_e8: int) -> Iterator[PairState]:
    """Pools at most 1.5 % off the oracle that hold from a hundredth to a thousand times NAV."""
    there = [p for p in PLACES if p.token0 in prices and p.token1 in prices]
    for place in random.sample(there, min(len(there), random.randint(1, 10))):
        side_e8 = int(nav_e8 * 10 ** random.uniform(-2, 3))
        reserve0 = prices[place.token0].raw_down(side_e8)
        reserve1 = prices[place.token1].raw_down(
            side_e8 * random.randint(985_000, 1_015_000) // PPM
        )
        k = reserve0 * reserve1
        if min(reserve0, reserve1) <= 10**6 or max(reserve0, reserve1) >= 2**111:
            continue
        fee_on = place.amm == AMMS[1]
        yield PairState(
            address=place.address,
            amm=place.amm,
            token0=place.token0,
            token1=place.token1,
            fee_ppm=FEE_PPM,
            reserve0=reserve0,
            reserve1=reserve1,
            total_supply=isqrt(k) * random.randint(500_000, PPM) // PPM + 1_000,
            k_last=k * random.randint(800_000, PPM) // PPM * random.choice((0, 1, 1))
            if fee_on
            else 0,
            protocol_fee_on=fee_on,
        )


def _holding(
    random: Random, pair: PairState, prices: Mapping[Token, Price], nav_e8: int
) -> LpHolding:
    """Some or no shares worth up to NAV, and at most two fifths of the pool; a part is staked."""
    whole_e8 = 2 * prices[pair.token0].value_down(pair.reserve0) + 1
    share = min(random.choice((0, 1, 1)) * random.random() * nav_e8 / whole_e8, 0.4)
    shares = int(share * pair.total_supply)
    return LpHolding(pair.address, shares, None, staked=random.choice((0, 0, 0, shares // 3)))


def _weights(random: Random, count: int) -> list[int]:
    cuts = sorted(random.randint(0, PPM) for _ in range(count - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, PPM], strict=True)]


def _policy(random: Random) -> Policy:
    return Policy(
        trigger="threshold",
        band_abs_ppm=0,
        band_rel_ppm=None,
        band_rule="tighter",
        calendar_s=3_600,
        dead_band_ppm=0,
        reset_ppm=random.choice((PPM, PPM, 500_000)),
        drift_aversion_ppm=random.choice((100_000, 300_000, 2_000_000)),
        min_trade_e8=random.choice((0, 50)) * E8,
        max_impact_ppm=random.choice((2_000, 10_000, 50_000)),
        max_cost_ppm=PPM,
        max_off_oracle_ppm=20_000,
        slippage_ppm=random.choice((0, 1_000, 5_000)),
        max_gas_price_wei=10**11,
        deadline_s=3_600,
        max_age_blocks=5,
        planner=random.choice(("greedy", "optimal", "optimal")),
        max_pool_share_ppm=random.choice((None, None, 20_000)),
    )


def sent(rpc: Rpc, wallet: str, to: str, data: bytes, value_wei: int = 0) -> Mapping[str, Any]:
    """The receipt of a transaction that was mined at once."""
    request = {"from": wallet, "to": to, "data": to_hex(data), "gas": hex(12_000_000)}
    request["value"] = hex(value_wei)
    answer: Any = rpc.call("eth_sendTransactionSync", request)
    return dict(answer)


__all__: Sequence[str] = ("Case", "build", "expected", "make", "read", "sent", "write")
