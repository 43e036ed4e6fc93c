"""LP accounting over random histories on the official bytecode: redeemable amounts, fee growth, the
impermanent-loss identity and the drift attribution, exact to the wei or the last unit of value."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from itertools import pairwise

import pytest
from amm_official_pair import OfficialPair
from lp_histories import (
    ALICE,
    HOLDERS,
    NAME,
    Book,
    Step,
    dice_of,
    history,
    random_prices,
    simulate,
    snapshot,
)

from rebalancer.amm import apply_burn, redeemable, value
from rebalancer.amm.attribution import attribute
from rebalancer.amm.impermanent_loss import against_lots
from rebalancer.amm.lots import total_shares
from rebalancer.devchain.anvil import Anvil, AnvilOptions, start_anvil
from rebalancer.errors import Infeasible
from rebalancer.evm.abi import decode_output
from rebalancer.model import PPM, Price, Target

HISTORIES = 60
STEPS = 24
POSITIONS = ("T0", "T1", NAME)
FEES = pytest.mark.parametrize("protocol_fee_on", [False, True])


@pytest.fixture(scope="module")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    options = AnvilOptions(chain_id=1)
    with start_anvil(options, log_dir=tmp_path_factory.mktemp("anvil")) as anvil:
        OfficialPair(anvil.rpc)
        yield anvil


def histories(protocol_fee_on: bool) -> Iterator[list[Step]]:
    for seed in range(HISTORIES):
        yield history(seed, STEPS, protocol_fee_on)


@FEES
def test_history__every_step__leaves_the_contract_where_we_say(
    anvil: Anvil, protocol_fee_on: bool
) -> None:
    minted_to_protocol = burns = 0
    for steps in histories(protocol_fee_on):
        for step, answer in zip(steps, simulate(anvil.rpc, steps, protocol_fee_on), strict=True):
            pair = step.pair
            assert answer.state == (pair.reserve0, pair.reserve1, pair.total_supply, pair.k_last)
            assert answer.shares == step.shares
            assert answer.tokens == step.tokens
            assert total_shares(step.lots) == step.shares[ALICE]
            if step.paid is not None:
                assert decode_output(("uint256", "uint256"), answer.returned) == step.paid
                burns += 1
        minted_to_protocol += (
            steps[-1].pair.total_supply > sum(steps[-1].shares[who] for who in HOLDERS) + 1_000
        )
    assert burns > HISTORIES
    assert (minted_to_protocol > HISTORIES // 2) == protocol_fee_on


@FEES
def test_redeemable__at_any_moment__is_what_burning_pays(
    anvil: Anvil, protocol_fee_on: bool
) -> None:
    """A second history that ends at a random step of the first with everybody leaving."""
    checked = with_fee = 0
    for seed in range(HISTORIES):
        dice = dice_of(seed)
        steps = history(seed, STEPS, protocol_fee_on)[: dice.randrange(2, STEPS)]
        last = steps[-1]
        leaver = dice.choice([who for who in HOLDERS if last.shares[who]])
        expected = redeemable(last.pair, last.shares[leaver])
        try:
            apply_burn(last.pair, last.shares[leaver])
        except Infeasible:
            continue
        book = Book(dice, last.pair, dict(last.shares), list(last.tokens), last.lots, list(steps))
        book.burn(leaver, last.shares[leaver])
        answer = simulate(anvil.rpc, book.steps, protocol_fee_on)[-1]
        assert decode_output(("uint256", "uint256"), answer.returned) == expected
        assert answer.shares[leaver] == 0
        checked += 1
        with_fee += book.steps[-1].shares != last.shares | {leaver: 0}
    assert checked > HISTORIES // 2
    assert (with_fee > HISTORIES // 4) == protocol_fee_on


@FEES
def test_loss__after_any_history__is_the_identity_and_no_gain(protocol_fee_on: bool) -> None:
    held_some = 0
    for seed, steps in enumerate(histories(protocol_fee_on)):
        dice = dice_of(seed)
        for step in steps:
            if not step.lots:
                continue
            price0, price1 = random_prices(dice, step.pair)
            result = against_lots(step.pair, step.lots, price0, price1)
            assert result.value_e8 == result.held_e8 + result.il_e8 + result.fees_e8
            assert result.il_e8 <= 0
            assert result.fees_e8 >= 0
            held, feeless, worth = _exactly(step, price0, price1)
            units = len(step.lots)
            assert 0 <= held - result.held_e8 < units
            assert 0 <= feeless - (result.held_e8 + result.il_e8) < units
            assert 0 <= worth - result.value_e8 < 1
            held_some += 1
    assert held_some > HISTORIES * STEPS // 4


def _exactly(step: Step, price0: Price, price1: Price) -> tuple[Decimal, Decimal, Decimal]:
    """Held, fee-less and fair value by the formulas, in a hundred and twenty decimals."""
    with localcontext() as context:
        context.prec = 160
        p0, p1 = (Decimal(p.numerator) / Decimal(p.denominator) for p in (price0, price1))
        held = feeless = Decimal(0)
        for lot in step.lots:
            part = Decimal(lot.shares) / Decimal(lot.entered)
            held += part * (lot.amount0 * p0 + lot.amount1 * p1)
            root_k = Decimal(lot.entry.reserve0 * lot.entry.reserve1).sqrt()
            feeless += 2 * root_k * (p0 * p1).sqrt() * lot.shares / lot.entry.total_supply
        pair = step.pair
        shares = total_shares(step.lots)
        supply = Decimal(pair.total_supply) + _pending(step)
        root_k = Decimal(pair.reserve0 * pair.reserve1).sqrt()
        return held, feeless, 2 * root_k * (p0 * p1).sqrt() * shares / supply


def _pending(step: Step) -> int:
    """The protocol's shares by the white paper's formula, the contract's roots floored."""
    pair = step.pair
    if not pair.protocol_fee_on or not pair.k_last:
        return 0
    now = int(Decimal(pair.reserve0 * pair.reserve1).sqrt())
    then = int(Decimal(pair.k_last).sqrt())
    return max(pair.total_supply * (now - then) // (5 * now + then), 0)


@FEES
def test_fee_growth__of_shares_that_stay__never_falls(protocol_fee_on: bool) -> None:
    """At one pair of prices a lot's fees only grow, whoever trades, adds or removes."""
    grew = 0
    for seed, steps in enumerate(histories(protocol_fee_on)):
        price0, price1 = random_prices(dice_of(seed), steps[0].pair)
        for before, after in pairwise(steps):
            if not before.lots or before.lots != after.lots:
                continue
            fees = [against_lots(s.pair, s.lots, price0, price1).fees_e8 for s in (before, after)]
            assert fees[0] <= fees[1]
            grew += fees[0] < fees[1]
    assert grew > HISTORIES


@FEES
def test_attribution__between_any_two_steps__adds_up_to_the_last_unit(
    protocol_fee_on: bool,
) -> None:
    targets = [
        Target(name, weight) for name, weight in zip(POSITIONS, (1, 2, PPM - 3), strict=True)
    ]
    seen = dict.fromkeys(("composition", "fees", "deposits", "trades"), 0)
    for seed, steps in enumerate(histories(protocol_fee_on)):
        dice = dice_of(seed)
        first, last = sorted(dice.sample(range(1, STEPS), 2))
        before = snapshot(steps[first], first, random_prices(dice, steps[first].pair))
        after = snapshot(steps[last], last, random_prices(dice, steps[last].pair))
        flows = [flow for step in steps[first + 1 : last + 1] for flow in step.flows]
        found = attribute(before, after, POSITIONS, flows)

        then, now = value(before, targets), value(after, targets)
        assert (found.nav_before_e8, found.nav_after_e8) == (then.nav_e8, now.nav_e8)
        assert found.nav.total == now.nav_e8 - then.nav_e8
        for change in found.positions:
            at, to = then.position(change.name), now.position(change.name)
            assert (change.before_e8, change.after_e8) == (at.value_e8, to.value_e8)
            assert (change.before_ppm, change.after_ppm) == (at.weight_ppm, to.weight_ppm)
            assert change.value.total == to.value_e8 - at.value_e8
            assert change.weight.total == to.weight_ppm - at.weight_ppm
            assert change.value.other == 0  # every unit that moved was in an event
        for part in ("price", "composition", "fees", "deposits", "trades", "other"):
            assert sum(getattr(c.weight, part) for c in found.positions) == 0
            in_values = sum(getattr(c.value, part) for c in found.positions)
            assert in_values == getattr(found.nav, part)
        lp = found.positions[-1].value
        assert lp.composition <= 0
        assert lp.fees >= 0
        for part in seen:
            seen[part] += getattr(found.nav, part) != 0
    assert min(seen.values()) > HISTORIES // 4, seen


@FEES
def test_attribution__to_itself__is_nothing(protocol_fee_on: bool) -> None:
    for seed, steps in enumerate(histories(protocol_fee_on)):
        same = snapshot(steps[-1], 1, random_prices(dice_of(seed), steps[-1].pair))
        found = attribute(same, same, POSITIONS, ())
        parts = [found.nav, *(p for c in found.positions for p in (c.value, c.weight))]
        assert {(p.price, p.composition, p.fees, p.flows) for p in parts} == {(0, 0, 0, 0)}
