"""Plans in integers: executed by the AMM room's arithmetic, certified, and tampered with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from optimal_world import market, with_everything

from rebalancer.amm.liquidity import apply_burn, apply_mint
from rebalancer.amm.swap import apply_swap
from rebalancer.errors import PlanError
from rebalancer.model import E8, PPM, PairState, Token, to_json
from rebalancer.planner.optimal.branch import Limits
from rebalancer.planner.optimal.certificate import Planned, certificate, plan
from rebalancer.planner.optimal.legs import Swap
from rebalancer.planner.optimal.statement import Asset, Pool, Statement, statement
from rebalancer.planner.optimal.verify import recompute, seal, verify

CENT = E8 // 100
LIMITS = Limits(nodes=400)


def instance(seed: int) -> Statement:
    """All kinds of markets, with and without gas, intermediates, LP positions, taxes, limits."""
    tokens, pools = [(3, 4), (8, 20), (6, 12)][seed % 3]
    more = {"gas": [0.0, 0.2, 2.0, 8.0][seed % 4], "middle": seed % 5 // 2 % 3, "kappa": 0.7}
    if seed % 2:
        return market(seed, tokens, pools, **more)
    return with_everything(seed, tokens, pools, **(more | {"middle": min(more["middle"], 1)}))


@cache
def planned(seed: int) -> Planned:
    return plan(instance(seed), LIMITS)


def execute(made: Statement, result: Planned) -> dict[str, int]:
    """Balances after the legs, by the AMM room: each leg funded, each output the pair's own."""
    token = {a.key: Token(f"0x{i:040x}", a.key, 18) for i, a in enumerate(made.assets)}
    supply = {s.pool: s for s in made.stakes}
    pairs = {
        p.key: PairState(
            address=p.key,
            amm="amm",
            token0=token[p.asset0],
            token1=token[p.asset1],
            fee_ppm=p.fee_ppm,
            reserve0=p.reserve0,
            reserve1=p.reserve1,
            total_supply=supply[p.key].supply if p.key in supply else 10**9,
            k_last=0,
            protocol_fee_on=False,
        )
        for p in made.pools
    }
    held = {a.key: a.held for a in made.assets} | {s.key: s.shares for s in made.stakes}
    for i, leg in enumerate(result.legs):
        pair = pairs[leg.pool]
        pool = next(p for p in made.pools if p.key == leg.pool)
        if isinstance(leg, Swap):
            if leg.chained:
                before = result.legs[i - 1]
                assert isinstance(before, Swap)
                assert (before.bought, before.amount_out) == (leg.sold, leg.amount_in)
                assert before.pool != leg.pool
            else:
                held[leg.sold] -= leg.amount_in
            pairs[leg.pool], out = apply_swap(pair, token[leg.sold], leg.amount_in)
            assert out == leg.amount_out
            following = result.legs[i + 1] if i + 1 < len(result.legs) else None
            if not (isinstance(following, Swap) and following.chained):
                held[leg.bought] += out
            continue
        key = supply[leg.pool].key
        if leg.kind == "burn":
            pairs[leg.pool], amount0, amount1 = apply_burn(pair, leg.shares)
            held[key] -= leg.shares
            assert (amount0, amount1) == (leg.amount0, leg.amount1)
            held[pool.asset0] += amount0
            held[pool.asset1] += amount1
        else:
            held[pool.asset0] -= leg.amount0
            held[pool.asset1] -= leg.amount1
            pairs[leg.pool], shares = apply_mint(pair, leg.amount0, leg.amount1)
            assert shares == leg.shares
            held[key] += shares
        assert min(held.values()) >= 0
    assert min(held.values()) >= 0
    for asset in made.assets:
        assert asset.target_ppm is not None or held[asset.key] >= asset.held
    return held


@pytest.mark.parametrize("seed", range(150))
def test_legs_execute_and_the_certificate_is_accepted(seed: int) -> None:
    made, result = instance(seed), planned(seed)
    execute(made, result)
    found = verify(certificate(result))
    assert found["hold_e8"] == result.hold_e8
    assert found["realised_e8"] == result.realised_e8
    assert result.hold_e8 <= result.realised_e8 <= found["upper_e8"]
    assert found["gap_e8"] == found["upper_e8"] - found["realised_e8"]
    if not result.legs:
        assert result.realised_e8 == result.hold_e8


