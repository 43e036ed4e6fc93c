"""Legs of every kind in the ledger: stored, added up, reconciled, and every lie of them found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import ledger_world as world
import pytest
from ledger_fake_chain import STRANGER, FakeChain, transfer_log
from legs_made import (
    ADD,
    DAI,
    DAI_USDC,
    ETH,
    LEGS,
    NET,
    NOBODY,
    REMOVE,
    SWAP_LEG,
    UNIT,
    UNWRAP,
    WRAP,
    log,
    mixed_logs,
    moved,
)
from rich.console import Console
from sqlalchemy import text

from rebalancer.bundler.fills import BURN, DEPOSIT, MINT, SWAP, WITHDRAWAL
from rebalancer.ledger.gas_audit import KindGas, gas_audit
from rebalancer.ledger.integrity import check_integrity
from rebalancer.ledger.queries import rebalances
from rebalancer.ledger.reconcile import reconcile
from rebalancer.ledger.schema import SCHEMA_VERSION, fills
from rebalancer.ledger.store import Ledger
from rebalancer.model import (
    E8,
    Amount,
    Fill,
    GasComponent,
    Plan,
    TransactionOutcome,
    contract_of,
    to_json,
)
from rebalancer.report.audit import gas_view

RUN = world.signed("execute", 8)
TRUTH = tuple(
    Fill(
        index,
        contract_of(leg),
        leg.takes[0].token,
        leg.pays[0].token,
        leg.takes[0].raw,
        leg.pays[0].raw,
        *(leg.takes[1:] or (None,)),
        *(leg.pays[1:] or (None,)),
    )
    for index, leg in enumerate(LEGS)
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with world.open_ledger(tmp_path) as opened:
        yield opened


@pytest.fixture
def plan(ledger: Ledger) -> Plan:
    made = world.decide(ledger, legs=LEGS, net=NET)
    ledger.store_bundle(made, world.bundle(made, RUN))
    return made


def done(*fills: Fill) -> TransactionOutcome:
    return world.outcome(RUN, fills=fills or TRUTH)


def mined(logs: Sequence[dict[str, Any]]) -> FakeChain:
    """The plan carried out to the unit, and the wallet's balances around it."""
    chain = FakeChain()
    numbered = [{**entry, "logIndex": hex(index)} for index, entry in enumerate(logs)]
    chain.mine(RUN, done(), numbered)
    chain.native = {100: 5 * UNIT, 101: 5 * UNIT - UNIT + UNIT // 4 - done().gas_cost_wei}
    for amount in NET:
        if amount.token != ETH:
            chain.tokens[100, amount.token.address] = 10**20
            chain.tokens[101, amount.token.address] = 10**20 + amount.raw
    chain.nonces[101] = 9
    return chain


def logs() -> list[dict[str, Any]]:
    return mixed_logs(world.EXECUTOR, world.WALLET)


# Stored


def test_outcome_of_every_kind__is_stored_and_loaded(ledger: Ledger, plan: Plan) -> None:
    ledger.record_outcome(done())

    assert ledger.recorded_outcome(RUN.tx_hash) == done()
    (record,) = rebalances(ledger)
    assert record.plan == plan
    assert [(leg.leg, leg.fill) for leg in record.legs] == list(zip(LEGS, TRUTH, strict=True))
    assert check_integrity(ledger) == []


def test_rows__add_up_by_token_whatever_kind_it_was(ledger: Ledger, plan: Plan) -> None:
    ledger.record_outcome(done())
    sums: dict[str, int] = {}
    with ledger.reading() as connection:
        rows = connection.execute(
            text("select leg, token_in, token_out, amount_in, amount_out from fills")
        ).all()
    assert [row.leg for row in rows] == [0, 1, 1, 2, 3, 3, 4], "two rows where there are two tokens"
    for row in rows:
        sums[row.token_in] = sums.get(row.token_in, 0) - int(row.amount_in)
        sums[row.token_out] = sums.get(row.token_out, 0) + int(row.amount_out)
    assert {t: raw for t, raw in sums.items() if raw} == {a.token.address: a.raw for a in NET}


def test_ledgers_of_before__still_open() -> None:
    """More kinds of legs changed no table, and no byte of what a swap is written as."""
    assert SCHEMA_VERSION == 2
    assert [column.name for column in fills.columns] == [
        "event",
        "position",
        "leg",
        "pair",
        "token_in",
        "token_out",
        "amount_in",
        "amount_out",
    ]
    swap = json.loads(to_json(world.fills(world.plan(world.snapshot()))[0]))
    assert sorted(swap) == ["amount_in", "amount_out", "index", "pair", "token_in", "token_out"]
    assert "value_wei" not in to_json(RUN)
    assert "kind" not in to_json(world.legs())


def test_wrong_row__is_found(ledger: Ledger, plan: Plan) -> None:
    ledger.record_outcome(done())
    with ledger._writing() as connection:  # a vandal with the file in hand
        connection.execute(text("drop trigger fills_no_update"))
        connection.execute(text("update fills set amount_out = '7' where position = 2"))
    (finding,) = check_integrity(ledger)
    assert finding.code == "row"


# Reconciled


def test_every_kind__reconciles_to_the_wei(ledger: Ledger, plan: Plan) -> None:
    ledger.record_outcome(done())
    chain = mined(logs())

    result = reconcile(ledger, chain)

    assert result.findings == ()
    assert result.notes == ()
    for token in (WRAP.wrapped, REMOVE.share, ADD.share, DAI):
        chain.tokens[101, token.address] += 1
        (finding,) = reconcile(ledger, chain).findings
        assert (finding.code, finding.difference) == ("token-balance", 1)
        chain.tokens[101, token.address] -= 1
    chain.native[101] -= 1
    (finding,) = reconcile(ledger, chain).findings
    assert (finding.code, finding.difference) == ("native-balance", -1)


def test_what_hostile_tokens_say__is_passed_over(ledger: Ledger, plan: Plan) -> None:
    ledger.record_outcome(done())
    me, weth = world.EXECUTOR, world.WETH.address
    noise = [
        log(STRANGER, BURN, me, STRANGER, words=(1, 2)),
        log(REMOVE.pair, BURN, STRANGER, world.WALLET, words=(1, 2)),
        log(REMOVE.pair, BURN, me, STRANGER, words=(1, 2)),
        log(DAI_USDC, SWAP, me, STRANGER, words=(1, 0, 0, 1)),
        moved(DAI_USDC, NOBODY, STRANGER, 5),
        log(DAI_USDC, MINT, me, words=(5, 5)),
        log(weth, DEPOSIT, me, words=(3,)),
        moved(weth, me, STRANGER, 3),
        moved(weth, STRANGER, me, 3),
        log(weth, WITHDRAWAL, me, words=(3,)),
        log(STRANGER, DEPOSIT, me, words=(3,)),
        {**log(DAI_USDC, MINT, me, words=(5, 5)), "data": "0x"},
    ]
    said = logs()
    for at in (2, 7, 10, 12, len(said) - 2, len(said)):
        assert reconcile(ledger, mined([*said[:at], *noise, *said[at:]])).findings == (), at


@pytest.mark.parametrize(
    ("index", "changes", "codes"),
    [
        (0, {"amount_in": UNIT + 1}, {"fill-in", "native-balance"}),
        (0, {"amount_out": UNIT + 1}, {"fill-out", "token-balance"}),
        (1, {"amount_in": REMOVE.shares + 1}, {"fill-in"}),
        (1, {"amount_in": REMOVE.shares - 1}, {"fill-in", "token-balance"}),
        (1, {"amount_out": 10**9 + 1}, {"fill-out", "token-balance"}),
        (1, {"more_out": Amount(world.WETH, UNIT // 2 + 1)}, {"fill-out", "token-balance"}),
        (1, {"more_out": None}, {"leg", "fill-tokens", "token-balance"}),
        (1, {"amount_out": 1}, {"below-minimum", "fill-out"}),
        (1, {"more_out": Amount(world.WETH, 1)}, {"below-minimum"}),
        (2, {"amount_out": 1}, {"below-minimum", "fill-out"}),
        (3, {"amount_in": 1}, {"fill-in", "token-balance"}),
        (3, {"more_in": Amount(world.USDC, 1)}, {"fill-in", "token-balance"}),
        (3, {"more_in": Amount(DAI, 4 * 10**8)}, {"leg"}),
        (3, {"amount_out": 1}, {"below-minimum", "fill-out"}),
        (3, {"pair": REMOVE.pair}, {"leg", "fill-pair"}),
        (4, {"amount_out": 1}, {"below-minimum", "fill-out", "native-balance"}),
        (4, {"amount_in": 1}, {"fill-in", "token-balance"}),
        (4, {"index": 9}, {"legs"}),
    ],
)
def test_one_lie_about_a_fill__is_found(
    ledger: Ledger, plan: Plan, index: int, changes: dict[str, Any], codes: set[str]
) -> None:
    told = list(TRUTH)
    told[index] = replace(told[index], **changes)
    ledger.record_outcome(done(*told))
    chain = mined(logs())
    found = {finding.code for finding in reconcile(ledger, chain).findings}
    assert codes <= found, found
    ledger.record_outcome(done())
    assert reconcile(ledger, chain).findings == ()


@pytest.mark.parametrize("event", [DEPOSIT, BURN, SWAP, MINT, WITHDRAWAL])
def test_step_that_the_chain_does_not_have__is_found(
    ledger: Ledger, plan: Plan, event: str
) -> None:
    ledger.record_outcome(done())
    without = [entry for entry in logs() if entry["topics"][0] != event]
    found = {finding.code for finding in reconcile(ledger, mined(without)).findings}
    assert "fills" in found


def test_steps_of_a_delegated_wallet__are_its_own(ledger: Ledger) -> None:
    plan = world.decide(ledger, legs=LEGS, net=NET)
    run = replace(RUN, to=world.WALLET)
    ledger.store_bundle(plan, world.bundle(plan, run))
    ledger.record_outcome(done())
    chain = mined(mixed_logs(world.WALLET, world.WALLET))
    chain.receipts[RUN.tx_hash]["to"] = world.WALLET.lower()
    assert reconcile(ledger, chain).findings == ()


def test_transfers_of_shares_that_are_not_ours__are_explained(ledger: Ledger, plan: Plan) -> None:
    ledger.record_outcome(done())
    chain = mined(logs())
    chain.add(
        "0x" + "a1" * 32,
        101,
        to=REMOVE.pair,
        logs=[transfer_log(REMOVE.pair, STRANGER, world.WALLET, 55, 90)],
    )
    chain.tokens[101, REMOVE.pair] += 55
    assert reconcile(ledger, chain).findings == ()


# Audited


def test_given_away__is_what_is_less_afterwards(ledger: Ledger, plan: Plan) -> None:
    """Shares at what they brought: 1,000 dollars and half an ether at 3,000; nothing else."""
    ledger.record_outcome(done())
    (audited,) = gas_audit(ledger).rebalances
    assert audited.traded_e8 == 2_500 * E8


def test_gas__by_kind_of_leg(ledger: Ledger, plan: Plan) -> None:
    """As far as the node told it apart: one that gives no trace says nothing of kinds."""
    told = (("swaps", 60), ("adds", 110), ("removals", 90), ("wraps", 4), ("unwraps", 9))
    components = tuple(GasComponent(name, gas) for name, gas in (("intrinsic", 45_889), *told))
    ledger.record_outcome(replace(done(), components=components))
    assert gas_audit(ledger).kinds == (
        KindGas(1, "swap", 1, 60),
        KindGas(1, "add", 1, 110),
        KindGas(1, "remove", 1, 90),
        KindGas(1, "wrap", 1, 4),
        KindGas(1, "unwrap", 1, 9),
    )
    console = Console(width=120, file=StringIO())
    console.print(gas_view(gas_audit(ledger)))
    assert isinstance(console.file, StringIO)
    rows = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["remove", "1", "1", "90", "90"] in rows

    ledger.record_outcome(replace(done(), components=(GasComponent("execution", 46_162),)))
    assert gas_audit(ledger).kinds == ()
    ledger.record_outcome(world.outcome(RUN, status=0))
    assert gas_audit(ledger).kinds == ()


def test_given_away__ether_counts_when_it_is_spent_not_when_it_is_wrapped(ledger: Ledger) -> None:
    spent = replace(SWAP_LEG, token_in=world.WETH, token_out=world.USDC, amount_in=UNIT // 2)
    legs = (WRAP, spent, UNWRAP)
    plan = world.decide(ledger, legs=legs, net=())
    ledger.store_bundle(plan, world.bundle(plan, RUN))
    swap = Fill(1, spent.pair, world.WETH, world.USDC, UNIT // 2, 1)
    ledger.record_outcome(done(TRUTH[0], swap, replace(TRUTH[4], index=2)))
    (audited,) = gas_audit(ledger).rebalances
    assert audited.traded_e8 == 1_500 * E8
