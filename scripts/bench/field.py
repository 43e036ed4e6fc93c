"""A field of tokens on one Anvil, and portfolios of 10 to 1,000 of them, or of 1,000 wallets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from eth_utils.crypto import keccak

from rebalancer.config.load import PROJECT_ROOT, load_networks
from rebalancer.config.networks import Feed, Network, TokenSpec
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.devchain.accounts import MARKET_MAKER, TREASURY
from rebalancer.devchain.artifacts import init_code, own
from rebalancer.devchain.cheats import runtime_of, word, write_all
from rebalancer.devchain.feeds import feed_code
from rebalancer.evm.abi import checksum, from_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import PPM

TOKENS = 1_000
WALLETS = 1_000
TOKENS_PER_WALLET = 20
#: Slot of ``balanceOf`` in DevToken; Vyper hashes the slot before the key.
_BALANCES = 1
_ANSWER_E8 = 10**8


def wallet(index: int) -> str:
    """The treasury, and after it wallets that nobody has the key of."""
    return TREASURY if index == 0 else checksum(f"0x77{index:038x}")


def raw_of(token: int, owner: int) -> int:
    """Smallest units that a wallet has; no two are alike."""
    return 10**18 + token * 10**6 + owner


def token_address(index: int) -> str:
    # Spread over all addresses, as real ones are.
    return checksum("0x" + keccak(text=f"token {index}")[:20].hex())


def feed_address(index: int) -> str:
    return checksum("0x" + keccak(text=f"feed {index}")[:20].hex())


def plant(rpc: Rpc) -> Network:
    """Put the tokens, their feeds and every balance on the chain; the network that has them."""
    types = ("string", "string", "uint8", "address")
    args = ("Field", "FIELD", 18, MARKET_MAKER)
    plain = runtime_of(rpc, init_code(own("DevToken")["bytecode"], types, args))
    feed = feed_code(rpc, 8, "FIELD / USD")
    now = int(rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    codes = [(token_address(i), plain) for i in range(TOKENS)]
    codes += [(feed_address(i), feed) for i in range(TOKENS)]
    write_all(rpc, [("anvil_setCode", item) for item in codes])
    write_all(rpc, [("anvil_setStorageAt", slot) for slot in (*_balances(), *_feeds(now))])
    rpc.call("evm_mine")
    network = load_networks(PROJECT_ROOT / "networks.yaml")["mainnet"]
    feeds = {
        f"T{i}/USD": Feed.model_validate(
            {"address": feed_address(i), "decimals": 8, "max_age": "30d"}
        )
        for i in range(TOKENS)
    }
    tokens = {
        f"T{i}": TokenSpec.model_validate(
            {"address": token_address(i), "decimals": 18, "feed": f"T{i}/USD"}
        )
        for i in range(TOKENS)
    }
    return network.model_copy(
        update={
            "tokens": {**network.tokens, **tokens},
            "feeds": {**network.feeds, **feeds},
            "amms": {},
            "intermediates": (),
        }
    )


def portfolio(network: Network, positions: int, *watch: str, owner: int = 0) -> ResolvedPortfolio:
    """Equal parts of the first ``positions`` tokens."""
    share = PPM // positions
    shares = [share] * (positions - 1)
    shares.append(PPM - sum(shares))
    body: dict[str, Any] = {
        "name": f"field-{owner}",
        "network": network.name,
        "wallet": wallet(owner),
        "watch": watch,
        "positions": [
            {"token": f"T{i}", "target": f"{ppm / 10_000:.4f}%"} for i, ppm in enumerate(shares)
        ],
    }
    return resolve(Portfolio.model_validate(body), network)


def views(resolved: Sequence[ResolvedPortfolio]) -> list[tuple[str, str, str]]:
    """What the snapshots ask contracts, as (address, signature, owner or nothing); each once."""
    asked: dict[tuple[str, str, str], None] = {}
    for one in resolved:
        purse = (one.network.multicall3, "getEthBalance(address)(uint256)", one.portfolio.wallet)
        asked[purse] = None
        for token in one.tokens:
            for owner in (one.portfolio.wallet, *one.portfolio.watch):
                asked[token.address, "balanceOf(address)(uint256)", owner] = None
            asked[token.address, "decimals()(uint8)", ""] = None
            feed = one.network.feeds[f"{token.symbol}/USD"].address
            asked[feed, "latestRoundData()(uint80,int256,uint256,uint256,uint80)", ""] = None
            asked[feed, "decimals()(uint8)", ""] = None
    return list(asked)


def _balances() -> Iterator[tuple[str, str, str]]:
    for i in range(TOKENS):
        owners = WALLETS if i < TOKENS_PER_WALLET else 1
        for owner in range(owners):
            slot = keccak(from_hex(word(_BALANCES)) + from_hex(word(wallet(owner))))
            yield token_address(i), "0x" + slot.hex(), word(raw_of(i, owner))


def _feeds(now: int) -> Iterator[tuple[str, str, str]]:
    for i in range(TOKENS):
        for slot, value in enumerate((1, _ANSWER_E8, now)):
            yield feed_address(i), word(slot), word(value)