def test_the_plans_above_are_of_every_kind() -> None:
    results = [planned(seed) for seed in range(150)]
    assert sum(not r.legs for r in results) >= 5
    assert sum(len(r.legs) > 5 for r in results) >= 20
    legs = [leg for r in results for leg in r.legs]
    assert sum(isinstance(leg, Swap) and leg.chained for leg in legs) >= 5
    assert {leg.kind for leg in legs} == {"swap", "burn", "mint"}
    assert 1 <= sum(bool(r.circles) for r in results) <= 10


@pytest.mark.parametrize("seed", range(1, 150, 2))
def test_the_realised_value_is_the_objective_worked_out_by_hand(seed: int) -> None:
    """Swaps only: value less penalty less gas, in fractions, from the balances of the AMM room."""
    made, result = instance(seed), planned(seed)
    held = execute(made, result)
    swaps = [leg for leg in result.legs if isinstance(leg, Swap)]
    worth, squares, gas = Fraction(0), Fraction(0), Fraction(0)
    touched = {key for leg in swaps for key in (leg.sold, leg.bought)}
    sold = {leg.sold for leg in swaps if not leg.chained}
    for asset in made.assets:
        if asset.target_ppm is not None:
            value = Fraction(held[asset.key] * asset.price_numerator, asset.price_denominator)
            worth += value
            squares += (value - Fraction(asset.target_ppm * made.nav_e8, PPM)) ** 2
        gas += asset.touch_e8 * (asset.key in touched) + asset.approval_e8 * (asset.key in sold)
    if swaps:
        gas += made.base_e8 + sum(made.pools[0].swap_e8 for _ in swaps)
    objective = worth - Fraction(made.kappa_ppm, 2 * PPM * made.nav_e8) * squares - gas
    assert result.realised_e8 == objective.__floor__()


@pytest.mark.parametrize("seed", range(150))
def test_integers_cost_next_to_nothing(seed: int) -> None:
    """Flooring loses units; an asset that pools feed each other with saves its approval."""
    made, result = instance(seed), planned(seed)
    lost = result.answer.value * made.nav_e8 - result.realised_e8
    fed = {x.sold for x in result.legs if isinstance(x, Swap) and x.chained}
    spared = sum(a.approval_e8 for a in made.assets if a.key in fed)
    approvals = 0.0
    unit = max(a.price_numerator / a.price_denominator for a in made.assets)
    if result.circles:  # what the wallet holds could not start all that the floats meant to do
        approvals += (result.answer.value - result.answer.hold) * made.nav_e8 / 2
    assert -spared - 1 <= lost <= approvals + 3 * CENT + 10 * unit


@pytest.mark.parametrize("seed", range(60))
def test_replanning_on_the_result_holds(seed: int) -> None:
    tokens, pools = [(3, 4), (6, 12)][seed % 2]
    made = market(seed, tokens, pools, gas=1.0, kappa=0.7)
    result = plan(made, Limits(nodes=50_000, gap_e8=CENT))
    held = execute(made, result)
    traded = {leg.pool: leg for leg in result.legs if isinstance(leg, Swap)}
    after = replace(
        made,
        assets=tuple(replace(a, held=held[a.key]) for a in made.assets),
        pools=tuple(_after(p, traded[p.key]) if p.key in traded else p for p in made.pools),
    )
    again = plan(after, Limits(nodes=50_000, gap_e8=CENT))
    assert again.legs == ()


def _after(pool: Pool, leg: Swap) -> Pool:
    sign = 1 if leg.sold == pool.asset0 else -1
    change0 = leg.amount_in if sign > 0 else -leg.amount_out
    change1 = -leg.amount_out if sign > 0 else leg.amount_in
    return replace(pool, reserve0=pool.reserve0 + change0, reserve1=pool.reserve1 + change1)


def test_no_more_legs_than_the_batch_takes() -> None:
    made = market(5, 20, 100, kappa=2.0)
    whole, cut = plan(made, max_legs=100), plan(made, max_legs=6)
    assert len(whole.legs) > 6
    assert 0 < len(cut.legs) <= 6
    assert cut.hold_e8 < cut.realised_e8 < whole.realised_e8
    verify(certificate(cut))


