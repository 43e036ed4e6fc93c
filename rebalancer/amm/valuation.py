"""A snapshot valued against its targets: NAV, weights, drift, exposure, impermanent loss.

Only positions that the targets name belong to the portfolio; whatever else the wallet holds is left
out of NAV, weights and exposures. A position that is named but not held counts 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rebalancer.amm.checks import check_price
from rebalancer.amm.fair import fair_value_e8, spot_value_e8
from rebalancer.amm.impermanent_loss import against_entry
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
)


def value(snapshot: Snapshot, targets: Sequence[Target]) -> Valuation:
    """Value ``snapshot`` in 1e-8 of its numeraire, positions in the order of ``targets``.

    Tokens are worth their oracle price, LP shares their fair price, each rounded down. Weights are
    shares of NAV, and the exposures' of their own sum (which a pool off the oracle's price moves
    away from NAV); both add up to exactly 1_000_000 ppm by largest remainder. Raises PlanError for
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
        exposures=_exposures(snapshot, targets),
        native_value_e8=snapshot.native.value_down(snapshot.native_wei),
        unread=_unread(snapshot, targets),
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
        value_e8 = _price(snapshot, amount.token).value_down(amount.raw)
    elif (held := _lp_holding(snapshot, target.position)) is not None:
        value_e8, lp = _lp_detail(snapshot, *held)
    return PositionValue(
        name=target.position,
        value_e8=value_e8,
        weight_ppm=0,
        target_ppm=target.weight_ppm,
        drift_e8=0,
        lp=lp,
    )


def _lp_detail(snapshot: Snapshot, pair: PairState, holding: LpHolding) -> tuple[int, LpDetail]:
    """Fair value of ``holding``, and how it is made up."""
    price0, price1 = _price(snapshot, pair.token0), _price(snapshot, pair.token1)
    amount0, amount1 = redeemable(pair, holding.shares)
    result = (
        against_entry(pair, holding.shares, holding.entry, price0, price1)
        if holding.entry is not None
        else None
    )
    detail = LpDetail(
        pair=pair.address,
        shares=holding.shares,
        amount0=amount0,
        amount1=amount1,
        spot_value_e8=spot_value_e8(pair, holding.shares, price0, price1),
        held_value_e8=result.held_e8 if result else None,
        il_e8=result.il_e8 if result else None,
        fees_e8=result.fees_e8 if result else None,
    )
    return fair_value_e8(pair, holding.shares, price0, price1), detail


def _drift_e8(position: PositionValue, nav_e8: int) -> int:
    """Value beyond the target's share of NAV, rounded towards 0."""
    scaled = position.value_e8 * PPM - position.target_ppm * nav_e8
    return scaled // PPM if scaled >= 0 else -(-scaled // PPM)


def _exposures(snapshot: Snapshot, targets: Sequence[Target]) -> tuple[Exposure, ...]:
    """Value per token that the positions hold, directly or through a pair; none that are 0."""
    raws: dict[Token, int] = {}
    for target in targets:
        for amount in _look_through(snapshot, target.position):
            if amount.raw:
                raws[amount.token] = raws.get(amount.token, 0) + amount.raw
    values = [_price(snapshot, token).value_down(raw) for token, raw in raws.items()]
    return tuple(
        Exposure(token.symbol, raw, value_e8, weight_ppm)
        for (token, raw), value_e8, weight_ppm in zip(
            raws.items(), values, shares_ppm(values), strict=True
        )
    )


def _look_through(snapshot: Snapshot, position: str) -> Iterator[Amount]:
    """The token amounts that ``position`` consists of."""
    if (amount := _token_amount(snapshot, position)) is not None:
        yield amount
    elif (held := _lp_holding(snapshot, position)) is not None:
        pair, holding = held
        amount0, amount1 = redeemable(pair, holding.shares)
        yield Amount(pair.token0, amount0)
        yield Amount(pair.token1, amount1)


def _token_amount(snapshot: Snapshot, symbol: str) -> Amount | None:
    return next((a for a in snapshot.balances if a.token.symbol == symbol), None)


def _lp_holding(snapshot: Snapshot, name: str) -> tuple[PairState, LpHolding] | None:
    """The pair called ``name`` and the wallet's shares of it, if it holds any."""
    for holding in snapshot.holdings:
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


def _price(snapshot: Snapshot, token: Token) -> Price:
    try:
        price = snapshot.price(token)
    except KeyError:
        raise ReadError(
            f"there is no price for {token.symbol} at block {snapshot.block.number}",
            hint=f"give {token.symbol} a feed in networks.yaml",
            block=snapshot.block.number,
        ) from None
    check_price(price, token)
    return price


def _check_targets(targets: Sequence[Target]) -> None:
    seen: set[str] = set()
    for target in targets:
        if target.position in seen:
            raise PlanError(f"{target.position} is targeted twice", hint="name each position once")
        seen.add(target.position)
