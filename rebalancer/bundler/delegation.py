"""EIP-7702: whether the wallet's own account runs the wallet executor's code."""

from __future__ import annotations

from rebalancer.bundler.executor import WALLET_EXECUTOR, check_deployed
from rebalancer.errors import ConfigError, ExecutorMissing
from rebalancer.evm.abi import checksum, from_hex
from rebalancer.evm.rpc import Rpc

#: What the code of a delegated account begins with; the delegate's address follows.
_DESIGNATOR = b"\xef\x01\x00"


def delegate_of(rpc: Rpc, wallet: str, block: str | dict[str, str] = "latest") -> str | None:
    """What ``wallet`` delegates to, None for an account without code.

    Raises ConfigError for a contract: it has code of its own and cannot delegate.
    """
    code = from_hex(rpc.call("eth_getCode", wallet, block))
    if not code:
        return None
    if len(code) == len(_DESIGNATOR) + 20 and code.startswith(_DESIGNATOR):
        return checksum(code[len(_DESIGNATOR) :])
    raise ConfigError(
        f"{wallet} is a contract, not an account with a key",
        hint="mode: safe, where it is a Safe",
    )


def check_delegated(rpc: Rpc, wallet: str, block: str | dict[str, str] = "latest") -> None:
    """Make sure that ``wallet`` runs the wallet executor's code, and that it is that code.

    Raises ExecutorMissing otherwise.
    """
    check_deployed(rpc, block, WALLET_EXECUTOR)
    found = delegate_of(rpc, wallet, block)
    if found != WALLET_EXECUTOR.address:
        raise ExecutorMissing(
            f"the wallet {wallet} delegates to {found or 'nothing'},"
            f" not to {WALLET_EXECUTOR.address}",
            hint="run `rebalancer delegate --execute`, or set mode: allowance",
        )
