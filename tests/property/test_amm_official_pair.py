"""The AMM room against the official pair bytecode: equal to the wei, one unit more reverts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from math import isqrt

import pytest
from amm_official_pair import (
    READ_STATE,
    Case,
    OfficialPair,
    Scene,
    burn,
    make_pair,
    mint,
    mirrored,
    read_state,
    swap,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.amm import (
    UINT112_MAX,
    apply_burn,
    apply_mint,
    apply_swap,
    effective_total_supply,
    get_amount_in,
    get_amount_out,
    invariant_holds,
    max_amount_out,
    protocol_fee_shares,
)
from rebalancer.devchain.anvil import Anvil, AnvilOptions, start_anvil
from rebalancer.errors import Infeasible
from rebalancer.model import PPM, PairState

K = "UniswapV2: K"
NOT_THAT_MUCH = "UniswapV2: INSUFFICIENT_LIQUIDITY"
SWAPS = 4_000
LIQUIDITY_CASES = 800


@pytest.fixture(scope="module")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    with start_anvil(AnvilOptions(chain_id=1), log_dir=tmp_path_factory.mktemp("anvil")) as anvil:
        yield anvil


@pytest.fixture(scope="module")
def official(anvil: Anvil) -> OfficialPair:
    return OfficialPair(anvil.rpc)


class Dice:
    """Numbers of every size, each size as likely as the next, and the ends more often."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311

    def upto(self, limit: int) -> int:
        """From 1 to ``limit``, and one of the ends every tenth time."""
        if limit <= 1 or self._random.random() < 0.05:
            return 1
        if self._random.random() < 0.05:
            return limit
        bits = self._random.randint(1, limit.bit_length())
        return min(self._random.getrandbits(bits) or 1, limit)

    def tokens(self) -> int:
        """A reserve such as one meets: up to a billion tokens of 6, 8 or 18 decimals."""
        return self.upto(10 ** (9 + self._random.choice((6, 8, 18))))

    def pair(self, fee_ppm: int = 3_000) -> PairState:
        if self._random.random() < 0.5:
            return make_pair(self.tokens(), self.tokens(), fee_ppm)
        return make_pair(self.upto(UINT112_MAX), self.upto(UINT112_MAX), fee_ppm)

    def between(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def coin(self) -> bool:
        return self._random.random() < 0.5


def paid(pair: PairState, amount_in: int, from_token0: bool) -> Scene:
    return Scene(pair, paid0=amount_in) if from_token0 else Scene(pair, paid1=amount_in)


def taking(amount_out: int, from_token0: bool) -> bytes:
    """Take ``amount_out`` of the token that was not paid."""
    return swap(0, amount_out) if from_token0 else swap(amount_out, 0)


def check_swaps(official: OfficialPair, swaps: list[tuple[PairState, int, bool]]) -> int:
    """Assert that each swap pays what we say, not one unit more, and leaves what we say.

    Returns how many of them bought something.
    """
    quotes: list[int] = []
    cases: list[Case] = []
    for pair, amount_in, from_token0 in swaps:
        token_in = pair.token0 if from_token0 else pair.token1
        amount_out = get_amount_out(amount_in, *pair.reserves(token_in), pair.fee_ppm)
        quotes.append(amount_out)
        calls = [taking(amount_out + 1, from_token0)]
        if amount_out:
            calls += [taking(amount_out, from_token0), *READ_STATE]
        cases.append([(paid(pair, amount_in, from_token0), calls)])
    for (pair, amount_in, from_token0), amount_out, (more, *rest) in zip(
        swaps, quotes, official.run(cases), strict=True
    ):
        token_in = pair.token0 if from_token0 else pair.token1
        reserve_out = pair.reserves(token_in)[1]
        assert more.reason == (NOT_THAT_MUCH if amount_out + 1 == reserve_out else K)
        if amount_out == 0:
            with pytest.raises(Infeasible, match="buy nothing"):
                apply_swap(pair, token_in, amount_in)
            continue
        assert rest[0].reason == ""
        assert apply_swap(pair, token_in, amount_in) == (read_state(pair, rest[1:]), amount_out)
    return sum(amount_out > 0 for amount_out in quotes)


def random_swaps(seed: int, count: int, fee_ppm: int) -> list[tuple[PairState, int, bool]]:
    dice = Dice(seed)
    swaps: list[tuple[PairState, int, bool]] = []
    while len(swaps) < count:
        pair, from_token0 = dice.pair(fee_ppm), dice.coin()
        room = UINT112_MAX - (pair.reserve0 if from_token0 else pair.reserve1)
        if room:
            swaps.append((pair, dice.upto(room), from_token0))
    return swaps


def test_exact_in__thousands_of_random_pools__equal_and_one_more_reverts(
    official: OfficialPair,
) -> None:
    assert check_swaps(official, random_swaps(1, SWAPS, 3_000)) > SWAPS // 2


sides = st.integers(min_value=1, max_value=UINT112_MAX)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(sides, sides, sides, st.booleans()), min_size=1, max_size=8))
def test_exact_in__hypothesis__equal_and_one_more_reverts(
    official: OfficialPair, pools: list[tuple[int, int, int, bool]]
) -> None:
    swaps = []
    for reserve_in, reserve_out, amount_in, from_token0 in pools:
        pair = make_pair(reserve_in, reserve_out)
        amount_in = min(amount_in, UINT112_MAX - reserve_in)
        if amount_in:
            swaps.append((pair if from_token0 else mirrored(pair), amount_in, from_token0))
    check_swaps(official, swaps)


