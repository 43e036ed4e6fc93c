"""Plans of random markets run by the planner's own replay, through the bridge, to the unit."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rebalancer.amm.valuation import value
from rebalancer.errors import PlanError
from rebalancer.model import (
    E8,
    PPM,
    Amount,
    BlockRef,
    PairState,
    Policy,
    Price,
    Snapshot,
    Target,
    Token,
)
from rebalancer.planner import PRAGUE, Problem, replay
from rebalancer.planner.market import hop_impact_ppm, off_oracle_ppm
from rebalancer.planner.optimal.branch import Limits
from rebalancer.planner.optimal.bridge import plan_legs, statement_of
from rebalancer.planner.optimal.certificate import certificate, plan
from rebalancer.planner.optimal.verify import verify

NOW = 1_700_000_000
POLICY = Policy(
    trigger="hybrid",
    band_abs_ppm=30_000,
    band_rel_ppm=None,
    band_rule="tighter",
    calendar_s=3_600,
    dead_band_ppm=5_000,
    reset_ppm=PPM,
    drift_aversion_ppm=250_000,
    min_trade_e8=0,
    max_impact_ppm=10_000,
    max_cost_ppm=20_000,
    max_off_oracle_ppm=20_000,
    slippage_ppm=5_000,
    max_gas_price_wei=10**12,
    deadline_s=300,
    max_age_blocks=5,
)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Two to five tokens of 0 to 20 decimals, the last perhaps an intermediate, up to 8 pools."""
    count = draw(st.integers(2, 5))
    kept = draw(st.integers(2, count))
    tokens, prices, balances = [], [], []
    for i in range(count):
        token = Token(f"0x{0xA0 + i:040X}", f"T{i}", draw(st.sampled_from([0, 2, 6, 8, 18, 20])))
        cents = draw(st.integers(1, 10**7))
        tokens.append(token)
        prices.append(Price(token, cents * 10**6, 10**token.decimals, "test", NOW))
        worth_e8 = draw(st.integers(0, 10**6)) * E8
        balances.append(Amount(token, prices[-1].raw_down(worth_e8)))
    pairs = []
    for k in range(draw(st.integers(1, 8))):
        a = draw(st.integers(0, count - 1))
        b = draw(st.integers(0, count - 1).filter(lambda x, a=a: x != a))
        side_e8 = draw(st.integers(10**3, 10**9)) * E8
        skew = draw(st.integers(980_000, 1_020_000))
        reserve0 = prices[a].raw_down(side_e8)
        reserve1 = prices[b].raw_down(side_e8 * skew // PPM)
        assume(0 < reserve0 < 2**112)
        assume(0 < reserve1 < 2**112)
        pairs.append(
            PairState(
                address=f"0x{0xB0 + k:040X}",
                amm="uni",
                token0=tokens[a],
                token1=tokens[b],
                fee_ppm=draw(st.sampled_from([0, 500, 3_000, 10_000])),
                reserve0=reserve0,
                reserve1=reserve1,
                total_supply=isqrt(reserve0 * reserve1),
                k_last=0,
                protocol_fee_on=False,
            )
        )
    snapshot = Snapshot(
        block=BlockRef(1, 100, "0x" + "ab" * 32, NOW, draw(st.integers(0, 10**11))),
        wallet="0x00000000000000000000000000000000000000C1",
        numeraire="USD",
        native=Price(Token("0x" + "0" * 40, "ETH", 18), 2_000 * E8, 10**18, "test", NOW),
        native_wei=10**18,
        balances=tuple(balances),
        holdings=(),
        pairs=tuple(pairs),
        prices=tuple(prices),
        priority_fee_wei=0,
    )
    cuts = sorted(draw(st.lists(st.integers(0, PPM), min_size=kept - 1, max_size=kept - 1)))
    weights = [b - a for a, b in zip([0, *cuts], [*cuts, PPM], strict=True)]
    targets = tuple(Target(f"T{i}", weight) for i, weight in enumerate(weights))
    try:
        valued = value(snapshot, targets)
    except PlanError:  # a portfolio that is worth nothing
        assume(False)
        raise
    return Problem(snapshot, valued, targets, POLICY, PRAGUE)


@settings(max_examples=250)
@given(problems())
def test_every_plan_replays_and_is_worth_what_it_says(problem: Problem) -> None:
    made = statement_of(problem)
    result = plan(made, Limits(nodes=60))
    legs = plan_legs(problem, result.legs)
    done = replay(problem.snapshot, legs)  # refuses what could not be executed as it stands
    usable = {pool.key for pool in made.pools}
    for leg in legs:
        assert leg.pair.lower() in usable
        before = problem.snapshot.pair(leg.pair)
        assert off_oracle_ppm(problem.snapshot, before) <= POLICY.max_off_oracle_ppm
        assert hop_impact_ppm(before, before, leg.token_in, leg.amount_in) <= POLICY.max_impact_ppm
        assert leg.amount_out * (PPM - POLICY.slippage_ppm) <= leg.min_amount_out * PPM
    assert len({leg.pair for leg in legs}) == len(legs)

    def objective(at: Snapshot) -> Fraction:
        worth, squares = Fraction(0), Fraction(0)
        for target in problem.targets:
            token = problem.token(target.position)
            assert token is not None
            price = at.price(token)
            v = Fraction(at.balance(token) * price.numerator, price.denominator)
            worth += v
            squares += (v - Fraction(target.weight_ppm * made.nav_e8, PPM)) ** 2
        return worth - Fraction(POLICY.drift_aversion_ppm, 2 * PPM * made.nav_e8) * squares

    gas = problem.gas_value_e8(PRAGUE.units(legs))
    gain = objective(done) - objective(problem.snapshot) - gas
    # Each component of gas is rounded up by itself, and hold and realised down.
    assert abs(gain - result.gain_e8) <= 3 * len(legs) + 10
    assert result.gain_e8 >= 0
    held = {token.symbol for token in (problem.token(t.position) for t in problem.targets) if token}
    for amount in problem.snapshot.balances:
        assert amount.token.symbol in held or done.balance(amount.token) >= amount.raw
    found = verify(certificate(result))
    assert found["realised_e8"] == result.realised_e8 <= found["upper_e8"]


@settings(max_examples=40)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_what_was_read_changes_nothing(problem: Problem, rng: object) -> None:
    from dataclasses import replace
    from random import Random

    assert isinstance(rng, Random)
    snapshot = problem.snapshot

    def mixed(items: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(rng.sample(items, len(items)))

    turned = replace(
        snapshot,
        balances=mixed(snapshot.balances),
        pairs=mixed(snapshot.pairs),
        prices=mixed(snapshot.prices),
    )
    other = replace(problem, snapshot=turned)
    assert statement_of(other) == statement_of(problem)
    assert (
        plan(statement_of(other), Limits(nodes=20)).legs
        == plan(statement_of(problem), Limits(nodes=20)).legs
    )
