"""A covariance matrix as the drift penalty of a statement: weights of single drifts and factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

import numpy as np
import numpy.typing as npt

from rebalancer.errors import PlanError
from rebalancer.model import PPM
from rebalancer.planner.optimal.statement import Factor

#: Drift that costs nothing by the matrix costs this share of the average variance, so that there is
#: one best plan where the matrix is singular.
RIDGE = 1e-3
#: Of the average variance: what rounding may make of a symmetric matrix without negative variance.
_ROUNDING = 1e-9


def drift_metric(
    keys: Sequence[str], covariance: Sequence[Sequence[float]] | npt.NDArray[np.float64]
) -> tuple[Mapping[str, int], tuple[Factor, ...]]:
    """``drift_weight_ppm`` of each position, and the factors that make up the rest.

    Together ``sum_i d_i x_i^2 + sum_j (F_j x)^2 = x' S x`` for value drifts ``x``, with ``S`` the
    matrix over its average variance (kappa keeps its meaning) and its eigenvalues no less than
    ``RIDGE``; weights and loads are rounded to a millionth. Raises PlanError for a matrix that is
    no covariance.
    """
    matrix = np.asarray(covariance, dtype=np.float64)
    count = len(keys)
    if matrix.shape != (count, count) or not count:
        raise PlanError(f"a covariance of {count} positions is not {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise PlanError("the covariance matrix has entries that are no numbers")
    scale = float(np.trace(matrix)) / count
    if scale <= 0:
        raise PlanError("the covariance matrix has no variance", hint="leave it out")
    matrix = matrix / scale
    if np.abs(matrix - matrix.T).max() > _ROUNDING * max(1.0, float(np.abs(matrix).max())):
        raise PlanError("the covariance matrix is not symmetric")
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -_ROUNDING * count:
        raise PlanError(
            f"the covariance matrix has a negative variance ({values[0] * scale:.3g})",
            hint="estimate it from one common period of all positions, or shrink it",
        )
    least = max(float(values[0]), RIDGE)
    factors = []
    for j in range(count):
        root = sqrt(max(float(values[j]) - least, 0.0)) * PPM
        # Which way an eigenvector points is chance: its largest load is positive.
        largest = float(vectors[np.abs(vectors[:, j]).argmax(), j])
        loads = [round(root * float(load) * (1 if largest > 0 else -1)) for load in vectors[:, j]]
        if any(loads):
            factors.append(Factor(f"eigen{j:03}", tuple(zip(keys, loads, strict=True))))
    return dict.fromkeys(keys, round(least * PPM)), tuple(factors)
