"""A chain on which the same swaps are done by every contract in turn, each from the same state.

Two of them: official Uniswap V2 bytecode with plain ERC-20s, and a real block's tokens and pools.
All balances are there and not zero, allowances stand, blocks are twelve seconds apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import (
    EXECUTOR,
    EXECUTOR_ADDRESS,
    WALLET_EXECUTOR,
    encode_execute,
)
from rebalancer.bundler.follow import Pace
from rebalancer.bundler.signer import LocalSigner
from rebalancer.config.load import PROJECT_ROOT, load_networks
from rebalancer.devchain.accounts import TREASURY, dev_key
from rebalancer.devchain.anvil import HARDFORK, AnvilOptions, start_anvil
from rebalancer.devchain.artifacts import init_code, official
from rebalancer.devchain.fork import open_fork
from rebalancer.devchain.funding import deal
from rebalancer.devchain.mainnet import UNISWAP_FACTORY, WETH
from rebalancer.evm.abi import checksum, decode_output, encode_call, from_hex, to_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Amount, SwapLeg, Token

#: Each swap as the symbols of its path.
Swaps = tuple[tuple[str, ...], ...]

MAX = 2**256 - 1
FEE_PPM = 3_000
DEADLINE = 2**33
MAX_FEE_WEI = 300 * 10**9
PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
UNISWAP = PROJECT_ROOT / "node_modules" / "@uniswap"
UNIVERSAL_ROUTER = (
    UNISWAP / "universal-router/artifacts/contracts/UniversalRouter.sol/UniversalRouter.json"
)
_POLLS, _POLLS_PER_BLOCK = 4_000, 1_000
_V2_SWAP_EXACT_IN = b"\x08"
_TO_SENDER = "0x0000000000000000000000000000000000000001"


@dataclass(frozen=True)
class World:
    """``wallet`` owns every token; ``universal`` is None where its parts are not at hand."""

    rpc: Rpc
    name: str
    wallet: str
    tokens: dict[str, Token]
    amounts: dict[str, int]
    pair_of: Callable[[Token, Token], str]
    router: str
    universal: str | None

    def send(self, to: str | None, data: bytes, **more: Any) -> Any:
        """Mined receipt of a transaction of the wallet; raises RuntimeError when it reverts."""
        call = {"from": self.wallet, "data": to_hex(data), "gas": hex(8_000_000), **more}
        tx_hash = self.rpc.call("eth_sendTransaction", call | ({"to": to} if to else {}))
        receipt: Any = None
        for poll in range(1, _POLLS + 1):
            receipt = self.rpc.call("eth_getTransactionReceipt", tx_hash)
            if receipt is not None:
                break
            if poll % _POLLS_PER_BLOCK == 0:  # seldom, after many reverted states, none comes
                self.rpc.call("evm_mine")
        if receipt is None:
            raise RuntimeError(f"{tx_hash} was never mined")
        if int(receipt["status"], 16) != 1:
            raise RuntimeError(f"{tx_hash} reverted")
        return receipt

    def gas(self, to: str, data: bytes, **more: Any) -> int:
        return int(self.send(to, data, **more)["gasUsed"], 16)

    def view(self, to: str, signature: str, types: Sequence[str], *args: Any) -> tuple[Any, ...]:
        request = {"to": to, "data": to_hex(encode_call(signature, *args))}
        return decode_output(types, from_hex(self.rpc.call("eth_call", request, "latest")))

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What happens inside has not happened afterwards."""
        snapshot = self.rpc.call("evm_snapshot")
        try:
            yield
        finally:
            self.rpc.call("evm_revert", snapshot)

    def set_code(self, address: str, code: bytes) -> None:
        self.rpc.call("anvil_setCode", address, to_hex(code))

    def reserves(self, pair: str) -> list[int]:
        return list(self.view(pair, "getReserves()", ["uint112", "uint112", "uint32"])[:2])

    def legs(self, swaps: Swaps) -> list[SwapLeg]:
        """The swaps as legs of a plan, at the exact amounts, with minimums 0.5 % below them."""
        reserves: dict[str, list[int]] = {}
        legs: list[SwapLeg] = []
        for path in swaps:
            amount = self.amounts[path[0]]
            for hop, (sold, bought) in enumerate(pairwise(path)):
                a, b = self.tokens[sold], self.tokens[bought]
                pair = self.pair_of(a, b)
                booked = reserves.setdefault(pair, self.reserves(pair))
                i = int(int(a.address, 16) > int(b.address, 16))
                after_fee = amount * (10**6 - FEE_PPM)
                out = after_fee * booked[1 - i] // (booked[i] * 10**6 + after_fee)
                booked[i] += amount
                booked[1 - i] -= out
                least = out * 995 // 1000
                legs.append(SwapLeg(pair, "uniswap_v2", a, b, FEE_PPM, amount, out, least, hop > 0))
                amount = out
        return legs

    def batch(self, swaps: Swaps) -> bytes:
        """Our calldata: minimum per leg, net floors, deadline, base fee ceiling."""
        return encode_execute(self.legs(swaps), DEADLINE, max_base_fee_wei=MAX_FEE_WEI)

    def router_calls(self, swaps: Swaps) -> list[bytes]:
        signature = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
        return [
            encode_call(signature, amount, least, path, self.wallet, DEADLINE)
            for amount, least, path in self._routes(swaps)
        ]

    def universal_call(self, swaps: Swaps) -> bytes:
        inputs = [
            encode_call(
                "x(address,uint256,uint256,address[],bool)", _TO_SENDER, amount, least, path, True
            )[4:]
            for amount, least, path in self._routes(swaps)
        ]
        commands = _V2_SWAP_EXACT_IN * len(inputs)
        return encode_call("execute(bytes,bytes[],uint256)", commands, inputs, DEADLINE)

    def _routes(self, swaps: Swaps) -> list[tuple[int, int, list[str]]]:
        """Amount in, minimum out and addresses of each path."""
        legs = iter(self.legs(swaps))
        routes = []
        for path in swaps:
            last = [next(legs) for _ in path[1:]][-1]
            addresses = [self.tokens[symbol].address for symbol in path]
            routes.append((self.amounts[path[0]], last.min_amount_out, addresses))
        return routes


