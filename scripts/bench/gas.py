"""Gas of one batch through the executor, beside Router02 called once per swap.

On the synthetic mainnet, all balances non-zero, allowances standing, receipts' gasUsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS, encode_execute
from rebalancer.bundler.follow import Pace
from rebalancer.bundler.signer import LocalSigner
from rebalancer.config.load import PROJECT_ROOT, load_networks
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import TREASURY, dev_key
from rebalancer.devchain.fork import DevChain, open_fork
from rebalancer.evm.abi import encode_call, to_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import SwapLeg
from scripts.bench.figure import Figure

ROUTER = "0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D"
MAX = 2**256 - 1
#: Sold token, bought token, and how much of the sold one.
SWAPS = (
    ("WETH", "USDC", 10**18),
    ("WBTC", "WETH", 10**6),
    ("USDC", "WETH", 10**9),
)


def send(rpc: Rpc, to: str, data: bytes) -> int:
    """Send from the treasury (Anvil has its key); returns the receipt's gasUsed."""
    call = {"from": TREASURY, "to": to, "data": to_hex(data), "gas": hex(3_000_000)}
    tx_hash = rpc.call("eth_sendTransaction", call)
    receipt: Any = None
    while receipt is None:
        receipt = rpc.call("eth_getTransactionReceipt", tx_hash)
    if int(receipt["status"], 16) != 1:
        raise RuntimeError(f"{tx_hash} reverted")
    return int(receipt["gasUsed"], 16)


def prepare(chain: DevChain, network: Network) -> None:
    """Executor deployed, allowances standing, every balance and accumulator touched once."""
    signer = LocalSigner.from_key(str(dev_key(TREASURY)))
    deploy(chain.rpc, signer, 1, 10**12, Pace(lambda: 0.0, lambda _: None))
    for symbol in ("WETH", "WBTC", "USDC"):
        for spender in (ROUTER, EXECUTOR_ADDRESS):
            data = encode_call("approve(address,uint256)", spender, MAX)
            send(chain.rpc, network.tokens[symbol].address, data)
    through_router(chain.rpc, network, len(SWAPS))


def through_router(rpc: Rpc, network: Network, count: int) -> int:
    """The swaps as one Router02 transaction each."""
    signature = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
    total = 0
    for sold, bought, amount in SWAPS[:count]:
        path = [network.tokens[sold].address, network.tokens[bought].address]
        total += send(rpc, ROUTER, encode_call(signature, amount, 1, path, TREASURY, MAX))
    return total


def through_executor(rpc: Rpc, network: Network, count: int) -> int:
    """The same swaps as one batch."""
    return send(rpc, EXECUTOR_ADDRESS, encode_execute(_legs(network, SWAPS[:count]), 2**40))


def _legs(network: Network, swaps: Sequence[tuple[str, str, int]]) -> list[SwapLeg]:
    amm = network.amms["uniswap_v2"]
    return [
        SwapLeg(
            pair=amm.pair_address(network.token(sold), network.token(bought)),
            amm="uniswap_v2",
            token_in=network.token(sold),
            token_out=network.token(bought),
            fee_ppm=amm.fee,
            amount_in=amount,
            amount_out=1,
            min_amount_out=1,
            chained=False,
        )
        for sold, bought, amount in swaps
    ]


def figures() -> Iterator[Figure]:
    network = load_networks(PROJECT_ROOT / "networks.yaml")["mainnet"]
    with open_fork() as chain:
        prepare(chain, network)
        for count, target in ((1, 1.0), (2, 0.85), (3, 0.75)):
            ours = through_executor(chain.rpc, network, count)
            peer = through_router(chain.rpc, network, count)
            name = "Router02, one transaction per swap"
            yield Figure(f"gas.swaps_{count}", ours, "gas", target, name, peer)
