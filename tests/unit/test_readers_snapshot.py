"""A snapshot: what it holds, in how many requests, and everything that it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from readers_fake_node import (
    BALANCES,
    NOW,
    REVERT,
    WALLET,
    FakeNode,
    mainnet,
    network,
    portfolio,
    put_pair,
    word,
)

from rebalancer.errors import ChainMismatch, ConfigError, ReadError, RpcUnavailable, StalePrice
from rebalancer.evm.rpc import RpcError
from rebalancer.model import UNREADABLE, GasReserve, LpEntry, PairState, digest
from rebalancer.readers.snapshot import read_snapshot
from rebalancer.readers.tokens import needed_tokens

NET = network()
LP = "uniswap_v2:WETH/USDT"
PAIR = NET.amms["uniswap_v2"].pair_address(NET.token("WETH"), NET.token("USDT"))
WETH, WBTC, USDC, USDT = map(NET.token, ("WETH", "WBTC", "USDC", "USDT"))


def with_entry(block: int) -> Any:
    return portfolio(
        {"token": "WETH", "target": "80%"},
        {"lp": LP, "target": "20%", "entry_block": block},
    )


def test_snapshot__says_what_of_the_native_token_stays_for_gas() -> None:
    plain = portfolio()
    reserve = GasReserve(WETH, 10**18)
    snapshot = read_snapshot(mainnet(), plain.model_copy(update={"gas_reserve": reserve}))
    assert (snapshot.gas_reserve, snapshot.surplus_wei) == (reserve, 4 * 10**18)
    assert snapshot.owned(WETH) == BALANCES["WETH"] + 4 * 10**18
    assert snapshot.owned(USDC) == BALANCES["USDC"]
    without = read_snapshot(mainnet(), plain)
    assert (without.surplus_wei, without.owned(WETH)) == (0, BALANCES["WETH"])


def test_snapshot__holds_what_the_chain_says() -> None:
    node = mainnet()
    snapshot = read_snapshot(node, portfolio())
    assert snapshot.block.number == 100
    assert snapshot.block.base_fee_wei == 7 * 10**9
    assert (snapshot.wallet, snapshot.numeraire) == (WALLET, "USD")
    assert snapshot.native_wei == 5 * 10**18
    assert snapshot.priority_fee_wei == 2 * 10**9
    assert {a.token.symbol: a.raw for a in snapshot.balances} == BALANCES
    ((pair, shares, entry),) = [(h.pair, h.shares, h.entry) for h in snapshot.holdings]
    assert (pair, shares, entry) == (PAIR, 5 * 10**15, None)
    assert snapshot.pair(PAIR) == PairState(
        PAIR, "uniswap_v2", WETH, USDT, 3000, 10**21, 3 * 10**12, 5 * 10**16, 77, False
    )
    assert [(p.name, p.protocol_fee_on) for p in snapshot.pairs] == [
        ("sushiswap:USDC/WETH", True),
        ("uniswap_v2:USDC/WETH", False),
        ("uniswap_v2:WETH/USDT", False),
    ]
    assert {p.token.symbol for p in snapshot.prices} == set(BALANCES)
    assert snapshot.native.token.symbol == "ETH"


def test_snapshot__takes_three_requests_and_reads_state_by_hash_only() -> None:
    node = mainnet()
    read_snapshot(node, portfolio())
    assert node.requests == [
        ["eth_chainId", "eth_getBlockByNumber"],
        ["eth_call"],
        ["eth_maxPriorityFeePerGas", "eth_getBlockByNumber"],
    ]
    state = [params for method, *params in node.calls if method == "eth_call"]
    assert [at for _, at, _ in state] == [{"blockHash": node.block_hash(100)}]


def test_snapshot__by_number_hash_and_head__are_one() -> None:
    node = mainnet()
    head = read_snapshot(node, portfolio())
    assert read_snapshot(node, portfolio(), 100) == head
    assert digest(read_snapshot(node, portfolio(), head.block.hash)) == digest(head)


def test_snapshot__order_of_the_file__changes_nothing() -> None:
    positions: list[dict[str, Any]] = [
        {"token": "WETH", "target": "40%"},
        {"lp": "uniswap_v2:USDC/WETH", "target": "20%"},
        {"token": "WBTC", "target": "20%"},
        {"lp": "uniswap_v2:USDT/WETH", "target": "20%"},
    ]
    one = read_snapshot(mainnet(), portfolio(*positions))
    two = read_snapshot(mainnet(), portfolio(*reversed(positions)))
    assert len(one.holdings) == 2
    assert digest(one) == digest(two)


def test_snapshot__needs_only_its_own_tokens_and_feeds() -> None:
    tokens = needed_tokens(portfolio({"token": "WBTC", "target": "100%"}))
    assert [t.symbol for t in tokens] == ["WBTC", "USDC", "WETH"]  # by address
    node = mainnet()
    for contract in (USDT.address, NET.feeds["USDT/USD"].address, NET.feeds["DAI/USD"].address):
        del node.state[contract.lower()]
    snapshot = read_snapshot(node, portfolio({"token": "WBTC", "target": "100%"}))
    assert [p.token.symbol for p in snapshot.prices] == ["WBTC", "USDC", "WETH"]
    assert [p.name for p in snapshot.pairs] == ["sushiswap:USDC/WETH", "uniswap_v2:USDC/WETH"]


def test_snapshot__numeraire_token__needs_its_feed_but_no_balance() -> None:
    snapshot = read_snapshot(
        mainnet(), portfolio({"token": "WBTC", "target": "100%"}, numeraire="DAI")
    )
    assert "DAI" not in {a.token.symbol for a in snapshot.balances}
    assert snapshot.numeraire == "DAI"
    assert snapshot.price(WBTC).source == "chainlink BTC/USD over DAI/USD"


def test_snapshot__pool_that_is_empty_or_odd__is_left_out() -> None:
    node = mainnet()
    put_pair(node, "uniswap_v2", "WBTC", "WETH", r0=0, r1=5, supply=0)
    put_pair(node, "uniswap_v2", "WBTC", "USDC", r0=5, r1=0, supply=0)
    odd = put_pair(node, "uniswap_v2", "WBTC", "USDT", r0=5, r1=5, supply=5)
    node.put(odd, "kLast()", (), REVERT)
    names = [p.name for p in read_snapshot(node, portfolio()).pairs]
    assert names == ["sushiswap:USDC/WETH", "uniswap_v2:USDC/WETH", "uniswap_v2:WETH/USDT"]


def test_snapshot__pool_without_shares__can_still_be_traded() -> None:
    node = mainnet()
    pair = put_pair(node, "uniswap_v2", "WBTC", "WETH", r0=5, r1=5, supply=0)
    assert read_snapshot(node, portfolio()).pair(pair).total_supply == 0


def test_snapshot__amm_that_does_not_exist__is_left_out() -> None:
    node = mainnet()
    sushi = NET.amms["sushiswap"]
    del node.state[sushi.factory.lower()], node.state[sushi.pair_address(USDC, WETH).lower()]
    assert {p.amm for p in read_snapshot(node, portfolio()).pairs} == {"uniswap_v2"}


def test_snapshot__factory_that_says_nothing_of_its_pools__is_refused() -> None:
    node = mainnet()
    del node.state[NET.amms["sushiswap"].factory.lower()]
    with pytest.raises(ReadError, match=r"factory of sushiswap at 0xC0A.*: feeTo\(\) returns noth"):
        read_snapshot(node, portfolio())


def drop(address: str) -> Callable[[FakeNode], None]:
    return lambda node: node.state.__delitem__(address.lower())


def put(target: str, signature: str, args: tuple[Any, ...], answer: bytes | None) -> Any:
    return lambda node: node.put(target, signature, args, answer)


REFUSED: dict[str, tuple[Callable[[FakeNode], None], str, str]] = {
    "native balance": (
        put(NET.multicall3, "getEthBalance(address)", (WALLET,), REVERT),
        rf"^the ETH balance of {WALLET}: getEthBalance\(\) reverts$",
        "",
    ),
    "LP pair without code": (
        drop(PAIR),
        rf"^LP position {LP} at {PAIR}: balanceOf\(\) returns nothing",
        "init_code_hash",
    ),
    "LP shares revert": (
        put(PAIR, "balanceOf(address)", (WALLET,), REVERT),
        rf"^LP position {LP} at {PAIR}: balanceOf\(\) reverts$",
        "init_code_hash",
    ),
    "LP reserves revert": (
        put(PAIR, "getReserves()", (), REVERT),
        rf"^LP position {LP} at {PAIR}: getReserves\(\) reverts$",
        "init_code_hash",
    ),
    "LP supply is garbage": (
        put(PAIR, "totalSupply()", (), b"\x07"),
        rf"^LP position {LP} at {PAIR}: totalSupply\(\) returns what does not decode$",
        "init_code_hash",
    ),
    "LP pair is empty": (
        put(PAIR, "getReserves()", (), word(0, 0, 0)),
        rf"^LP position {LP} at {PAIR}: the pair is empty$",
        "init_code_hash",
    ),
    "LP pair has no shares": (
        put(PAIR, "totalSupply()", (), word(0)),
        rf"^LP position {LP} at {PAIR}: the pair is empty$",
        "init_code_hash",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_snapshot__what_cannot_be_read__is_named(case: str) -> None:
    spoil, message, hint = REFUSED[case]
    node = mainnet()
    spoil(node)
    with pytest.raises(ReadError, match=message) as caught:
        read_snapshot(node, portfolio())
    assert hint in caught.value.hint
    assert caught.value.block == 100
    assert "\n" not in str(caught.value)


SPOILED: dict[str, tuple[Callable[[FakeNode], None], str, str]] = {
    "without code": (
        drop(WBTC.address),
        "WBTC",
        "cannot be read: balanceOf() returns nothing, as an address without code does",
    ),
    "balance reverts": (
        put(WETH.address, "balanceOf(address)", (WALLET,), REVERT),
        "WETH",
        "cannot be read: balanceOf() reverts",
    ),
    "balance is garbage": (
        put(USDT.address, "balanceOf(address)", (WALLET,), b"\x01\x02"),
        "USDT",
        "cannot be read: balanceOf() returns what does not decode",
    ),
    "decimals missing": (
        put(USDC.address, "decimals()", (), REVERT),
        "USDC",
        "cannot be read: decimals() reverts",
    ),
    "decimals beyond a byte": (
        put(USDC.address, "decimals()", (), word(256)),
        "USDC",
        "cannot be read: decimals() returns what does not decode",
    ),
    "decimals wrong": (
        put(USDC.address, "decimals()", (), word(18)),
        "USDC",
        "has 18 decimals, networks.yaml says 6",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_token__that_misbehaves__spoils_only_its_own_row(case: str) -> None:
    spoil, symbol, why = SPOILED[case]
    token, node = NET.token(symbol), mainnet()
    whole = read_snapshot(node, portfolio())
    spoil(node)
    snapshot = read_snapshot(node, portfolio())
    item = next(item for item in snapshot.held_out if item.name == symbol)
    assert (item.address, item.code) == (token.address, UNREADABLE)
    assert item.text == f"token {symbol} at {token.address} {why}"
    assert snapshot.balances == tuple(a for a in whole.balances if a.token != token)
    assert snapshot.prices == tuple(p for p in whole.prices if p.token != token)
    assert snapshot.pairs == tuple(p for p in whole.pairs if not p.has(token))
    lost = [h for h in whole.holdings if whole.pair(h.pair).has(token)]
    assert snapshot.holdings == tuple(h for h in whole.holdings if h not in lost)
    # An LP position is lost with its token, and says so.
    others = [item for item in snapshot.held_out if item.name != symbol]
    assert [(i.name, i.address) for i in others] == [(LP, h.pair) for h in lost]
    assert all(i.text == f"{LP} holds {symbol}, which is not read" for i in others)


def test_token__failure__costs_no_request() -> None:
    node = mainnet()
    node.put(USDC.address, "balanceOf(address)", (WALLET,), REVERT)
    assert [item.name for item in read_snapshot(node, portfolio()).held_out] == ["USDC"]
    assert [len(methods) for methods in node.requests] == [2, 1, 2]


def test_token__failure_through_multicall3__makes_the_rest_be_asked_alone() -> None:
    """On a node that knows no state override: one request to find out, one for those alone."""
    node = mainnet()
    node.overrides = False
    node.put(USDC.address, "balanceOf(address)", (WALLET,), REVERT)
    read_snapshot(node, portfolio())
    # USDC is the second of four tokens by address: what comes before it stands, and nothing else.
    assert [len(methods) for methods in node.requests] == [2, 1, 1, 6, 2]
    alone = [asked[1] for asked in node.calls if asked[0] == "eth_call"][2:]
    assert {(tx["to"], tx["gas"]) for tx in alone} == {(NET.multicall3, hex(1_000_000))}


@pytest.mark.parametrize("code", [3, -32000, -32003, -32015, -32603])
def test_token__that_brings_down_the_whole_call__is_fenced_off(code: int) -> None:
    node = mainnet()
    node.overrides = False
    whole = read_snapshot(node, portfolio())
    real = node._eth_call

    def out_of_gas(transaction: dict[str, str], *rest: Any) -> str:
        if len(rest) == 1 and len(transaction["data"]) >= len(whole_call["data"]):
            raise RpcError("eth_call", code, "out of gas")
        return real(transaction, *rest)

    _, whole_call = (asked[1] for asked in node.calls if asked[0] == "eth_call")
    node.faults["eth_call"] = out_of_gas
    assert read_snapshot(node, portfolio()) == whole
    assert [len(m) for m in node.requests[4:]] == [2, 1, 1, 1, 8, 2]


@pytest.mark.parametrize(
    ("code", "requests"), [(-32001, 2), (-32002, 2), (-32005, 2), (-32601, 3), (-32602, 3)]
)
def test_node__that_refuses__is_not_asked_more(code: int, requests: int) -> None:
    """The last two may mean the state override: Multicall3 is tried."""
    node = mainnet()

    def refuse(*_: object) -> None:
        raise RpcError("eth_call", code, "no")

    node.faults["eth_call"] = refuse
    with pytest.raises(ReadError, match="cannot be read"):
        read_snapshot(node, portfolio())
    assert len(node.requests) == requests


def test_snapshot__two_symbols_for_one_contract__are_refused_unasked() -> None:
    tokens = {name: spec.model_dump() for name, spec in NET.tokens.items()}
    twice = network(tokens={**tokens, "WETH2": tokens["WETH"]})
    node = mainnet()
    resolved = portfolio(
        {"token": "WETH", "target": "50%"}, {"token": "WETH2", "target": "50%"}, on=twice
    )
    with pytest.raises(ConfigError, match="WETH and WETH2 of mainnet are one contract"):
        read_snapshot(node, resolved)
    assert node.requests == []


def test_snapshot__wrong_chain__is_refused_before_any_state_is_read() -> None:
    node = mainnet()
    node.chain_id = 10
    with pytest.raises(ChainMismatch):
        read_snapshot(node, portfolio())
    assert len(node.requests) == 1


def test_snapshot__node_without_the_state__is_one_line() -> None:
    node = mainnet()

    def refuse(*_: object) -> None:
        raise RpcError("eth_call", -32000, "missing trie node 12ab (path )")

    node.faults["eth_call"] = refuse
    with pytest.raises(ReadError, match="missing trie node") as caught:
        read_snapshot(node, portfolio(), 50)
    assert "archive node" in caught.value.hint


def test_snapshot__silence__passes_through() -> None:
    node = mainnet()

    def silence(*_: object) -> None:
        raise RpcUnavailable("the RPC endpoint http://localhost did not answer in time")

    node.faults["eth_call"] = silence
    with pytest.raises(RpcUnavailable, match="did not answer in time"):
        read_snapshot(node, portfolio())


def test_snapshot__reorganised_while_it_is_read__is_refused() -> None:
    node = mainnet()
    suggest = node._eth_maxPriorityFeePerGas

    def reorganise() -> str:
        node.branch = 1
        return suggest()

    node.faults["eth_maxPriorityFeePerGas"] = reorganise
    with pytest.raises(ReadError, match="not part of the chain any more"):
        read_snapshot(node, portfolio())


def test_snapshot__stale_feed__is_refused() -> None:
    node = mainnet()
    node.faults["eth_getBlockByNumber"] = lambda *_: {
        **(node.header(100) or {}),
        "timestamp": hex(NOW + 10**6),
    }
    with pytest.raises(StalePrice):
        read_snapshot(node, portfolio())


def test_entry__is_read_from_its_own_block_by_number() -> None:
    node = mainnet()
    old = mainnet()
    put_pair(old, "uniswap_v2", "WETH", "USDT", r0=11, r1=22, supply=33)
    node.past[40] = old.state
    snapshot = read_snapshot(node, with_entry(40))
    assert snapshot.holdings[0].entry == LpEntry(40, 11, 22, 33)
    # The block that is read is looked at before and after: entries are its ancestors by number.
    look = "eth_getBlockByNumber"
    assert node.requests[2] == [look, "eth_call", "eth_call", look]
    assert [params[-1] for params in node.calls if params[0] == "eth_call"][1:] == ["0x28"] * 2
    assert len(node.requests) == 4
    without = dataclasses.replace(snapshot.holdings[0], entry=None)
    assert read_snapshot(node, portfolio()).holdings == (without,)


def test_entries__of_two_positions__each_from_its_own_block() -> None:
    node, early, late = mainnet(), mainnet(), mainnet()
    other = put_pair(early, "sushiswap", "USDC", "WETH", r0=1, r1=2, supply=3)
    put_pair(late, "uniswap_v2", "WETH", "USDT", r0=11, r1=22, supply=33)
    node.past = {30: early.state, 40: late.state}
    positions: list[dict[str, Any]] = [
        {"token": "WETH", "target": "60%"},
        {"lp": LP, "target": "20%", "entry_block": 40},
        {"lp": "sushiswap:WETH/USDC", "target": "20%", "entry_block": 30},
    ]
    snapshot = read_snapshot(node, portfolio(*positions))
    entries = {holding.pair: holding.entry for holding in snapshot.holdings}
    assert entries == {PAIR: LpEntry(40, 11, 22, 33), other: LpEntry(30, 1, 2, 3)}
    assert len(node.requests) == 4


def test_entry__needs_no_multicall3_at_its_block() -> None:
    node = mainnet()
    node.past[40] = {k: v for k, v in node.state.items() if k != NET.multicall3.lower()}
    entry = read_snapshot(node, with_entry(40)).holdings[0].entry
    assert entry == LpEntry(40, 10**21, 3 * 10**12, 5 * 10**16)


def test_entry__at_the_block_itself__is_allowed() -> None:
    entry = read_snapshot(mainnet(), with_entry(100)).holdings[0].entry
    assert entry is not None
    assert entry.block_number == 100


def test_entry__in_the_future__is_refused() -> None:
    with pytest.raises(ReadError, match=rf"^entry_block 101 of {LP} is after block 100, which is"):
        read_snapshot(mainnet(), with_entry(101))


def test_entry__node_without_archive__says_the_ways_out() -> None:
    node = mainnet()
    real = node._eth_call

    def pruned(transaction: dict[str, str], at: Any, *override: Any) -> str:
        if at == "0x28":
            raise RpcError("eth_call", -32000, "missing trie node")
        return real(transaction, at, *override)

    node.faults["eth_call"] = pruned
    with pytest.raises(
        ReadError, match=rf"^the entry of {LP} at block 40 cannot be read"
    ) as caught:
        read_snapshot(node, with_entry(40))
    assert caught.value.hint.startswith("use an archive node, or remove entry_block")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (drop(PAIR), r"getReserves\(\) returns nothing"),
        (put(PAIR, "getReserves()", (), word(0, 0, 0)), "the pair is empty"),
        (put(PAIR, "totalSupply()", (), word(0)), "the pair is empty"),
        (put(PAIR, "totalSupply()", (), b"\x01"), r"totalSupply\(\) returns what does not decode"),
    ],
)
def test_entry__before_the_pair_had_liquidity__is_refused(
    spoil: Callable[[FakeNode], None], why: str
) -> None:
    node, old = mainnet(), mainnet()
    spoil(old)
    node.past[40] = old.state
    with pytest.raises(ReadError, match=rf"^the entry of {LP} at block 40: {why}") as caught:
        read_snapshot(node, with_entry(40))
    assert "entry_block" in caught.value.hint
