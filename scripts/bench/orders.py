"""Large plans in slices against one go: the same market, the same wallet, both executed.

The synthetic mainnet after ETH rose by three fifths. One go trades everything in one transaction;
slices are ten blocks apart, and after each an arbitrageur takes the pools to the edge of their fee
band around the oracle. More slices than these would cost more gas there than they save.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.lane import Lane
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.signer import LocalSigner
from rebalancer.config.load import load_networks, load_portfolio
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.devchain.accounts import TREASURY, dev_key
from rebalancer.devchain.fork import open_fork
from rebalancer.devchain.market import move
from rebalancer.evm.rpc import Rpc
from rebalancer.keeper.cycle import run
from rebalancer.ledger.store import Ledger
from rebalancer.model import PPM, Rebalance, mul_div_up
from scripts.bench.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
#: How many, and what of the impact may be left.
SLICES = {2: 0.65, 4: 0.35}
DISTANCE = 10
MOVE = {"WETH": 600_000}


@dataclass(frozen=True)
class Traded:
    """What plans lost in the pools and of it to price impact, of so much; 1e-8 of the numeraire."""

    lost_e8: int = 0
    impact_e8: int = 0
    gas_e8: int = 0
    traded_e8: int = 0

    @property
    def lost_ppm(self) -> int:
        return mul_div_up(self.lost_e8, PPM, self.traded_e8)


def figures() -> Iterator[Figure]:
    one_go = measure(None)
    for count, most in SLICES.items():
        sliced = measure(count)
        name = f"orders.{count}_slices"
        yield Figure(
            f"{name}.impact",
            dollars(sliced.impact_e8),
            "USD",
            most,
            "one go",
            dollars(one_go.impact_e8),
        )
        yield Figure(f"{name}.lost", sliced.lost_ppm, "ppm", 1.0, "one go", one_go.lost_ppm)
        yield Figure(
            f"{name}.gas", dollars(sliced.gas_e8), "USD", None, "one go", dollars(one_go.gas_e8)
        )


def measure(slices: int | None) -> Traded:
    """Trade everything, in so many slices or (None) in one go, on a chain of its own."""
    with tempfile.TemporaryDirectory() as folder, open_fork(log_dir=Path(folder)) as chain:
        rpc, network = chain.rpc, load_networks(ROOT / "networks.yaml")["mainnet"]
        key = dev_key(TREASURY)
        if key is None:
            raise ValueError("the treasury has no key")
        signer = LocalSigner.from_key(key)
        pace = Pace(clock=lambda: 0.0, sleep=lambda _: None, poll_s=0.0)
        deploy(rpc, signer, 1, 300 * 10**9, pace)
        move(rpc, network, MOVE)
        resolved, total = portfolio(Path(folder), slices), Traded()
        with Ledger.open(Path(folder) / "ledger.sqlite", clock=lambda: 1) as ledger:
            for _ in range(slices or 1):
                total = cycle(rpc, resolved, ledger, signer, pace, total)
                move(rpc, network, {})
                rpc.call("anvil_mine", DISTANCE)
    return total


def portfolio(folder: Path, slices: int | None) -> ResolvedPortfolio:
    text = (ROOT / "portfolio.example.yaml").read_text()
    if slices is not None:
        text += f"\nexecution: {{slices: {slices}, every_blocks: {DISTANCE}}}\n"
    path = folder / "portfolio.yaml"
    path.write_text(text)
    return load_portfolio(path, ROOT / "networks.yaml")


def cycle(
    rpc: Rpc,
    resolved: ResolvedPortfolio,
    ledger: Ledger,
    signer: LocalSigner,
    pace: Pace,
    so_far: Traded,
) -> Traded:
    """One cycle that trades; its fills are its plan's to the wei, so the plan's costs are real."""
    done = run(rpc, resolved, ledger, signer, pace, Lane(signer=signer))
    decision = done.evaluation.decision
    if not isinstance(decision, Rebalance) or not done.outcomes:
        raise ValueError("nothing was traded")
    costs, native = decision.plan.costs, done.evaluation.snapshot.native
    for fill in done.outcomes[-1].fills:
        if fill.amount_out != decision.plan.legs[fill.index].pays[0].raw:
            raise ValueError("a fill is not as planned")
    return Traded(
        lost_e8=so_far.lost_e8 + costs.total_e8 - costs.gas_e8,
        impact_e8=so_far.impact_e8 + costs.impact_e8,
        gas_e8=so_far.gas_e8 + native.value_up(sum(o.gas_cost_wei for o in done.outcomes)),
        traded_e8=so_far.traded_e8 + costs.traded_e8,
    )


def dollars(value_e8: int) -> float:
    return round(value_e8 / 10**8, 2)