# -- tampering -----------------------------------------------------------------------------------


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all numbers, texts and flags in a JSON document."""
    inside = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in inside:
        if isinstance(value, (dict, list)):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def changed(document: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    copy = json.loads(json.dumps(document))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = change(place[path[-1]])
    return copy


def another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else f"{value}x"


def larger(value: Any) -> Any:
    """A percent more: a unit more of input may buy the same, which is as true a plan."""
    return value + value // 100 + 1 if type(value) is int else another(value)


@pytest.mark.parametrize("seed", [1, 2, 3, 8, 11, 27])
def test_any_change_of_any_value_is_rejected(seed: int) -> None:
    text = certificate(planned(seed))
    document = json.loads(text)
    paths = list(leaves(document))
    assert len(paths) > 50
    for path in paths:
        with pytest.raises(PlanError):
            verify(to_json(changed(document, path, another)))


@pytest.mark.parametrize("seed", [1, 2, 3, 8, 11, 27])
def test_no_false_number_passes_under_a_new_seal(seed: int) -> None:
    """The forger seals anew, and fits the gap: claims and legs are still recomputed."""
    document = json.loads(certificate(planned(seed)))
    for name in ("hold_e8", "realised_e8", "upper_e8", "gap_e8"):
        for by in (-1, 1, -CENT, CENT):
            forged = changed(document, (name,), lambda x, by=by: x + by)
            if name != "gap_e8":
                forged["gap_e8"] = forged["upper_e8"] - forged["realised_e8"]
            with pytest.raises(PlanError, match="it is"):
                verify(to_json(forged | {"seal": seal(forged)}))
    for path in leaves(document["legs"]):
        forged = changed(document, ("legs", *path), larger)
        with pytest.raises(PlanError):
            verify(to_json(forged | {"seal": seal(forged)}))


def test_other_prices_prove_another_bound() -> None:
    """Worse ones a looser bound, and the claim must say so; a bound below the plan never comes."""
    result = planned(1)
    document = json.loads(certificate(result, whole=False))
    for i in range(len(document["tree"]["nu"])):
        forged = changed(document, ("tree", "nu", i), lambda nu: nu * 101 // 100)
        with pytest.raises(PlanError, match="upper_e8"):
            verify(to_json(forged | {"seal": seal(forged)}))
        honest = recompute(forged)
        assert honest["upper_e8"] > document["upper_e8"]
        again = forged | honest
        verify(to_json(again | {"seal": seal(again)}))


def test_the_tree_proves_more_than_its_root() -> None:
    gaps = []
    for seed in range(150):
        result = planned(seed)
        root = verify(certificate(result, whole=False))["gap_e8"]
        whole = verify(certificate(result))["gap_e8"]
        assert whole <= root
        gaps.append((whole, root))
    assert sum(whole < root for whole, root in gaps) > 20


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "1", "null", '{"statement":{}}', "NaN", '{"a":1.5}', "[" * 100_000, '"x"'],
)
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        verify(text)


def test_spaces_are_not_canonical() -> None:
    text = certificate(planned(3))
    verify(text)
    with pytest.raises(PlanError, match="canonical"):
        verify(json.dumps(json.loads(text), sort_keys=True))


# -- order of execution, by hand -------------------------------------------------------------------

DOLLAR = (E8, 10**6)


def asset(key: str, dollars: int, target_ppm: int | None, **more: Any) -> Asset:
    return Asset(key, dollars * 10**6, *DOLLAR, target_ppm, **more)


def deep(key: str, a: str, b: str, fee_ppm: int = 0, price: float = 1.0, **more: Any) -> Pool:
    side = 10**13
    return Pool(key, a, b, side, int(side * price), fee_ppm, **more)


def test_an_intermediate_goes_straight_from_pool_to_pool_and_saves_its_gas() -> None:
    made = statement(
        nav_e8=1_000 * E8,
        kappa_ppm=PPM,
        assets=[
            asset("a", 700, 500_000, approval_e8=CENT, touch_e8=CENT),
            asset("b", 300, 500_000, approval_e8=CENT, touch_e8=CENT),
            asset("m", 5, None, approval_e8=CENT, touch_e8=CENT),
        ],
        pools=[deep("p1", "a", "m", swap_e8=CENT), deep("p2", "m", "b", swap_e8=CENT)],
        base_e8=CENT,
        chained_saving_e8=CENT // 2,
    )
    result = plan(made)
    first, second = result.legs
    assert isinstance(first, Swap)
    assert isinstance(second, Swap)
    assert (first.sold, first.bought, first.chained) == ("a", "m", False)
    assert (second.sold, second.bought, second.chained) == ("m", "b", True)
    assert second.amount_in == first.amount_out
    # base, two swaps, three touches, one approval, less half a cent
    assert execute(made, result)["m"] == 5 * 10**6
    gas = 7 * CENT - CENT // 2
    free = replace(
        made,
        base_e8=0,
        chained_saving_e8=0,
        assets=tuple(replace(a, approval_e8=0, touch_e8=0) for a in made.assets),
        pools=tuple(replace(p, swap_e8=0) for p in made.pools),
    )
    assert plan(free).gain_e8 - result.gain_e8 == pytest.approx(gas, abs=1_000)
    assert verify(certificate(result))["gap_e8"] < CENT


def test_sells_run_before_the_buys_that_they_fund() -> None:
    """b is bought with a and sold for c; none of it is there before."""
    made = statement(
        nav_e8=1_000 * E8,
        kappa_ppm=PPM,
        assets=[asset("a", 900, 300_000), asset("b", 0, 300_000), asset("c", 100, 400_000)],
        pools=[deep("z1", "a", "b"), deep("a2", "b", "c")],
    )
    result = plan(made)
    assert [(leg.sold, leg.bought) for leg in result.legs if isinstance(leg, Swap)] == [
        ("a", "b"),
        ("b", "c"),
    ]
    execute(made, result)


def ring(held: tuple[int, int, int]) -> Statement:
    """Three pools that pay 1 % for going round: a to b to c to a."""
    return statement(
        nav_e8=1_000_000 * E8,
        kappa_ppm=PPM // 10,
        assets=[asset(key, dollars, dollars) for key, dollars in zip("abc", held, strict=True)],
        pools=[
            replace(deep("p1", "a", "b", price=1.01), reserve0=10**11, reserve1=101 * 10**9),
            replace(deep("p2", "b", "c"), reserve0=10**11, reserve1=10**11),
            replace(deep("p3", "c", "a"), reserve0=10**11, reserve1=10**11),
        ],
    )


def test_a_ring_starts_from_what_the_wallet_holds() -> None:
    made = ring((1_000_000, 0, 0))
    result = plan(made)
    assert [leg.sold for leg in result.legs if isinstance(leg, Swap)] == ["a", "b", "c"]
    assert result.dropped == ()
    assert result.gain_e8 > 100 * CENT
    assert result.gain_e8 == pytest.approx(
        result.answer.value * made.nav_e8 - result.hold_e8, rel=1e-3
    )
    execute(made, result)


def test_a_ring_is_cut_to_what_the_wallet_holds_or_left_alone() -> None:
    """With $5 only $5 go round, with nothing nothing does; no order that cannot run is emitted."""
    whole = plan(ring((1_000_000, 0, 0))).gain_e8
    little = plan(ring((5, 0, 0)))
    execute(ring((5, 0, 0)), little)
    assert 0 < little.gain_e8 < whole / 2
    assert isinstance(little.legs[0], Swap)
    assert little.legs[0].amount_in <= 5 * 10**6
    assert plan(ring((0, 0, 0))).legs == ()


def test_a_holding_without_target_is_sold_to_the_last_unit() -> None:
    made = statement(
        nav_e8=1_000 * E8,
        kappa_ppm=PPM,
        assets=[Asset("a", 123_456_789_123_456_789, E8, 10**18, 0), asset("b", 877, PPM)],
        pools=[replace(deep("p", "a", "b"), reserve0=10**25)],
    )
    result = plan(made)
    assert execute(made, result)["a"] == 0


def test_without_pools_it_holds() -> None:
    made = statement(
        nav_e8=1_000 * E8,
        kappa_ppm=PPM,
        assets=[asset("a", 700, 500_000), asset("b", 300, 500_000)],
        pools=[],
    )
    result = plan(made)
    assert (result.legs, result.gain_e8) == ((), 0)
    assert verify(certificate(result))["gap_e8"] == 0
