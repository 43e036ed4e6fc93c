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
#: Off the diagonal of a matrix whose diagonal is about 1; and how often all of it is gone through
#: at most, where six to ten times do.
_NOTHING, _MOST_SWEEPS = 1e-16, 40


def drift_metric(
    keys: Sequence[str], covariance: Sequence[Sequence[float]] | npt.NDArray[np.float64]
) -> tuple[Mapping[str, int], tuple[Factor, ...]]:
    """``drift_weight_ppm`` of each position, and the factors that make up the rest.

    Together ``sum_i d_i x_i^2 + sum_j (F_j x)^2 = x' S x`` for value drifts ``x``, with ``S`` the
    matrix over its average variance (kappa keeps its meaning) and its eigenvalues no less than
    ``RIDGE``; weights and loads are rounded to a millionth. Raises PlanError for a matrix that is
    no covariance.
    """
    count = len(keys)
    values, vectors = _eigen(checked(count, covariance))
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


def checked(
    count: int, covariance: Sequence[Sequence[float]] | npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """A covariance of ``count`` positions over its average variance, symmetric to the last bit.

    Raises PlanError for a matrix that is none.
    """
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.shape != (count, count) or not count:
        raise PlanError(f"a covariance of {count} positions is not {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise PlanError("the covariance matrix has entries that are no numbers")
    scale = sum(float(x) for x in np.diag(matrix)) / count
    if scale <= 0:
        raise PlanError("the covariance matrix has no variance", hint="leave it out")
    matrix = matrix / scale
    if np.abs(matrix - matrix.T).max() > _ROUNDING * max(1.0, float(np.abs(matrix).max())):
        raise PlanError("the covariance matrix is not symmetric")
    least = float(np.linalg.eigvalsh(matrix)[0])
    if least < -_ROUNDING * count:
        raise PlanError(
            f"the covariance matrix has a negative variance ({least * scale:.3g})",
            hint="estimate it from one common period of all positions, or shrink it",
        )
    symmetric: npt.NDArray[np.float64] = (matrix + matrix.T) / 2
    return symmetric


def _eigen(
    matrix: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Eigenvalues, rising, and eigenvectors as columns, by cyclic Jacobi rotations.

    LAPACK's depend on the processor, and where eigenvalues are equal (tokens that are all alike)
    any basis is as good: a plan would then not be recomputed byte for byte on another machine. Here
    every step is one correctly rounded operation, in one order (Golub and Van Loan, 8.5).
    """
    a, count = matrix.copy(), len(matrix)
    vectors = np.eye(count)
    for _ in range(_MOST_SWEEPS):
        rotated = False
        for p in range(count - 1):
            for q in range(p + 1, count):
                off = float(a[p, q])
                if abs(off) <= _NOTHING:
                    continue
                rotated = True
                tau = (float(a[q, q]) - float(a[p, p])) / (2 * off)
                t = (1.0 if tau >= 0 else -1.0) / (abs(tau) + sqrt(1.0 + tau * tau))
                c = 1.0 / sqrt(1.0 + t * t)
                s = t * c
                for rows in (a, a.T, vectors.T):
                    one, other = rows[p].copy(), rows[q].copy()
                    rows[p], rows[q] = c * one - s * other, s * one + c * other
                a[p, q] = a[q, p] = 0.0
        if not rotated:
            break
    order = np.argsort(np.diag(a), kind="stable")
    return np.diag(a)[order], vectors[:, order]
