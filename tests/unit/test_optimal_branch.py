"""Branch and bound: against all subsets, its bounds, its limits, and what gas must do to plans."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from optimal_world import market, with_everything

from rebalancer.model import E8
from rebalancer.planner.optimal.branch import Answer, Limits, solve
from rebalancer.planner.optimal.case import empty
from rebalancer.planner.optimal.charging import IN
from rebalancer.planner.optimal.graph import lay_out
from rebalancer.planner.optimal.newton import MAX_STEPS, minimise
from rebalancer.planner.optimal.relaxation import first_prices, free, nothing, relax, worth
from rebalancer.planner.optimal.statement import Asset, Pool, Statement, statement

CENT = E8 // 100


def best_of_all_subsets(made: Statement) -> float:
    """The best plan's worth over NAV, by solving every choice of pools, directions and moves."""
    graph = lay_out(made)
    index = {a.key: i for i, a in enumerate(made.assets)}
    best = worth(graph, nothing(graph)).value
    for ways in product((None, 0, 1), repeat=len(made.pools)):
        for moves in product((None, 0, 1), repeat=len(made.stakes)):
            if not any(way is not None for way in (*ways, *moves)):
                continue
            gas = made.base_e8
            touched: set[str] = set()
            sold: list[str] = []
            fed: list[str] = []
            charge = np.full((len(made.pools), 2), np.inf)
            low, high = graph.stake_held.copy(), graph.stake_held.copy()
            for k, way in enumerate(ways):
                if way is not None:
                    pool = made.pools[k]
                    charge[k, way] = 0.0
                    gas += pool.swap_e8
                    touched |= {pool.asset0, pool.asset1}
                    sold.append((pool.asset0, pool.asset1)[way])
                    fed.append((pool.asset0, pool.asset1)[1 - way])
            for e, move in enumerate(moves):
                if move is None:
                    continue
                stake = made.stakes[e]
                pool = next(p for p in made.pools if p.key == stake.pool)
                touched |= {pool.asset0, pool.asset1}
                if move == 0:
                    low[e], gas = 0.0, gas + stake.burn_e8
                else:
                    high[e], gas = np.inf, gas + stake.mint_e8
                    sold += 2 * [pool.asset0, pool.asset1]
                fed += 2 * [pool.asset0, pool.asset1]
            gas += sum(made.assets[index[key]].touch_e8 for key in touched)
            gas += sum(
                made.assets[index[key]].approval_e8
                for key in set(sold)
                if made.assets[index[key]].target_ppm is not None
                or (sold.count(key), fed.count(key)) != (1, 1)
            )
            x = first_prices(graph)
            case = free(graph)._replace(charge=charge, low=low, high=high)
            value, _, _ = minimise(graph, case, 0.0, x, empty(graph), MAX_STEPS)
            best = max(best, value - gas / made.nav_e8)
    return best


