"""A snapshot valued against its targets: NAV, weights, drift, exposure, impermanent loss.

Only positions that the targets name belong to the portfolio; whatever else the wallet holds is left
out of NAV, weights and exposures. A position that is named but not held counts 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rebalancer.amm.checks import price_of
from rebalancer.amm.fair import fair_value_e8, spot_value_e8
from rebalancer.amm.impermanent_loss import LpResult, against_entry, against_lots
from rebalancer.amm.liquidity import redeemable
from rebalancer.errors import PlanError, ReadError
from rebalancer.model import (
    PPM,
    UNREADABLE,
    Amount,
    Exposure,
    LpDetail,
    LpHolding,
    PairState,
    PositionValue,
    Price,
    Snapshot,
    Target,
    Token,
    Valuation,
    digest,
    mul_div_down,
)


@dataclass(frozen=True, slots=True)
class WalletPart:
    """One wallet's part: what it holds (``own``), and its positions, without weights and drift."""

    wallet: str
    own: Snapshot
    positions: tuple[PositionValue, ...]

    @property
    def value_e8(self) -> int:
        return sum(position.value_e8 for position in self.positions)


def value(snapshot: Snapshot, targets: Sequence[Target]) -> Valuation:
    """Value ``snapshot`` in 1e-8 of its numeraire, positions in the order of ``targets``.

    Tokens are worth their oracle price, LP shares their fair price and what a farm owes for them,
    each rounded down; what the watched wallets have counts, and so does the native token above a
    gas reserve, as its wrapped token. Weights of positions and of exposures
    are shares of NAV and add up to exactly 1_000_000 ppm by largest remainder. Raises PlanError for
    a portfolio worth nothing or a position targeted twice, ReadError for a missing price.
    """
    _check_targets(targets)
    unweighted = [_position(snapshot, target) for target in targets]
    nav_e8 = sum(position.value_e8 for position in unweighted)
    if nav_e8 == 0:
        raise PlanError(
            f"the portfolio is worth nothing at block {snapshot.block.number}: none of "
            f"{', '.join(t.position for t in targets) or 'its positions'} is held",
            hint="check the wallet's address, or send it a first deposit",
            block=snapshot.block.number,
        )
    weights = shares_ppm([position.value_e8 for position in unweighted])
    return Valuation(
        parent=digest(snapshot),
        block_number=snapshot.block.number,
        block_hash=snapshot.block.hash,
        numeraire=snapshot.numeraire,
        nav_e8=nav_e8,
        positions=tuple(
            replace(position, weight_ppm=weight, drift_e8=_drift_e8(position, nav_e8))
            for position, weight in zip(unweighted, weights, strict=True)
        ),
        exposures=_exposures(snapshot, targets, unweighted),
        native_value_e8=snapshot.native.value_down(snapshot.native_wei - snapshot.surplus_wei),
        unread=_unread(snapshot, targets),
    )


def by_wallet(snapshot: Snapshot, targets: Sequence[Target]) -> tuple[WalletPart, ...]:
    """What of the positions each wallet has, the trading one first.

    Rounded down wallet by wallet, so that together they can be some units less than NAV.
    """
    return tuple(
        WalletPart(own.wallet, own, tuple(_position(own, target) for target in targets))
        for own in snapshot.alone()
    )


def shares_ppm(values: Sequence[int]) -> list[int]:
    """Shares of the sum in ppm that add up to exactly 1_000_000, by largest remainder.

    Every share is one of the two integers around its exact value; of equal remainders the earlier
    gets the unit. All 0 when the sum is.
    """
    total = sum(values)
    if total == 0:
        return [0] * len(values)
    parts = [divmod(v * PPM, total) for v in values]
    shares = [floor for floor, _ in parts]
    by_remainder = sorted(range(len(parts)), key=lambda i: -parts[i][1])
    for index in by_remainder[: PPM - sum(shares)]:
        shares[index] += 1
    return shares


def _unread(snapshot: Snapshot, targets: Sequence[Target]) -> tuple[str, ...]:
    """Names of the positions that the snapshot could not read, in the order of ``targets``."""
    unreadable = {item.name for item in snapshot.held_out if item.code == UNREADABLE}
    return tuple(target.position for target in targets if target.position in unreadable)


def _position(snapshot: Snapshot, target: Target) -> PositionValue:
    """The position of ``target``, its weight and drift still open."""
    value_e8, lp = 0, None
    if (amount := _token_amount(snapshot, target.position)) is not None:
        price = price_of(snapshot, amount.token)
        # Each by itself, so that what a trade costs the wallet is what it costs NAV, to the unit.
        watched = price.value_down(snapshot.watched_balance(amount.token))
        value_e8 = price.value_down(snapshot.owned(amount.token)) + watched
    elif (held := _lp_holding(snapshot, target.position)) is not None:
        value_e8, lp = _lp_detail(snapshot, *held)
    return PositionValue(
        name=target.position,
        value_e8=value_e8,
        weight_ppm=0,
        target_ppm=target.weight_ppm,
        drift_e8=0,
        lp=lp,
        bucket=target.bucket,
    )


