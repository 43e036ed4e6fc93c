"""What a trade inside the block can do to the values: its fee at most to the fair one."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.amm import apply_swap, fair_value_e8
from rebalancer.model import PPM, PairState, Price, Token
from rebalancer.readers.twap import UQ112, Accumulator, average

T0, T1 = Token("0x" + "0" * 40, "T0", 18), Token("0x" + "1" * 40, "T1", 6)
thorough = settings(deadline=None, derandomize=True, max_examples=300)

#: Pools from a million smallest units up; pushes from 1 % to a thousand times the reserve.
reserves = st.integers(10**6, 10**30)
times_ppm = st.integers(PPM // 100, 1_000 * PPM)
fees = st.sampled_from([500, 2_500, 3_000, 10_000])


def pool(reserve0: int, reserve1: int, fee_ppm: int) -> PairState:
    supply = max(reserve0, 10**4)
    return PairState("0x", "v2", T0, T1, fee_ppm, reserve0, reserve1, supply, 0, False)


def at_the_oracle(pair: PairState, worth: int) -> tuple[Price, Price]:
    """Prices at which both sides of the pool are worth the same."""
    return (
        Price(T0, worth, pair.reserve0, "oracle", 0),
        Price(T1, worth, pair.reserve1, "oracle", 0),
    )


@thorough
@given(reserves, reserves, fees, times_ppm, st.sampled_from([T0, T1]), st.data())
def test_a_push_of_any_size__moves_the_fair_value_by_its_fee_at_most__and_never_down(
    reserve0: int, reserve1: int, fee_ppm: int, times: int, paid: Token, data: st.DataObject
) -> None:
    pair = pool(reserve0, reserve1, fee_ppm)
    prices = at_the_oracle(pair, data.draw(st.integers(10**8, 10**22)))
    amount_in = pair.reserves(paid)[0] * times // PPM
    after, _ = apply_swap(pair, paid, amount_in)
    shares = data.draw(st.integers(0, pair.total_supply))
    gain = fair_value_e8(after, shares, *prices) - fair_value_e8(pair, shares, *prices)
    price = prices[0] if paid == T0 else prices[1]
    fee = Fraction(amount_in * fee_ppm, PPM) * Fraction(price.numerator, price.denominator)
    # What the pool rounds to its own favour is ours too: a unit of either token at most.
    unit = max(Fraction(p.numerator, p.denominator) for p in prices)
    assert 0 <= gain <= (fee + unit) * shares / pair.total_supply + 1


@thorough
@given(reserves, reserves, times_ppm, st.sampled_from([T0, T1]), st.integers(1, 10**6))
def test_a_push_of_any_size__does_not_move_the_average_of_its_own_block(
    reserve0: int, reserve1: int, times: int, paid: Token, window_s: int
) -> None:
    """The pair books the old price up to the block before it trades."""
    start = 1_700_000_000
    pair = pool(reserve0, reserve1, 3_000)
    amount_in = pair.reserves(paid)[0] * times // PPM
    after, _ = apply_swap(pair, paid, amount_in)
    old = Accumulator(5, pair.reserve0, pair.reserve1, start % 2**32, start)
    calm = replace(old, block_ts=start + window_s)
    booked = (5 + pair.reserve1 * UQ112 // pair.reserve0 * window_s) % 2**256
    now = (start + window_s) % 2**32
    pushed = Accumulator(booked, after.reserve0, after.reserve1, now, start + window_s)
    assert average(old, pushed) == average(old, calm)
