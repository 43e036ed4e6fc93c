"""What bears on a decision besides the snapshot: the calendar, the ledger's past, who asks."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from rebalancer.config.calendar import next_fire_ts
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.errors import ConfigError
from rebalancer.keeper.gas import schedule_for
from rebalancer.ledger.gas_history import gas_samples
from rebalancer.ledger.history import average_costs, expected_balances, past_prices, turnover_e8
from rebalancer.ledger.store import Ledger
from rebalancer.model import (
    PPM,
    Amount,
    Circumstances,
    Policy,
    Price,
    Snapshot,
    Target,
    parse_units,
)
from rebalancer.planner.bands import group_of
from rebalancer.planner.gas_correction import corrected_by
from rebalancer.planner.metric import COVARIANCE_UNIT
from rebalancer.planner.volatility import Observation, covariances, relative_volatilities

DAY_S = 86_400
#: How many observations of a half-life are looked at, and how many half-lives back.
_PER_HALF_LIFE = 24
_HALF_LIVES = 5


def circumstances(
    resolved: ResolvedPortfolio,
    snapshot: Snapshot,
    targets: Sequence[Target],
    last_rebalance_ts: int | None,
    ledger: Ledger | None,
    withdrawal: Amount | None = None,
    up_to_block: int | None = None,
) -> Circumstances:
    """The circumstances at the snapshot's block; without a ledger nothing is known of the past.

    Only what was recorded up to that block counts; with ``up_to_block``, a block of the past, only
    what was executed by its end.
    """
    policy, name = resolved.policy, resolved.portfolio.name
    due_ts = None
    if policy.calendar_cron is not None and last_rebalance_ts is not None:
        due_ts = next_fire_ts(policy.calendar_cron, last_rebalance_ts)
    now_ts = snapshot.block.timestamp
    gas = schedule_for(resolved, (amount.token for amount in snapshot.balances))
    if ledger is None:
        return Circumstances(calendar_due_ts=due_ts, withdrawal=withdrawal, gas=gas)
    sold = 0
    if policy.max_turnover_ppm is not None:
        sold = turnover_e8(ledger, name, now_ts - DAY_S, now_ts, up_to_block)
    return Circumstances(
        calendar_due_ts=due_ts,
        turnover_e8=sold,
        deposits=_deposits(ledger, name, snapshot, targets, up_to_block),
        withdrawal=withdrawal,
        volatilities=_volatilities(ledger, name, snapshot, targets, policy),
        costs=_costs(ledger, name, snapshot, targets, policy, up_to_block),
        covariances=_covariances(ledger, name, snapshot, targets, policy),
        gas=gas,
        gas_correction=corrected_by(
            gas, gas_samples(ledger, name, snapshot.block.chain_id, now_ts, up_to_block)
        ),
    )


def withdrawal_of(resolved: ResolvedPortfolio, text: str) -> Amount:
    """Read ``50000 USDC`` as an amount; raises ConfigError for anything else."""
    network, (number, _, symbol) = resolved.network, text.strip().partition(" ")
    symbol, example = symbol.strip(), 'write it like --raise "50000 USDC"'
    if not symbol:
        raise ConfigError(f"--raise {text!r} is not an amount and a token", hint=example)
    if symbol not in network.tokens:
        meant = next((name for name in network.tokens if name.lower() == symbol.lower()), None)
        if symbol == network.native.symbol:
            meant = network.wrapped if network.wrapped in network.tokens else None
        raise ConfigError(
            f"--raise {text!r}: {network.name} has no token {symbol!r}",
            hint=f"ask for {meant}" if meant else f"it has {', '.join(network.tokens)}",
        )
    token = network.token(symbol)
    try:
        raw = parse_units(number, token.decimals)
    except ValueError as error:
        raise ConfigError(f"--raise {text!r}: {error}", hint=example) from None
    if raw <= 0:
        raise ConfigError(
            f"--raise {text!r} asks for nothing",
            hint=f"ask for an amount above 0: {example}",
        )
    return Amount(token, raw)


def _deposits(
    ledger: Ledger,
    name: str,
    snapshot: Snapshot,
    targets: Sequence[Target],
    up_to_block: int | None,
) -> tuple[Amount, ...]:
    """What there is of the portfolio's tokens beyond what the record leads one to expect."""
    expected = expected_balances(ledger, name, snapshot.block.timestamp, up_to_block)
    positions = {target.position for target in targets}
    return tuple(
        Amount(a.token, owned - expected[a.token])
        for a in snapshot.balances
        for owned in [snapshot.owned(a.token)]
        if a.token.symbol in positions and owned > expected.get(a.token, owned)
    )


