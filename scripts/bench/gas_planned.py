"""What the planner says of gas beside what official bytecode uses: by token and by shape of plan.

Seven tokens of networks.yaml as they are on mainnet (runtime bytecode; of USDC the proxy with its
implementation), each in official pairs with two plain ERC-20s, no balance, slot or accumulator
touched for the first time; and swaps among the tokens and pools of a real block. Measured is
gasUsed, allowances standing, and once more with the approval that a plan makes.

    gas.planned.<token>.<shape>    planned beside measured
    gas.fitted.<token>.<figure>    what networks.yaml has, or stands in for it, beside what comes
                                   out now: a token's row for it is made of these
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rebalancer.bundler.executor import EXECUTOR_ADDRESS, encode_execute
from rebalancer.config.load import PROJECT_ROOT, load_networks
from rebalancer.config.networks import Network
from rebalancer.devchain.anvil import BLOCK_INTERVAL_S, HARDFORK
from rebalancer.devchain.funding import deal
from rebalancer.evm.abi import checksum, encode_call, to_hex
from rebalancer.model import AddLeg, Amount, GasSchedule, Leg, RemoveLeg, Token
from rebalancer.planner.gas_schedule import PRAGUE
from scripts.bench.figure import Figure
from scripts.bench.gas import AMOUNTS, DATA, REAL
from scripts.bench.gas_world import DEADLINE, MAX, MAX_FEE_WEI, World, plain_world, real_world

#: Tokens by the name that the data has their code under.
CODES = {
    "WETH": "WETH9",
    "WBTC": "WBTC",
    "USDC": "USDC_proxy",
    "USDT": "USDT",
    "DAI": "DAI",
    "UNI": "UNI",
    "LINK": "LINK",
}
#: USDC's proxy of 2018 keeps its implementation and its admin here (org.zeppelinos.proxy).
_IMPLEMENTATION_SLOT = "0x7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3"
_ADMIN_SLOT = "0x10d6a54a4754c8869d6886b5f5d7fbfa5b4522237ea5c60d11bc4e7a1ff9390b"
#: The proxy lets its admin through to nothing else, so the admin is no one who trades.
_NOBODY = "0x" + "11" * 20
_USDC_CODE = "USDC_impl_V2_2"
#: A plain token that trades against the same two as the others.
PLAIN = "T2"
#: The most that a plan of these shapes may be off, in percent of what is used.
OFF_TARGET = 6.0
REAL_BLOCK = 12459406


def _add(world: World, symbol: str) -> list[Leg]:
    pair, token0, token1, reserves, supply = _pool(world, symbol)
    amount0, amount1 = (reserve // 1_000 for reserve in reserves)
    shares = min(amount0 * supply // reserves[0], amount1 * supply // reserves[1])
    least = shares * 99 // 100
    return [AddLeg(pair, "uniswap_v2", token0, token1, amount0, amount1, shares, least)]


def _remove(world: World, symbol: str) -> list[Leg]:
    pair, token0, token1, reserves, supply = _pool(world, symbol)
    shares = supply // 1_000
    amount0, amount1 = (shares * reserve // supply for reserve in reserves)
    least = amount0 * 99 // 100, amount1 * 99 // 100
    return [RemoveLeg(pair, "uniswap_v2", token0, token1, shares, amount0, amount1, *least)]


def _pool(world: World, symbol: str) -> tuple[str, Token, Token, list[int], int]:
    token0, token1 = sorted(
        (world.tokens["T0"], world.tokens[symbol]), key=lambda token: int(token.address, 16)
    )
    pair = world.pair_of(token0, token1)
    (supply,) = world.view(pair, "totalSupply()", ["uint256"])
    return pair, token0, token1, world.reserves(pair), supply


SHAPES: dict[str, Callable[[World, str], Sequence[Leg]]] = {
    "bought": lambda world, x: world.legs((("T0", x),)),
    "sold": lambda world, x: world.legs(((x, "T0"),)),
    "bought_twice": lambda world, x: world.legs((("T0", x), ("T1", x))),
    "sold_twice": lambda world, x: world.legs(((x, "T0"), (x, "T1"))),
    "passed_on": lambda world, x: world.legs((("T0", x, "T1"),)),
    "added": _add,
    "removed": _remove,
}


@contextmanager
def token_world(data: Path, hardfork: str = HARDFORK) -> Iterator[World]:
    """The plain world, and in it mainnet's tokens in pairs with T0 and T1."""
    codes: Any = json.loads((data / "mainnet" / "runtime_by_name.json").read_text())
    network = mainnet()
    with plain_world(data, hardfork) as plain:
        pairs: dict[frozenset[str], str] = {}

        def pair_of(a: Token, b: Token) -> str:
            return pairs.get(frozenset((a.symbol, b.symbol))) or plain.pair_of(a, b)

        def place(name: str) -> str:
            found = codes[name]
            plain.rpc.call("anvil_setCode", found["address"], found["runtime"])
            return str(found["address"])

        world = replace(plain, pair_of=pair_of)
        (factory,) = world.view(world.router, "factory()", ["address"])
        for symbol, name in CODES.items():
            address, token = place(name), network.token(symbol)
            if symbol == "USDC":
                slots = {_IMPLEMENTATION_SLOT: place(_USDC_CODE), _ADMIN_SLOT: _NOBODY}
                for slot, value in slots.items():
                    word = f"0x{int(value, 16):064x}"
                    world.rpc.call("anvil_setStorageAt", address, slot, word)
            world.tokens[symbol], world.amounts[symbol] = token, 10**token.decimals
            deal(world.rpc, Amount(token, 2**90), world.wallet)
            world.send(address, encode_call("approve(address,uint256)", EXECUTOR_ADDRESS, MAX))
            for other in ("T0", "T1"):
                pairs[frozenset((other, symbol))] = _open(world, factory, other, symbol)
        for symbol in (PLAIN, *CODES):
            shares = _pool(world, symbol)[0]
            world.send(shares, encode_call("approve(address,uint256)", EXECUTOR_ADDRESS, MAX))
            for name, shape in SHAPES.items():
                if name not in ("added", "removed"):
                    world.send(EXECUTOR_ADDRESS, encoded(shape(world, symbol)))
        yield world


