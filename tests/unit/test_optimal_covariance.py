"""Covariances as drift penalties: what they cost, singular ones, and ones that are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from optimal_world import market, oracle

from rebalancer.errors import PlanError
from rebalancer.planner.optimal.certificate import certificate, plan
from rebalancer.planner.optimal.covariance import RIDGE, _eigen, drift_metric
from rebalancer.planner.optimal.graph import lay_out
from rebalancer.planner.optimal.relaxation import relax
from rebalancer.planner.optimal.statement import Factor, Statement
from rebalancer.planner.optimal.verify import verify

KEYS = ("a", "b", "c", "d")


def form(weights: dict[str, int], factors: tuple[Factor, ...], x: np.ndarray) -> float:
    total = sum(weights[key] / 1e6 * v**2 for key, v in zip(KEYS, x, strict=True))
    for factor in factors:
        loads = dict(factor.loads)
        total += sum(loads[key] / 1e6 * v for key, v in zip(KEYS, x, strict=True)) ** 2
    return float(total)


@pytest.mark.parametrize("rank", [1, 2, 4, 9])
def test_the_quadratic_form_is_that_of_the_matrix(rank: int) -> None:
    rng = np.random.default_rng(rank)
    root = rng.normal(size=(4, rank))
    matrix = root @ root.T * 0.04
    weights, factors = drift_metric(KEYS, matrix)
    scaled = matrix / (np.trace(matrix) / 4)
    values, vectors = np.linalg.eigh(scaled)
    floored = vectors @ np.diag(np.maximum(values, RIDGE)) @ vectors.T
    for _ in range(20):
        x = rng.normal(size=4)
        assert form(dict(weights), factors, x) == pytest.approx(x @ floored @ x, rel=1e-4)


def test_no_covariance_between_equals_is_the_plain_penalty() -> None:
    weights, factors = drift_metric(KEYS, 0.09 * np.eye(4))
    assert set(weights.values()) == {1_000_000}
    assert factors == ()


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_eigenvectors_are_those_of_the_matrix_whatever_the_machine(count: int) -> None:
    """Tokens of three kinds, all alike within a kind: most eigenvalues are there many times."""
    kinds = np.arange(count) % 3
    matrix = 0.5 * (kinds[:, None] == kinds) + 0.3 * np.eye(count) + 0.2
    values, vectors = _eigen(matrix)
    assert vectors @ np.diag(values) @ vectors.T == pytest.approx(matrix, abs=1e-13)
    assert vectors.T @ vectors == pytest.approx(np.eye(count), abs=1e-13)
    assert values == pytest.approx(np.linalg.eigvalsh(matrix), abs=1e-13)
    assert list(values) == sorted(values)


def test_the_loads_of_tokens_that_are_alike_are_these_on_every_machine() -> None:
    matrix = np.full((4, 4), 0.7 * 0.81)
    matrix[np.diag_indices(4)] = 0.81
    matrix[3] = matrix[:, 3] = 0.0
    weights, factors = drift_metric(KEYS, matrix)
    assert set(weights.values()) == {1_000}
    assert [tuple(load for _, load in factor.loads) for factor in factors] == [
        (446_654, -446_654, 0, 0),
        (-257_876, -257_876, 515_752, 0),
        (1_032_634, 1_032_634, 1_032_634, 0),
    ]


def with_covariance(made: Statement, matrix: np.ndarray) -> Statement:
    keys = [a.key for a in made.assets]
    weights, factors = drift_metric(keys, matrix)
    assets = tuple(replace(a, drift_weight_ppm=weights[a.key]) for a in made.assets)
    return replace(made, assets=assets, factors=factors)


@pytest.mark.parametrize("rank", [1, 3, 8])
@pytest.mark.parametrize("seed", range(8))
def test_singular_covariances_are_solved_and_certified(seed: int, rank: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(8, rank))
    made = with_covariance(market(seed, 8, 20, kappa=0.7, depth=(0.3, 30)), root @ root.T)
    found = relax(lay_out(made))
    best, _ = oracle(lay_out(made))
    assert found.upper - found.lower <= 1e-10
    assert found.lower >= best - 1e-7
    verify(certificate(plan(made)))


def test_moving_within_a_bucket_is_not_worth_a_trade() -> None:
    """a is over by what b is under: together they are where they should be."""
    made = market(1, 4, 6, kappa=1.0, drift=0.0, off=0.0, gas=0.5)
    a, b = made.assets[0], made.assets[1]
    shift = min(a.target_ppm or 0, b.target_ppm or 0) // 2
    moved = (
        replace(a, target_ppm=(a.target_ppm or 0) - shift),
        replace(b, target_ppm=(b.target_ppm or 0) + shift),
        *made.assets[2:],
    )
    apart = replace(made, assets=moved)
    assert plan(apart).legs
    block = np.eye(4)
    block[0, 1] = block[1, 0] = 1.0
    assert plan(with_covariance(apart, block)).legs == ()


@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        (np.eye(3), "4 positions"),
        (np.full((4, 4), np.nan), "no numbers"),
        (np.zeros((4, 4)), "no variance"),
        (np.eye(4) + np.triu(np.ones((4, 4)), 1), "not symmetric"),
        (np.eye(4) - 0.9 * (np.ones((4, 4)) - np.eye(4)), "negative variance"),
    ],
)
def test_what_is_no_covariance_is_refused(matrix: np.ndarray, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        drift_metric(KEYS, matrix)
