"""What past rebalances say about the schedule: when enough, how much, and by which of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ledger_world import (
    NOW,
    USDC,
    bundle,
    decide,
    execute,
    executed,
    open_ledger,
    outcome,
    signed,
    snapshot,
)

from rebalancer.config.load import load_portfolio
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.keeper.circumstances import circumstances
from rebalancer.keeper.gas import gas_figures, next_gas
from rebalancer.keeper.patient import Check, Patient
from rebalancer.ledger.gas_history import gas_samples
from rebalancer.ledger.store import Ledger
from rebalancer.model import (
    PPM,
    GasComponent,
    GasCorrection,
    Leg,
    PlannedGas,
    SwapLeg,
    Target,
    TokenGas,
)
from rebalancer.planner.gas_correction import (
    LEAST_EXECUTION_PPM,
    MOST_APPROVAL_PPM,
    MOST_EXECUTION_PPM,
    MOST_REBALANCES,
    GasSample,
    corrected_by,
    told,
)
from rebalancer.planner.gas_schedule import PRAGUE

ROOT = Path(__file__).resolve().parents[2]
AT = snapshot()
LEGS: tuple[Leg, ...] = (
    SwapLeg("0x" + "b1" * 20, "uniswap_v2", USDC, AT.native.token, 3000, 10, 10, 9, False),
)
EXECUTION, APPROVALS = PRAGUE.execution(LEGS), PRAGUE.approvals(LEGS)


def sample(execution_ppm: int, approval_ppm: int = PPM) -> GasSample:
    return GasSample(AT, LEGS, EXECUTION * execution_ppm // PPM, APPROVALS * approval_ppm // PPM)


def correction(*execution_ppm: int, approval_ppm: int = PPM) -> GasCorrection | None:
    return corrected_by(PRAGUE, [sample(ppm, approval_ppm) for ppm in execution_ppm])


def test_fewer_than_three_say_nothing() -> None:
    assert correction() is None
    assert correction(1_100_000, 1_100_000) is None
    found = correction(1_100_000, 1_100_000, 1_100_000)
    assert found is not None
    assert found.rebalances == 3
    assert abs(found.execution_ppm - 1_100_000) <= PPM // EXECUTION + 1


def test_one_odd_rebalance_moves_nothing() -> None:
    usual = correction(1_010_000, 1_020_000, 1_030_000)
    odd = correction(1_010_000, 1_020_000, 3_000_000)
    assert usual == odd
    # Of an even number, what lies between the two in the middle.
    even = correction(1_000_000, 1_020_000, 1_040_000, 3_000_000)
    assert even is not None
    assert abs(even.execution_ppm - 1_030_000) <= PPM // EXECUTION + 1


def test_bounds() -> None:
    assert correction(*[2 * PPM] * 3) == GasCorrection(MOST_EXECUTION_PPM, PPM, 3)
    assert correction(*[PPM // 2] * 3) == GasCorrection(LEAST_EXECUTION_PPM, PPM, 3)
    found = correction(*[PPM] * 3, approval_ppm=9 * PPM)
    assert found is not None
    assert found.approval_ppm == MOST_APPROVAL_PPM


def test_standing_allowances__no_approvals_are_planned_any_more() -> None:
    found = correction(*[PPM] * 3, approval_ppm=0)
    assert found == GasCorrection(PPM, 0, 3)
    assert PRAGUE.corrected(found).units(LEGS) == EXECUTION


def test_nothing_was_ever_approved_nor_to_be__approvals_stay_as_they_are() -> None:
    chained = replace(LEGS[0], chained=True)
    used = PRAGUE.execution((chained,))
    found = corrected_by(PRAGUE, [GasSample(AT, (chained,), used, 0)] * 3)
    assert found == GasCorrection(PPM, PPM, 3)


@pytest.mark.parametrize("truth_ppm", [850_000, 970_000, 1_080_000, 1_300_000])
def test_it_converges_and_does_not_compound(truth_ppm: int) -> None:
    """A chain that uses ``truth_ppm`` of the schedule, give or take 2 %, plan by plan."""
    random, samples = Random(7), list[GasSample]()  # noqa: S311
    planned = list[int]()
    true_units = (EXECUTION + APPROVALS) * truth_ppm // PPM
    for _ in range(60):
        found = corrected_by(PRAGUE, samples[-MOST_REBALANCES:])
        schedule = PRAGUE if found is None else PRAGUE.corrected(found)
        planned.append(schedule.units(LEGS))
        noise_ppm = random.randint(980_000, 1_020_000)
        used_ppm = truth_ppm * noise_ppm // PPM
        samples.append(sample(used_ppm, used_ppm))
    assert planned[:3] == [EXECUTION + APPROVALS] * 3
    off_ppm = [abs(units - true_units) * PPM // true_units for units in planned]
    assert max(off_ppm[3:]) < 20_000
    assert max(off_ppm[20:]) < 10_000


def test_newer_figures_are_judged_by_the_old_rebalances_too() -> None:
    """What a better schedule explains is not corrected once more."""
    proxy = replace(PRAGUE, tokens=(TokenGas(USDC.address, 19_000, 3_600, 50_800),))
    used = GasSample(AT, LEGS, proxy.execution(LEGS), proxy.approvals(LEGS))
    before = corrected_by(PRAGUE, [used] * 5)
    assert before is not None
    assert before.execution_ppm > 1_100_000
    assert corrected_by(proxy, [used] * 5) == GasCorrection(PPM, PPM, 5)


def test_in_words() -> None:
    early = "planned from osaka, not corrected before 3 rebalances"
    assert told(PlannedGas("osaka")) == early
    by = GasCorrection(execution_ppm=1_034_567, approval_ppm=PPM, rebalances=14)
    assert told(PlannedGas("prague", by)) == "planned from prague, corrected x1.03 by 14 rebalances"
    none = replace(by, execution_ppm=996_000, approval_ppm=4_000)
    words = "planned from prague, corrected x1.00 (approvals x0.00) by 14 rebalances"
    assert told(PlannedGas("prague", none)) == words


@pytest.fixture
def ledger(tmp_path: Path):  # type: ignore[no-untyped-def]
    with open_ledger(tmp_path) as opened:
        yield opened


def test_samples__what_was_executed_newest_first(ledger: Ledger) -> None:
    made = execute(ledger, 100)
    execute(ledger, 200, nonce=9)
    decide(ledger, 300)  # never sent
    execute(ledger, 400, portfolio="other", nonce=20)
    found = gas_samples(ledger, "main", 1)
    assert [item.snapshot.block.number for item in found] == [200, 100]
    assert found[1] == GasSample(snapshot(100), made.legs, 279_017, 46_162)
    assert gas_samples(ledger, "main", 5) == ()


def test_samples__as_it_was_at_the_end_of_a_block(ledger: Ledger) -> None:
    execute(ledger, 100)
    execute(ledger, 200, nonce=9)
    until = snapshot(200).block.timestamp
    by_then = [len(gas_samples(ledger, "main", 1, until, n)) for n in (100, 101, 200, 201)]
    assert by_then == [0, 1, 1, 2]
    assert len(gas_samples(ledger, "main", 1, until - 1)) == 1


def test_samples__approvals_within_an_execution_are_approvals(ledger: Ledger) -> None:
    """A Safe approves in the same transaction, and a permit comes along with the batch."""
    made = decide(ledger, 100)
    run = signed("execute", 7)
    ledger.store_bundle(made, bundle(made, run))
    ledger.record_sent(run.tx_hash)
    whole = executed(made, run)
    components = (
        *whole.components,
        GasComponent("approval", 30_000),
        GasComponent("permits", 4_000),
    )
    ledger.record_outcome(replace(whole, gas_used=whole.gas_used + 34_000, components=components))
    (found,) = gas_samples(ledger, "main", 1)
    assert (found.execution, found.approvals) == (279_017, 34_000)


def test_samples__a_reverted_transaction_is_no_measure(ledger: Ledger) -> None:
    made = decide(ledger, 100)
    approve, run = signed("approve", 7), signed("execute", 8)
    ledger.store_bundle(made, bundle(made, approve, run))
    for transaction in (approve, run):
        ledger.record_sent(transaction.tx_hash)
    ledger.record_outcome(outcome(approve))
    ledger.record_outcome(outcome(run, status=0))
    assert gas_samples(ledger, "main", 1) == ()


def test_circumstances__three_rebalances_correct_the_next_plan(tmp_path: Path) -> None:
    made = load_portfolio(ROOT / "portfolio.example.yaml", ROOT / "networks.yaml")
    name, targets = made.portfolio.name, (Target("WETH", 500_000), Target("USDC", 500_000))
    with open_ledger(tmp_path) as book:
        for number in (100, 200, 300):
            assert next_gas(made, book).correction is None
            execute(book, number, portfolio=name, nonce=number)
        head = snapshot(400)
        found = circumstances(made, head, targets, None, book)
        gas = made.network.gas_schedule(a.token for a in head.balances)
        assert found.gas == gas
        assert found.gas_correction == corrected_by(gas, gas_samples(book, name, 1))
        assert next_gas(made, book).correction == found.gas_correction
        assert found.gas_correction is not None
        assert found.gas_correction.rebalances == 3
        # Of the past only what was executed by then.
        past = circumstances(made, snapshot(300), targets, None, book, up_to_block=300)
        assert past.gas_correction is None
        assert past.gas == gas
        assert head.block.timestamp > NOW
    without = circumstances(made, head, targets, None, None)
    assert (without.gas, without.gas_correction) == (gas, None)
    assert next_gas(made, None) == PlannedGas("prague")


@pytest.mark.parametrize("line", ["mode: eip7702", "approvals: never"])
def test_circumstances__who_approves_nothing_plans_no_approvals(tmp_path: Path, line: str) -> None:
    text = (ROOT / "portfolio.example.yaml").read_text().replace("approvals: exact", "")
    path = tmp_path / "portfolio.yaml"
    path.write_text(f"{text}\n{line}\n")
    made = load_portfolio(path, ROOT / "networks.yaml")
    found = circumstances(made, snapshot(), (Target("WETH", PPM),), None, None)
    usual = made.network.gas_schedule(a.token for a in snapshot().balances)
    assert found.gas is not None
    assert found.gas.units(LEGS) == found.gas.execution(LEGS) == usual.execution(LEGS)
    assert usual.approvals(LEGS) > 0


@pytest.mark.parametrize(("used_times", "warns"), [(1, False), (2, True)])
def test_doctor__warns_where_the_figures_do_not_fit(
    ledger: Ledger, used_times: int, warns: bool
) -> None:
    made = load_portfolio(ROOT / "portfolio.example.yaml", ROOT / "networks.yaml")
    for number in (100, 200, 300):
        plan = decide(ledger, number, made.portfolio.name)
        run = signed("execute", number)
        ledger.store_bundle(plan, bundle(plan, run))
        ledger.record_sent(run.tx_hash)
        gas = made.network.gas_schedule(a.token for a in snapshot().balances)
        used = gas.execution(plan.legs) * used_times
        only = (GasComponent("execution", used),)
        whole = executed(plan, run, number + 1)
        ledger.record_outcome(replace(whole, gas_used=used, components=only))
    found = gas_figures(patient(made, ledger))
    assert isinstance(found, Check) == warns
    if isinstance(found, Check):
        assert found.warning
        assert found.ok
        assert "corrected x1.30" in found.detail
        assert "networks.yaml" in found.hint
    else:
        assert found.startswith("planned from prague, corrected x1.00 (approvals x0.00) by 3 ")


def patient(made: ResolvedPortfolio, book: Ledger) -> Patient:
    """One of whom nothing but the ledger is looked at."""

    def nothing() -> None:
        raise AssertionError("nobody asked for that")

    ask: Any = nothing
    return Patient(
        rpc=ask,
        resolved=made,
        keys=ask,
        ledger=ask,
        book=lambda: book,
        lane=ask,
        kill_guard=ask,
        lease=ask,
        claim=ask,
    )
