"""Bad input: one clear line, the documented exit code, and nothing sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain

WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
FEED = "0x5f4eC3Df9cbd43714FE2740f5E3616155c5b8419"


def nonce(chain: DevChain) -> int:
    return int(chain.rpc.call("eth_getTransactionCount", WALLET, "pending"), 16)


def refused(place: Workspace, chain: DevChain, code: int, says: str) -> None:
    """`rebalance --execute` fails with this code and line, and sends nothing."""
    before = nonce(chain)
    result = place.run("rebalance", "--execute")
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.err
    assert says in errors[0]
    assert "Traceback" not in result.err
    assert result.code == code
    assert nonce(chain) == before


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("band: 3%", "bandd: 3%", "policy.bandd: unknown key; did you mean 'band'?"),
        ("target: 40%", "target: 39%", "the targets add up to 99%"),
        ("token: WBTC", "token: WBTX", "no token 'WBTX'"),
        ("0xf39F", "0xf39f", "wrong checksum"),
    ],
)
def test_portfolio_file(
    drifted: Workspace, devchain: DevChain, old: str, new: str, says: str
) -> None:
    drifted.edit(drifted.portfolio, old, new)
    refused(drifted, devchain, 2, says)


def test_rpc_down(workspace_at: Callable[[str], Workspace]) -> None:
    for verb in ("status", "plan", "rebalance", "doctor", "deploy"):
        result = workspace_at("http://127.0.0.1:9/v3/secret").run(verb)
        assert result.code == 3
        assert "http://127.0.0.1:9 cannot be reached" in result.err
        assert "way out: " in result.err
        assert "secret" not in result.err + result.out


def test_no_endpoint(workspace_at: Callable[[str], Workspace]) -> None:
    result = workspace_at("").bare("status")
    assert result.code == 2
    assert "MAINNET_RPC_URL is not set" in result.err


def test_wrong_chain(drifted: Workspace, devchain: DevChain) -> None:
    drifted.edit(drifted.networks, "chain_id: 1", "chain_id: 10")
    refused(drifted, devchain, 3, "chain")


def test_stale_feed(drifted: Workspace, devchain: DevChain) -> None:
    head = devchain.rpc.call("eth_getBlockByNumber", "latest", False)
    devchain.rpc.call("evm_setNextBlockTimestamp", int(head["timestamp"], 16) + 100_000)
    devchain.rpc.call("anvil_mine", 1)
    refused(drifted, devchain, 3, "old")


def test_no_executor(
    devchain: DevChain, workspace_at: Callable[[str], Workspace], drifted: Workspace
) -> None:
    from rebalancer.bundler.executor import EXECUTOR_ADDRESS

    devchain.rpc.call("anvil_setCode", EXECUTOR_ADDRESS, "0x")
    refused(drifted, devchain, 5, "executor")
    devchain.rpc.call("anvil_setCode", EXECUTOR_ADDRESS, "0x00")
    refused(drifted, devchain, 5, "executor")


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_no_executor__dry_run_shows_the_plan_and_what_is_missing(
    devchain: DevChain, drifted: Workspace, flags: list[str]
) -> None:
    from rebalancer.bundler.executor import EXECUTOR_ADDRESS

    devchain.rpc.call("anvil_setCode", EXECUTOR_ADDRESS, "0x")

    shown = drifted.run("rebalance", *flags)

    assert shown.code == 5
    assert "error: there is no executor contract at " in shown.err
    assert "way out: run `rebalancer deploy --execute`" in shown.err
    if flags:
        assert shown.json["error"]["type"] == "ExecutorMissing"
        assert shown.json["plan"]["legs"]
        assert shown.json["executed"] is False
    else:
        assert shown.out.startswith("REBALANCE")
        assert "cannot be executed as things are" in shown.out
    kept = drifted.run("keeper", "--once", *flags)
    assert kept.code == 5
    assert "rebalancer deploy --execute" in kept.out


def test_usage_error__with_json__is_one_json_object(workspace: Workspace) -> None:
    for args in (
        ["plan", "--bogus", "--json"],
        ["rebalence", "--json"],
        ["plan", "--at", "-3", "--json"],
        ["approve", "--json"],
        ["--json"],
    ):
        result = workspace.bare(*args)
        assert result.code == 2, args
        error = result.json["error"]
        assert error["exit_code"] == 2
        assert "--help" in error["hint"]
        assert error["message"]
        assert "\n" not in error["message"]
    human = workspace.bare("plan", "--bogus")
    assert (human.code, human.out) == (2, "")
    assert "No such option: --bogus" in human.err


def test_system_that_says_no__with_json__is_json(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rebalancer.cli import session

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(session, "load_portfolio", full)

    result = workspace.run("plan", "--json")

    assert result.code == 1
    assert "No space left on device: somewhere" in result.json["error"]["message"]
    assert result.json["error"]["hint"]


def test_no_gas(drifted: Workspace, devchain: DevChain) -> None:
    devchain.rpc.call("anvil_setBalance", WALLET, "0x1")
    refused(drifted, devchain, 5, "gas needs up to")


def test_missing_allowance(drifted: Workspace, devchain: DevChain) -> None:
    drifted.edit(drifted.portfolio, "approvals: exact", "approvals: never")
    refused(drifted, devchain, 5, "WETH")


def test_key_of_another_wallet(
    drifted: Workspace, devchain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "0x" + "11" * 32
    monkeypatch.setenv("REBALANCER_PRIVATE_KEY", key)
    refused(drifted, devchain, 2, WALLET)
    assert key not in drifted.run("doctor", "--debug").out


def test_key_that_is_none(
    drifted: Workspace, devchain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REBALANCER_PRIVATE_KEY", "0xnotakey")
    refused(drifted, devchain, 2, "private key")


def test_bad_json_errors__are_json(drifted: Workspace) -> None:
    drifted.edit(drifted.portfolio, "band: 3%", "bandd: 3%")
    result = drifted.run("plan", "--json")
    assert result.code == 2
    assert result.json["error"]["type"] == "ConfigError"


@pytest.mark.parametrize("move", ["WETH", "WETH=25", "WETH=-100%", "=5%", "WETH=+x%"])
def test_fork__move_that_is_none(workspace_at: Callable[[str], Workspace], move: str) -> None:
    result = workspace_at("").bare("fork", "--move", move)
    assert result.code == 2
    assert "WETH=+25%" in result.err


def test_fork__state_that_is_none(workspace_at: Callable[[str], Workspace]) -> None:
    place = workspace_at("")
    assert place.bare("fork", "--state", "nothing.json.gz").code == 2
    (place.folder / "garbage.json.gz").write_bytes(b"garbage")
    result = place.bare("fork", "--state", "garbage.json.gz")
    assert result.code == 2
    assert "garbage.json.gz" in result.err


def test_audit__without_a_ledger(workspace: Workspace) -> None:
    for verb in ("gas", "reconcile"):
        result = workspace.bare(
            "audit", verb, "-p", str(workspace.portfolio), "--rpc-url", workspace.rpc_url
        )
        assert result.code == 6
        assert "there is no ledger" in result.err


def test_init__never_over_a_file(workspace: Workspace) -> None:
    before = workspace.portfolio.read_text()
    result = workspace.bare("init", "--json")
    assert result.code == 0
    assert "portfolio.yaml" in result.json["kept"]
    assert workspace.portfolio.read_text() == before


@pytest.mark.parametrize(
    ("args", "code", "says", "way_out"),
    [
        (["plan", "-p", "."], 2, ". cannot be read: Is a directory", "a text file in YAML"),
        (["plan", "--networks", "nope.yaml"], 2, "nope.yaml does not exist", "--networks"),
        (["plan", "--raise", "USDC"], 2, "is not an amount and a token", '"50000 USDC"'),
        (["plan", "--raise", "5 USDX"], 2, "mainnet has no token 'USDX'", "it has WETH"),
        (["plan", "--raise", "-5 USDC"], 2, "asks for nothing", "above 0"),
        (["plan", "--verify", "nope.json"], 2, "nope.json cannot be read", "plan --json"),
        (["plan", "--verify", "x", "--why-not"], 2, "recomputes what is in the file", "leave them"),
        (["plan", "--offline"], 2, "--offline is about a file", "--verify FILE"),
        (["rebalance", "--ledger", "."], 2, ". is a folder, not a ledger", "--ledger FILE"),
        (["audit", "gas", "--ledger", "nope.sqlite"], 6, "no ledger", "rebalancer rebalance"),
        (["fork", "--move", "WETH"], 2, "--move WETH is no move", "WETH=+25%"),
        (["fork", "--port", "99999"], 2, "Invalid value for '--port'", "--help"),
        (["fork", "--mine-every", "x"], 2, "'x' is not a time", "30m, 2h or 1d"),
    ],
)
def test_typical_mistakes__each_with_its_way_out(
    workspace: Workspace, args: list[str], code: int, says: str, way_out: str
) -> None:
    given = [] if args[0] == "fork" or "-p" in args else ["-p", str(workspace.portfolio)]
    chain = [] if args[0] == "fork" else ["--rpc-url", workspace.rpc_url]

    result = workspace.bare(*args, *given, *chain)

    assert result.code == code
    assert says in result.err
    assert way_out in result.err
    assert "should not have happened" not in result.err
    assert "starting" not in result.err, "said before anything takes its time"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("uniswap_v2:WETH/USDC", "uniswap_v2:WETH/USDX", "no token 'USDX'; it has WETH"),
        ("uniswap_v2:WETH/USDC", "uniswap:WETH/USDC", "no amm 'uniswap'; it has uniswap_v2"),
        ("target: 40%", "target: -40%", "'-40%' is not a ratio"),
        ("network: mainnet", "network: mainet", "did you mean 'mainnet'?"),
        ('wallet: "0xf39', "wallet: 0xf39", "write it in quotes"),
    ],
)
def test_mistakes_in_the_portfolio_file__each_with_its_way_out(
    workspace: Workspace, old: str, new: str, says: str
) -> None:
    text = workspace.portfolio.read_text().replace(old, new, 1)
    workspace.portfolio.write_text(text.replace('92266"', "92266") if "wallet" in old else text)

    result = workspace.run("plan")

    assert result.code == 2
    assert says in result.err
    assert "  way out: " in result.err


def test_keystore__wrong_password_and_wrong_file(
    drifted: Workspace, devchain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from eth_account import Account

    store = drifted.folder / "key.json"
    store.write_text(json.dumps(Account.from_key("0x" + "11" * 32).encrypt("right", iterations=2)))
    monkeypatch.setenv("REBALANCER_KEYSTORE", str(store))
    refused(drifted, devchain, 2, "its password is not")
    monkeypatch.setenv("REBALANCER_KEYSTORE_PASSWORD", "wrong")
    refused(drifted, devchain, 2, "the password does not open the keystore")
    monkeypatch.setenv("REBALANCER_KEYSTORE", str(drifted.folder / "nope.json"))
    refused(drifted, devchain, 2, "cannot be read")


def test_every_class_of_error_has_a_way_out() -> None:
    from rebalancer import errors
    from rebalancer.cli.output import way_out

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) > 15
    for kind in kinds:
        if issubclass(kind, errors.RebalancerError):
            assert way_out(kind("what")), kind
            assert way_out(kind("what", hint="that")) == "that"
