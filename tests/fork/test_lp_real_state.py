"""LP positions on real mainnet pools: the value formula, and what a burn really pays."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from pathlib import Path

import pytest

from rebalancer.amm import effective_total_supply, protocol_fee_shares, redeemable, value
from rebalancer.config.networks import Network
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block, view, word
from rebalancer.devchain.fork import DevChain, open_fork
from rebalancer.model import PairState, Snapshot
from rebalancer.readers.snapshot import read_snapshot

BLOCKS = (10_760_440, 12_459_406, 15_538_827, 19_426_586)
LPS = ("uniswap_v2:USDC/WETH", "uniswap_v2:WETH/USDT")
K_LAST_SLOT, FEE_TO_SLOT = 11, 0


@pytest.fixture(scope="module", params=BLOCKS)
def chain(
    request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DevChain]:
    path = real_data / "mainnet" / "blocks" / f"{request.param}.json.gz"
    if not path.is_file():
        pytest.skip(f"no real data: {path} is not there")
    with open_fork(state=path, log_dir=tmp_path_factory.mktemp("anvil")) as chain:
        yield chain


def portfolio_of(chain: DevChain, network: Network) -> ResolvedPortfolio:
    """WETH, and the LP positions whose pools hold something in this block."""
    positions: list[dict[str, str]] = []
    for name in LPS:
        a, b = name.partition(":")[2].split("/")
        pair = network.amms["uniswap_v2"].pair_address(network.token(a), network.token(b))
        if chain.rpc.call("eth_getCode", pair, "latest") != "0x":
            types = ("uint112", "uint112", "uint32")
            if all(view(chain.rpc, pair, "getReserves()", types)[:2]):
                positions.append({"lp": name, "target": "10%"})
    positions.append({"token": "WETH", "target": f"{100 - 10 * len(positions)}%"})
    spec = {"name": "t", "network": network.name, "wallet": TREASURY, "positions": positions}
    return resolve(Portfolio.model_validate(spec), network)


def turn_the_protocol_fee_on(chain: DevChain, resolved: ResolvedPortfolio) -> None:
    """Send the factory's fee somewhere, and let the pools have grown by a fifth since kLast."""
    factory = resolved.network.amms["uniswap_v2"].factory
    chain.rpc.call("anvil_setStorageAt", factory, word(FEE_TO_SLOT), word(ARBITRAGEUR))
    for pair in read_snapshot(chain.rpc, resolved).pairs:
        if pair.amm == "uniswap_v2":
            k = pair.reserve0 * pair.reserve1 * 25 // 36
            chain.rpc.call("anvil_setStorageAt", pair.address, word(K_LAST_SLOT), word(k))
    chain.rpc.call("evm_mine")


def by_the_formula(snapshot: Snapshot, pair: PairState, shares: int) -> Decimal:
    """``2 * sqrt(r0 * r1) * sqrt(p0 * p1) / supply`` a share, in a hundred decimals."""
    with localcontext() as context:
        context.prec = 120
        prices = (snapshot.price(pair.token0), snapshot.price(pair.token1))
        p0, p1 = (Decimal(p.numerator) / Decimal(p.denominator) for p in prices)
        supply = effective_total_supply(pair)
        root_k = Decimal(pair.reserve0 * pair.reserve1).sqrt()
        return 2 * root_k * (p0 * p1).sqrt() / supply * shares


def burn(chain: DevChain, pair: PairState, shares: int) -> tuple[int, int]:
    """What burning really brings the treasury of both tokens."""

    def balances() -> list[int]:
        return [
            view(chain.rpc, token.address, "balanceOf(address)", ("uint256",), TREASURY)[0]
            for token in (pair.token0, pair.token1)
        ]

    before = balances()
    send = call_of(pair.address, "transfer(address,uint256)", pair.address, shares)
    mine_block(chain.rpc, TREASURY, [send, call_of(pair.address, "burn(address)", TREASURY)])
    got = [now - then for now, then in zip(balances(), before, strict=True)]
    return got[0], got[1]


@pytest.mark.parametrize("protocol_fee_on", [False, True])
def test_value_is_the_formula__and_a_burn_pays_what_is_redeemable(
    chain: DevChain, mainnet: Network, protocol_fee_on: bool
) -> None:
    put_back = chain.rpc.call("evm_snapshot")
    try:
        resolved = portfolio_of(chain, mainnet)
        if protocol_fee_on:
            turn_the_protocol_fee_on(chain, resolved)
        snapshot = read_snapshot(chain.rpc, resolved)
        valuation = value(snapshot, resolved.targets)
        assert snapshot.holdings
        assert m.lp_token(m.USDC, m.WETH).address in {h.pair for h in snapshot.holdings}
        for holding in snapshot.holdings:
            pair = snapshot.pair(holding.pair)
            assert holding.shares > 0
            assert (protocol_fee_shares(pair) > 0) == protocol_fee_on
            worth = valuation.position(pair.name).value_e8
            assert 0 <= by_the_formula(snapshot, pair, holding.shares) - worth < 1
            for shares in (holding.shares // 3, holding.shares - holding.shares // 3):
                now = read_snapshot(chain.rpc, resolved).pair(holding.pair)
                assert burn(chain, now, shares) == redeemable(now, shares)
    finally:
        assert chain.rpc.call("evm_revert", put_back)
