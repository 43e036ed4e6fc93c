"""The environment: which variable wins, and that none is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from rebalancer.config.environment import Environment
from rebalancer.errors import ConfigError

SECRET = "0x" + "ab" * 32


def test_process_wins_over_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAINNET_RPC_URL=http://file\nREBALANCER_LEDGER=x\n")
    environment = Environment.load(tmp_path, {"MAINNET_RPC_URL": "http://process"})
    assert environment.rpc_urls("MAINNET_RPC_URL") == ("http://process",)
    assert environment.get("REBALANCER_LEDGER") == "x"


def test_general_endpoint_wins_over_the_networks(tmp_path: Path) -> None:
    environment = Environment.load(tmp_path, {"MAINNET_RPC_URL": "a", "REBALANCER_RPC_URL": "b"})
    assert environment.rpc_urls("MAINNET_RPC_URL") == ("b",)


def test_empty_counts_as_unset(tmp_path: Path) -> None:
    environment = Environment.load(tmp_path, {"MAINNET_RPC_URL": ""})
    with pytest.raises(ConfigError, match="MAINNET_RPC_URL is not set"):
        environment.rpc_urls("MAINNET_RPC_URL")


@pytest.mark.parametrize("text", ["a,b", "a b", " a ,\n b,,a ", "a\tb,"])
def test_several_endpoints__by_commas_or_space_each_once(tmp_path: Path, text: str) -> None:
    environment = Environment.load(tmp_path, {"MAINNET_RPC_URL": text})
    assert environment.rpc_urls("MAINNET_RPC_URL") == ("a", "b")


@pytest.mark.parametrize("text", [",", "  ", ", ,"])
def test_no_endpoint_among_the_commas__counts_as_unset(tmp_path: Path, text: str) -> None:
    environment = Environment.load(tmp_path, {"MAINNET_RPC_URL": text})
    with pytest.raises(ConfigError, match="MAINNET_RPC_URL is not set"):
        environment.rpc_urls("MAINNET_RPC_URL")


def test_repr__shows_no_value(tmp_path: Path) -> None:
    environment = Environment.load(tmp_path, {"REBALANCER_PRIVATE_KEY": SECRET})
    assert SECRET not in repr(environment)
    assert SECRET not in str(environment)


def test_keystore__password_from_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    process = {
        "REBALANCER_KEYSTORE": "key.json",
        "REBALANCER_KEYSTORE_PASSWORD_FILE": str(tmp_path / "password"),
    }
    assert Environment.load(tmp_path, process).keystore() == (Path("key.json"), "correct horse")


def test_keystore__without_password__refused(tmp_path: Path) -> None:
    environment = Environment.load(tmp_path, {"REBALANCER_KEYSTORE": "key.json"})
    with pytest.raises(ConfigError, match="its password is not"):
        environment.keystore()
    process = {**environment.values, "REBALANCER_KEYSTORE_PASSWORD_FILE": str(tmp_path / "none")}
    with pytest.raises(ConfigError, match="cannot be read"):
        Environment.load(tmp_path, process).keystore()


def test_env_file_that_is_no_text__one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        Environment.load(tmp_path, {})
