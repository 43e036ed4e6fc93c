"""Safe's contracts of the npm package are those that stand on mainnet."""

from __future__ import annotations

import pytest
from eth_utils.crypto import keccak

from rebalancer.bundler import safe as bundler_safe
from rebalancer.config.load import PROJECT_ROOT
from rebalancer.devchain import artifacts, safes
from rebalancer.errors import ConfigError
from rebalancer.evm.abi import create2_address, from_hex

CREATE2_PROXY = "0x4e59b44847b379578588920cA78FbF26c0B4956C"


@pytest.mark.parametrize(
    ("name", "address"),
    [("GnosisSafe", safes.SINGLETON), ("MultiSendCallOnly", safes.MULTI_SEND)],
)
def test_safe__code_of_the_package__has_mainnets_address(name: str, address: str) -> None:
    code = from_hex(artifacts.safe(name)["bytecode"])

    assert create2_address(CREATE2_PROXY, bytes(32), keccak(code)) == address


def test_multi_send__is_the_one_that_proposals_go_through() -> None:
    assert safes.MULTI_SEND == bundler_safe.MULTI_SEND


def test_package_missing__says_which_and_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(artifacts, "_MODULES", PROJECT_ROOT / "node_modules" / "nothing")

    with pytest.raises(ConfigError, match="official GnosisSafe contract is not installed") as told:
        artifacts.safe.__wrapped__("GnosisSafe")

    assert "make setup" in told.value.hint
