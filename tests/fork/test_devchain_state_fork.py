"""Real mainnet blocks behind a fork: real bytecode, real reserves, and a treasury among them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from rebalancer.amm import get_amount_out
from rebalancer.config.networks import Network
from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import DEV_ACCOUNTS, MARKET_MAKER, TREASURY
from rebalancer.devchain.calls import UINT256_MAX, add_liquidity, approve_router, transfer
from rebalancer.devchain.cheats import call_of, mine_block, view
from rebalancer.devchain.fork import DevChain, open_fork
from rebalancer.devchain.market import move
from rebalancer.errors import ExecutionError
from rebalancer.evm.abi import decode_output, from_hex
from rebalancer.evm.rpc import HttpRpc
from rebalancer.model import E8, Amount, Token

UINT = ("uint256",)
RESERVES = ("uint112", "uint112", "uint32")
BLOCKS = (10_760_440, 12_459_406, 15_538_827, 19_426_586)


@dataclass(frozen=True)
class RealBlock:
    """A fork of a real block's state, and the file that it came from."""

    chain: DevChain
    number: int
    header: dict[str, Any]
    accounts: dict[str, Any]

    @property
    def rpc(self) -> HttpRpc:
        return self.chain.rpc

    def slot(self, address: str, slot: int) -> int:
        return int(self.accounts[address.lower()]["storage"][hex(slot)], 16)


@pytest.fixture(scope="module", params=BLOCKS)
def opened(
    request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealBlock]:
    path = real_data / "mainnet" / "blocks" / f"{request.param}.json.gz"
    document = json.loads(gzip.decompress(path.read_bytes()))
    with open_fork(state=path, log_dir=tmp_path_factory.mktemp("anvil")) as chain:
        yield RealBlock(chain, request.param, document["block"], document["pre_state"])


@pytest.fixture
def real(opened: RealBlock) -> Iterator[RealBlock]:
    """The real block as it was opened, whatever the tests before did to it."""
    snapshot = opened.rpc.call("evm_snapshot")
    yield opened
    assert opened.rpc.call("evm_revert", snapshot)


def _balance(rpc: HttpRpc, token: str, owner: str = TREASURY) -> int:
    return int(view(rpc, token, "balanceOf(address)", UINT, owner)[0])


def _reserves(rpc: HttpRpc, a: Token, b: Token) -> tuple[int, int]:
    """Reserves of ``a`` and ``b``, in this order."""
    raw0, raw1, _ = view(rpc, m.lp_token(a, b).address, "getReserves()", RESERVES)
    return (raw0, raw1) if int(a.address, 16) < int(b.address, 16) else (raw1, raw0)


def test_head__number_time_and_base_fee__are_the_real_blocks(real: RealBlock) -> None:
    head = real.rpc.call("eth_getBlockByNumber", "latest", False)
    assert int(head["number"], 16) == real.number == real.chain.block_number
    assert head["timestamp"] == real.header["timestamp"]
    london = "baseFeePerGas" in real.header
    assert int(head["baseFeePerGas"], 16) == (
        int(real.header["baseFeePerGas"], 16) if london else 20 * 10**9
    )
    assert int(real.rpc.call("eth_chainId"), 16) == 1
    assert any("another hash" in note for note in real.chain.notes)


def test_bytecode__of_tokens_and_pairs__is_the_real_one(real: RealBlock) -> None:
    checked = 0
    for token in (*m.TOKENS, *m.LP_TOKENS):
        code = real.rpc.call("eth_getCode", token.address, "latest")
        account = real.accounts.get(token.address.lower())
        if account is None:
            assert code == "0x"
            continue
        assert "0x" + keccak(from_hex(code)).hex() == account["code_hash"]
        checked += 1
    assert checked >= 6  # USDC, USDT, WETH, DAI, LINK and a pair are in each of the four


def test_reserves__are_exactly_the_real_ones(real: RealBlock) -> None:
    for lp in m.LP_TOKENS:
        if lp.address.lower() not in real.accounts:
            continue
        packed = real.slot(lp.address, 8)  # reserve0, reserve1, blockTimestampLast
        expected = (packed % 2**112, (packed >> 112) % 2**112, packed >> 224)
        assert view(real.rpc, lp.address, "getReserves()", RESERVES) == expected


def test_tokens__decimals__are_right_though_the_block_did_not_read_them(real: RealBlock) -> None:
    for token in m.TOKENS:
        if token.address.lower() in real.accounts:
            assert view(real.rpc, token.address, "decimals()", ("uint8",)) == (token.decimals,)


