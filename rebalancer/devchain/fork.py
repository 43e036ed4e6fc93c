"""The chain that is handed out: always an Anvil that forks another node."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rebalancer.devchain import funding, mainnet, synthetic
from rebalancer.devchain.anvil import BLOCK_INTERVAL_S, Anvil, AnvilOptions, start_anvil
from rebalancer.devchain.state import load, read_state
from rebalancer.devchain.wallets import Wallet, read_wallets
from rebalancer.errors import ChainMismatch, ConfigError
from rebalancer.evm.rpc import HttpRpc


@dataclass(slots=True, eq=False)
class DevChain:
    """A running fork; a context manager that stops it and what it forks.

    ``block_number`` and ``block_hash`` are of the head when it was opened; in ``lp_block`` the
    treasury came to its LP positions. ``notes`` say what here is not as on mainnet.
    """

    url: str
    rpc: HttpRpc
    chain_id: int
    block_number: int
    block_hash: str
    lp_block: int
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
        self._running.__exit__(kind, error, trace)


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
    if upstream_url is not None and state is not None:
        raise ConfigError(
            "either an endpoint or a state file can be forked, not both",
            hint="leave one of them away",
        )
    with ExitStack() as starting:
        if upstream_url is not None:
            _check_upstream(upstream_url)
            fork = starting.enter_context(_fork(upstream_url, port, log_dir))
            _fund(fork.rpc)
            return _hand_out(fork, (), (fork,), starting)
        upstream, notes = _start_upstream(starting, state, log_dir)
        fork = starting.enter_context(_fork(upstream.url, port, log_dir))
        return _hand_out(fork, notes, (upstream, fork), starting)


def _start_upstream(
    starting: ExitStack, path: Path | None, log_dir: Path | None
) -> tuple[Anvil, tuple[str, ...]]:
    """The Anvil that will be forked, and what is not as on mainnet there."""
    if path is None:
        upstream = starting.enter_context(start_anvil(synthetic.OPTIONS, log_dir=log_dir))
        synthetic.build(upstream.rpc)
        return upstream, ()
    block = read_state(path)
    upstream = starting.enter_context(start_anvil(block.options, log_dir=log_dir))
    notes = load(upstream.rpc, block)
    funding.give_tokens(upstream.rpc)
    funding.give_lp_shares(upstream.rpc)
    upstream.rpc.call("evm_mine")
    return upstream, notes


def _check_upstream(url: str) -> None:
    chain_id = int(HttpRpc(url).call("eth_chainId"), 16)
    if chain_id != mainnet.CHAIN_ID:
        raise ChainMismatch(
            f"the endpoint to fork serves chain {chain_id}, not Ethereum mainnet (1)",
            hint="correct MAINNET_RPC_URL, or unset it to use the synthetic mainnet",
        )


def _fund(rpc: HttpRpc) -> None:
    """Give the treasury a portfolio on a fork of the real mainnet, in a block of its own."""
    funding.take_over_accounts(rpc)
    funding.give_tokens(rpc)
    funding.enter_liquidity(rpc)


def _fork(url: str, port: int, log_dir: Path | None) -> Anvil:
    options = AnvilOptions(fork_url=url, port=port, balance_eth=synthetic.OPTIONS.balance_eth)
    fork = start_anvil(options, log_dir=log_dir)
    fork.rpc.call("anvil_setBlockTimestampInterval", BLOCK_INTERVAL_S)
    return fork


def _hand_out(
    fork: Anvil,
    notes: tuple[str, ...],
    anvils: tuple[Anvil, ...],
    starting: ExitStack,
) -> DevChain:
    head = fork.rpc.call("eth_getBlockByNumber", "latest", False)
    return DevChain(
        url=fork.url,
        rpc=fork.rpc,
        chain_id=int(fork.rpc.call("eth_chainId"), 16),
        block_number=int(head["number"], 16),
        block_hash=head["hash"],
        lp_block=int(head["number"], 16),
        wallets=read_wallets(fork.rpc),
        notes=notes,
        log_files=tuple(anvil.log_file for anvil in anvils),
        _running=starting.pop_all(),
    )