def small(seed: int) -> Statement:
    """A market small enough for all subsets; gas from nothing to a good part of the gain."""
    gas = [0.2, 2.0, 8.0][seed % 3]
    tokens, pools = [(3, 5), (4, 6), (3, 4)][seed % 3]
    if seed % 2:
        return market(seed, tokens, pools, gas=gas, middle=seed % 4 // 3, kappa=0.7)
    return with_everything(seed, 3, 4, gas=gas, kappa=0.7)


@pytest.mark.parametrize("seed", range(48))
def test_the_optimum_is_that_of_all_subsets(seed: int) -> None:
    made = small(seed)
    answer = solve(made, Limits(gap_e8=CENT // 10, nodes=100_000))
    best = best_of_all_subsets(made)
    assert (answer.value - best) * made.nav_e8 >= -CENT
    if not answer.fed:  # these subsets feed no pool by another
        assert (answer.value - best) * made.nav_e8 <= CENT
    assert answer.upper >= best - 1e-13


def test_small_instances_hold_and_trade_and_use_every_kind_of_item() -> None:
    """So that the test above shows something."""
    answers = [solve(small(seed)) for seed in range(48)]
    assert 4 <= sum(not a.supports for a in answers) <= 40
    used = [a.supports[0] for a in answers if a.supports]
    assert any((s.choices.stake[:, 0] == IN).any() for s in used)
    assert any((s.choices.stake[:, 1] == IN).any() for s in used)
    assert max(a.nodes for a in answers) > 8


@pytest.mark.parametrize("seed", range(20))
def test_every_bound_of_the_tree_is_above_the_plans_in_it(seed: int) -> None:
    made = small(seed)
    answer = solve(made, Limits(gap_e8=CENT // 10, nodes=100_000))

    proved = max(answer.hold, *(leaf.proved for leaf in answer.root.leaves()))
    assert proved == pytest.approx(answer.upper, abs=1e-15)
    assert answer.upper >= answer.value - 1e-13
    assert max(answer.root.proved, answer.hold) >= answer.value - 1e-13


@pytest.mark.parametrize("seed", range(20))
def test_stopped_early_it_says_what_is_open(seed: int) -> None:
    made = market(seed, 8, 20, gas=3.0, kappa=0.7)
    best = solve(made, Limits(gap_e8=CENT // 10, nodes=100_000))
    early = solve(made, Limits(nodes=1))
    assert early.nodes <= 3
    assert early.hold <= early.value <= best.value + 1e-15
    assert early.upper >= best.value - 1e-13


def test_the_clock_stops_it() -> None:
    ticks = iter(range(1_000_000))
    made = market(0, 20, 100, gas=3.0, kappa=0.7)
    answer = solve(made, Limits(gap_e8=0, nodes=10**9, clock=lambda: next(ticks), until=25.0))
    # Two nodes a tick, and a fifth of the ticks is left for the rest.
    assert 20 <= answer.nodes <= 40
    assert answer.gap > 0


@pytest.mark.parametrize("seed", range(30))
def test_more_gas_never_means_more_legs(seed: int) -> None:
    """Of one graph, with every price of gas scaled alike, solved to the optimum."""
    legs = []
    for gas in (0.0, 0.1, 0.5, 2.0, 8.0, 30.0, 1_000.0):
        made = market(seed, 5, 7, gas=gas, kappa=0.7, middle=seed % 2)
        legs.append(gas_units(solve(made, Limits(gap_e8=0, nodes=100_000))))
    assert legs == sorted(legs, reverse=True)
    assert legs[-1] == 0


def gas_units(answer: Answer) -> float:
    """Gas of the best plan in units of a swap: what a higher gas price can only reduce."""
    if not answer.supports:
        return 0.0
    edge = answer.supports[0].choices.edge == IN
    token = answer.graph.token
    touched = {int(i) for k, _ in np.argwhere(edge) for i in token[k]}
    sold = {int(token[k, side]) for k, side in np.argwhere(edge)}
    sold = {i for i in sold if answer.graph.stiff[i] > 0}
    return round(edge.sum() + len(touched) / 7 + len(sold) * 6 / 7 + 3 / 7, 6)


@pytest.mark.parametrize("seed", range(12))
def test_the_order_of_tokens_and_pools_changes_nothing(seed: int) -> None:
    made = with_everything(seed, 6, 10, gas=1.0)
    rng = np.random.default_rng(seed)
    turned = statement(
        nav_e8=made.nav_e8,
        kappa_ppm=made.kappa_ppm,
        assets=[made.assets[i] for i in rng.permutation(len(made.assets))],
        pools=[made.pools[i] for i in rng.permutation(len(made.pools))],
        stakes=made.stakes[::-1],
        factors=made.factors[::-1],
        base_e8=made.base_e8,
        reserve_ppm=made.reserve_ppm,
    )
    assert turned == made


@pytest.mark.parametrize("seed", range(12))
def test_other_names_for_the_tokens_change_no_value(seed: int) -> None:
    """Renamed, they come in another order and every sum is taken in another order."""
    made = market(seed, 6, 10, gas=1.0, kappa=0.7)
    name = {a.key: f"x{99 - i}" for i, a in enumerate(made.assets)}
    renamed = statement(
        nav_e8=made.nav_e8,
        kappa_ppm=made.kappa_ppm,
        assets=[replace(a, key=name[a.key]) for a in made.assets],
        pools=[
            replace(p, key=f"q{99 - k}", asset0=name[p.asset0], asset1=name[p.asset1])
            for k, p in enumerate(made.pools)
        ],
        base_e8=made.base_e8,
    )
    one, other = solve(made, Limits(gap_e8=1)), solve(renamed, Limits(gap_e8=1))
    assert abs(one.value - other.value) * made.nav_e8 <= 2


def test_without_gas_it_is_the_relaxation() -> None:
    made = with_everything(4, 8, 20, middle=1)
    assert solve(made).value == pytest.approx(relax(lay_out(made)).lower, abs=1e-12)


def test_a_portfolio_at_its_targets_holds_at_once() -> None:
    answer = solve(market(1, 8, 20, drift=0.0, off=0.0, gas=1.0))
    assert (answer.supports, answer.nodes, answer.gap) == ((), 1, 0.0)


def test_the_same_statement_gives_the_same_answer() -> None:
    made = market(7, 8, 20, gas=3.0)
    one, other = solve(made), solve(made)
    assert one.value == other.value
    assert one.upper == other.upper
    assert (one.supports[0].choices.edge == other.supports[0].choices.edge).all()


def test_a_hundred_thousand_dollars_of_two_tokens_pay_for_one_swap() -> None:
    """By hand: 60/40 instead of 50/50 over a pool of 10 million a side, kappa 1, free of fees.

    The penalty falls from V (0.1^2) by nearly all, that is $1,000; the swap's impact is
    10,000^2 / 10,000,000 = $10, so all but a little of the $10,000 is sold.
    """
    dollar = (E8, 10**18)
    made = statement(
        nav_e8=100_000 * E8,
        kappa_ppm=1_000_000,
        assets=[
            Asset("a", 60_000 * 10**18, *dollar, 500_000),
            Asset("b", 40_000 * 10**18, *dollar, 500_000),
        ],
        pools=[Pool("p", "a", "b", 10**25, 10**25, 0, swap_e8=5 * E8)],
        base_e8=2 * E8,
    )
    answer = solve(made)
    sold = answer.trades(answer.supports[0]).amount_in[0]
    # 2 kappa (0.1 - x) = 2 x / depth, to first order, with depth 100 NAV
    assert sold == pytest.approx(0.1 * 100 / 101, rel=1e-3)
    assert (answer.value - answer.hold) * 100_000 == pytest.approx(1_000 - 9.9 - 7, abs=0.3)
