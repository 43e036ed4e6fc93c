"""Bytecode that the chain is built from: npm's official Uniswap V2, and our own few contracts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import encode

from rebalancer.config.load import PROJECT_ROOT
from rebalancer.errors import ConfigError

_OFFICIAL = {
    "UniswapV2Factory": "v2-core",
    "UniswapV2Pair": "v2-core",
    "UniswapV2Router02": "v2-periphery",
    "WETH9": "v2-periphery",
}


@cache
def official(name: str) -> dict[str, Any]:
    """Artifact of an official contract; keys ``bytecode`` and ``runtime`` without 0x.

    Raises ConfigError when the npm packages are not installed.
    """
    path = PROJECT_ROOT / "node_modules" / "@uniswap" / _OFFICIAL[name] / "build" / f"{name}.json"
    try:
        artifact = json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"the official {name} contract is not installed (node_modules/@uniswap)",
            hint="run `make setup` in the project",
        ) from None
    return {
        "bytecode": artifact["bytecode"],
        "runtime": artifact["evm"]["deployedBytecode"]["object"],
    }


@cache
def own(name: str) -> dict[str, Any]:
    """Artifact of a contract that the package ships: MockFeed, DevToken, DevTether, Multicall3."""
    path = Path(__file__).parent / "artifacts" / f"{name}.json"
    artifact: dict[str, Any] = json.loads(path.read_text())
    return artifact


def init_code(bytecode: str, types: Sequence[str] = (), args: Sequence[Any] = ()) -> str:
    """Creation code with its constructor's arguments, with 0x."""
    return "0x" + bytecode.removeprefix("0x") + encode(types, args).hex()