def _open(world: World, factory: str, other: str, symbol: str) -> str:
    """Create a pair with a million of the token in it."""
    a, b = world.tokens[other], world.tokens[symbol]
    world.send(factory, encode_call("createPair(address,address)", a.address, b.address))
    (pair,) = world.view(factory, "getPair(address,address)", ["address"], a.address, b.address)
    for token in (a, b):
        raw = 10 ** (6 + token.decimals)
        world.send(token.address, encode_call("transfer(address,uint256)", pair, raw))
    world.send(pair, encode_call("mint(address)", world.wallet))
    return checksum(pair)


def used(world: World, legs: Sequence[Leg]) -> int:
    """Gas of the batch, allowances standing."""
    return simulated(world, [(EXECUTOR_ADDRESS, encoded(legs))])[0]


def used_with_approval(world: World, symbol: str) -> tuple[int, int]:
    """Gas of an exact approval, and of the sale that consumes it."""
    token = world.tokens[symbol].address
    approvals = [
        (token, encode_call("approve(address,uint256)", EXECUTOR_ADDRESS, raw))
        for raw in (0, world.amounts[symbol])
    ]
    sale = EXECUTOR_ADDRESS, encoded(SHAPES["sold"](world, symbol))
    _, approval, sold = simulated(world, [*approvals, sale])
    return approval, sold


def simulated(world: World, calls: Sequence[tuple[str, bytes]]) -> list[int]:
    """gasUsed of transactions of the wallet in a next block; the chain stays as it is.

    Anvil gives what a receipt would, which a test compares. Raises RuntimeError when one reverts.
    """
    head: Any = world.rpc.call("eth_getBlockByNumber", "latest", False)
    block = {
        "blockOverrides": {"time": hex(int(head["timestamp"], 16) + BLOCK_INTERVAL_S)},
        "calls": [{"from": world.wallet, "to": to, "data": to_hex(data)} for to, data in calls],
    }
    (answer,) = world.rpc.call("eth_simulateV1", {"blockStateCalls": [block]}, "latest")
    if any(int(call["status"], 16) != 1 for call in answer["calls"]):
        raise RuntimeError(f"a call of {len(calls)} reverted")
    return [int(call["gasUsed"], 16) for call in answer["calls"]]


