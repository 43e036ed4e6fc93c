"""What a pass asks is put together once for the same portfolios, and what it reads never is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from readers_fake_node import NOW, WALLET, mainnet, network, portfolio, put_feed, put_pair, word

from rebalancer.errors import ConfigError
from rebalancer.readers.snapshot import read_snapshot
from rebalancer.readers.task import forget, prepare

NET = network()


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    forget()
    yield
    forget()


def test_prepare__the_very_same_portfolios__are_prepared_once() -> None:
    one, two = portfolio(), portfolio()
    assert prepare([one]) is prepare((one,))
    assert prepare([one, two]) is prepare([one, two])
    # Equal, and yet another: portfolios are told apart without being compared.
    assert one == two
    assert prepare([one]) is not prepare([two])
    assert prepare([one]) is not prepare([one, two])
    assert prepare([one, two]) is not prepare([two, one])


def test_prepare__what_is_forgotten__is_prepared_again() -> None:
    one = portfolio()
    task = prepare([one])
    forget()
    again = prepare([one])
    assert again is not task
    assert again == task


def test_prepare__portfolios_of_several_networks__are_refused_each_time() -> None:
    other = portfolio(on=network(intermediates=()))
    for _ in range(2):
        with pytest.raises(ConfigError, match="not of one network"):
            prepare([portfolio(), other])


def test_read__prepared__sees_what_has_changed_since() -> None:
    """Balances, prices and pools of the same block number: nothing of the pass before is left."""
    resolved, node = portfolio(), mainnet()
    weth = NET.token("WETH")
    before = read_snapshot(node, resolved)
    node.put(weth.address, "balanceOf(address)", (WALLET,), word(42))
    put_feed(node, "ETH/USD", 1_000_00000000)
    put_pair(node, "uniswap_v2", "WETH", "USDT", r0=7, r1=9, supply=5)
    after = read_snapshot(node, resolved)
    assert before.balance(weth) != after.balance(weth) == 42
    assert after.native.value_down(10**18) == 1_000_00000000
    assert before.native != after.native
    assert {(p.reserve0, p.reserve1) for p in after.pairs} >= {(7, 9)}
    fresh = portfolio()
    assert read_snapshot(node, fresh) == after
    assert after.block.timestamp == NOW


def test_read__that_failed__leaves_nothing_behind() -> None:
    resolved, node = portfolio(), mainnet()
    whole = read_snapshot(node, resolved)
    weth = NET.token("WETH")
    good = node.state[weth.address.lower()].copy()
    node.put(weth.address, "decimals()", (), word(6))
    assert [item.name for item in read_snapshot(node, resolved).held_out][:1] == ["WETH"]
    node.state[weth.address.lower()] = good
    assert read_snapshot(node, resolved) == whole
