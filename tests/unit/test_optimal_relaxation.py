"""The relaxation: against cvxpy + Clarabel, against closed forms, and by its own optimality."""

from __future__ import annotations

from math import sqrt

import numba
import numpy as np
import pytest
from optimal_world import market, oracle, with_everything

from rebalancer.errors import PlanError
from rebalancer.model import E8, PPM
from rebalancer.planner.optimal.case import Best, Case, empty
from rebalancer.planner.optimal.dual import evaluate
from rebalancer.planner.optimal.graph import Graph, lay_out
from rebalancer.planner.optimal.newton import minimise
from rebalancer.planner.optimal.relaxation import (
    Relaxed,
    Trades,
    free,
    nothing,
    relax,
    worth,
)
from rebalancer.planner.optimal.rest import at_rest
from rebalancer.planner.optimal.statement import Asset, Pool, Statement, TaxTier, statement
from rebalancer.planner.optimal.terms import trade as compiled_trade

#: Of NAV. What the duality gap may be, and what the oracle's optimum may differ by.
GAP = 1e-11
ORACLE = 1e-7


def instance(seed: int) -> Graph:
    """Every kind of market in turn: small ones mostly, every tenth of 20 tokens and 100 pools."""
    tokens, pools = (20, 100) if seed % 10 == 0 else [(3, 4), (5, 9), (8, 20)][seed % 3]
    if seed % 2:
        return lay_out(market(seed, tokens, pools, middle=seed % 4 // 3))
    return lay_out(with_everything(seed, tokens, pools, middle=seed % 4 // 2))


def assert_feasible(graph: Graph, trades: Trades) -> None:
    """Every constraint, worked out anew: pools keep their product, nothing is overdrawn."""
    assert (trades.amount_in >= 0).all()
    assert (trades.amount_out >= 0).all()
    change = np.zeros(graph.held.size)
    for k, (a, b) in enumerate(graph.token):
        sold, bought = (a, b) if trades.side[k] == 0 else (b, a)
        r_in, r_out = graph.reserve[k, trades.side[k]], graph.reserve[k, 1 - trades.side[k]]
        burned = trades.burn[graph.stake_of[k]] if graph.stake_of[k] >= 0 else 0.0
        paid, got = trades.amount_in[k], trades.amount_out[k]
        x_in = (1 - burned) * r_in + graph.gamma[k] * paid
        x_out = (1 - burned) * r_out - got
        assert x_in * x_out >= (1 - burned) ** 2 * r_in * r_out * (1 - 1e-14)
        assert graph.gamma[k] * paid <= (1 - burned) * r_in * (
            graph.reach[k, trades.side[k]] - 1
        ) * (1 + 1e-12)
        change[sold] -= paid
        change[bought] += got
        change[a] += burned * graph.reserve[k, 0]
        change[b] += burned * graph.reserve[k, 1]
    rounding = 1e-14 * (1 + graph.reserve.max())
    assert (graph.held + change)[graph.stiff > 0].min() >= -rounding
    assert (change[graph.stiff == 0] >= -rounding).all()
    assert (trades.burn * graph.stake_unit <= graph.stake_held * (1 + 1e-14)).all()


@pytest.mark.parametrize("decade", range(20))
def test_the_optimum_is_that_of_clarabel(decade: int) -> None:
    for seed in range(10 * decade, 10 * decade + 10):
        graph = instance(seed)
        found = relax(graph)
        assert_feasible(graph, found.trades)
        assert abs(found.upper - found.lower) <= GAP, seed
        best, exact = oracle(graph)
        assert found.lower >= best - ORACLE, seed
        if exact:
            assert found.lower <= best + ORACLE, seed


@pytest.mark.parametrize("seed", range(60))
def test_optimality_conditions_hold(seed: int) -> None:
    """Marginal rate of each used pool equals the ratio of the prices, unused ones are in their
    band, and holdings are the best ones at the prices."""
    tokens, pools = [(3, 4), (8, 20), (20, 100)][seed % 3]
    graph = lay_out(market(seed, tokens, pools, middle=1))
    found = relax(graph)
    s = found.prices
    for k, pair in enumerate(graph.token):
        a, b = pair[found.trades.side[k]], pair[1 - found.trades.side[k]]
        r_in, r_out = (
            graph.reserve[k, found.trades.side[k]],
            graph.reserve[k, 1 - found.trades.side[k]],
        )
        gamma, paid = graph.gamma[k], found.trades.amount_in[k]
        if paid:
            marginal = gamma * r_in * r_out / (r_in + gamma * paid) ** 2
            assert marginal == pytest.approx(s[a] / s[b], rel=1e-9)
        else:
            spot = graph.reserve[k, 1] / graph.reserve[k, 0] * s[pair[1]] / s[pair[0]]
            assert gamma * (1 - 1e-12) <= spot <= (1 + 1e-12) / gamma
    holdings = worth(graph, found.trades).holdings
    for i in range(tokens - 1):
        wanted = graph.target[i] + (1 - s[i]) / graph.stiff[i]
        assert holdings[i] == pytest.approx(max(wanted, 0), abs=1e-9)
    assert holdings[-1] == pytest.approx(graph.held[-1], abs=1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_any_prices_bound_the_optimum(seed: int) -> None:
    graph = lay_out(with_everything(seed, 8, 20, middle=1))
    best = relax(graph)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        x = best.prices * (1 + rng.normal(0, 0.01, best.prices.size))
        assert bound(graph, x) >= best.lower - 1e-13


def bound(graph: Graph, x: np.ndarray) -> float:
    return float(minimise(graph, free(graph), 0.0, x.copy(), empty(graph), 0)[0])


@numba.njit(error_model="numpy")
def derivatives(
    graph: Graph,
    case: Case,
    mu: float,
    x: np.ndarray,
    best: Best,
    gradient: np.ndarray,
    hessian: np.ndarray,
) -> float:
    return evaluate(graph, case, mu, x, best, gradient, hessian)[0]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("gas", [0.0, 1e-4])
def test_gradient_and_hessian_are_the_derivatives(seed: int, gas: float) -> None:
    """With everything, half of them also with fees and least amounts for sales, debts, tolls."""
    graph = lay_out(with_everything(seed, 5, 8, middle=1))
    rng = np.random.default_rng(seed)
    case = free(graph)._replace(charge=np.full((8, 2), gas))
    low_prices = 0.02
    if seed >= 20:
        graph = graph._replace(
            toll=0.002,
            owed=np.where(rng.random(5) < 0.3, 0.05, 0.0),
            least_sold=np.where(rng.random(5) < 0.5, 0.01, 0.0),
            most=np.where(rng.random(5) < 0.3, graph.held, np.inf),
        )
        graph = graph._replace(held=graph.held - graph.owed)
        case = case._replace(fee=np.full(5, gas), top=graph.most)
        low_prices = 0.04
    size = graph.held.size + graph.load.shape[0]
    x = np.concatenate([1 + rng.normal(0, low_prices, 5), rng.normal(0, 0.02, 2)])
    x[:5] *= np.where(graph.owed > 0, graph.urgency * rng.uniform(0.8, 1.5, 5), 1.0)
    gradient, hessian, best = np.empty(size), np.empty((size, size)), empty(graph)
    derivatives(graph, case, 1e-4, x, best, gradient, hessian)
    whole = np.tril(hessian) + np.tril(hessian, -1).T
    up, down, spare = np.empty(size), np.empty(size), np.empty((0, 0))
    for i in range(size):
        step = np.zeros(size)
        step[i] = 1e-7
        above = derivatives(graph, case, 1e-4, x + step, best, up, spare)
        below = derivatives(graph, case, 1e-4, x - step, best, down, spare)
        assert (above - below) / 2e-7 == pytest.approx(gradient[i], rel=1e-4, abs=1e-6)
        np.testing.assert_allclose((up - down) / 2e-7, whole[:, i], rtol=1e-3, atol=1e-3)


def trade(*args: float) -> tuple[float, float, float, float]:
    return compiled_trade.py_func(*args)  # type: ignore[attr-defined, no-any-return]


def one_pair(*pools: tuple[float, float, int], kappa: float, held: float) -> tuple[Graph, Relaxed]:
    """Two tokens of 1 dollar each, ``held`` of NAV in the first, half and half wanted."""
    made = statement(
        nav_e8=E8 * 10**6,
        kappa_ppm=int(kappa * PPM),
        assets=[
            Asset("a", int(held * 10**6) * 10**18, E8, 10**18, PPM // 2),
            Asset("b", int((1 - held) * 10**6) * 10**18, E8, 10**18, PPM // 2),
        ],
        pools=[
            Pool(f"p{k}", "a", "b", int(r0 * 1e24), int(r1 * 1e24), fee)
            for k, (r0, r1, fee) in enumerate(pools)
        ],
    )
    graph = lay_out(made)
    return graph, relax(graph)


def test_a_pool_trades_as_the_closed_form_of_section_2_says() -> None:
    gamma, r0, r1, s0, s1 = 0.997, 3.0, 2.5, 0.9, 1.2
    arb, paid, got, t = trade(r0, r1, gamma, np.inf, s0, s1)
    k = r0 * r1
    assert paid == pytest.approx((sqrt(gamma * k * s1 / s0) - r0) / gamma, rel=1e-13)
    assert got == pytest.approx(r1 - sqrt(k * s0 / (gamma * s1)), rel=1e-13)
    assert arb == pytest.approx(s1 * got - s0 * paid, rel=1e-13)
    assert arb == pytest.approx((sqrt(s1 * r1) - sqrt(s0 * r0 / gamma)) ** 2, rel=1e-13)
    assert t == pytest.approx(sqrt(gamma * s1 * r1 / (s0 * r0)), rel=1e-15)
    assert trade(r1, r0, gamma, np.inf, s1, s0) == (0, 0, 0, 0)


def test_an_impact_limit_cuts_the_swap_where_it_says() -> None:
    _, paid, got, t = trade(1.0, 1.0, 0.997, 1 / 0.98, 0.5, 1.0)
    assert t == -1 / 0.98
    after_fee = 0.997 * paid
    assert after_fee / (1 + after_fee) == pytest.approx(0.02, rel=1e-12)
    assert got == pytest.approx(after_fee / (1 + after_fee), rel=1e-12)


def test_parallel_pools_share_a_trade_as_water_fills_them() -> None:
    pools = ((5.0, 5.0, 3_000), (2.0, 2.004, 3_000), (9.0, 8.99, 500), (1.0, 1.0, 10_000))
    graph, found = one_pair(*pools, kappa=2.0, held=0.7)
    whole = found.trades.amount_in.sum()
    assert whole > 0.01
    order = sorted(pools, key=lambda p: -(1 - p[2] / PPM) * p[1] / p[0])
    active: list[tuple[float, float, int]] = []
    mu = 0.0
    for r0, r1, fee in order:
        gamma = 1 - fee / PPM
        if active and mu >= gamma * r1 / r0:
            break
        active.append((r0, r1, fee))
        roots = sum(sqrt(a * b / (1 - f / PPM)) for a, b, f in active)
        mu = ((whole + sum(a / (1 - f / PPM) for a, _, f in active)) / roots) ** -2
    for k, (r0, r1, fee) in enumerate(pools):
        gamma = 1 - fee / PPM
        share = max(0.0, sqrt(gamma * r0 * r1 / mu) - r0) / gamma
        assert found.trades.amount_in[k] == pytest.approx(share, abs=1e-9)
    assert mu == pytest.approx(found.prices[0] / found.prices[1], rel=1e-9)
    assert found.trades.side.tolist() == [0, 0, 0, 0]
    del graph


@pytest.mark.parametrize("seed", range(40))
def test_rest_is_exactly_where_every_ratio_is_in_its_band(seed: int) -> None:
    """The certificate of section 2, and that trading starts right outside of it."""
    rng = np.random.default_rng(seed)
    graph = lay_out(market(seed, 8, 20, drift=float(rng.uniform(0, 0.05)), off=0.001, kappa=0.2))
    s = 1 - graph.stiff * (graph.held - graph.target)
    ratio = (
        graph.reserve[:, 1] * s[graph.token[:, 1]] / (graph.reserve[:, 0] * s[graph.token[:, 0]])
    )
    inside = bool(((graph.gamma <= ratio) & (ratio <= 1 / graph.gamma)).all())
    nothing_done = worth(graph, nothing(graph)).value
    rest = at_rest(graph, free(graph))
    if (graph.held > 0).all():
        assert (rest.upper <= nothing_done + 1e-15) == inside
    assert (relax(graph).lower > nothing_done + 1e-13) == (rest.upper > nothing_done + 1e-13)


def test_both_outcomes_of_rest_occur() -> None:
    calm = lay_out(market(1, 8, 20, drift=0.0, off=0.0))
    moved = lay_out(market(1, 8, 20, drift=0.3, off=0.0))
    for graph, rests in ((calm, True), (moved, False)):
        holds = at_rest(graph, free(graph)).upper <= worth(graph, nothing(graph)).value + 1e-15
        assert holds == rests


@pytest.mark.parametrize("seed", range(20))
def test_rest_sees_through_intermediates_and_taxes(seed: int) -> None:
    """Prices of both are free within limits: resting is decided exactly here too."""
    made = market(seed, 6, 10, drift=0.02, off=0.001, kappa=0.3, middle=2)
    taxed = [
        Asset(
            **{name: getattr(a, name) for name in a.__slots__ if name != "tax"},
            tax=(TaxTier(0, 4_000),) if a.target_ppm else (),
        )
        for a in made.assets
    ]
    graph = lay_out(
        statement(nav_e8=made.nav_e8, kappa_ppm=made.kappa_ppm, assets=taxed, pools=made.pools)
    )
    nothing_done = worth(graph, nothing(graph)).value
    rest = at_rest(graph, free(graph))
    assert (relax(graph).lower > nothing_done + 1e-12) == (rest.upper > nothing_done + 1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_optimum_is_never_below_holding(seed: int) -> None:
    graph = lay_out(with_everything(seed, 8, 20, middle=1))
    assert relax(graph).lower >= worth(graph, nothing(graph)).value - 1e-15


def test_two_hundred_tokens_are_solved_and_a_token_without_pool_stays() -> None:
    made = market(3, 200, 1_000)
    extra = Asset("alone", 10**18, E8, 10**18, 10_000)
    graph = lay_out(with_assets(made, [*made.assets, extra]))
    found = relax(graph)
    assert found.upper - found.lower <= 1e-11
    assert worth(graph, found.trades).holdings[0] == graph.held[0]  # "alone" sorts first


def with_assets(made: Statement, assets: list[Asset]) -> Statement:
    return statement(nav_e8=made.nav_e8, kappa_ppm=made.kappa_ppm, assets=assets, pools=made.pools)


A, B = Asset("a", 1, E8, 1, 500_000), Asset("b", 1, E8, 1, 500_000)
P = Pool("p", "a", "b", 10, 10, 3_000)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"nav_e8": 0}, "worth nothing"),
        ({"kappa_ppm": 0}, "no reason to trade"),
        ({"pools": [Pool("p", "a", "b", 0, 10, 3_000)]}, "pool p is empty"),
        ({"pools": [Pool("p", "a", "c", 10, 10, 3_000)]}, "trades c, which is no asset"),
        ({"pools": [Pool("p", "a", "a", 10, 10, 3_000)]}, "for itself"),
        ({"pools": [P, P]}, "pool p is there twice"),
        ({"pools": [Pool("p", "a", "b", 10, 10, PPM)]}, "fee of p"),
        ({"pools": [Pool("p", "a", "b", 10, 10, 0, max_impact_ppm=0)]}, "impact limit of p"),
        ({"assets": [A, A]}, "asset a is there twice"),
        ({"assets": [A, Asset("b", -1, E8, 1, 0)]}, "balance of b is negative"),
        ({"assets": [A, Asset("b", 1, 0, 1, 0)]}, "price of b is not positive"),
        ({"assets": [A, Asset("b", 1, 1, 1, 0, drift_weight_ppm=0)]}, "no best plan"),
        ({"assets": [A, Asset("b", 1, 1, 1, 0, tax=(TaxTier(0, 9), TaxTier(5, 3)))]}, "tax on"),
        ({"assets": [A, Asset("b", 1, 1, 1, 0, tax=(TaxTier(0, -9),))]}, "tax on"),
        ({"assets": [A, Asset("b", 1, 1, 1, None, tax=(TaxTier(0, 9),))]}, "no target"),
        ({"reserve_ppm": PPM}, "slippage reserve"),
        ({"base_e8": -1}, "less than nothing"),
    ],
)
def test_bad_input_is_refused_by_name(changes: dict[str, object], says: str) -> None:
    good: dict[str, object] = {"nav_e8": 10, "kappa_ppm": PPM, "assets": [A, B], "pools": [P]}
    with pytest.raises(PlanError, match=says):
        statement(**{**good, **changes})  # type: ignore[arg-type]


def test_where_prices_are_too_coarse_for_the_pools_no_trades_are_still_a_plan() -> None:
    """A pool a million times the portfolio, off the oracle: a price's rounding moves all of it."""
    wide = 0
    for seed in range(150):
        graph = lay_out(market(seed, 6, 12, depth=(1e-6, 1e6), off=0.02, kappa=1.0))
        found = relax(graph)
        wide += found.upper - found.lower > 1e-9
        assert found.upper >= found.lower - 1e-12
        assert found.lower >= worth(graph, nothing(graph)).value - 1e-12
        assert worth(graph, found.trades).value == pytest.approx(found.lower, abs=1e-12)
    assert wide > 0
