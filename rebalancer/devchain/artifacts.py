"""Bytecode that the chain is built from: npm's official contracts, and our own few."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import encode

from rebalancer.config.load import PROJECT_ROOT
from rebalancer.errors import ConfigError

_MODULES = PROJECT_ROOT / "node_modules"
_OFFICIAL = {
    "UniswapV2Factory": "v2-core",
    "UniswapV2Pair": "v2-core",
    "UniswapV2Router02": "v2-periphery",
    "WETH9": "v2-periphery",
}
_SAFE = {
    "GnosisSafe": "GnosisSafe.sol",
    "GnosisSafeProxy": "proxies/GnosisSafeProxy.sol",
    "MultiSendCallOnly": "libraries/MultiSendCallOnly.sol",
}


@cache
def official(name: str) -> dict[str, Any]:
    """Artifact of an official contract; keys ``bytecode`` and ``runtime`` without 0x.

    Raises ConfigError when the npm packages are not installed.
    """
    path = _MODULES / "@uniswap" / _OFFICIAL[name] / "build" / f"{name}.json"
    artifact = _installed(path, name)
    return {
        "bytecode": artifact["bytecode"],
        "runtime": artifact["evm"]["deployedBytecode"]["object"],
    }


@cache
def safe(name: str) -> dict[str, str]:
    """Artifact of a contract of Safe 1.3.0; keys ``bytecode`` and ``runtime`` with 0x.

    Raises ConfigError when the npm packages are not installed.
    """
    folder = _MODULES / "@gnosis.pm" / "safe-contracts" / "build" / "artifacts" / "contracts"
    artifact = _installed(folder / _SAFE[name] / f"{name}.json", name)
    return {"bytecode": artifact["bytecode"], "runtime": artifact["deployedBytecode"]}


@cache
def own(name: str) -> dict[str, Any]:
    """Artifact of a contract that the package ships: MockFeed, DevToken, DevTether, Multicall3."""
    path = Path(__file__).parent / "artifacts" / f"{name}.json"
    artifact: dict[str, Any] = json.loads(path.read_text())
    return artifact


def init_code(bytecode: str, types: Sequence[str] = (), args: Sequence[Any] = ()) -> str:
    """Creation code with its constructor's arguments, with 0x."""
    return "0x" + bytecode.removeprefix("0x") + encode(types, args).hex()


def _installed(path: Path, name: str) -> dict[str, Any]:
    try:
        artifact: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        package = "/".join(path.relative_to(PROJECT_ROOT).parts[:3])
        raise ConfigError(
            f"the official {name} contract is not installed ({package})",
            hint="run `make setup` in the project",
        ) from None
    return artifact
