"""``rebalancer fork``: a chain to try anything on, that costs nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rebalancer.cli.options import JsonOption, NetworksOption, seconds_of
from rebalancer.cli.signals import stop_event

if TYPE_CHECKING:
    from rebalancer.devchain.fork import DevChain


def fork(
    state: Annotated[
        Path | None,
        typer.Option(help="Load this mainnet block state and fork it.", metavar="FILE"),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            help="Port of the fork; 0 takes a free one.", min=0, max=65535, metavar="PORT"
        ),
    ] = 0,
    move: Annotated[
        list[str] | None,
        typer.Option(
            help="Move a price and let arbitrage follow, for example WETH=+25%.",
            metavar="TOKEN=CHANGE",
        ),
    ] = None,
    mine_every: Annotated[
        str | None,
        typer.Option(help="Make a block so often, trades or not, for example 1s.", metavar="TIME"),
    ] = None,
    networks: NetworksOption = None,
    json: JsonOption = False,
) -> None:
    """Fork MAINNET_RPC_URL, or a synthetic mainnet when it is not set; runs until Ctrl-C."""
    from rebalancer.cli.output import note
    from rebalancer.config.environment import Environment, split_urls
    from rebalancer.config.load import find_networks, load_networks
    from rebalancer.devchain.fork import open_fork
    from rebalancer.devchain.market import move as move_market
    from rebalancer.errors import ConfigError

    moves = dict(parse_move(text) for text in move or [])
    every_s = None if mine_every is None else max(seconds_of(mine_every), 1)
    path = networks or find_networks(Path())
    network = load_networks(path).get("mainnet")
    if network is None:
        raise ConfigError(f"{path} has no network 'mainnet'", hint="a fork is of mainnet")
    urls = split_urls(Environment.load(Path()).get(network.rpc_url_env) or "")
    upstream = urls[0] if urls and state is None else None
    if not json:
        note("starting ...")
    stop = stop_event()
    with open_fork(upstream_url=upstream, state=state, port=port) as chain:
        if moves:
            move_market(chain.rpc, network, moves)
        _announce(chain, json)
        while not stop.wait(every_s or 0.5):
            if every_s is not None:
                chain.rpc.call("evm_mine")


def parse_move(text: str) -> tuple[str, int]:
    """Read ``WETH=+25%`` as ``("WETH", 250_000)``: symbol and change in parts per million."""
    from rebalancer.config.quantities import parse_ratio
    from rebalancer.errors import ConfigError

    symbol, _, change = text.partition("=")
    sign = -1 if change.startswith("-") else 1
    try:
        ppm = sign * parse_ratio(change.lstrip("+-"))
    except ValueError:
        ppm = None
    if not symbol or ppm is None or ppm <= -1_000_000:
        raise ConfigError(
            f"--move {text} is no move of a price", hint="write it like WETH=+25% or WETH=-10%"
        )
    return symbol, ppm


def _announce(chain: DevChain, as_json: bool) -> None:
    from rebalancer.cli.output import show, show_json
    from rebalancer.report.numbers import amount

    if as_json:
        show_json(_document(chain))
        return
    show(f"{chain.url}   chain id {chain.chain_id}   block {chain.block_number}")
    for wallet in chain.wallets:
        held = ", ".join(amount(a.raw, a.token) for a in wallet.balances if a.raw)
        show(f"  {wallet.address}  {wallet.purpose}\n    {held or 'nothing'}")
    for line in chain.notes:
        show(f"  note: {line}")
    if chain.notes:
        show("positions of a portfolio.yaml that fits this state:", *_positions(chain))
    show(
        f"logs, until it stops: {', '.join(str(path) for path in chain.log_files)}",
        f"next: rebalancer status --rpc-url {chain.url}   (Ctrl-C stops the fork)",
    )


def _positions(chain: DevChain) -> list[str]:
    """What the treasury holds, as lines of a portfolio file with targets that add up to 100 %."""
    names = [amount.token.symbol for amount in chain.wallets[0].balances]
    pairs = [name for name in names if ":" in name][:1]
    tokens = [name for name in names if ":" not in name]
    share, rest = divmod(100, len(tokens) + len(pairs))
    lines = [
        f"  - {{token: {name}, target: {share + (rest if index == 0 else 0)}%}}"
        for index, name in enumerate(tokens)
    ]
    return lines + [f'  - {{lp: "{name}", target: {share}%}}' for name in pairs]


def _document(chain: DevChain) -> dict[str, Any]:
    from rebalancer.model import to_plain

    return {
        "rpc_url": chain.url,
        "chain_id": chain.chain_id,
        "block_number": chain.block_number,
        "block_hash": chain.block_hash,
        "lp_block": chain.lp_block,
        "wallets": to_plain(chain.wallets),
        "notes": list(chain.notes),
        "pid": os.getpid(),
    }