def _costs(
    ledger: Ledger,
    name: str,
    snapshot: Snapshot,
    targets: Sequence[Target],
    policy: Policy,
    up_to_block: int | None,
) -> tuple[tuple[str, int], ...]:
    """What the portfolio's tokens cost on average, where a tax on gains asks for it."""
    if not policy.tax_rate_ppm:
        return ()
    positions = {target.position for target in targets}
    found = average_costs(ledger, name, snapshot, dict(policy.tax_costs), up_to_block)
    return tuple(sorted(item for item in found.items() if item[0] in positions))


def _volatilities(
    ledger: Ledger, name: str, snapshot: Snapshot, targets: Sequence[Target], policy: Policy
) -> tuple[tuple[str, int], ...]:
    half_life_s = policy.volatility_half_life_s
    if half_life_s is None:
        return ()
    now_ts = snapshot.block.timestamp
    history = _history(ledger, name, snapshot, half_life_s)
    groups: dict[str, dict[str, float]] = {}
    for target in targets:
        groups.setdefault(group_of(target), {})[target.position] = target.weight_ppm / PPM
    measured = relative_volatilities(history, groups, now_ts, half_life_s)
    return tuple(sorted(measured.items()))


def _covariances(
    ledger: Ledger, name: str, snapshot: Snapshot, targets: Sequence[Target], policy: Policy
) -> tuple[tuple[str, str, int], ...]:
    """Of all tokens of the portfolio, those that LP positions hold too."""
    half_life_s = policy.risk_half_life_s
    if half_life_s is None:
        return ()
    positions = {target.position for target in targets}
    symbols = {a.token.symbol for a in snapshot.balances} & positions
    for pair in snapshot.pairs:
        symbols |= {pair.token0.symbol, pair.token1.symbol} if pair.name in positions else set()
    history = _history(ledger, name, snapshot, half_life_s)
    found = covariances(history, sorted(symbols), snapshot.block.timestamp, half_life_s)
    return tuple((*both, round(value * COVARIANCE_UNIT)) for both, value in sorted(found.items()))


def _history(ledger: Ledger, name: str, snapshot: Snapshot, half_life_s: int) -> list[Observation]:
    """Prices as the ledger recorded them up to the snapshot, and the snapshot's own."""
    now_ts = snapshot.block.timestamp
    past = past_prices(
        ledger,
        name,
        snapshot.block.chain_id,
        now_ts - _HALF_LIVES * half_life_s,
        now_ts,
        max(half_life_s // _PER_HALF_LIFE, 1),
    )
    history = [Observation(p.block_ts, _prices(p.snapshot)) for p in past]
    return [*history, Observation(now_ts, _prices(snapshot))]


def _prices(snapshot: Snapshot) -> dict[str, float]:
    """Prices of tokens by symbol, and of LP positions by name: as the product of its two's roots.

    A pair's fair price moves so while nobody trades; its fees are no volatility.
    """
    prices = {price.token: _ratio(price) for price in snapshot.prices}
    found = {token.symbol: price for token, price in prices.items()}
    for pair in snapshot.pairs:
        if pair.token0 in prices and pair.token1 in prices:
            found[pair.name] = sqrt(prices[pair.token0] * prices[pair.token1])
    return found


def _ratio(price: Price) -> float:
    return price.numerator / price.denominator