def mainnet() -> Network:
    return load_networks(PROJECT_ROOT / "networks.yaml")["mainnet"]


def schedule_of_tokens() -> GasSchedule:
    """What networks.yaml has of its tokens."""
    network = mainnet()
    return network.gas_schedule(network.token(symbol) for symbol in network.tokens)


def planned_and_used(world: World, symbol: str) -> dict[str, tuple[int, int]]:
    """By shape; ``approved`` is a sale with its approval."""
    schedule = schedule_of_tokens()
    found = {}
    for name, shape in SHAPES.items():
        legs = shape(world, symbol)
        found[name] = schedule.execution(legs), used(world, legs)
    sold = SHAPES["sold"](world, symbol)
    found["approved"] = schedule.units(sold), sum(used_with_approval(world, symbol))
    return found


def real_planned_and_used(data: Path) -> dict[str, tuple[int, int]]:
    """By shape, among the tokens and pools of a real block; USDC is an older one there."""
    network, schedule, found = mainnet(), schedule_of_tokens(), {}
    with real_world(data, REAL_BLOCK, AMOUNTS) as read:
        world = replace(read, tokens={symbol: network.token(symbol) for symbol in AMOUNTS})
        for swaps in REAL.values():
            world.send(EXECUTOR_ADDRESS, world.batch(swaps))
        for shape, swaps in REAL.items():
            legs = world.legs(swaps)
            found[shape] = schedule.execution(legs), used(world, legs)
    return found


def fitted(world: World, symbol: str) -> dict[str, int]:
    """A token's figures by what swaps of it use beyond those of the plain one.

    ``transfer`` is what the second swap of it adds, ``touch`` what the first adds beyond that, each
    the mean of buying and selling; ``approval`` is the transaction, less what the sale then saves
    because it consumes the allowance.
    """

    def more(name: str) -> int:
        shape = SHAPES[name]
        return used(world, shape(world, symbol)) - used(world, shape(world, PLAIN))

    first = more("bought"), more("sold")
    both = more("bought_twice"), more("sold_twice")
    transfer = (sum(both) - sum(first)) // 2
    approval, sale = used_with_approval(world, symbol)
    return {
        "touch": PRAGUE.per_token + sum(first) // 2 - transfer,
        "transfer": transfer,
        "approval": approval + sale - used(world, SHAPES["sold"](world, symbol)),
    }


def figures() -> Iterator[Figure]:
    if not (DATA / "mainnet").is_dir():
        return
    worst = 0.0
    schedule = schedule_of_tokens()
    with token_world(DATA) as world:
        for symbol in (PLAIN, *CODES):
            for shape, (planned, measured) in planned_and_used(world, symbol).items():
                name = f"gas.planned.{symbol}.{shape}"
                yield Figure(name, planned, "gas", None, "measured", measured)
                worst = max(worst, abs(planned - measured) * 100 / measured)
            if symbol == PLAIN:
                continue
            token = world.tokens[symbol]
            table = {
                "touch": schedule.touch(token),
                "transfer": schedule.transfers(token),
                "approval": schedule.approval(token),
            }
            for figure, now in fitted(world, symbol).items():
                name = f"gas.fitted.{symbol}.{figure}"
                yield Figure(name, table[figure], "gas", None, "measured", now)
    yield Figure("gas.planned.off_by.worst", round(worst, 2), "%", OFF_TARGET)
    for shape, (planned, measured) in real_planned_and_used(DATA).items():
        name = f"gas.planned.block_{REAL_BLOCK}.{shape}"
        yield Figure(name, planned, "gas", None, "measured", measured)


def encoded(legs: Sequence[Leg]) -> bytes:
    """The batch as calldata, with every protection that a plan has."""
    return encode_execute(legs, DEADLINE, max_base_fee_wei=MAX_FEE_WEI)
