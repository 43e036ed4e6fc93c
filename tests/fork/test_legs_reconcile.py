"""Legs of every kind in the ledger: recorded, audited and reconciled with the chain to the wei."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundler_kit import GWEI, give, pace, signer_of
from legs_kit import Draft, decided, give_shares, share_of

from rebalancer.bundler.delegating import delegate
from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import WALLET_EXECUTOR
from rebalancer.bundler.lane import Lane
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.propose import prepare_execution, propose
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, DEV_ACCOUNTS, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import DAI, USDC, USDT, WETH
from rebalancer.devchain.safes import install_safe
from rebalancer.evm.abi import checksum
from rebalancer.evm.rpc import Rpc
from rebalancer.ledger.gas_audit import gas_audit
from rebalancer.ledger.queries import rebalances
from rebalancer.ledger.reconcile import reconcile
from rebalancer.ledger.store import Ledger
from rebalancer.model import (
    E8,
    Plan,
    TransactionOutcome,
)

UNIT = 10**18
FEE = 300 * GWEI
SHARES = 10**14
SAFE = checksum("0x5afe000000000000000000000000000000000001")
OWNERS = [account for account in DEV_ACCOUNTS if account != ARBITRAGEUR][:2]


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    deploy(devchain.rpc, signer_of(), 1, FEE, pace())
    deploy(devchain.rpc, signer_of(), 1, FEE, pace(), WALLET_EXECUTOR)
    return devchain.rpc


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db", lambda: 1_750_000_000) as opened:
        yield opened


def everything(rpc: Rpc, network: Network, wallet: str = TREASURY) -> Draft:
    give_shares(rpc, share_of(network, USDC, WETH), SHARES, wallet)
    draft = Draft(rpc, network, wallet)
    draft.wrap(UNIT)
    draft.swap(WETH, USDT)
    out = draft.remove(USDC, WETH, SHARES)
    bought = draft.swap(USDC, USDT, out.amount0)
    draft.add(USDT, WETH, bought.amount_out)
    draft.unwrap(UNIT // 2)
    return draft


def by_allowance(rpc: Rpc, ledger: Ledger, plan: Plan) -> tuple[TransactionOutcome, ...]:
    prepared = prepare(rpc, plan, signer_of())
    return submit(rpc, ledger, plan, prepared.bundle, pace())


def by_permit(rpc: Rpc, ledger: Ledger, plan: Plan) -> tuple[TransactionOutcome, ...]:
    prepared = prepare(rpc, plan, signer_of(), approvals="permit")
    return submit(rpc, ledger, plan, prepared.bundle, pace())


def delegated(rpc: Rpc, ledger: Ledger, plan: Plan) -> tuple[TransactionOutcome, ...]:
    prepared = prepare(rpc, plan, signer_of(), mode="eip7702")
    return submit(rpc, ledger, plan, prepared.bundle, pace())


def through_safe(rpc: Rpc, ledger: Ledger, plan: Plan) -> tuple[TransactionOutcome, ...]:
    sender = signer_of(ARBITRAGEUR)
    owners = [signer_of(owner) for owner in OWNERS]
    ready = prepare_execution(rpc, propose(rpc, plan), owners, sender)
    return submit(rpc, ledger, plan, ready.bundle, pace(), Lane(signer=sender))


Way = Callable[[Rpc, Ledger, Plan], tuple[TransactionOutcome, ...]]


@pytest.mark.parametrize("way", [by_allowance, by_permit, delegated, through_safe])
def test_every_kind__is_recorded_and_reconciles_to_the_wei(
    rpc: Rpc, mainnet: Network, ledger: Ledger, way: Way
) -> None:
    wallet = SAFE if way is through_safe else TREASURY
    if way is delegated:
        delegate(rpc, signer_of(), 1, FEE, pace())
    if way is through_safe:
        install_safe(rpc, SAFE, OWNERS, 2, payer=TREASURY)
        give(rpc, WETH, UNIT, SAFE)
        rpc.call("anvil_setBalance", SAFE, hex(2 * UNIT))
    plan = decided(rpc, ledger, everything(rpc, mainnet, wallet))

    outcomes = way(rpc, ledger, plan)

    result = reconcile(ledger, rpc)
    assert result.findings == ()
    assert result.notes == ()
    (record,) = rebalances(ledger)
    assert record.state == "executed"
    assert [leg.leg for leg in record.legs] == list(plan.legs)
    assert tuple(leg.fill for leg in record.legs) == outcomes[-1].fills
    (total,) = gas_audit(ledger).totals
    lines = {line.component: line.gas for line in total.lines}
    assert {"wraps", "swaps", "removals", "adds", "unwraps"} <= lines.keys() or wallet == SAFE
    assert sum(lines.values()) == total.gas_used
    # What went: an ether, and what the shares brought, less what of it came back.
    assert total.traded_e8 > 5_000 * E8


def test_one_unit_off_in_any_fill__is_found(rpc: Rpc, mainnet: Network, ledger: Ledger) -> None:
    plan = decided(rpc, ledger, everything(rpc, mainnet))
    truth = by_allowance(rpc, ledger, plan)[-1]

    # Ether wrapped, the second token of a removal, shares of an addition; the rest as units.
    for index, key in ((0, "amount_in"), (2, "more_out"), (4, "amount_out")):
        told: Any = getattr(truth.fills[index], key)
        more: Any = told + 1 if isinstance(told, int) else replace(told, raw=told.raw + 1)
        change: dict[str, Any] = {key: more}
        fills = list(truth.fills)
        fills[index] = replace(fills[index], **change)
        ledger.record_outcome(replace(truth, fills=tuple(fills)))
        found = {finding.code for finding in reconcile(ledger, rpc).findings}
        assert found & {"fill-in", "fill-out"}, key
        assert found & {"native-balance", "token-balance"}, key
    ledger.record_outcome(truth)
    assert reconcile(ledger, rpc).ok


@pytest.mark.parametrize("way", [by_allowance, delegated])
def test_gifts_to_pairs__shares_too__are_noted_and_explained(
    rpc: Rpc, mainnet: Network, ledger: Ledger, way: Way
) -> None:
    """Shares that lie in a pair are redeemed with ours, tokens that lie there are added.

    What a swap finds that the leg before pays costs the wallet nothing, and is no matter.
    """
    if way is delegated:
        delegate(rpc, signer_of(), 1, FEE, pace())
    left, entered = share_of(mainnet, USDC, WETH), share_of(mainnet, USDT, WETH)
    passed = share_of(mainnet, WETH, DAI)
    give_shares(rpc, left, SHARES)
    give(rpc, USDT, 1_000 * 10**6)
    draft = Draft(rpc, mainnet)
    draft.wrap(UNIT)
    draft.swap(WETH, DAI)
    draft.swap(WETH, DAI, UNIT)
    draft.remove(USDC, WETH, SHARES)
    draft.add(WETH, USDT, UNIT // 10)
    plan = decided(rpc, ledger, draft)
    give_shares(rpc, left, 7, left.address)
    pay = "transfer(address,uint256)"
    gifts = [call_of(WETH.address, pay, pair.address, 1_000) for pair in (entered, passed)]
    mine_block(rpc, ARBITRAGEUR, gifts)

    way(rpc, ledger, plan)

    result = reconcile(ledger, rpc)
    assert result.findings == ()
    assert sorted((note.code, note.difference) for note in result.notes) == [
        ("gift-to-pair", 7),
        ("gift-to-pair", 1_000),
    ]
