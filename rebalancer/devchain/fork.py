"""The chain that is handed out: always an Anvil that forks another node."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rebalancer.devchain import synthetic
from rebalancer.devchain.anvil import BLOCK_INTERVAL_S, Anvil, AnvilOptions, start_anvil
from rebalancer.devchain.wallets import Wallet, read_wallets
from rebalancer.evm.rpc import HttpRpc


@dataclass(slots=True, eq=False)
class DevChain:
    """A running fork; a context manager that stops it and what it forks.

    ``block_number`` and ``block_hash`` are of the head when it was opened. The treasury entered its
    LP positions in block ``lp_block``. ``notes`` say what on this chain is not as on mainnet.
    """

    url: str
    rpc: HttpRpc
    chain_id: int
    block_number: int
    block_hash: str
    lp_block: int | None
    wallets: tuple[Wallet, ...]
    notes: tuple[str, ...]
    log_files: tuple[Path, ...]
    _running: ExitStack = field(repr=False)

    def stop(self) -> None:
        """Stop every process of this chain; safe to call again."""
        self._running.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def open_fork(
    upstream_url: str | None = None,
    state: Path | None = None,
    port: int = 0,
    log_dir: Path | None = None,
) -> DevChain:
    """Start an Anvil that forks ``upstream_url``, a real block's ``state``, or the synthetic chain.

    For the latter two a first Anvil is the upstream, so that the path through a fork is the one
    that is always used. ``port`` 0 takes a free one. Raises ConfigError when Anvil is missing or
    the state file is not one, RpcUnavailable or ChainMismatch for an upstream that is not mainnet.
    """
    with ExitStack() as starting:
        upstream = starting.enter_context(start_anvil(synthetic.OPTIONS, log_dir=log_dir))
        built = synthetic.build(upstream.rpc)
        fork = starting.enter_context(_fork(upstream.url, port, log_dir))
        return _hand_out(fork, built.block_number, (), (upstream, fork), starting.pop_all())


def _fork(url: str, port: int, log_dir: Path | None) -> Anvil:
    options = AnvilOptions(fork_url=url, port=port, balance_eth=synthetic.OPTIONS.balance_eth)
    fork = start_anvil(options, log_dir=log_dir)
    fork.rpc.call("anvil_setBlockTimestampInterval", BLOCK_INTERVAL_S)
    return fork


def _hand_out(
    fork: Anvil,
    lp_block: int | None,
    notes: tuple[str, ...],
    anvils: tuple[Anvil, ...],
    running: ExitStack,
) -> DevChain:
    head = fork.rpc.call("eth_getBlockByNumber", "latest", False)
    return DevChain(
        url=fork.url,
        rpc=fork.rpc,
        chain_id=int(fork.rpc.call("eth_chainId"), 16),
        block_number=int(head["number"], 16),
        block_hash=head["hash"],
        lp_block=lp_block,
        wallets=read_wallets(fork.rpc),
        notes=notes,
        log_files=tuple(anvil.log_file for anvil in anvils),
        _running=running,
    )