@pytest.mark.parametrize("fee_per_mille", [0, 1, 2, 5, 10, 50])
def test_exact_in__same_bytecode_with_another_fee__equal_and_one_more_reverts(
    anvil: Anvil, fee_per_mille: int
) -> None:
    swaps = random_swaps(100 + fee_per_mille, 300, fee_per_mille * 1_000)
    try:
        assert check_swaps(OfficialPair(anvil.rpc, fee_per_mille), swaps) > 100
    finally:
        OfficialPair(anvil.rpc)


def test_exact_in__more_than_uint112__reverts_and_is_refused(official: OfficialPair) -> None:
    dice = Dice(2)
    pairs = [make_pair(dice.between(1, UINT112_MAX), dice.upto(UINT112_MAX)) for _ in range(200)]
    swaps = []
    for pair in pairs:
        room = UINT112_MAX - pair.reserve0
        if get_amount_out(room + 1, pair.reserve0, pair.reserve1, 3_000):
            swaps.append((pair, room))
    assert len(swaps) > 100
    cases: list[Case] = []
    for pair, room in swaps:
        out = get_amount_out(room + 1, pair.reserve0, pair.reserve1, 3_000)
        cases.append([(Scene(pair, paid0=room + 1), [swap(0, out)])])
    for (pair, room), (overflow,) in zip(swaps, official.run(cases), strict=True):
        assert overflow.reason == "UniswapV2: OVERFLOW"
        with pytest.raises(Infeasible, match="cannot hold"):
            apply_swap(pair, pair.token0, room + 1)


def test_exact_out__thousands_of_random_pools__least_input_pays_and_one_less_reverts(
    official: OfficialPair,
) -> None:
    dice = Dice(3)
    trades: list[tuple[PairState, int, int, bool]] = []
    while len(trades) < SWAPS // 2:
        pair, from_token0 = dice.pair(), dice.coin()
        reserve_in, reserve_out = pair.reserves(pair.token0 if from_token0 else pair.token1)
        if reserve_out == 1:
            continue
        amount_out = dice.upto(reserve_out - 1)
        amount_in = get_amount_in(amount_out, reserve_in, reserve_out, 3_000)
        if reserve_in + amount_in <= UINT112_MAX:
            trades.append((pair, amount_in, amount_out, from_token0))
    cases: list[Case] = [
        [
            (paid(pair, amount_in - 1, from_token0), [taking(amount_out, from_token0)]),
            (paid(pair, amount_in, from_token0), [taking(amount_out, from_token0)]),
        ]
        for pair, amount_in, amount_out, from_token0 in trades
    ]
    for (_, amount_in, *_), (less, enough) in zip(trades, official.run(cases), strict=True):
        assert less.reason == (K if amount_in > 1 else "UniswapV2: INSUFFICIENT_INPUT_AMOUNT")
        assert enough.reason == ""


