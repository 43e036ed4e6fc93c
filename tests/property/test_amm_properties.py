"""What must hold for every pool, price and amount; no chain needed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rebalancer.amm import (
    UINT112_MAX,
    added_amounts,
    against_entry,
    amount_out_at_spot,
    amount_to_fee_band,
    apply_burn,
    apply_mint,
    apply_swap,
    effective_total_supply,
    fair_value_e8,
    get_amount_in,
    get_amount_out,
    invariant_holds,
    max_amount_out,
    price_impact_ppm,
    redeemable,
    shares_ppm,
    spot_value_e8,
    whole_amounts,
)
from rebalancer.errors import Infeasible
from rebalancer.model import PPM, LpEntry, PairState, Price, Token

T0, T1 = Token("0x" + "0" * 40, "T0", 18), Token("0x" + "1" * 40, "T1", 6)

thorough = settings(deadline=None, derandomize=True, max_examples=300)

reserves = st.integers(1, UINT112_MAX)
amounts = st.integers(0, UINT112_MAX)
fees = st.integers(0, PPM - 1)
ratios = st.integers(1, 10**40)


@st.composite
def prices(draw: st.DrawFn) -> tuple[Price, Price]:
    return (
        Price(T0, draw(ratios), draw(ratios), "feed", 0),
        Price(T1, draw(ratios), draw(ratios), "feed", 0),
    )


@st.composite
def pairs(draw: st.DrawFn) -> PairState:
    reserve0, reserve1 = draw(reserves), draw(reserves)
    return PairState(
        address="0x",
        amm="v2",
        token0=T0,
        token1=T1,
        fee_ppm=draw(fees),
        reserve0=reserve0,
        reserve1=reserve1,
        total_supply=draw(st.integers(1_001, UINT112_MAX)),
        k_last=draw(st.integers(0, reserve0 * reserve1)),
        protocol_fee_on=draw(st.booleans()),
    )


@thorough
@given(amounts, reserves, reserves)
def test_uniswap_fee__is_the_library_formula(
    amount_in: int, reserve_in: int, reserve_out: int
) -> None:
    with_fee = amount_in * 997
    expected = with_fee * reserve_out // (reserve_in * 1_000 + with_fee)
    assert get_amount_out(amount_in, reserve_in, reserve_out, 3_000) == expected


@thorough
@given(amounts, reserves, reserves, fees)
def test_amount_out__is_the_last_that_the_invariant_lets_go(
    amount_in: int, reserve_in: int, reserve_out: int, fee_ppm: int
) -> None:
    amount_out = get_amount_out(amount_in, reserve_in, reserve_out, fee_ppm)
    assert amount_out == max_amount_out(amount_in, reserve_in, reserve_out, fee_ppm)
    for more in (0, 1):
        assert invariant_holds(
            reserve_in,
            reserve_out,
            fee_ppm,
            amount0_in=amount_in,
            amount1_out=amount_out + more,
        ) == (more == 0)


@thorough
@given(st.data(), reserves, st.integers(2, UINT112_MAX), fees)
def test_amount_in__is_the_least_that_buys_it(
    data: st.DataObject, reserve_in: int, reserve_out: int, fee_ppm: int
) -> None:
    amount_out = data.draw(st.integers(1, reserve_out - 1))
    amount_in = get_amount_in(amount_out, reserve_in, reserve_out, fee_ppm)
    assert get_amount_out(amount_in, reserve_in, reserve_out, fee_ppm) >= amount_out
    assert get_amount_out(amount_in - 1, reserve_in, reserve_out, fee_ppm) < amount_out


@thorough
@given(amounts, amounts, reserves, reserves, fees)
def test_max_amount_out__both_sides_paid__is_the_last_that_passes(
    amount_in: int, also_paid: int, reserve_in: int, reserve_out: int, fee_ppm: int
) -> None:
    most = max_amount_out(amount_in, reserve_in, reserve_out, fee_ppm, also_paid=also_paid)
    assert 0 <= most < reserve_out
    for more in (0, 1):
        passes = most + more < reserve_out and invariant_holds(
            reserve_in,
            reserve_out,
            fee_ppm,
            amount0_in=amount_in,
            amount1_in=also_paid,
            amount1_out=most + more,
        )
        assert passes == (more == 0)


@thorough
@given(amounts, reserves, reserves, fees)
def test_parts_of_a_price__multiply_to_what_is_paid(
    amount_in: int, reserve_in: int, reserve_out: int, fee_ppm: int
) -> None:
    pool = amount_in, reserve_in, reserve_out
    exact_at_spot = Fraction(amount_in * reserve_out, reserve_in)
    after_fee = exact_at_spot * (PPM - fee_ppm) / PPM
    assert amount_out_at_spot(*pool) == int(exact_at_spot)
    assert amount_out_at_spot(*pool, fee_ppm) == int(after_fee)
    impact_ppm = price_impact_ppm(*pool, fee_ppm)
    assert 0 <= impact_ppm <= PPM
    paid = get_amount_out(*pool, fee_ppm)
    # Impact is rounded up and the payment down, by less than one unit each.
    assert after_fee * (PPM - impact_ppm) / PPM <= paid + 1
    assert paid <= after_fee * (PPM - impact_ppm + 1) / PPM


@thorough
@given(pairs(), amounts)
def test_swap_there_and_back__never_gains(pair: PairState, amount_in: int) -> None:
    try:
        there, amount_out = apply_swap(pair, T0, amount_in)
        back, returned = apply_swap(there, T1, amount_out)
    except Infeasible:
        assume(False)
    assert returned <= amount_in
    assert back.reserve0 * back.reserve1 >= pair.reserve0 * pair.reserve1


@thorough
@given(pairs(), amounts, amounts)
def test_mint_and_burn__never_gains(pair: PairState, amount0: int, amount1: int) -> None:
    try:
        minted, shares = apply_mint(pair, amount0, amount1)
        burned, back0, back1 = apply_burn(minted, shares)
    except Infeasible:
        assume(False)
    assert back0 <= amount0
    assert back1 <= amount1
    assert burned.total_supply == effective_total_supply(pair)


@thorough
@given(pairs(), prices(), st.data())
def test_fair_value__is_the_floor_of_the_formula_and_at_most_spot(
    pair: PairState, both: tuple[Price, Price], data: st.DataObject
) -> None:
    shares = data.draw(st.integers(0, pair.total_supply))
    fair = fair_value_e8(pair, shares, *both)
    p0, p1 = (Fraction(p.numerator, p.denominator) for p in both)
    supply = effective_total_supply(pair)
    square = 4 * pair.reserve0 * pair.reserve1 * p0 * p1 * Fraction(shares, supply) ** 2
    assert fair**2 <= square < (fair + 1) ** 2
    # Spot loses less than one smallest unit of each token and less than one e8 for each.
    assert fair <= spot_value_e8(pair, shares, *both) + p0 + p1 + 2


@thorough
@given(pairs(), prices(), amounts, st.sampled_from([T0, T1]))
def test_fair_value__a_swap_never_lowers_it(
    pair: PairState, both: tuple[Price, Price], amount_in: int, token: Token
) -> None:
    pair = replace(pair, protocol_fee_on=False)
    try:
        after, _ = apply_swap(pair, token, amount_in)
    except Infeasible:
        assume(False)
    shares = pair.total_supply
    assert fair_value_e8(after, shares, *both) >= fair_value_e8(pair, shares, *both)


@thorough
@given(pairs(), prices(), reserves, reserves, st.integers(1, UINT112_MAX), st.data())
def test_impermanent_loss__parts_add_up_and_the_loss_is_none_or_a_loss(
    pair: PairState,
    both: tuple[Price, Price],
    reserve0: int,
    reserve1: int,
    supply: int,
    data: st.DataObject,
) -> None:
    shares = data.draw(st.integers(0, pair.total_supply))
    result = against_entry(pair, shares, LpEntry(1, reserve0, reserve1, supply), *both)
    assert result.value_e8 == fair_value_e8(pair, shares, *both)
    assert result.value_e8 == result.held_e8 + result.il_e8 + result.fees_e8
    assert result.il_e8 <= 0
    p0, p1 = (Fraction(p.numerator, p.denominator) for p in both)
    assert result.held_e8 == int((reserve0 * p0 + reserve1 * p1) * shares / supply)


@thorough
@given(pairs(), prices(), amounts)
def test_fees__a_position_as_entered__has_none_and_trading_never_makes_them_negative(
    pair: PairState, both: tuple[Price, Price], amount_in: int
) -> None:
    pair = replace(pair, k_last=pair.reserve0 * pair.reserve1)
    entry = LpEntry(1, pair.reserve0, pair.reserve1, pair.total_supply)
    shares = pair.total_supply // 2
    assert against_entry(pair, shares, entry, *both).fees_e8 == 0
    try:
        pair, _ = apply_swap(pair, T0, amount_in)
    except Infeasible:
        assume(False)
    assert against_entry(pair, shares, entry, *both).fees_e8 >= 0


@thorough
@given(pairs(), prices())
def test_fee_band__the_last_unit_pays_and_the_next_does_not(
    pair: PairState, both: tuple[Price, Price]
) -> None:
    amount = amount_to_fee_band(pair, *both)
    assume(amount.raw)
    reserve_in, reserve_out = pair.reserves(amount.token)
    price_in, price_out = (
        Fraction(p.numerator, p.denominator) for p in (both if amount.token == T0 else both[::-1])
    )
    gamma = Fraction(PPM - pair.fee_ppm, PPM)

    def pays(amount_in: int) -> bool:
        slope = gamma * reserve_in * reserve_out / (reserve_in + gamma * amount_in) ** 2
        return slope * price_out >= price_in

    assert pays(amount.raw)
    assert not pays(amount.raw + 1) or reserve_in + amount.raw == UINT112_MAX
    # The trade as a whole earns what it costs, but for the floor of its output.
    _, amount_out = apply_swap(pair, amount.token, amount.raw)
    assert (amount_out + 1) * price_out > amount.raw * price_in


@thorough
@given(pairs(), st.integers(0, 50_000), st.integers(-60_000, 60_000))
def test_fee_band__near_its_edges__trades_exactly_when_a_unit_of_output_pays(
    pair: PairState, fee_ppm: int, off_ppm: int
) -> None:
    pair = replace(pair, fee_ppm=fee_ppm)
    # The oracle at the pool's own spot price, but for ``off_ppm``.
    price0 = Price(T0, pair.reserve1 * (PPM + off_ppm), PPM, "feed", 0)
    price1 = Price(T1, pair.reserve0, 1, "feed", 0)
    gamma = Fraction(PPM - fee_ppm, PPM)
    worthwhile = []
    for token, price_in, price_out in ((T0, price0, price1), (T1, price1, price0)):
        reserve_in, reserve_out = pair.reserves(token)
        if reserve_out == 1:
            continue
        amount_in = get_amount_in(1, reserve_in, reserve_out, fee_ppm)
        slope = gamma * reserve_in * reserve_out / (reserve_in + gamma * amount_in) ** 2
        pays = slope * price_out.numerator / price_out.denominator >= Fraction(
            price_in.numerator, price_in.denominator
        )
        if pays and reserve_in + amount_in <= UINT112_MAX:
            worthwhile.append(token)
    amount = amount_to_fee_band(pair, price0, price1)
    assert worthwhile == ([amount.token] if amount.raw else [])


@thorough
@given(st.lists(st.integers(0, 10**30), min_size=1, max_size=12))
def test_shares__sum_to_one_and_stay_within_a_unit_of_exact(values: list[int]) -> None:
    assume(any(values))
    shares = shares_ppm(values)
    assert sum(shares) == PPM
    for share, each in zip(shares, values, strict=True):
        assert abs(share - Fraction(each * PPM, sum(values))) < 1


@thorough
@given(pairs(), st.data())
def test_redeemable__in_parts_is_never_more_than_at_once(
    pair: PairState, data: st.DataObject
) -> None:
    shares = data.draw(st.integers(2, pair.total_supply))
    part = data.draw(st.integers(1, shares - 1))
    whole = redeemable(pair, shares)
    split = [redeemable(pair, each) for each in (part, shares - part)]
    for side in (0, 1):
        assert 0 <= whole[side] - sum(each[side] for each in split) <= 1


@thorough
@given(reserves, reserves, amounts, amounts)
def test_whole_amounts_are_taken_whole_and_are_all_but_a_unit(
    reserve0: int, reserve1: int, most0: int, most1: int
) -> None:
    pair = PairState("0xpair", "v2", T0, T1, 3_000, reserve0, reserve1, 1, 0, False)
    whole = whole_amounts(reserve0, reserve1, most0, most1)
    assert 0 <= whole[0] <= most0
    assert 0 <= whole[1] <= most1
    assert added_amounts(pair, *whole) == whole
    # Of what the executor would take of all of it, at most a unit of the coarser side is missing.
    taken = added_amounts(pair, most0, most1)
    coarser = 0 if reserve0 < reserve1 else 1
    assert abs(taken[coarser] - whole[coarser]) <= 1
    assert taken[0] <= most0
    assert taken[1] <= most1
