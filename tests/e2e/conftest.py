"""The command line as a user has it: a folder with files, a chain, and what comes back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rebalancer.cli.main import main

if TYPE_CHECKING:
    from rebalancer.devchain.fork import DevChain

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = (
    "MAINNET_RPC_URL",
    "REBALANCER_RPC_URL",
    "REBALANCER_PRIVATE_KEY",
    "REBALANCER_KEYSTORE",
    "REBALANCER_LEDGER",
)


@dataclass(frozen=True)
class Result:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Workspace:
    """A user's folder; ``run`` is the command ``rebalancer`` in it, against ``rpc_url``."""

    folder: Path
    rpc_url: str
    _run: Callable[..., Result]

    @property
    def portfolio(self) -> Path:
        return self.folder / "portfolio.yaml"

    @property
    def networks(self) -> Path:
        return self.folder / "networks.yaml"

    def edit(self, path: Path, old: str, new: str) -> None:
        """Replace a text that must be there."""
        text = path.read_text()
        assert old in text, f"{path} has no {old!r}"
        path.write_text(text.replace(old, new, 1))

    def run(self, *args: str) -> Result:
        """Run a verb on this portfolio and chain."""
        return self._run(*args, "--portfolio", str(self.portfolio), "--rpc-url", self.rpc_url)

    def bare(self, *args: str) -> Result:
        """Run a verb with nothing added."""
        return self._run(*args)


@pytest.fixture
def workspace_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Workspace]:
    """Makes the workspace for a chain's URL."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "portfolio.example.yaml", tmp_path / "portfolio.yaml")
    shutil.copyfile(ROOT / "networks.yaml", tmp_path / "networks.yaml")

    def run(*args: str) -> Result:
        capsys.readouterr()
        code = 0
        try:
            main(args)
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return lambda url: Workspace(tmp_path, url, run)


@pytest.fixture
def workspace(devchain: DevChain, workspace_at: Callable[[str], Workspace]) -> Workspace:
    """The treasury's portfolio on the synthetic mainnet, the executor deployed."""
    place = workspace_at(devchain.url)
    assert place.run("deploy", "--execute").code == 0
    return place


@pytest.fixture
def drifted(devchain: DevChain, mainnet: Any, workspace: Workspace) -> Workspace:
    """The same after ETH rose by a quarter: outside its bands."""
    from rebalancer.devchain.market import move

    move(devchain.rpc, mainnet, {"WETH": 250_000})
    return workspace
