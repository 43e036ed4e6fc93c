"""Several endpoints on the command line: one may be bad, none is ever shown with its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rpc_proxy import FAULTS, KEY_IN_URL, SEND_FAULTS, Proxy, only_sends

from rebalancer.devchain.anvil import start_anvil
from rebalancer.devchain.synthetic import OPTIONS

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain

WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
NOBODY = f"http://127.0.0.1:9/{KEY_IN_URL}"


@pytest.fixture
def proxies(devchain: DevChain) -> Iterator[Callable[[str], Proxy]]:
    made: list[Proxy] = []

    def make(fault: str = "") -> Proxy:
        proxy = Proxy(devchain.url)
        proxy.stale_at = int(devchain.rpc.call("eth_blockNumber"), 16) - 4
        if fault:
            proxy.misbehave(FAULTS[fault])
        made.append(proxy)
        return proxy

    yield make
    for proxy in made:
        proxy.close()


def through(place: Workspace, *urls: str) -> Workspace:
    """The same workspace with ``--rpc-url`` holding these endpoints."""
    return replace(place, rpc_url=", ".join(urls))


def test_status__first_endpoint_is_bad__is_that_of_the_good_one(
    workspace: Workspace, proxies: Callable[[str], Proxy]
) -> None:
    direct = workspace.run("status", "--json")
    for fault in ("429", "garbage", "wrong chain", "stale head", "no EIP-1898"):
        place = through(workspace, proxies(fault).url, proxies("").url)
        result = place.run("status", "--json")
        assert (result.code, result.json) == (0, direct.json), fault


def test_endpoints_of_the_environment__are_a_list_too(
    workspace: Workspace, proxies: Callable[[str], Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = proxies("")
    (workspace.folder / ".env").write_text(f'MAINNET_RPC_URL="{NOBODY} {good.url}"\n')
    result = workspace.bare("status", "--portfolio", str(workspace.portfolio), "--json")
    assert result.code == 0, result.err
    assert good.requests > 0


def test_all_bad__one_line_with_each_host__exit_code_3(
    workspace: Workspace, proxies: Callable[[str], Proxy]
) -> None:
    limited = proxies("429")
    result = through(workspace, NOBODY, limited.url).run("status")
    assert result.code == 3
    first, *rest = result.err.splitlines()
    assert first.startswith("error: none of the 2 RPC endpoints answered ")
    assert "http://127.0.0.1:9 cannot be reached" in first
    assert "answered HTTP 429" in first
    assert KEY_IN_URL not in result.out + result.err
    assert len(rest) == 1, "the way out"


def test_wrong_chain_everywhere__is_said(
    workspace: Workspace, proxies: Callable[[str], Proxy]
) -> None:
    result = through(workspace, proxies("wrong chain").url).run("status", "--json")
    assert result.code == 3
    assert result.json["error"]["type"] == "ChainMismatch"


def test_another_anvil_among_the_endpoints__is_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Both say that they are chain 1; a rebalance must not see one and trade on the other."""
    with start_anvil(OPTIONS, log_dir=tmp_path) as other:
        result = through(workspace, workspace.rpc_url, other.url).run("rebalance", "--execute")
    assert result.code == 2
    assert "not of one chain" in result.err


def test_doctor__each_endpoint_by_host_with_head_speed_and_trouble(
    workspace: Workspace, devchain: DevChain, proxies: Callable[[str], Proxy]
) -> None:
    good, old, foreign = proxies(""), proxies("stale head"), proxies("wrong chain")
    place = through(workspace, NOBODY, foreign.url, old.url, good.url)
    result = place.run("doctor", "--json")
    assert result.code == 0, "one good endpoint is enough"
    rows = [check for check in result.json["checks"] if check["name"] == "endpoint"]
    head = int(devchain.rpc.call("eth_blockNumber"), 16)
    assert [row["warning"] for row in rows] == [True, True, True, False]
    nobody, wrong, stale, well = (row["detail"] for row in rows)
    assert nobody.startswith("http://127.0.0.1:9: no block seen, ")
    assert nobody.endswith("; not used: it cannot be reached")
    assert wrong.endswith("; not used: it serves chain 137, chain 1 is wanted")
    assert f": block {head - 4:,}, " in stale
    assert stale.endswith("; not used: it is 4 blocks behind")
    assert f": block {head:,}, f" in well, "fast or fair"
    table = place.run("doctor")
    assert table.out.count("warn endpoint") == 3
    assert KEY_IN_URL not in result.out + table.out + table.err


@pytest.mark.parametrize(
    "fault", ["delivered, then dropped", "delivered, then another hash", "dropped", "503"]
)
@pytest.mark.parametrize("bad", [1, 2])
def test_rebalance__sends_get_lost__every_nonce_has_one_transaction(
    bad: int,
    fault: str,
    drifted: Workspace,
    devchain: DevChain,
    proxies: Callable[[str], Proxy],
) -> None:
    """The first two sends to a bad endpoint go wrong; what it delivers may be mined."""
    ways = [proxies(""), proxies("")]
    for proxy in ways[:bad]:
        proxy.misbehave(only_sends(SEND_FAULTS[fault][0], first=2))
    before = int(devchain.rpc.call("eth_getTransactionCount", WALLET, "latest"), 16)
    result = through(drifted, *(proxy.url for proxy in ways)).run(
        "rebalance", "--execute", "--json"
    )
    assert result.code == 0, result.err
    assert result.json["executed"] is True
    after = int(devchain.rpc.call("eth_getTransactionCount", WALLET, "latest"), 16)
    different = {raw for proxy in ways for raw in proxy.sent}
    assert len(different) == after - before == 2, "an approval and the execution, once each"
    hashes = {transaction["tx_hash"] for transaction in result.json["transactions"]}
    for tx_hash in hashes:
        assert devchain.rpc.call("eth_getTransactionReceipt", tx_hash)["status"] == "0x1"
    assert drifted.run("audit", "reconcile").code == 0