def test_both_tokens_paid__most_that_may_be_taken__one_more_reverts(
    official: OfficialPair,
) -> None:
    dice = Dice(4)
    trades: list[tuple[PairState, int, int, int]] = []
    while len(trades) < SWAPS // 4:
        pair = dice.pair()
        room0, room1 = UINT112_MAX - pair.reserve0, UINT112_MAX - pair.reserve1
        if not room0 or not room1:
            continue
        paid0, paid1 = dice.upto(room0), dice.upto(room1)
        out = max_amount_out(paid0, pair.reserve0, pair.reserve1, 3_000, also_paid=paid1)
        if out:
            trades.append((pair, paid0, paid1, out))
    cases: list[Case] = [
        [(Scene(pair, paid0, paid1), [swap(0, out + 1), swap(0, out)])]
        for pair, paid0, paid1, out in trades
    ]
    for (pair, _, _, out), (more, most) in zip(trades, official.run(cases), strict=True):
        assert more.reason == (NOT_THAT_MUCH if out + 1 == pair.reserve1 else K)
        assert most.reason == ""


def test_invariant__both_paid_and_both_taken__passes_and_fails_with_the_contract(
    official: OfficialPair,
) -> None:
    dice = Dice(5)
    trades: list[tuple[PairState, tuple[int, int], tuple[int, int]]] = []
    while len(trades) < SWAPS // 4:
        pair = dice.pair()
        room0, room1 = UINT112_MAX - pair.reserve0, UINT112_MAX - pair.reserve1
        if not room0 or not room1 or pair.reserve0 < 3 or pair.reserve1 < 3:
            continue
        paid = dice.upto(room0), dice.upto(room1)
        out0 = dice.upto(pair.reserve0 - 1)
        # The last amount of token1 that the invariant lets go beside them, by bisection.
        if not _holds(pair, paid, (out0, 0)):
            trades.append((pair, paid, (out0, 0)))
            continue
        low, high = 0, pair.reserve1 + paid[1]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _holds(pair, paid, (out0, middle)) else (low, middle)
        trades += [
            (pair, paid, (out0, out1)) for out1 in (low, low + 1) if 0 < out1 < pair.reserve1
        ]
    verdicts = {True: 0, False: 0}
    cases: list[Case] = [[(Scene(pair, *paid), [swap(*out)])] for pair, paid, out in trades]
    for (pair, paid, out), (outcome,) in zip(trades, official.run(cases), strict=True):
        holds = _holds(pair, paid, out)
        assert outcome.reason == ("" if holds else K)
        verdicts[holds] += 1
    assert min(verdicts.values()) > 100


def _holds(pair: PairState, paid: tuple[int, int], out: tuple[int, int]) -> bool:
    return invariant_holds(
        pair.reserve0,
        pair.reserve1,
        pair.fee_ppm,
        amount0_in=paid[0],
        amount1_in=paid[1],
        amount0_out=out[0],
        amount1_out=out[1],
    )


def grown_pair(dice: Dice, protocol_fee_on: bool) -> PairState:
    """A pair with shares, whose ``k`` grew (or, by a loss of tokens, shrank) since ``kLast``."""
    pair = dice.pair()
    k = pair.reserve0 * pair.reserve1
    growth_ppm = dice.upto(2 * PPM)
    k_last = (0, k, k * PPM // (PPM + growth_ppm), k + dice.upto(PPM), dice.upto(k))[
        dice.between(0, 4)
    ]
    supply = dice.upto(2 * isqrt(k)) if dice.coin() else dice.upto(UINT112_MAX)
    return replace(
        pair,
        total_supply=max(supply, 1_001),
        k_last=min(k_last, UINT112_MAX**2),
        protocol_fee_on=protocol_fee_on,
    )


