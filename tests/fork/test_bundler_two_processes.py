"""Two processes on one wallet: no nonce conflict, no double trade, one record of each.

REBALANCER_ROUNDS is the number of rounds with the lease: 40 here, 200 in `make bench`.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bundler_kit import GWEI, Trade, approve, make_plan, nonce_of, signer_of
from bundler_kit import pace as quick
from direct_rpc import DirectRpc

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.fills import SWAP
from rebalancer.bundler.lane import Lane
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.recover import recover
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, WETH
from rebalancer.errors import ExecutionError, LeaseHeld, NonceConflict, RebalancerError
from rebalancer.evm.rpc import Rpc
from rebalancer.keeper.lease import hold_lease
from rebalancer.ledger.queries import rebalances, transactions
from rebalancer.ledger.reconcile import reconcile
from rebalancer.ledger.store import Ledger
from rebalancer.model import (
    E8,
    Amount,
    BlockRef,
    Plan,
    Price,
    Reason,
    Rebalance,
    Snapshot,
    Valuation,
    digest,
)

ROUNDS = int(os.environ.get("REBALANCER_ROUNDS", "40"))
PACE = Pace(clock=time.monotonic, sleep=time.sleep, poll_s=0.002, silence_s=20.0)


def decided(rpc: Rpc, ledger: Ledger, plan: Plan) -> Plan:
    """The plan with a decision behind it, as small as the ledger accepts one."""
    head = rpc.call("eth_getBlockByNumber", hex(plan.block_number), False)
    now = int(head["timestamp"], 16)
    snapshot = Snapshot(
        block=BlockRef(1, plan.block_number, plan.block_hash, now, int(head["baseFeePerGas"], 16)),
        wallet=TREASURY,
        numeraire="USD",
        native=Price(WETH, 3_000 * E8, 10**18, "test", now),
        native_wei=10**18,
        balances=(Amount(WETH, 1), Amount(USDC, 1)),
        holdings=(),
        pairs=(),
        prices=(Price(WETH, 3_000 * E8, 10**18, "test", now), Price(USDC, E8, 10**6, "test", now)),
        priority_fee_wei=GWEI,
    )
    valuation = Valuation(
        digest(snapshot), plan.block_number, plan.block_hash, "USD", E8, (), (), 0
    )
    changes: dict[str, Any] = {"parent": digest(valuation)}
    mine = type(plan)(**{name: getattr(plan, name) for name in plan.__slots__} | changes)
    reasons = (Reason("test", "a tiny trade"),)
    decision = Rebalance(mine.parent, mine.block_number, mine.block_hash, reasons, (), mine)
    ledger.record_decision("treasury", "execute", snapshot, valuation, decision)
    return mine


def one_round(rpc: Rpc, ledger: Ledger, network: Network, amount_in: int) -> None:
    """What a keeper's cycle does, with a trade that is always wanted."""
    recover(rpc, ledger, 1, TREASURY, PACE, Lane())
    plan = decided(rpc, ledger, make_plan(rpc, network, [Trade(WETH, USDC, amount_in)]))
    bundle = prepare(rpc, plan, signer_of(), approvals="never").bundle
    submit(rpc, ledger, plan, bundle, PACE, Lane())


def worker(
    url: str, folder: Path, network: Network, me: int, rounds: int, leased: bool, said: Any
) -> None:
    """Trade ``rounds`` times, whenever nobody else does; says what happened."""
    rpc = DirectRpc(url)
    counted: Counter[str] = Counter()
    with Ledger.open(folder / "ledger.sqlite", clock=lambda: int(time.time())) as ledger:
        while counted["done"] < rounds and counted.total() < 1_000 * rounds:
            try:
                with hold_lease(folder, 1, TREASURY) if leased else nullcontext():
                    # The wallet's number of trades makes no two of them alike.
                    one_round(rpc, ledger, network, 10**12 + 1_000 * counted.total() + me)
                    counted["done"] += 1
            except LeaseHeld:
                counted["waited"] += 1
                time.sleep(0.003)
            except RebalancerError as error:
                counted[type(error).__name__] += 1
                counted["halts"] += isinstance(error, ExecutionError)
    said.put(counted)


def run_two(chain: DevChain, folder: Path, network: Network, rounds: int, leased: bool) -> Any:
    context = multiprocessing.get_context("fork")
    said = context.Queue()
    processes = [
        context.Process(target=worker, args=(chain.url, folder, network, me, rounds, leased, said))
        for me in range(2)
    ]
    for process in processes:
        process.start()
    try:
        return sum((said.get(timeout=120) for _ in processes), Counter())
    finally:
        for process in processes:
            process.join(10)
            process.kill()


def prepared(chain: DevChain) -> Rpc:
    rpc = chain.rpc
    deploy(rpc, signer_of(ARBITRAGEUR), 1, 300 * GWEI, quick())
    approve(rpc, WETH, EXECUTOR_ADDRESS, 2**255)
    return rpc


def executed_hashes(rpc: Rpc) -> list[str]:
    topics = [SWAP, "0x" + EXECUTOR_ADDRESS[2:].lower().rjust(64, "0")]
    logs = rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "topics": topics})
    return [log["transactionHash"] for log in logs]


def check_books(rpc: Rpc, folder: Path, first: int, trades: int) -> None:
    """Every nonce once, every trade in the ledger once, and nothing else on the chain."""
    with Ledger.open(folder / "ledger.sqlite", clock=lambda: 0) as ledger:
        mined = [record for record in transactions(ledger) if record.outcome is not None]
        assert sorted(record.nonce for record in mined) == list(range(first, first + trades))
        assert sorted(executed_hashes(rpc)) == sorted(record.tx_hash for record in mined)
        assert [item.state for item in rebalances(ledger)].count("executed") == trades
        assert not ledger.open_bundles(1, TREASURY)
        assert all(record.confirmed for record in mined)
        assert reconcile(ledger, rpc).ok
    assert nonce_of(rpc) == first + trades


def test_two_processes_with_the_lease_never_meet(
    devchain: DevChain, mainnet: Network, tmp_path: Path
) -> None:
    rpc = prepared(devchain)
    first = nonce_of(rpc)
    counted = run_two(devchain, tmp_path, mainnet, ROUNDS // 2, leased=True)
    assert counted["done"] == ROUNDS // 2 * 2
    assert counted["waited"] > 0, "they never wanted the wallet at the same time"
    assert set(counted) == {"done", "waited"}, counted
    check_books(rpc, tmp_path, first, counted["done"])


def test_without_the_lease_the_ledger_still_lets_no_nonce_be_signed_twice(
    devchain: DevChain, mainnet: Network, tmp_path: Path
) -> None:
    """As two machines would that share a ledger: they get in each other's way, and no further."""
    rpc = prepared(devchain)
    first = nonce_of(rpc)
    counted = run_two(devchain, tmp_path, mainnet, 10, leased=False)
    assert counted[NonceConflict.__name__] > 0, "they never met"
    with Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: 0) as ledger:
        recover(rpc, ledger, 1, TREASURY, PACE, Lane())
    check_books(rpc, tmp_path, first, len(executed_hashes(rpc)))
