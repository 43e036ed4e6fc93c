"""What each rebalance cost in gas: by transaction, by component, against the plan and the trade."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rebalancer.ledger.moves import given_away_e8
from rebalancer.ledger.queries import RebalanceRecord, rebalances, snapshot_of_plan
from rebalancer.ledger.store import Ledger
from rebalancer.model import PPM, Price, Snapshot, TransactionOutcome, mul_div_up

#: The component that the bundler records what a leg's contract used under, by kind of leg.
_COMPONENTS = {
    "swap": "swaps",
    "add": "adds",
    "remove": "removals",
    "wrap": "wraps",
    "unwrap": "unwraps",
}


@dataclass(frozen=True, slots=True)
class GasLine:
    """Gas of one component; refunds are negative. ``cost_e8`` in 1e-8 of the numeraire.

    The lines of one table add up exactly to its total in all three figures: each ``cost_e8`` is
    the difference of two running totals rounded up, so within one unit of its own exact value.
    """

    component: str
    gas: int
    cost_wei: int
    cost_e8: int


@dataclass(frozen=True, slots=True)
class TransactionGas:
    """Gas of one mined transaction, approvals and reverted ones too."""

    tx_hash: str
    purpose: str
    status: int
    block_number: int
    gas_used: int
    effective_gas_price_wei: int
    cost_wei: int
    cost_e8: int
    lines: tuple[GasLine, ...]


@dataclass(frozen=True, slots=True)
class RebalanceGas:
    """Gas of one plan's mined transactions, at the native price of the deciding snapshot.

    ``cost_e8`` is rounded up, once. ``expected_gas`` and ``expected_cost_e8`` are the plan's.
    ``traded_e8`` is what the wallet really gave away, at the deciding snapshot's prices, rounded
    down (``moves.given_away_e8``); ``share_ppm`` is cost over traded, rounded up, None when nothing
    was traded.
    """

    portfolio: str
    plan_id: str
    chain_id: int
    numeraire: str
    state: str
    transactions: tuple[TransactionGas, ...]
    lines: tuple[GasLine, ...]
    gas_used: int
    cost_wei: int
    cost_e8: int
    expected_gas: int
    expected_cost_e8: int
    traded_e8: int
    share_ppm: int | None
    order: str | None = None


@dataclass(frozen=True, slots=True)
class GasTotal:
    """Sums over rebalances of one chain and numeraire; other gas and money does not add.

    All of them, or with ``order``, an order's id, its slices.
    """

    chain_id: int
    numeraire: str
    rebalances: int
    transactions: int
    lines: tuple[GasLine, ...]
    gas_used: int
    cost_wei: int
    cost_e8: int
    expected_gas: int
    expected_cost_e8: int
    traded_e8: int
    share_ppm: int | None
    order: str | None = None


@dataclass(frozen=True, slots=True)
class KindGas:
    """What pairs and wrapped ether used for ``legs`` legs of one kind on one chain.

    Payments, quotes and the executor's own gas are not in it. Only of executions whose gas the node
    told apart.
    """

    chain_id: int
    kind: str
    legs: int
    gas: int


@dataclass(frozen=True, slots=True)
class GasAudit:
    """Rebalances oldest first, their totals by chain and numeraire, those of each order, and gas by
    kind of leg."""

    rebalances: tuple[RebalanceGas, ...]
    totals: tuple[GasTotal, ...]
    orders: tuple[GasTotal, ...] = ()
    kinds: tuple[KindGas, ...] = ()


def gas_audit(ledger: Ledger, portfolio: str | None = None) -> GasAudit:
    """Add up the gas of every rebalance that has a mined transaction.

    Components are as the bundler recorded them; ``reconcile`` reports a transaction whose
    components do not add up to its gas.
    """
    mined = [
        record
        for record in rebalances(ledger, portfolio)
        if any(tx.outcome is not None for tx in record.transactions)
    ]
    audited = [_rebalance(record, snapshot_of_plan(ledger, record.plan_id)) for record in mined]
    groups: dict[tuple[int, str], list[RebalanceGas]] = {}
    for item in audited:
        groups.setdefault((item.chain_id, item.numeraire), []).append(item)
    totals = tuple(_total(chain, name, items) for (chain, name), items in groups.items())
    slices: dict[str, list[RebalanceGas]] = {}
    for item in audited:
        if item.order is not None:
            slices.setdefault(item.order, []).append(item)
    orders = tuple(
        replace(_total(items[0].chain_id, items[0].numeraire, items), order=order_id)
        for order_id, items in slices.items()
    )
    return GasAudit(tuple(audited), totals, orders, _by_kind(mined))


def _by_kind(mined: Iterable[RebalanceRecord]) -> tuple[KindGas, ...]:
    found: dict[tuple[int, str], tuple[int, int]] = {}
    for record in mined:
        for outcome in (tx.outcome for tx in record.transactions):
            if outcome is None or not outcome.fills:
                continue
            gas = {component.name: component.gas for component in outcome.components}
            for kind, component in _COMPONENTS.items():
                legs = sum(leg.kind == kind for leg in record.plan.legs)
                if legs and component in gas:
                    key = (record.plan.chain_id, kind)
                    before = found.get(key, (0, 0))
                    found[key] = (before[0] + legs, before[1] + gas[component])
    return tuple(KindGas(*key, *sums) for key, sums in found.items())


def _rebalance(record: RebalanceRecord, snapshot: Snapshot) -> RebalanceGas:
    plan = record.plan
    mined = [tx.outcome for tx in record.transactions if tx.outcome is not None]
    cost_e8 = record.native.value_up(record.gas_cost_wei)
    traded_e8 = given_away_e8(plan, record.fills, snapshot)
    return RebalanceGas(
        portfolio=record.portfolio,
        plan_id=record.plan_id,
        chain_id=plan.chain_id,
        numeraire=plan.numeraire,
        state=record.state,
        transactions=tuple(_transaction(outcome, record.native) for outcome in mined),
        lines=_lines(mined, record.native),
        gas_used=record.gas_used,
        cost_wei=record.gas_cost_wei,
        cost_e8=cost_e8,
        expected_gas=plan.costs.gas_units,
        expected_cost_e8=plan.costs.gas_e8,
        traded_e8=traded_e8,
        share_ppm=_share(cost_e8, traded_e8),
        order=plan.order,
    )


def _transaction(outcome: TransactionOutcome, native: Price) -> TransactionGas:
    return TransactionGas(
        tx_hash=outcome.tx_hash,
        purpose=outcome.purpose,
        status=outcome.status,
        block_number=outcome.block_number,
        gas_used=outcome.gas_used,
        effective_gas_price_wei=outcome.effective_gas_price_wei,
        cost_wei=outcome.gas_cost_wei,
        cost_e8=native.value_up(outcome.gas_cost_wei),
        lines=_lines([outcome], native),
    )


def _lines(mined: Sequence[TransactionOutcome], native: Price) -> tuple[GasLine, ...]:
    """Components of several transactions by name, in order of first appearance."""
    gas: dict[str, int] = {}
    wei: dict[str, int] = {}
    for outcome in mined:
        for component in outcome.components:
            cost = component.gas * outcome.effective_gas_price_wei
            gas[component.name] = gas.get(component.name, 0) + component.gas
            wei[component.name] = wei.get(component.name, 0) + cost
    lines: list[GasLine] = []
    running_wei = running_e8 = 0
    for name, units in gas.items():
        running_wei += wei[name]
        cost_e8 = native.value_up(running_wei) - running_e8
        running_e8 += cost_e8
        lines.append(GasLine(name, units, wei[name], cost_e8))
    return tuple(lines)


def _total(chain_id: int, numeraire: str, items: Sequence[RebalanceGas]) -> GasTotal:
    cost_e8 = sum(item.cost_e8 for item in items)
    traded_e8 = sum(item.traded_e8 for item in items)
    return GasTotal(
        chain_id=chain_id,
        numeraire=numeraire,
        rebalances=len(items),
        transactions=sum(len(item.transactions) for item in items),
        lines=_merged(line for item in items for line in item.lines),
        gas_used=sum(item.gas_used for item in items),
        cost_wei=sum(item.cost_wei for item in items),
        cost_e8=cost_e8,
        expected_gas=sum(item.expected_gas for item in items),
        expected_cost_e8=sum(item.expected_cost_e8 for item in items),
        traded_e8=traded_e8,
        share_ppm=_share(cost_e8, traded_e8),
    )


def _merged(lines: Iterable[GasLine]) -> tuple[GasLine, ...]:
    merged: dict[str, GasLine] = {}
    for line in lines:
        old = merged.get(line.component, GasLine(line.component, 0, 0, 0))
        merged[line.component] = GasLine(
            line.component,
            old.gas + line.gas,
            old.cost_wei + line.cost_wei,
            old.cost_e8 + line.cost_e8,
        )
    return tuple(merged.values())


def _share(cost_e8: int, traded_e8: int) -> int | None:
    return mul_div_up(cost_e8, PPM, traded_e8) if traded_e8 else None
