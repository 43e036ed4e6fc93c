"""What the past says about the next decision: turnover, prices as they were, what was held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Select, func, select

from rebalancer.ledger import log
from rebalancer.ledger.schema import decisions
from rebalancer.ledger.store import Ledger
from rebalancer.model import Amount, Plan, Price, Snapshot, Token


@dataclass(frozen=True, slots=True)
class PastPrices:
    """The prices of one recorded snapshot, at its block's time (unix seconds)."""

    block_ts: int
    snapshot: Snapshot

    @property
    def prices(self) -> tuple[Price, ...]:
        return self.snapshot.prices


def turnover_e8(
    ledger: Ledger, portfolio: str, after_ts: int, until_ts: int, up_to_block: int | None = None
) -> int:
    """What executed plans decided after ``after_ts`` were to sell, in 1e-8 of the numeraire.

    Up to and with ``until_ts``; both are times of the blocks that were decided on. With
    ``up_to_block`` only what was executed by the end of that block.
    """
    columns = decisions.c
    statement = _executed(portfolio, up_to_block).where(
        columns.block_ts > after_ts, columns.block_ts <= until_ts
    )
    with ledger.reading() as connection:
        plan_ids = {row.plan_id for row in connection.execute(statement)}
        return sum(
            log.get(connection, Plan, plan_id).costs.traded_e8
            for plan_id in plan_ids
            if plan_id is not None
        )


def past_prices(
    ledger: Ledger, portfolio: str, chain_id: int, after_ts: int, until_ts: int, every_s: int
) -> Sequence[PastPrices]:
    """Recorded snapshots after ``after_ts`` and up to ``until_ts``, oldest first.

    Of each ``every_s`` seconds, counted from the epoch, the newest one: what is taken does not
    depend on when one asks.
    """
    columns = decisions.c
    newest = (
        select(func.max(columns.event))
        .where(
            columns.portfolio == portfolio,
            columns.chain_id == chain_id,
            columns.block_ts > after_ts,
            columns.block_ts <= until_ts,
        )
        .group_by(columns.block_ts - columns.block_ts % every_s)
    )
    statement = (
        select(columns.block_ts, columns.snapshot)
        .where(columns.event.in_(newest))
        .order_by(columns.block_ts, columns.event)
    )
    with ledger.reading() as connection:
        return [
            PastPrices(row.block_ts, log.get(connection, Snapshot, row.snapshot))
            for row in connection.execute(statement)
        ]


def expected_balances(
    ledger: Ledger, portfolio: str, until_ts: int, up_to_block: int | None = None
) -> Mapping[Token, int]:
    """What the wallet would hold if nothing had come or gone since the last rebalance.

    The balances that its plan was made on, and its net changes; before the first rebalance, the
    balances of the first recorded decision. Empty where nothing is recorded. Ether above a gas
    reserve counts as wrapped, before the gas that was paid. With ``up_to_block`` the last rebalance
    that was executed by the end of that block.
    """
    columns = decisions.c
    with ledger.reading() as connection:
        executed = _executed(portfolio, up_to_block).where(columns.block_ts <= until_ts)
        last = connection.execute(executed.order_by(columns.event.desc()).limit(1)).first()
        if last is not None and last.plan_id is not None:
            plan = log.get(connection, Plan, last.plan_id)
            changes = {change.token: change.raw for change in plan.net}
            return _balances(connection, last.snapshot, changes)
        first = connection.execute(
            select(columns.snapshot)
            .where(columns.portfolio == portfolio, columns.block_ts <= until_ts)
            .order_by(columns.event)
            .limit(1)
        ).scalar_one_or_none()
        return {} if first is None else _balances(connection, first, {})


def average_costs(
    ledger: Ledger,
    portfolio: str,
    now: Snapshot,
    opening: Mapping[str, int],
    up_to_block: int | None = None,
) -> Mapping[str, int]:
    """What each token that is held cost on average, in 1e-18 of the numeraire for a whole one.

    By symbol. What was there when the ledger first saw it cost what ``opening`` says, else the
    price of then; what came later cost the price at which it is first seen, or bought, without what
    trading cost; what goes takes its part of the cost along, so that the average stays (decision
    21). Rounded down: a gain is never told too small.
    What was recorded in another numeraire tells nothing.
    """
    columns = decisions.c
    held: dict[Token, tuple[int, int]] = {}
    with ledger.reading() as connection:
        first = connection.execute(
            select(columns.snapshot)
            .where(columns.portfolio == portfolio, columns.block_ts <= now.block.timestamp)
            .order_by(columns.event)
            .limit(1)
        ).scalar_one_or_none()
        looks: list[tuple[str, str | None]] = [] if first is None else [(first, None)]
        executed = _executed(portfolio, up_to_block).where(columns.block_ts <= now.block.timestamp)
        rows = connection.execute(executed.order_by(columns.event)).all()
        looks += [(row.snapshot, row.plan_id) for row in rows]
        for snapshot, plan_id in looks:
            seen = log.get(connection, Snapshot, snapshot)
            if seen.numeraire != now.numeraire:
                continue
            _move(held, seen, _balances(connection, snapshot, {}), opening)
            if plan_id is not None:
                net = log.get(connection, Plan, plan_id).net
                changes = {change.token: change.raw for change in net}
                _move(held, seen, _balances(connection, snapshot, changes), opening)
    _move(held, now, {a.token: now.owned(a.token) for a in now.balances}, opening)
    return {token.symbol: cost for token, (raw, cost) in held.items() if raw}


def _move(
    held: dict[Token, tuple[int, int]],
    seen: Snapshot,
    there: Mapping[Token, int],
    opening: Mapping[str, int],
) -> None:
    """Bring ``held``, units and average cost of each token, to what is ``there`` at a snapshot."""
    prices = {price.token: price for price in seen.prices}
    for token, raw in there.items():
        before, cost = held.get(token, (0, 0))
        price = prices.get(token)
        if raw > before and price is not None:
            at = price.numerator * 10 ** (10 + token.decimals) // price.denominator
            at = at if token in held else opening.get(token.symbol, at)
            cost = (before * cost + (raw - before) * at) // raw
        if price is not None or token in held:
            held[token] = raw, cost


def _balances(
    connection: Connection, snapshot: str, changes: Mapping[Token, int]
) -> Mapping[Token, int]:
    before = log.get(connection, Snapshot, snapshot)
    after = replace(
        before,
        balances=tuple(Amount(a.token, a.raw + changes.get(a.token, 0)) for a in before.balances),
        native_wei=before.native_wei + changes.get(before.native.token, 0),
    )
    return {a.token: after.owned(a.token) for a in after.balances}


def _executed(portfolio: str, up_to_block: int | None = None) -> Select[str | None, str]:
    """Plan and snapshot of decisions whose ``execute`` transaction succeeded."""
    return select(decisions.c.plan_id, decisions.c.snapshot).where(
        decisions.c.event.in_(log.executed(portfolio, up_to_block))
    )