def _lp_detail(snapshot: Snapshot, pair: PairState, holding: LpHolding) -> tuple[int, LpDetail]:
    """Value of ``holding`` with its rewards, and how it is made up."""
    price0, price1 = price_of(snapshot, pair.token0), price_of(snapshot, pair.token1)
    amount0, amount1 = redeemable(pair, holding.shares)
    result = _against_the_past(pair, holding, price0, price1)
    reward = _reward(holding)
    reward_value_e8 = price_of(snapshot, reward.token).value_down(reward.raw) if reward else 0
    detail = LpDetail(
        pair=pair.address,
        shares=holding.shares,
        amount0=amount0,
        amount1=amount1,
        spot_value_e8=spot_value_e8(pair, holding.shares, price0, price1),
        held_value_e8=result.held_e8 if result else None,
        il_e8=result.il_e8 if result else None,
        fees_e8=result.fees_e8 if result else None,
        staked=holding.staked,
        reward_value_e8=reward_value_e8,
    )
    return fair_value_e8(pair, holding.shares, price0, price1) + reward_value_e8, detail


def _against_the_past(
    pair: PairState, holding: LpHolding, price0: Price, price1: Price
) -> LpResult | None:
    """Against the lots where they are known, else against the one entry, if that is."""
    if holding.lots:
        return against_lots(pair, holding.lots, price0, price1)
    if holding.entry is not None:
        return against_entry(pair, holding.shares, holding.entry, price0, price1)
    return None


def _reward(holding: LpHolding) -> Amount | None:
    """What a farm owes for ``holding``, in a token that has a price."""
    reward = holding.reward
    return Amount(reward.token, reward.raw) if reward and reward.token else None


def _drift_e8(position: PositionValue, nav_e8: int) -> int:
    """Value beyond the target's share of NAV, rounded towards 0."""
    scaled = position.value_e8 * PPM - position.target_ppm * nav_e8
    return scaled // PPM if scaled >= 0 else -(-scaled // PPM)


def _exposures(
    snapshot: Snapshot, targets: Sequence[Target], positions: Sequence[PositionValue]
) -> tuple[Exposure, ...]:
    """Value per token that the positions hold, directly or through a pair; none that are 0."""
    raws: dict[Token, int] = {}
    values: dict[Token, int] = {}
    for position in positions:
        for amount, value_e8 in _look_through(snapshot, position):
            raws[amount.token] = raws.get(amount.token, 0) + amount.raw
            values[amount.token] = values.get(amount.token, 0) + value_e8
    tokens = [token for token, raw in raws.items() if raw or values[token]]
    weights = shares_ppm([values[token] for token in tokens])
    multipliers = {target.position: target.multiplier_ppm for target in targets}
    return tuple(
        Exposure(
            symbol=token.symbol,
            raw=raws[token],
            value_e8=values[token],
            weight_ppm=weight_ppm,
            notional_e8=_notional_e8(values[token], multipliers.get(token.symbol, PPM)),
        )
        for token, weight_ppm in zip(tokens, weights, strict=True)
    )


def _notional_e8(value_e8: int, multiplier_ppm: int) -> int | None:
    """Exposure that the value gives, rounded down; None where it is the value itself."""
    return None if multiplier_ppm == PPM else mul_div_down(value_e8, multiplier_ppm, PPM)


def _look_through(snapshot: Snapshot, position: PositionValue) -> Iterator[tuple[Amount, int]]:
    """The token amounts that ``position`` consists of, and the value that each of them is of it."""
    if (amount := _token_amount(snapshot, position.name)) is not None:
        raw = snapshot.owned(amount.token) + snapshot.watched_balance(amount.token)
        yield Amount(amount.token, raw), position.value_e8
    elif position.lp and (held := _lp_holding(snapshot, position.name)) is not None:
        pair, holding = held
        fair_e8 = position.value_e8 - position.lp.reward_value_e8
        yield Amount(pair.token0, position.lp.amount0), fair_e8 // 2
        yield Amount(pair.token1, position.lp.amount1), fair_e8 - fair_e8 // 2
        if (reward := _reward(holding)) is not None:
            yield reward, position.lp.reward_value_e8


def _token_amount(snapshot: Snapshot, symbol: str) -> Amount | None:
    return next((a for a in snapshot.balances if a.token.symbol == symbol), None)


def _lp_holding(snapshot: Snapshot, name: str) -> tuple[PairState, LpHolding] | None:
    """The pair called ``name`` and the shares of it that all wallets have, if it is held."""
    for holding in snapshot.whole().holdings:
        try:
            pair = snapshot.pair(holding.pair)
        except KeyError:
            raise ReadError(f"the pair at {holding.pair} is held but was not read") from None
        if pair.name == name:
            if holding.shares > pair.total_supply:
                raise ReadError(
                    f"{holding.shares} shares of {name} are held, but {pair.total_supply} exist",
                    hint="balance and supply must come from one block; see docs/amm.md",
                    block=snapshot.block.number,
                )
            return pair, holding
    return None


def _check_targets(targets: Sequence[Target]) -> None:
    seen: set[str] = set()
    for target in targets:
        if target.position in seen:
            raise PlanError(f"{target.position} is targeted twice", hint="name each position once")
        seen.add(target.position)