@contextmanager
def plain_world(data: Path, hardfork: str = HARDFORK) -> Iterator[World]:
    """Nine plain ERC-20s of Uniswap's own tests, official factory, pairs and router."""
    with start_anvil(AnvilOptions(chain_id=1, hardfork=hardfork)) as anvil:
        rpc = anvil.rpc
        rpc.call("anvil_setBlockTimestampInterval", 12)
        wallet = TREASURY
        pairs: dict[frozenset[str], str] = {}
        tokens: dict[str, Token] = {}
        amounts = {f"T{i}": 10**18 for i in range(9)}
        world = World(
            rpc,
            "plain",
            wallet,
            tokens,
            amounts,
            lambda a, b: pairs[frozenset((a.symbol, b.symbol))],
            "",
            None,
        )

        def create(code: str) -> str:
            return checksum(world.send(None, from_hex(code))["contractAddress"])

        erc20 = json.loads((UNISWAP / "v2-core/build/ERC20.json").read_text())["bytecode"]
        factory = create(init_code(official("UniswapV2Factory")["bytecode"], ["address"], [wallet]))
        weth = create(init_code(official("WETH9")["bytecode"]))
        for i in range(9):
            tokens[f"T{i}"] = Token(create(init_code(erc20, ["uint256"], [2**200])), f"T{i}", 18)
        for i, j in [(0, k) for k in range(1, 9)] + [(1, 2), (2, 3)]:
            a, b = tokens[f"T{i}"], tokens[f"T{j}"]
            world.send(factory, encode_call("createPair(address,address)", a.address, b.address))
            (pair,) = world.view(
                factory, "getPair(address,address)", ["address"], a.address, b.address
            )
            pairs[frozenset((a.symbol, b.symbol))] = checksum(pair)
            for token, amount in ((a, i + 1), (b, j + 1)):
                data_ = encode_call("transfer(address,uint256)", pair, amount * 10**24)
                world.send(token.address, data_)
            world.send(pair, encode_call("mint(address)", wallet))
        router = create(
            init_code(
                official("UniswapV2Router02")["bytecode"], ["address", "address"], [factory, weth]
            )
        )
        yield _ready(world, router, factory, weth, data)


@contextmanager
def real_world(data: Path, block: int, amounts: dict[str, int]) -> Iterator[World]:
    """The tokens, pools and reserves of a mainnet block, bytecode and storage as they were."""
    network = load_networks(PROJECT_ROOT / "networks.yaml")["mainnet"]
    state = data / "mainnet" / "blocks" / f"{block}.json.gz"
    with open_fork(state=state) as chain:
        world = World(
            chain.rpc,
            f"block {block}",
            TREASURY,
            dict(network.tokens),
            amounts,
            network.amms["uniswap_v2"].pair_address,
            "",
            None,
        )
        for symbol, amount in amounts.items():
            deal(chain.rpc, Amount(network.tokens[symbol], 1_000 * amount), TREASURY)
        router = "0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D"
        yield _ready(world, router, UNISWAP_FACTORY, WETH.address, data)


def _ready(world: World, router: str, factory: str, weth: str, data: Path) -> World:
    """Everything deployed, and every allowance standing."""
    signer = LocalSigner.from_key(str(dev_key(TREASURY)))
    for contract in (EXECUTOR, WALLET_EXECUTOR):
        deploy(world.rpc, signer, 1, 10**12, Pace(lambda: 0.0, lambda _: None), contract)
    universal = _universal_router(world, factory, weth, data)
    for symbol in world.amounts:
        token = world.tokens[symbol].address
        spenders = [router, EXECUTOR_ADDRESS, *([PERMIT2] if universal else [])]
        for spender in spenders:
            world.send(token, encode_call("approve(address,uint256)", spender, MAX))
        if universal:
            data_ = encode_call(
                "approve(address,address,uint160,uint48)", token, universal, 2**160 - 1, 2**47
            )
            world.send(PERMIT2, data_)
    return World(
        world.rpc,
        world.name,
        world.wallet,
        world.tokens,
        world.amounts,
        world.pair_of,
        router,
        universal,
    )


def _universal_router(world: World, factory: str, weth: str, data: Path) -> str | None:
    """npm's Universal Router on mainnet's Permit2, where both are at hand."""
    codes = data / "mainnet" / "runtime_by_name.json"
    if not (codes.exists() and UNIVERSAL_ROUTER.exists()):
        return None
    permit2 = json.loads(codes.read_text())["Permit2"]["runtime"]
    world.set_code(PERMIT2, bytes.fromhex(permit2.removeprefix("0x")))
    artifact = json.loads(UNIVERSAL_ROUTER.read_text())
    nobody = "0x" + "00" * 20
    pair_code_hash = (
        load_networks(PROJECT_ROOT / "networks.yaml")["mainnet"].amms["uniswap_v2"].init_code_hash
    )
    parameters = (
        PERMIT2,
        weth,
        factory,
        nobody,
        from_hex(pair_code_hash),
        bytes(32),
        nobody,
        nobody,
        nobody,
    )
    types = "(address,address,address,address,bytes32,bytes32,address,address,address)"
    code = init_code(artifact["bytecode"], [types], [parameters])
    return checksum(world.send(None, from_hex(code))["contractAddress"])
