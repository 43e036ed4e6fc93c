"""Snapshots of a forked chain: every value equals a direct read, and the past does not move."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from rebalancer.config.networks import Network
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.devchain.accounts import ARBITRAGEUR, MARKET_MAKER, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block
from rebalancer.devchain.fork import DevChain, open_fork
from rebalancer.errors import ChainMismatch, ReadError, StalePrice
from rebalancer.evm.rpc import Rpc
from rebalancer.model import E8, LpEntry, Snapshot, Token, digest
from rebalancer.readers.call import Call
from rebalancer.readers.chain import read_block
from rebalancer.readers.multicall import by_multicall3, multicall
from rebalancer.readers.snapshot import read_snapshot

LPS = ("uniswap_v2:USDC/WETH", "uniswap_v2:DAI/WETH")


class Counting:
    """An Rpc that remembers the methods of each HTTP request; ``before`` runs ahead of each."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc
        self.requests: list[list[str]] = []

    def call(self, method: str, *params: Any) -> Any:
        self.before([method])
        return self.rpc.call(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        self.before([method for method, _ in calls])
        return self.rpc.batch(calls)

    def before(self, methods: list[str]) -> None:
        self.requests.append(methods)


class Direct:
    """Reads one value by one eth_call at a block number, with nothing of the readers in between."""

    def __init__(self, rpc: Rpc, number: int) -> None:
        self.rpc = rpc
        self.number = number

    def __call__(self, to: str, signature: str, types: str, *args: str) -> tuple[Any, ...] | None:
        arguments = encode(["address"] * len(args), args)
        data = "0x" + (keccak(text=signature)[:4] + arguments).hex()
        answer = self.rpc.call("eth_call", {"to": to, "data": data}, hex(self.number))
        return tuple(decode(types.split(), bytes.fromhex(answer[2:]))) if answer != "0x" else None

    def uint(self, to: str, signature: str, *args: str) -> int:
        values = self(to, signature, "uint256", *args)
        assert values is not None, f"{to} does not answer {signature}"
        return int(values[0])


def portfolio(
    network: Network,
    tokens: Sequence[str] = ("WETH", "WBTC", "USDC"),
    lps: Sequence[str] = LPS,
    numeraire: str = "USD",
    entry_block: int | None = None,
) -> ResolvedPortfolio:
    """A portfolio of the treasury; what is not in an LP position is a target of the first token."""
    positions: list[dict[str, Any]] = [{"token": symbol, "target": "5%"} for symbol in tokens[1:]]
    positions += [{"lp": lp, "target": "5%", "entry_block": entry_block} for lp in lps]
    positions.append({"token": tokens[0], "target": f"{100 - 5 * len(positions)}%"})
    spec = {"name": "treasury", "network": network.name, "wallet": TREASURY, "positions": positions}
    return resolve(Portfolio.model_validate({**spec, "numeraire": numeraire}), network)


def move_market(chain: DevChain, network: Network) -> None:
    """Blocks that change whatever a snapshot holds: prices, reserves, supply, balances."""
    weth, usdc = network.token("WETH"), network.token("USDC")
    pair = network.amms["uniswap_v2"].pair_address(weth, usdc)
    feeds = [
        call_of(network.feeds[name].address, "set_answer(int256)", answer)
        for name, answer in {"ETH/USD": 3_750 * E8 + 1, "BTC/USD": 61_234 * E8 + 56_789}.items()
    ]
    mine_block(chain.rpc, MARKET_MAKER, feeds)
    put_in, take_out = 10**18, 2_900 * 10**6
    swap = call_of(pair, "swap(uint256,uint256,address,bytes)", take_out, 0, ARBITRAGEUR, b"")
    pay = call_of(weth.address, "transfer(address,uint256)", pair, put_in)
    mine_block(chain.rpc, ARBITRAGEUR, [pay, swap])
    gift = call_of(usdc.address, "transfer(address,uint256)", TREASURY, 123_456_789)
    shares = call_of(pair, "transfer(address,uint256)", ARBITRAGEUR, 1_000)
    mine_block(chain.rpc, ARBITRAGEUR, [gift])
    mine_block(chain.rpc, TREASURY, [shares])


def assert_equals_direct_reads(
    snapshot: Snapshot, resolved: ResolvedPortfolio, direct: Direct
) -> None:
    """Compare every field of ``snapshot`` with what the chain says to single calls."""
    network = resolved.network
    header = direct.rpc.call("eth_getBlockByNumber", hex(direct.number), False)
    at = snapshot.block
    assert (at.number, at.hash) == (direct.number, header["hash"])
    assert at.chain_id == int(direct.rpc.call("eth_chainId"), 16)
    assert at.timestamp == int(header["timestamp"], 16)
    assert at.base_fee_wei == int(header["baseFeePerGas"], 16)
    balance = direct.rpc.call("eth_getBalance", TREASURY, hex(direct.number))
    assert snapshot.native_wei == int(balance, 16)
    assert snapshot.priority_fee_wei == int(direct.rpc.call("eth_maxPriorityFeePerGas"), 16)

    tokens = expected_tokens(resolved)
    assert {a.token for a in snapshot.balances} == tokens
    for amount in snapshot.balances:
        assert amount.raw == direct.uint(amount.token.address, "balanceOf(address)", TREASURY)

    assert {h.pair for h in snapshot.holdings} == {lp.pair for lp in resolved.lps}
    for holding in snapshot.holdings:
        assert holding.shares == direct.uint(holding.pair, "balanceOf(address)", TREASURY)

    assert_pairs(snapshot, network, tokens, direct)
    assert {p.token for p in snapshot.prices} == tokens
    unit = Fraction(1)
    if snapshot.numeraire != "USD":
        unit = usd_price(direct, network, network.tokens[snapshot.numeraire].feed) / E8
    for price in snapshot.prices:
        whole = usd_price(direct, network, network.tokens[price.token.symbol].feed) / unit
        assert Fraction(price.numerator, price.denominator) * 10**price.token.decimals == whole
    whole = usd_price(direct, network, network.native.feed) / unit
    assert Fraction(snapshot.native.numerator, snapshot.native.denominator) * 10**18 == whole


def assert_pairs(snapshot: Snapshot, network: Network, tokens: set[Token], direct: Direct) -> None:
    found = {}
    for name, amm in network.amms.items():
        for a, b in combinations(tokens, 2):
            address = amm.pair_address(a, b)
            reserves = direct(address, "getReserves()", "uint112 uint112 uint32")
            if reserves and reserves[0] and reserves[1]:
                found[address] = (name, amm, reserves)
    assert {pair.address for pair in snapshot.pairs} == set(found)
    for pair in snapshot.pairs:
        name, amm, reserves = found[pair.address]
        assert (pair.amm, pair.fee_ppm) == (name, amm.fee)
        assert (pair.reserve0, pair.reserve1) == tuple(reserves[:2])
        ends = (
            direct(pair.address, "token0()", "address"),
            direct(pair.address, "token1()", "address"),
        )
        assert ends == ((pair.token0.address.lower(),), (pair.token1.address.lower(),))
        assert pair.total_supply == direct.uint(pair.address, "totalSupply()")
        assert pair.k_last == direct.uint(pair.address, "kLast()")
        assert pair.protocol_fee_on == (direct.uint(amm.factory, "feeTo()") != 0)


def expected_tokens(resolved: ResolvedPortfolio) -> set[Token]:
    network = resolved.network
    ends = {token for lp in resolved.lps for token in (lp.token0, lp.token1)}
    return {*resolved.tokens, *ends, *map(network.token, network.intermediates)}


def usd_price(direct: Direct, network: Network, feed: str) -> Fraction:
    """1e-8 USD of one whole unit, as the feed says."""
    address = network.feeds[feed].address
    row = direct(address, "latestRoundData()", "uint80 int256 uint256 uint256 uint80")
    assert row is not None
    return Fraction(row[1] * E8, 10 ** direct.uint(address, "decimals()"))


@pytest.mark.parametrize("numeraire", ["USD", "WETH", "DAI"])
def test_head__every_value_is_a_direct_read(
    devchain: DevChain, mainnet: Network, numeraire: str
) -> None:
    resolved = portfolio(mainnet, numeraire=numeraire)
    move_market(devchain, mainnet)
    snapshot = read_snapshot(devchain.rpc, resolved)
    head = int(devchain.rpc.call("eth_blockNumber"), 16)
    assert_equals_direct_reads(snapshot, resolved, Direct(devchain.rpc, head))
    assert {pair.amm for pair in snapshot.pairs} == {"uniswap_v2", "sushiswap"}
    assert {pair.protocol_fee_on for pair in snapshot.pairs} == {False, True}
    assert all(amount.raw for amount in snapshot.balances if amount.token.symbol != "DAI")
    assert all(holding.shares for holding in snapshot.holdings)


def test_all_tokens_of_the_network__every_value_is_a_direct_read(
    devchain: DevChain, mainnet: Network
) -> None:
    resolved = portfolio(mainnet, tokens=tuple(mainnet.tokens))
    rpc = Counting(devchain.rpc)
    snapshot = read_snapshot(rpc, resolved)
    assert [methods for methods in rpc.requests if "eth_call" in methods] == [["eth_call"]]
    assert len(snapshot.pairs) == 10
    assert_equals_direct_reads(snapshot, resolved, Direct(devchain.rpc, devchain.block_number))


def test_older_block__is_unchanged_after_the_market_moved(
    devchain: DevChain, mainnet: Network
) -> None:
    resolved = portfolio(mainnet, entry_block=devchain.lp_block)
    upstream = read_snapshot(devchain.rpc, resolved)  # a block of the chain that is forked
    move_market(devchain, mainnet)
    local = read_snapshot(devchain.rpc, resolved)  # a block of the fork's own
    move_market(devchain, mainnet)
    assert local.block.number > upstream.block.number
    for older in (upstream, local):
        again = read_snapshot(devchain.rpc, resolved, older.block.number)
        assert again == older
        assert digest(read_snapshot(devchain.rpc, resolved, older.block.hash)) == digest(older)
        assert_equals_direct_reads(again, resolved, Direct(devchain.rpc, older.block.number))
    blocks = (upstream, local, read_snapshot(devchain.rpc, resolved))
    assert len({digest(dataclasses.replace(s, block=upstream.block)) for s in blocks}) == 3


def test_entry__is_the_pair_as_it_was(devchain: DevChain, mainnet: Network) -> None:
    block = devchain.lp_block
    assert block is not None
    move_market(devchain, mainnet)
    rpc = Counting(devchain.rpc)
    snapshot = read_snapshot(rpc, portfolio(mainnet, entry_block=block))
    assert len(rpc.requests) == 4
    then = Direct(devchain.rpc, block)
    for holding in snapshot.holdings:
        reserves = then(holding.pair, "getReserves()", "uint112 uint112 uint32")
        assert reserves is not None
        supply = then.uint(holding.pair, "totalSupply()")
        assert holding.entry == LpEntry(block, reserves[0], reserves[1], supply)
    moved = snapshot.pair(
        mainnet.amms["uniswap_v2"].pair_address(*map(mainnet.token, ("USDC", "WETH")))
    )
    entry = next(h.entry for h in snapshot.holdings if h.pair == moved.address)
    assert entry is not None
    assert (entry.reserve0, entry.reserve1) != (moved.reserve0, moved.reserve1)


def test_entry__before_the_pair_existed__is_refused(devchain: DevChain, mainnet: Network) -> None:
    with pytest.raises(ReadError, match=r"at block 1: getReserves\(\) returns nothing"):
        read_snapshot(devchain.rpc, portfolio(mainnet, entry_block=1))


def test_requests__are_three(devchain: DevChain, mainnet: Network) -> None:
    rpc = Counting(devchain.rpc)
    read_snapshot(rpc, portfolio(mainnet))
    assert rpc.requests == [
        ["eth_chainId", "eth_getBlockByNumber"],
        ["eth_call"],
        ["eth_maxPriorityFeePerGas", "eth_getBlockByNumber"],
    ]


def test_head_that_moves_during_the_read__is_not_mixed_in(
    devchain: DevChain, mainnet: Network
) -> None:
    resolved = portfolio(mainnet, entry_block=devchain.lp_block)
    still = read_snapshot(devchain.rpc, resolved)

    class Moving(Counting):
        def before(self, methods: list[str]) -> None:
            if "eth_chainId" not in methods:  # ahead of every request but the first
                move_market(devchain, mainnet)

    assert read_snapshot(Moving(devchain.rpc), resolved) == still
    assert read_snapshot(devchain.rpc, resolved).balances != still.balances


def test_reorganisation_during_the_read__is_refused(devchain: DevChain, mainnet: Network) -> None:
    """The block goes away after its state was read, and another takes its number."""
    chain = devchain.rpc
    before = chain.call("evm_snapshot")
    chain.call("evm_mine")

    class Reorganising(Counting):
        def before(self, methods: list[str]) -> None:
            if "eth_maxPriorityFeePerGas" in methods:
                assert chain.call("evm_revert", before)
                chain.call("anvil_setNextBlockBaseFeePerGas", hex(10**9))
                chain.call("evm_mine")

    with pytest.raises(ReadError, match="not part of the chain any more") as caught:
        read_snapshot(Reorganising(chain), portfolio(mainnet))
    assert caught.value.block == devchain.block_number + 1


def test_block_that_is_gone__is_refused_and_not_read_elsewhere(
    devchain: DevChain, mainnet: Network
) -> None:
    gone = "0x" + "12" * 32
    with pytest.raises(ReadError, match=f"the node has no block {gone}"):
        read_block(devchain.rpc, gone)
    call = Call(mainnet.tokens["USDC"].address, "totalSupply()")
    with pytest.raises(ReadError, match="cannot be read: eth_call") as caught:
        multicall(devchain.rpc, mainnet.multicall3, [call], gone)
    assert "archive node" in caught.value.hint


def test_block_of_the_future__is_refused(devchain: DevChain, mainnet: Network) -> None:
    number = devchain.block_number + 1
    with pytest.raises(ReadError, match=f"^the node has no block {number}$"):
        read_snapshot(devchain.rpc, portfolio(mainnet), number)


def test_wrong_chain__is_refused(devchain: DevChain, mainnet: Network) -> None:
    other = mainnet.model_copy(update={"chain_id": 10})
    with pytest.raises(ChainMismatch, match="serves chain 1, mainnet is chain 10"):
        read_snapshot(devchain.rpc, portfolio(other))


def test_stale_feed__is_refused(devchain: DevChain, mainnet: Network) -> None:
    head = read_block(devchain.rpc)
    devchain.rpc.call("evm_setNextBlockTimestamp", hex(head.timestamp + 76 * 60))
    devchain.rpc.call("evm_mine")
    with pytest.raises(StalePrice, match=r"^feed \w+/USD is \d+ s old, 4500 s are allowed$"):
        read_snapshot(devchain.rpc, portfolio(mainnet))


def test_token_without_code__is_named(devchain: DevChain, mainnet: Network) -> None:
    devchain.rpc.call("anvil_setCode", mainnet.tokens["WBTC"].address, "0x")
    devchain.rpc.call("evm_mine")
    snapshot = read_snapshot(devchain.rpc, portfolio(mainnet))
    (item,) = snapshot.held_out
    assert item.text == (
        "token WBTC at 0x2260FAC5E5542a773Aa44fBCfeDf7C193bc2C599 cannot be read: balanceOf() "
        "returns nothing, as an address without code does"
    )


def test_no_multicall3__is_named(devchain: DevChain, mainnet: Network) -> None:
    devchain.rpc.call("anvil_setCode", mainnet.multicall3, "0x")
    devchain.rpc.call("evm_mine")
    with pytest.raises(ReadError, match=f"^there is no Multicall3 at {mainnet.multicall3}"):
        read_snapshot(devchain.rpc, portfolio(mainnet))


def test_multicall__chunks_on_a_real_node__are_transparent(
    devchain: DevChain, mainnet: Network
) -> None:
    """The shape of 1,000 positions: more calls than fit one eth_call, some of them bad."""
    usdc, nobody = mainnet.tokens["USDC"].address, "0x" + "77" * 20
    owners = [TREASURY, ARBITRAGEUR, MARKET_MAKER] * 1_400
    calls = [Call(usdc, "balanceOf(address)", (owner,)) for owner in owners]
    calls[600:602] = [Call(usdc, "noSuchFunction()"), Call(nobody, "balanceOf(address)", (nobody,))]
    rpc = Counting(devchain.rpc)
    results = multicall(rpc, mainnet.multicall3, calls, devchain.block_hash)
    # 25 million gas; 12,000 for a contract's first call and 6,000 for the next.
    assert rpc.requests == [["eth_call"]] * 2
    plain = by_multicall3(devchain.rpc, mainnet.multicall3, calls, devchain.block_hash)
    assert [(r.success, r.values()) for r in results] == [(r.success, r.values()) for r in plain]
    direct = Direct(devchain.rpc, devchain.block_number)
    raw = {owner: direct.uint(usdc, "balanceOf(address)", owner) for owner in set(owners)}
    values = [result.values() for result in results]
    assert values[600:602] == [None, None]
    assert [result.success for result in results[600:602]] == [False, True]
    assert values[:600] + values[602:] == [(raw[o],) for o in owners[:600] + owners[602:]]


@pytest.fixture(scope="module", params=[19_426_586, 12_459_406])
def real(
    request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, DevChain]]:
    """A fork of a real mainnet block, and the file that it came from."""
    path = real_data / "mainnet" / "blocks" / f"{request.param}.json.gz"
    if not path.is_file():
        pytest.skip(f"no real data: {path} is not there")
    with open_fork(state=path, log_dir=tmp_path_factory.mktemp("anvil")) as chain:
        yield path, chain