def test_feeds__real_ones_are_kept_and_the_others_follow_the_pool(real: RealBlock) -> None:
    stand_ins = next(note for note in real.chain.notes if "stand-ins" in note)
    round_data = ("uint80", "int256", "uint256", "uint256", "uint80")
    for token in (m.WETH, m.WBTC, m.USDC, m.USDT, m.DAI):
        fact = m.FEEDS[token]
        touched = fact.address.lower() in real.accounts
        if token == m.WBTC and not touched:
            continue
        _, answer, _, updated_at, _ = view(real.rpc, fact.address, "latestRoundData()", round_data)
        code = real.rpc.call("eth_getCode", fact.address, "latest")
        if touched:  # ETH/USD in 15538827, BTC/USD in 12459406
            assert fact.description not in stand_ins
            assert (
                "0x" + keccak(from_hex(code)).hex()
                == (real.accounts[fact.address.lower()]["code_hash"])
            )
            continue
        assert fact.description in stand_ins
        assert updated_at == int(real.header["timestamp"], 16)
        if token in m.STABLECOINS:
            assert answer == E8
        else:
            mids = []
            for stable in m.STABLECOINS:
                if m.lp_token(token, stable).address.lower() in real.accounts:
                    weth, other = _reserves(real.rpc, token, stable)
                    mids.append((weth, other * E8 * 10**18 // (weth * 10**stable.decimals)))
            assert answer == max(mids)[1]


def test_treasury__owns_tokens_and_lp_shares_that_add_up(real: RealBlock) -> None:
    held = {a.token.symbol: a.raw for a in real.chain.wallets[0].balances}
    assert held["USDC"] == held["USDT"] == 200_000 * 10**6
    assert held["WETH"] > 10**19
    assert ("WBTC" in held) == (m.WBTC.address.lower() in real.accounts)
    usdc, _ = _reserves(real.rpc, m.USDC, m.WETH)
    lp = m.lp_token(m.USDC, m.WETH)
    (supply,) = view(real.rpc, lp.address, "totalSupply()", UINT)
    assert held[lp.symbol] + _balance(real.rpc, lp.address, MARKET_MAKER) == supply
    assert 99_999 * 10**6 < usdc * held[lp.symbol] // supply <= 100_000 * 10**6
    assert any("made up, 0.9 sqrt(k)" in note for note in real.chain.notes)


def test_lp_shares__burned__pay_their_share_of_the_reserves(real: RealBlock) -> None:
    rpc, lp = real.rpc, m.lp_token(m.USDC, m.WETH)
    shares = _balance(rpc, lp.address)
    (supply,) = view(rpc, lp.address, "totalSupply()", UINT)
    usdc, weth = _reserves(rpc, m.USDC, m.WETH)
    before = [_balance(rpc, token.address) for token in (m.USDC, m.WETH)]
    burn = call_of(lp.address, "burn(address)", TREASURY)
    mine_block(rpc, TREASURY, [transfer(Amount(lp, shares), lp.address), burn])
    after = [_balance(rpc, token.address) for token in (m.USDC, m.WETH)]
    paid = [now - then for now, then in zip(after, before, strict=True)]
    assert paid == [usdc * shares // supply, weth * shares // supply]


def test_liquidity__added_through_router02__goes_into_the_real_pair(real: RealBlock) -> None:
    """Router02 asks the factory for the pair, which the block may not have touched."""
    rpc, lp = real.rpc, m.lp_token(m.USDC, m.WETH)
    usdc, weth = _reserves(rpc, m.USDC, m.WETH)
    a = Amount(m.USDC, 10**9)
    b = Amount(m.WETH, a.raw * weth // usdc)
    shares = _balance(rpc, lp.address)
    approvals = [approve_router(amount.token, amount.raw) for amount in (a, b)]
    mine_block(rpc, TREASURY, [*approvals, add_liquidity(a, b, TREASURY)])
    assert _reserves(rpc, m.USDC, m.WETH) == (usdc + a.raw, weth + b.raw)
    assert _balance(rpc, lp.address) > shares


def test_swap__real_usdc_for_weth_through_router02__is_ours_to_the_wei(real: RealBlock) -> None:
    rpc, amount_in = real.rpc, 12_345_678_901
    expected = get_amount_out(amount_in, *_reserves(rpc, m.USDC, m.WETH), 3_000)
    before = _balance(rpc, m.WETH.address)
    path = [m.USDC.address, m.WETH.address]
    signature = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
    args = (amount_in, expected, path, TREASURY, UINT256_MAX)
    swap = call_of(m.UNISWAP_ROUTER02, signature, *args)
    mine_block(rpc, TREASURY, [approve_router(m.USDC, amount_in), swap])
    assert _balance(rpc, m.WETH.address) - before == expected
    assert _balance(rpc, m.USDC.address) == 200_000 * 10**6 - amount_in


@pytest.mark.parametrize("opened", [15_538_827], indirect=True)
def test_router02__one_ether_in_15538827__pays_the_documented_usdc(real: RealBlock) -> None:
    sender = DEV_ACCOUNTS[1]
    path = [m.WETH.address, m.USDC.address]
    signature = "swapExactETHForTokens(uint256,address[],address,uint256)"
    args = (1, path, sender, UINT256_MAX)
    swap = call_of(m.UNISWAP_ROUTER02, signature, *args, value_wei=10**18)
    answer = real.rpc.call(
        "eth_call",
        {"from": sender, "to": swap.to, "data": swap.data, "value": hex(10**18)},
        "latest",
    )
    assert decode_output(("uint256[]",), from_hex(answer)) == ((10**18, 1_582_435_705),)
    mine_block(real.rpc, sender, [swap])
    assert _balance(real.rpc, m.USDC.address, sender) == 1_582_435_705


def test_usdt__the_real_one__returns_nothing_and_wants_zero_between_allowances(
    real: RealBlock,
) -> None:
    approve = approve_router(m.USDT, 5)
    transaction = {"from": TREASURY, "to": approve.to, "data": approve.data}
    assert real.rpc.call("eth_call", transaction, "latest") == "0x"
    mine_block(real.rpc, TREASURY, [approve])
    with pytest.raises(ExecutionError, match="reverted"):
        mine_block(real.rpc, TREASURY, [approve_router(m.USDT, 6)])


def test_market__moves_real_pools_and_replaces_real_feeds(
    real: RealBlock, mainnet: Network
) -> None:
    before = _reserves(real.rpc, m.USDC, m.WETH)
    moved = move(real.rpc, mainnet, {"WETH": -200_000})
    after = _reserves(real.rpc, m.USDC, m.WETH)
    assert after[0] < before[0]
    assert after[1] > before[1]
    assert after[0] * after[1] > before[0] * before[1]
    eth = next(feed for feed in moved.feeds if feed.feed == "ETH/USD")
    assert eth.after == round(eth.before * 8 / 10)
    # All pools are where they belong: a second move finds nothing to do.
    assert move(real.rpc, mainnet, {}).trades == ()
