"""Gas of one batch beside what a trader would use today, and beside what nobody can go below.

Every number is a receipt's gasUsed, each from the same state of the same chain:

    executor, wallet     our batch by allowances, and as the wallet's own code (EIP-7702), with all
                         protections on: minimum per leg, net floor per bought token, deadline, base
                         fee ceiling; with the access list that the node suggests
    ..., no access list  the same without it
    Router02             one transaction per route
    Universal Router     one transaction, Permit2 allowances standing; as wallets send it, without
                         an access list, and beside that with one
    multicall            the wallet's own code calls Router02 once per route, and does nothing else
    floor                21,000, our calldata, and what the unavoidable calls use by themselves: one
                         payment per route and one swap per hop, with the 2,600 that the first call
                         of an address costs; their refunds taken off

    least                printed where a target is missed: our batch with the access list, less all
                         that our own code uses, less every zero byte of its calldata. What is left
                         are the bytes that say anything, the payments, swaps, quotes and balances:
                         no contract that checks the same can use less

The floor's calls are made by code that does nothing else; what that code itself uses is measured
by the trace and left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rebalancer.bundler.executor import EXECUTOR_ADDRESS, WALLET_EXECUTOR
from rebalancer.bundler.gas import calldata_gas
from rebalancer.config.load import PROJECT_ROOT
from rebalancer.evm.abi import encode_call, from_hex, to_hex
from scripts.bench.figure import Figure
from scripts.bench.gas_world import Swaps, World, plain_world, real_world

DATA = Path(os.environ.get("REBALANCER_DATA", PROJECT_ROOT.parent / "shared" / "data"))
COLD, WARM = 2_600, 100
PER_ZERO_BYTE = 4
DELEGATION = b"\xef\x01\x00"

FLOOR_TARGET, ROUTER_TARGET, UNIVERSAL_TARGET = 1.05, 0.75, 0.88

PLAIN: dict[str, Swaps] = {
    **{f"swaps_{n}": tuple(("T0", f"T{i}") for i in range(1, n + 1)) for n in (1, 2, 3, 5, 8)},
    "hops_2": (("T0", "T1", "T2"),),
    "hops_3": (("T0", "T1", "T2", "T3"),),
}
_REAL_SWAPS = (
    ("WETH", "USDC"),
    ("WBTC", "WETH"),
    ("WETH", "USDT"),
    ("DAI", "WETH"),
    ("USDC", "WETH"),
    ("WETH", "DAI"),
    ("USDT", "WETH"),
    ("WETH", "WBTC"),
)
REAL: dict[str, Swaps] = {
    **{f"swaps_{n}": _REAL_SWAPS[:n] for n in (1, 2, 3, 5, 8)},
    "hops_2": (("USDC", "WETH", "DAI"),),
}
REAL_3_HOPS: dict[str, Swaps] = {"hops_3": (("DAI", "WETH", "USDC", "USDT"),)}
AMOUNTS = {"WETH": 10**18, "WBTC": 10**7, "USDC": 10**9, "USDT": 10**9, "DAI": 10**21}
STABLE = {symbol: AMOUNTS[symbol] for symbol in ("WETH", "USDC", "USDT", "DAI")}


def figures() -> Iterator[Figure]:
    with plain_world(DATA) as world:
        yield from _table(world, PLAIN)
    if not (DATA / "mainnet").is_dir():
        return
    with real_world(DATA, 12459406, AMOUNTS) as world:
        yield from _table(world, REAL)
    with real_world(DATA, 10760440, STABLE) as world:
        yield from _table(world, REAL_3_HOPS)


def measure(world: World, swaps: Swaps) -> dict[str, int]:
    """Gas by who does it."""
    batch = world.batch(swaps)
    calls = world.router_calls(swaps)
    as_wallet = DELEGATION + from_hex(WALLET_EXECUTOR.address)
    found: dict[str, int] = {}
    for name, to, code in (
        ("executor", EXECUTOR_ADDRESS, b""),
        ("wallet", world.wallet, as_wallet),
    ):
        with world.undone():
            world.set_code(world.wallet, code)
            with world.undone():
                found[f"{name}, no access list"] = world.gas(to, batch)
            found[f"own code of {name}"] = _own_code(world, to, batch)
            found[name] = _gas_with_list(world, to, batch)
    with world.undone():
        found["Router02"] = sum(world.gas(world.router, call) for call in calls)
    with world.undone():
        world.set_code(world.wallet, _bare([(world.router, call) for call in calls]))
        found["multicall"] = world.gas(world.wallet, b"") + sum(map(calldata_gas, calls))
    if world.universal is not None:
        with world.undone():
            found["Universal Router"] = world.gas(world.universal, world.universal_call(swaps))
        with world.undone():
            found["Universal Router, access list"] = _gas_with_list(
                world, world.universal, world.universal_call(swaps)
            )
    for name, caller in (("executor", EXECUTOR_ADDRESS), ("wallet", world.wallet)):
        floor = _floor(world, swaps, caller)
        found[f"floor of {name}"] = floor + calldata_gas(batch)
    return found


def _table(world: World, scenarios: dict[str, Swaps]) -> Iterator[Figure]:
    for swaps in scenarios.values():  # no balance, slot or accumulator is touched the first time
        world.send(EXECUTOR_ADDRESS, world.batch(swaps))
    for scenario, swaps in scenarios.items():
        gas = measure(world, swaps)
        said = world.batch(swaps)
        for ours in ("executor", "wallet"):
            name = f"gas.{world.name}.{scenario}.{ours}".replace(" ", "_")
            least = gas[ours] - gas[f"own code of {ours}"] - said.count(0) * PER_ZERO_BYTE
            peers = {
                f"floor of {ours}": FLOOR_TARGET,
                "Router02": ROUTER_TARGET if len(swaps) >= 3 else None,
                "Universal Router": UNIVERSAL_TARGET,
                "Universal Router, access list": None,
                "multicall": None,
                f"{ours}, no access list": None,
            }
            for peer, target in peers.items():
                if peer not in gas:
                    continue
                figure = Figure(name, gas[ours], "gas", target, peer, gas[peer])
                yield figure
                if figure.met is False:
                    yield Figure(f"{name}.least", least, "gas", None, peer, gas[peer])
            bare = gas[f"{ours}, no access list"]
            peer = f"floor of {ours}"
            yield Figure(f"{name}.no_access_list", bare, "gas", None, peer, gas[peer])


def _gas_with_list(world: World, to: str, data: bytes) -> int:
    request = {"from": world.wallet, "to": to, "data": to_hex(data)}
    suggested: Any = world.rpc.call("eth_createAccessList", request, "latest")
    return world.gas(to, data, accessList=suggested["accessList"])


def _own_code(world: World, to: str, batch: bytes) -> int:
    """What our contract uses by itself, without the calls that it makes and what reaching them
    costs."""
    with world.undone():
        receipt = world.send(to, batch)
        frames: list[Any] = world.rpc.call("trace_transaction", receipt["transactionHash"])
    return _spent_by_top(frames) - _needed(frames, {to.lower(), world.wallet.lower()})


def _spent_by_top(frames: list[Any]) -> int:
    return int(frames[0]["result"]["gasUsed"], 16)


def _needed(frames: list[Any], touched: set[str]) -> int:
    """Gas of the top frame's calls; ``touched`` are the addresses that it finds warm."""
    needed = 0
    for frame in frames[1:]:
        address = frame["action"]["to"].lower()
        if len(frame["traceAddress"]) == 1:
            needed += int(frame["result"]["gasUsed"], 16) + (WARM if address in touched else COLD)
        touched.add(address)
    return needed