def real_portfolio(network: Network) -> ResolvedPortfolio:
    tokens, lps = ("WETH", "USDC", "USDT"), ("uniswap_v2:USDC/WETH", "uniswap_v2:WETH/USDT")
    return portfolio(network, tokens=tokens, lps=lps)


def test_real_state__every_value_is_a_direct_read(
    real: tuple[Path, DevChain], mainnet: Network
) -> None:
    _, chain = real
    resolved = real_portfolio(mainnet)
    snapshot = read_snapshot(chain.rpc, resolved)
    assert_equals_direct_reads(snapshot, resolved, Direct(chain.rpc, chain.block_number))


def test_real_state__reserves_are_those_of_the_file(
    real: tuple[Path, DevChain], mainnet: Network
) -> None:
    """Slot 8 of a pair packs both reserves (112 bits each) and a timestamp."""
    path, chain = real
    accounts = json.loads(gzip.decompress(path.read_bytes()))["pre_state"]
    storage = {address.lower(): account["storage"] for address, account in accounts.items()}
    snapshot = read_snapshot(chain.rpc, real_portfolio(mainnet))
    for lp in real_portfolio(mainnet).lps:
        packed = next(int(v, 16) for k, v in storage[lp.pair.lower()].items() if int(k, 16) == 8)
        pair = snapshot.pair(lp.pair)
        assert pair.reserve0 == packed % 2**112 > 0
        assert pair.reserve1 == (packed >> 112) % 2**112 > 0
