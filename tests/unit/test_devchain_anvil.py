"""How Anvil is found and asked for; no process is started here."""

from __future__ import annotations

from pathlib import Path

import pytest

from rebalancer.devchain import anvil
from rebalancer.devchain.anvil import AnvilOptions, find_anvil, start_anvil
from rebalancer.errors import ConfigError


def _executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o700)
    return path


@pytest.fixture
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No variable, no npm packages, nothing on the PATH."""
    monkeypatch.delenv("REBALANCER_ANVIL", raising=False)
    monkeypatch.setattr(anvil, "PROJECT_ROOT", tmp_path / "project")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


@pytest.mark.usefixtures("empty_machine")
def test_find_anvil__nowhere__says_how_to_get_it() -> None:
    with pytest.raises(ConfigError, match="Anvil is not installed") as caught:
        find_anvil()
    assert "make setup" in caught.value.hint
    assert "REBALANCER_ANVIL" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.usefixtures("empty_machine")
def test_start_anvil__nowhere__is_the_same_error() -> None:
    with pytest.raises(ConfigError, match="Anvil is not installed"):
        start_anvil(AnvilOptions())


@pytest.mark.parametrize(
    ("system", "machine", "package"),
    [
        ("linux", "x86_64", "anvil-linux-amd64"),
        ("linux", "aarch64", "anvil-linux-arm64"),
        ("darwin", "arm64", "anvil-darwin-arm64"),
        ("darwin", "x86_64", "anvil-darwin-amd64"),
    ],
)
def test_find_anvil__npm_package__is_the_native_binary_of_the_platform(
    empty_machine: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    machine: str,
    package: str,
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    modules = empty_machine / "project" / "node_modules"
    _executable(modules / ".bin" / "anvil")
    binary = _executable(modules / "@foundry-rs" / package / "bin" / "anvil")
    assert find_anvil() == binary


def test_find_anvil__order__variable_then_npm_then_path(
    empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = _executable(empty_machine / "bin" / "anvil")
    assert find_anvil() == on_path
    package = anvil._platform_package()
    npm = empty_machine / "project" / "node_modules" / "@foundry-rs"
    local = _executable(npm / package / "bin" / "anvil")
    assert find_anvil() == local
    named = _executable(empty_machine / "mine" / "anvil")
    monkeypatch.setenv("REBALANCER_ANVIL", str(named))
    assert find_anvil() == named


def test_find_anvil__variable_names_no_program__is_refused(
    empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _executable(empty_machine / "bin" / "anvil")  # is not taken instead
    for wrong in (empty_machine / "nothing", empty_machine):
        monkeypatch.setenv("REBALANCER_ANVIL", str(wrong))
        with pytest.raises(ConfigError, match=r"REBALANCER_ANVIL=.* is not an executable file"):
            find_anvil()


def test_command__every_anvil__has_the_hardfork_and_the_gas_limit_of_mainnet() -> None:
    command = AnvilOptions().command(Path("anvil"))
    assert command[command.index("--hardfork") + 1] == "prague"
    assert "--enable-tx-gas-limit" in command
    assert "--fork-url" not in command


def test_command__fork__never_uses_the_disk_cache() -> None:
    command = AnvilOptions(fork_url="http://127.0.0.1:1").command(Path("anvil"))
    assert "--no-storage-caching" in command


def test_redaction__key_in_the_url__leaves_no_part_of_it() -> None:
    url = "https://me:pass@node.example/v3/abcdef?token=12345"
    text = anvil._without_secrets(f"Endpoint: {url}\nerror for {url}/", url)
    for secret in ("me:", "pass", "abcdef", "12345"):
        assert secret not in text
    assert "node.example" in text