@pytest.mark.parametrize("protocol_fee_on", [False, True])
def test_burn__random_pairs__pays_what_is_redeemable_to_the_wei(
    official: OfficialPair, protocol_fee_on: bool
) -> None:
    dice = Dice(6 + protocol_fee_on)
    burns = []
    for _ in range(LIQUIDITY_CASES):
        pair = grown_pair(dice, protocol_fee_on)
        burns.append((pair, dice.upto(pair.total_supply)))
    cases: list[Case] = [
        [(Scene(pair, burning=shares), [burn(), *READ_STATE])] for pair, shares in burns
    ]
    paid_out = with_fee = 0
    for (pair, shares), (burned, *state) in zip(burns, official.run(cases), strict=True):
        if burned.reason:
            assert burned.reason == "UniswapV2: INSUFFICIENT_LIQUIDITY_BURNED"
            with pytest.raises(Infeasible, match="too few"):
                apply_burn(pair, shares)
            continue
        assert apply_burn(pair, shares) == (
            read_state(pair, state),
            *burned.words("uint256", "uint256"),
        )
        paid_out += 1
        with_fee += protocol_fee_shares(pair) > 0
    assert paid_out > LIQUIDITY_CASES // 3
    assert (with_fee > LIQUIDITY_CASES // 10) == protocol_fee_on


@pytest.mark.parametrize("protocol_fee_on", [False, True])
def test_mint__random_pairs__gives_the_shares_we_say(
    official: OfficialPair, protocol_fee_on: bool
) -> None:
    dice = Dice(8 + protocol_fee_on)
    mints: list[tuple[PairState, int, int]] = []
    while len(mints) < LIQUIDITY_CASES:
        pair = grown_pair(dice, protocol_fee_on)
        room0, room1 = UINT112_MAX - pair.reserve0, UINT112_MAX - pair.reserve1
        if room0 and room1:
            mints.append((pair, dice.upto(room0), dice.upto(room1)))
    cases: list[Case] = [
        [(Scene(pair, *amounts), [mint(), *READ_STATE])] for pair, *amounts in mints
    ]
    minted_some = with_fee = 0
    for (pair, *amounts), (minted, *state) in zip(mints, official.run(cases), strict=True):
        if minted.reason:
            assert minted.reason == "UniswapV2: INSUFFICIENT_LIQUIDITY_MINTED"
            with pytest.raises(Infeasible, match="too little"):
                apply_mint(pair, *amounts)
            continue
        assert apply_mint(pair, *amounts) == (read_state(pair, state), *minted.words("uint256"))
        minted_some += 1
        with_fee += protocol_fee_shares(pair) > 0
    assert minted_some > LIQUIDITY_CASES // 3
    assert (with_fee > LIQUIDITY_CASES // 10) == protocol_fee_on


@pytest.mark.parametrize("protocol_fee_on", [False, True])
def test_mint__first_one__locks_the_minimum_liquidity(
    official: OfficialPair, protocol_fee_on: bool
) -> None:
    dice = Dice(10)
    empty = replace(make_pair(0, 0), protocol_fee_on=protocol_fee_on)
    amounts = [(dice.upto(UINT112_MAX), dice.upto(UINT112_MAX)) for _ in range(300)]
    amounts += [(1_000, 1_000), (1_001, 1_001), (1_000, 1_002), (1, 1), (1, 1_002_001)]
    cases: list[Case] = [[(Scene(empty, *each), [mint(), *READ_STATE])] for each in amounts]
    refused = 0
    for each, (minted, *state) in zip(amounts, official.run(cases), strict=True):
        if minted.reason:
            assert minted.reason in (
                "ds-math-sub-underflow",
                "UniswapV2: INSUFFICIENT_LIQUIDITY_MINTED",
            )
            with pytest.raises(Infeasible, match="too little"):
                apply_mint(empty, *each)
            refused += 1
            continue
        after, shares = apply_mint(empty, *each)
        assert (after, shares) == (read_state(empty, state), *minted.words("uint256"))
        assert effective_total_supply(after) == shares + 1_000
    assert 3 <= refused < 100