def _floor(world: World, swaps: Swaps, caller: str) -> int:
    """What the unavoidable calls use, made from ``caller`` by code that does nothing else."""
    calls: list[tuple[str, bytes]] = []
    legs = world.legs(swaps)
    for index, leg in enumerate(legs):
        if not leg.chained:
            calls.append((leg.token_in.address, _payment(world, caller, leg.pair, leg.amount_in)))
        follows = index + 1 < len(legs) and legs[index + 1].chained
        to = legs[index + 1].pair if follows else world.wallet
        out = (leg.amount_out, 0)
        if int(leg.token_in.address, 16) < int(leg.token_out.address, 16):
            out = (0, leg.amount_out)
        calls.append((leg.pair, encode_call("swap(uint256,uint256,address,bytes)", *out, to, b"")))
    with world.undone():
        world.set_code(caller, _bare(calls))
        receipt = world.send(caller, b"")
        frames: list[Any] = world.rpc.call("trace_transaction", receipt["transactionHash"])
    needed = _needed(frames, {caller.lower(), world.wallet.lower()})
    return int(receipt["gasUsed"], 16) - (_spent_by_top(frames) - needed)


def _payment(world: World, caller: str, pair: str, amount: int) -> bytes:
    if caller == world.wallet:
        return encode_call("transfer(address,uint256)", pair, amount)
    return encode_call("transferFrom(address,address,uint256)", world.wallet, pair, amount)


def _bare(calls: list[tuple[str, bytes]]) -> bytes:
    """EVM code that makes the calls one after the other, and fails when one of them does."""

    def assemble(offsets: list[int]) -> bytes:
        code = b""
        for (to, data), offset in zip(calls, offsets, strict=True):
            size = b"\x61" + len(data).to_bytes(2, "big")
            code += size + b"\x61" + offset.to_bytes(2, "big") + b"\x5f\x39"  # codecopy to 0
            code += b"\x5f\x5f" + size + b"\x5f\x5f\x73" + from_hex(to) + b"\x5a\xf1"  # call
            code += b"\x15\x5f\x57"  # jump to 0, which is no destination, if it failed
        return code + b"\x00"

    offsets: list[int] = []
    position = len(assemble([0] * len(calls)))
    for _, data in calls:
        offsets.append(position)
        position += len(data)
    return assemble(offsets) + b"".join(data for _, data in calls)
