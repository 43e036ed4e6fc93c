"""Many portfolios in one pass, and wallets that are only watched."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from readers_fake_node import REVERT, WALLET, FakeNode, mainnet, network, portfolio, word

from rebalancer.amm.valuation import by_wallet, value
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.errors import ConfigError, ReadError
from rebalancer.model import Snapshot, digest, to_plain
from rebalancer.readers.snapshot import read_many, read_snapshot

SAFE = "0x00000000000000000000000000000000000000A1"
COLD = "0x00000000000000000000000000000000000000b2"
NET = network()
PAIR = "uniswap_v2:WETH/USDT"


def of(wallet: str, *watch: str, name: str = "p", **body: Any) -> ResolvedPortfolio:
    positions = [
        {"token": "WETH", "target": "40%"},
        {"token": "USDC", "target": "40%"},
        {"lp": PAIR, "target": "20%"},
    ]
    spec = {"name": name, "network": "mainnet", "wallet": wallet, "watch": watch}
    return resolve(Portfolio.model_validate({**spec, "positions": positions, **body}), NET)


def node(**raws: tuple[int, int, int, int]) -> FakeNode:
    """Mainnet where wallets hold WETH, USDC, USDT and LP shares."""
    fake = mainnet()
    pair = portfolio().lps[0].pair
    for wallet, amounts in {SAFE: raws["safe"], COLD: raws["cold"]}.items():
        fake.put(NET.multicall3, "getEthBalance(address)", (wallet,), word(1))
        contracts = [NET.tokens[symbol].address for symbol in ("WETH", "USDC", "USDT", "WBTC")]
        for contract, raw in zip((*contracts, pair), (*amounts[:3], 0, amounts[3]), strict=True):
            fake.put(contract, "balanceOf(address)", (wallet,), word(raw))
    return fake


def some() -> FakeNode:
    return node(safe=(3 * 10**18, 5, 0, 10**15), cold=(10**18, 10**9, 7, 0))


def test_read_many__one_pass__each_as_it_would_be_alone() -> None:
    portfolios = (
        of(WALLET),
        of(SAFE, name="b"),
        of(COLD, WALLET, name="c", numeraire="WETH"),
        portfolio({"token": "WBTC", "target": "100%"}),
    )
    fake = some()
    together = read_many(fake, portfolios)
    assert [digest(s) for s in together] == [digest(read_snapshot(some(), p)) for p in portfolios]
    assert fake.requests == [
        ["eth_chainId", "eth_getBlockByNumber"],
        ["eth_call"],
        ["eth_maxPriorityFeePerGas", "eth_getBlockByNumber"],
    ]


def test_read_many__what_several_need__is_asked_once() -> None:
    alone, together = some(), some()
    read_snapshot(alone, of(WALLET))
    read_many(together, [of(WALLET), of(SAFE, name="b")])
    # The program's data begins with how many calls there are.
    one, two = (int(f.calls[2][1]["data"][:8], 16) for f in (alone, together))
    # A purse, shares, and balances of WETH, USDC and USDT.
    assert two - one == 5


def test_read_many__entries_of_one_pair_at_two_blocks__are_kept_apart() -> None:
    def entered(block: int) -> ResolvedPortfolio:
        lp = {"lp": PAIR, "target": "60%", "entry_block": block}
        return of(SAFE, positions=[{"token": "WETH", "target": "40%"}, lp])

    fake = some()
    found = read_many(fake, [entered(40), entered(41), of(SAFE)])
    entries = [s.holdings[0].entry for s in found]
    assert [e and e.block_number for e in entries] == [40, 41, None]
    assert len(fake.requests) == 4


def test_read_many__a_token_that_refuses_one_wallet__is_lost_to_that_one_alone() -> None:
    fake = some()
    usdc = NET.tokens["USDC"].address
    fake.put(usdc, "balanceOf(address)", (SAFE,), REVERT)
    first, second = read_many(fake, [of(WALLET), of(SAFE, name="b")])
    assert [item.name for item in second.held_out] == ["USDC"]
    assert first.held_out == ()
    assert digest(first) == digest(read_snapshot(some(), of(WALLET)))


def test_read_many__none__asks_nothing() -> None:
    fake = some()
    assert read_many(fake, []) == ()
    assert fake.requests == []


def test_read_many__two_networks__is_refused_before_anything_is_asked() -> None:
    fake = some()
    other = of(SAFE, name="b").model_copy(update={"network": network(chain_id=2)})
    with pytest.raises(ConfigError, match=r"^p and b are not of one network"):
        read_many(fake, [of(WALLET), other])
    assert fake.requests == []


def test_watch__counts_in_nav_and_is_told_by_wallet() -> None:
    resolved = of(WALLET, SAFE, COLD)
    snapshot = read_snapshot(some(), resolved)
    assert [w.wallet for w in snapshot.watched] == [SAFE, COLD]
    weth = NET.token("WETH")
    own = snapshot.balance(weth)
    assert snapshot.watched_balance(weth) == 4 * 10**18
    assert snapshot.whole().balance(weth) == own + 4 * 10**18
    assert snapshot.whole().holdings[0].shares == snapshot.holdings[0].shares + 10**15

    valuation = value(snapshot, resolved.targets)
    split = by_wallet(snapshot, resolved.targets)
    alone = [
        value(read_snapshot(some(), of(w)), resolved.targets).nav_e8 for w in (WALLET, SAFE, COLD)
    ]
    assert [part.wallet for part in split] == [WALLET, SAFE, COLD]
    assert [part.value_e8 for part in split] == alone
    assert 0 <= valuation.nav_e8 - sum(alone) <= 1  # LP shares of two wallets, rounded once
    assert valuation.exposures[0].raw > own + 4 * 10**18 - 1


def test_watch__none__leaves_no_trace_in_the_snapshot() -> None:
    """What older versions wrote and signed by its digest is still canonical."""
    snapshot = read_snapshot(some(), of(WALLET))
    assert snapshot.whole() is snapshot
    assert "watched" not in to_plain(snapshot)


def test_watch__same_wallets_in_another_order__are_the_same_values() -> None:
    one, two = of(WALLET, SAFE, COLD), of(WALLET, COLD, SAFE)
    navs = [value(read_snapshot(some(), p), p.targets).nav_e8 for p in (one, two)]
    assert navs[0] == navs[1]


def test_watch__a_token_that_refuses_a_watched_wallet__is_unreadable() -> None:
    fake = some()
    fake.put(NET.tokens["USDC"].address, "balanceOf(address)", (COLD,), REVERT)
    snapshot = read_snapshot(fake, of(WALLET, SAFE, COLD))
    assert [item.name for item in snapshot.held_out] == ["USDC"]
    rows: list[Snapshot | Any] = [snapshot, *snapshot.watched]
    assert {len(row.balances) for row in rows} == {len(snapshot.balances)}


def test_watch__shares_that_cannot_be_read__are_an_error() -> None:
    fake = some()
    fake.put(portfolio().lps[0].pair, "balanceOf(address)", (COLD,), REVERT)
    with pytest.raises(ReadError, match=r"balanceOf\(\) reverts"):
        read_snapshot(fake, of(WALLET, COLD))


@pytest.mark.parametrize("watch", [[WALLET], [SAFE, SAFE]])
def test_watch__a_wallet_twice__is_refused(watch: list[str]) -> None:
    with pytest.raises(ValidationError, match="is named twice"):
        of(WALLET, *watch)


def test_watch__with_the_optimal_planner__is_refused() -> None:
    with pytest.raises(ValidationError, match="the optimal planner does not know wallets"):
        of(WALLET, SAFE, policy={"planner": "optimal"})
