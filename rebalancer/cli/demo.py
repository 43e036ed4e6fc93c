"""``rebalancer demo``: from nothing to an audited rebalance, on a chain of this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rebalancer.cli.options import JsonOption

if TYPE_CHECKING:
    from rebalancer.devchain.fork import DevChain

#: The story: ETH rises by a quarter, the portfolio is no longer what it was meant to be.
MOVE = {"WETH": 250_000}


def demo(json: JsonOption = False) -> None:
    """Fork a synthetic mainnet, move the market, rebalance, audit. Needs no configuration."""
    from rebalancer.devchain.fork import open_fork

    with tempfile.TemporaryDirectory(prefix="rebalancer-demo-") as folder, open_fork() as chain:
        path = _write_portfolio(Path(folder), chain)
        in_order = _tell(chain, path, json)
    if not in_order:
        raise typer.Exit(1)


def _write_portfolio(folder: Path, chain: DevChain) -> Path:
    """The example portfolio, which is the treasury's, with the block its liquidity was added at."""
    import shutil

    from rebalancer.config.load import PROJECT_ROOT

    text = (PROJECT_ROOT / "portfolio.example.yaml").read_text(encoding="utf-8")
    lp = '{lp: "uniswap_v2:WETH/USDC", target: 20%'
    path = folder / "portfolio.yaml"
    path.write_text(text.replace(lp, f"{lp}, entry_block: {chain.lp_block}"), encoding="utf-8")
    shutil.copyfile(PROJECT_ROOT / "networks.yaml", folder / "networks.yaml")
    return path


def _tell(chain: DevChain, path: Path, as_json: bool) -> bool:
    """The demo's chapters; True when the portfolio ends in its bands and the ledger reconciles."""
    from rebalancer.bundler.deploy import deploy
    from rebalancer.cli.rebalance import cycle_document, show_cycle
    from rebalancer.cli.session import Session
    from rebalancer.config.environment import Environment
    from rebalancer.config.load import load_portfolio
    from rebalancer.devchain.market import move
    from rebalancer.keeper.cycle import evaluate
    from rebalancer.ledger.gas_audit import gas_audit
    from rebalancer.ledger.reconcile import reconcile
    from rebalancer.planner.bands import drifts
    from rebalancer.report.audit import gas_view, reconciliation_view
    from rebalancer.report.status import positions_view, status_view

    # Nothing of the user's own is touched: not the key, not the ledger, not the endpoint.
    resolved = load_portfolio(path)
    session = Session(path, resolved, Environment({}), rpc_url=chain.url, ledger_name=None)
    policy = resolved.policy
    name = resolved.portfolio.name

    def say(title: str, *parts: Any) -> None:
        if not as_json:
            _chapter(title, *parts)

    def status(view: Any = positions_view) -> Any:
        now = evaluate(chain.rpc, resolved, session.last_rebalance_ts())
        found = drifts(now.valuation, resolved.targets_at(now.snapshot), policy)
        return found, view(now.snapshot, now.valuation, found)

    say(
        f"1. A fork of a synthetic mainnet at {chain.url}, and a treasury on it",
        status(status_view)[1],
    )
    done = deploy(
        chain.rpc, session.signer(), chain.chain_id, policy.max_gas_price_wei, session.pace()
    )
    say(
        "2. The executor contract, deployed by CREATE2", f"at {done.address}, {done.gas_used:,} gas"
    )
    move(chain.rpc, resolved.network, MOVE)
    say("3. ETH rises by 25 %: feeds follow, arbitrageurs move every pool", status()[1])
    result = session.cycle(execute=True)
    if not as_json:
        _chapter("4. Decide, simulate, send one atomic transaction, read its fills")
        show_cycle(result)
    found, view = status()
    say("5. Where the treasury stands", view)
    with session.ledger(create=False) as ledger:
        audit = gas_audit(ledger, name)
        compared = reconcile(ledger, chain.rpc, name)
    say("6. What it cost in gas", gas_view(audit))
    say("7. Does the ledger tell the truth?", reconciliation_view(compared))
    inside = not any(drift.outside for drift in found)
    if as_json:
        from rebalancer.cli.output import show_json
        from rebalancer.model import to_plain

        gas = to_plain(audit.totals)
        show_json({**cycle_document(result), "gas": gas, "reconciled": compared.ok})
    else:
        verdict = "every weight is inside its band" if inside else "a weight is outside its band"
        _chapter(f"Done: {verdict}, reconciled: {str(compared.ok).lower()}")
    return inside and compared.ok and bool(result.outcomes)


def _chapter(title: str, *parts: Any) -> None:
    from rich.rule import Rule
    from rich.text import Text

    from rebalancer.cli.output import show

    show("", Rule(Text(title, style="bold"), align="left"), *parts)
