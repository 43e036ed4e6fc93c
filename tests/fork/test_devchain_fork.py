"""The chain that everybody is handed is a fork, and what it forks shows through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import DEV_ACCOUNTS, TREASURY
from rebalancer.devchain.anvil import AnvilOptions, start_anvil
from rebalancer.devchain.cheats import call_of, mine_block, view
from rebalancer.devchain.fork import DevChain, open_fork
from rebalancer.errors import ChainMismatch, ConfigError, RpcUnavailable
from rebalancer.evm.abi import topic
from rebalancer.evm.rpc import HttpRpc


def _head(rpc: HttpRpc) -> Any:
    return rpc.call("eth_getBlockByNumber", "latest", False)


def test_each_test_starts_from_the_same_block_a(devchain: DevChain) -> None:
    _start_then_disturb(devchain)


def test_each_test_starts_from_the_same_block_b(devchain: DevChain) -> None:
    _start_then_disturb(devchain)


def _start_then_disturb(chain: DevChain) -> None:
    head = _head(chain.rpc)
    assert (int(head["number"], 16), head["hash"]) == (chain.block_number, chain.block_hash)
    assert int(chain.rpc.call("eth_getBalance", TREASURY, "latest"), 16) == 10 * 10**18
    chain.rpc.call("anvil_mine", "0x2")
    chain.rpc.call("anvil_setBalance", TREASURY, "0x0")
    chain.rpc.call("evm_setAutomine", False)
    first = chain.rpc.call("eth_getBlockByNumber", hex(chain.block_number + 1), False)
    assert int(first["timestamp"], 16) == int(head["timestamp"], 16) + 12
    # EIP-1559, from a block at 20 gwei that was nearly empty.
    target = int(head["gasLimit"], 16) // 2
    fee_wei, unused = int(head["baseFeePerGas"], 16), target - int(head["gasUsed"], 16)
    assert int(first["baseFeePerGas"], 16) == fee_wei - fee_wei * unused // target // 8


def test_fork__is_an_anvil_that_forks_another(synthetic_fork: DevChain) -> None:
    info = synthetic_fork.rpc.call("anvil_nodeInfo")
    upstream = info["forkConfig"]["forkUrl"]
    assert upstream.startswith("http://127.0.0.1:")
    assert upstream != synthetic_fork.url
    assert info["forkConfig"]["forkBlockNumber"] == synthetic_fork.block_number
    assert len(synthetic_fork.log_files) == 2


def test_fork__archive_reads__pass_through_by_number_and_hash(devchain: DevChain) -> None:
    rpc = devchain.rpc
    pair = m.lp_token(m.USDC, m.WETH).address
    call = {"to": pair, "data": call_of(pair, "totalSupply()").data}
    # The pools were filled two blocks before the treasury joined.
    old = rpc.call("eth_getBlockByNumber", hex(devchain.block_number - 1), False)
    by_number = rpc.call("eth_call", call, old["number"])
    by_hash = rpc.call("eth_call", call, {"blockHash": old["hash"]})
    now = rpc.call("eth_call", call, {"blockHash": devchain.block_hash})
    assert int(by_number, 16) == int(by_hash, 16) < int(now, 16)
    # And the fork's own past: the block it forked at, after it has moved on.
    mine_block(rpc, TREASURY, [call_of(m.WETH.address, "deposit()", value_wei=5)])
    weth = {"to": m.WETH.address, "data": call_of(m.WETH.address, "totalSupply()").data}
    before = rpc.call("eth_call", weth, {"blockHash": devchain.block_hash})
    assert int(rpc.call("eth_call", weth, "latest"), 16) == int(before, 16) + 5


def test_fork__old_logs_and_receipts__pass_through(synthetic_fork: DevChain) -> None:
    rpc = synthetic_fork.rpc
    mint = topic("Mint(address,uint256,uint256)")
    query = {"fromBlock": "0x0", "toBlock": "latest", "topics": [mint]}
    logs = rpc.call("eth_getLogs", query)
    assert len(logs) == 9 + 1 + 2  # Uniswap's pools, SushiSwap's, the treasury's two
    receipt = rpc.call("eth_getTransactionReceipt", logs[0]["transactionHash"])
    assert receipt["status"] == "0x1"
    by_hash = rpc.call("eth_getLogs", {"blockHash": synthetic_fork.block_hash, "topics": [mint]})
    assert by_hash == [log for log in logs if log["blockHash"] == synthetic_fork.block_hash]
    assert len(by_hash) == 2


def test_open_fork__of_an_endpoint__funds_the_treasury_there(tmp_path: Path) -> None:
    """The endpoint is a chain of ours, with what thieves did to the public accounts on mainnet."""
    with open_fork(log_dir=tmp_path / "a") as there:
        delegation = "0xef0100" + m.UNISWAP_ROUTER02[2:]
        there.rpc.call("anvil_setCode", TREASURY, delegation)
        standing = call_of(m.USDT.address, "approve(address,uint256)", m.UNISWAP_ROUTER02, 1)
        mine_block(there.rpc, TREASURY, [standing])
        head = int(_head(there.rpc)["number"], 16)
        with open_fork(upstream_url=there.url, log_dir=tmp_path / "b") as chain:
            assert (chain.chain_id, chain.block_number) == (1, head + 1)
            assert chain.rpc.call("eth_getCode", TREASURY, "latest") == "0x"
            held = {a.token.symbol: a.raw for a in chain.wallets[0].balances}
            assert held["USDC"] == 200_000 * 10**6
            assert held["USDT"] == 200_000 * 10**6
            assert held["WBTC"] == 333_333_333
            assert held["WETH"] == 133_333_333_333_333_333_333
            # It owned USDC/WETH shares before, for half of what it put in now.
            supply = view(chain.rpc, m.lp_token(m.USDC, m.WETH).address, "totalSupply()", UINT)[0]
            assert 0 < held["uniswap_v2:USDC/WETH"] < supply
            assert held["uniswap_v2:WETH/USDT"] > 0
            mint = topic("Mint(address,uint256,uint256)")
            block = hex(chain.lp_block)
            query = {"fromBlock": block, "toBlock": block, "topics": [mint]}
            assert len(chain.rpc.call("eth_getLogs", query)) == 2
            # What is done on the fork stays there.
            assert int(_head(there.rpc)["number"], 16) == head
            assert there.rpc.call("eth_getCode", TREASURY, "latest") == delegation.lower()


UINT = ("uint256",)


def test_open_fork__endpoint_of_another_chain__is_refused(tmp_path: Path) -> None:
    with (
        start_anvil(AnvilOptions(chain_id=31_337), log_dir=tmp_path) as other,
        pytest.raises(ChainMismatch, match="serves chain 31337"),
    ):
        open_fork(upstream_url=other.url, log_dir=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_open_fork__endpoint_is_down__is_said_without_its_key() -> None:
    with pytest.raises(RpcUnavailable) as caught:
        open_fork(upstream_url="http://127.0.0.1:9/KEY")
    assert "KEY" not in str(caught.value) + caught.value.hint


def test_open_fork__both_sources__is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not both"):
        open_fork(upstream_url="http://127.0.0.1:9", state=tmp_path)


def test_open_fork__fails_halfway__stops_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rebalancer.devchain import fork

    started = []

    def remember(options: AnvilOptions, **kwargs: Any) -> Any:
        if options.fork_url is not None:
            raise ConfigError("no second Anvil")
        started.append(start_anvil(options, **kwargs))
        return started[-1]

    monkeypatch.setattr(fork, "start_anvil", remember)
    with pytest.raises(ConfigError, match="no second Anvil"):
        open_fork(log_dir=tmp_path)
    assert [anvil.alive for anvil in started] == [False]


def test_stop__ends_both_anvils_and_may_be_called_again(tmp_path: Path) -> None:
    chain = open_fork(log_dir=tmp_path)
    upstream = chain.rpc.call("anvil_nodeInfo")["forkConfig"]["forkUrl"]
    chain.stop()
    chain.stop()
    for url in (chain.url, upstream):
        with pytest.raises(RpcUnavailable):
            HttpRpc(url, timeout_s=1).call("eth_chainId")


def test_dev_accounts__of_a_fork__have_gas_money(synthetic_fork: DevChain) -> None:
    for address in DEV_ACCOUNTS:
        assert int(synthetic_fork.rpc.call("eth_getBalance", address, "latest"), 16) == 10 * 10**18
