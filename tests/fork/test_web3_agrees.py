"""web3.py, an independent implementation, reads what our readers read."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

from rebalancer.config.load import PROJECT_ROOT, load_portfolio
from rebalancer.readers.snapshot import read_snapshot

if TYPE_CHECKING:
    from web3 import Web3

    from rebalancer.devchain.fork import DevChain


def view(name: str, inputs: list[str], outputs: list[str]) -> dict[str, Any]:
    return {
        "type": "function",
        "name": name,
        "stateMutability": "view",
        "inputs": [{"name": "", "type": t} for t in inputs],
        "outputs": [{"name": "", "type": t} for t in outputs],
    }


ABI = [
    view("balanceOf", ["address"], ["uint256"]),
    view("decimals", [], ["uint8"]),
    view("totalSupply", [], ["uint256"]),
    view("kLast", [], ["uint256"]),
    view("getReserves", [], ["uint112", "uint112", "uint32"]),
    view("latestRoundData", [], ["uint80", "int256", "uint256", "uint256", "uint80"]),
]


@pytest.fixture
def w3(devchain: DevChain) -> Web3:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from web3 import HTTPProvider, Web3

    return Web3(HTTPProvider(devchain.url, exception_retry_configuration=None))


def test_a_snapshot__is_what_web3_reads(devchain: DevChain, w3: Any) -> None:
    resolved = load_portfolio(PROJECT_ROOT / "portfolio.example.yaml")
    snapshot = read_snapshot(devchain.rpc, resolved)
    at = snapshot.block.number

    def ask(address: str, name: str, *args: Any) -> Any:
        contract = w3.eth.contract(address=address, abi=ABI)
        return getattr(contract.functions, name)(*args).call(block_identifier=at)

    block = w3.eth.get_block(at)
    assert block["hash"].to_0x_hex() == snapshot.block.hash
    assert block["timestamp"] == snapshot.block.timestamp
    assert block["baseFeePerGas"] == snapshot.block.base_fee_wei
    assert w3.eth.get_balance(snapshot.wallet, at) == snapshot.native_wei
    assert snapshot.balances
    for balance in snapshot.balances:
        assert ask(balance.token.address, "balanceOf", snapshot.wallet) == balance.raw
        assert ask(balance.token.address, "decimals") == balance.token.decimals
    assert snapshot.pairs
    for pair in snapshot.pairs:
        reserves = ask(pair.address, "getReserves")
        assert tuple(reserves[:2]) == (pair.reserve0, pair.reserve1)
        assert ask(pair.address, "totalSupply") == pair.total_supply
        assert ask(pair.address, "kLast") == pair.k_last
    for holding in snapshot.holdings:
        assert ask(holding.pair, "balanceOf", snapshot.wallet) == holding.shares
    for price in snapshot.prices:
        spec = resolved.network.tokens[price.token.symbol]
        feed = resolved.network.feeds[str(spec.feed)]
        answer = ask(feed.address, "latestRoundData")
        assert price.value_down(10**price.token.decimals) == answer[1]
        assert price.updated_at == answer[3]
