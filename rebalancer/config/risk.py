"""``policy.risk`` of portfolio.yaml: how alike the tokens move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from pydantic import Field, model_validator

from rebalancer.config.quantities import Correlation, Duration, Ratio
from rebalancer.config.strict import Strict
from rebalancer.errors import PlanError


class RiskSpec(Strict):
    """Volatilities by token and correlations by ``A/B``, or a ``half_life`` to measure them with.

    With both, what the file says stands until enough prices are known. Two tokens of which nothing
    is said are not correlated.
    """

    volatilities: dict[str, Ratio] = Field(default_factory=dict)
    correlations: dict[str, Correlation] = Field(default_factory=dict)
    half_life: Duration | None = None

    @model_validator(mode="after")
    def _says_something(self) -> RiskSpec:
        if self.half_life is None and not self.volatilities:
            raise ValueError("risk has volatilities, like {WETH: 70%, USDC: 0%}, or a half_life")
        if self.half_life == 0:
            raise ValueError("half_life must be at least a second")
        seen = sorted(tuple(sorted(_both(key))) for key in self.correlations)
        for one, other in pairwise(seen):
            if one == other:
                raise ValueError(f"the correlation of {one[0]} and {one[1]} is there twice")
        for key in self.correlations:
            for symbol in _both(key):
                if symbol not in self.volatilities:
                    raise ValueError(f"the correlation {key} needs a volatility of {symbol}")
        if self.volatilities:
            self._check_covariance()
        return self

    def _check_covariance(self) -> None:
        """Refuse what cannot be: some mix of the tokens would have a negative variance."""
        from rebalancer.planner.optimal.covariance import checked

        own = self.volatilities
        if not any(own.values()):
            raise ValueError("at least one volatility is above 0%, or there is no risk")
        matrix = {(a, a): float(own[a]) ** 2 for a in own}
        for key, rho in self.correlations.items():
            a, b = _both(key)
            matrix[a, b] = matrix[b, a] = rho / 1e6 * own[a] * own[b]
        try:
            checked(len(own), [[matrix.get((a, b), 0.0) for b in own] for a in own])
        except PlanError:
            raise ValueError(
                "the correlations contradict each other: some mix of these tokens would have a "
                "negative variance; take them all from one period"
            ) from None

    def check_tokens(self, tokens: Iterable[str]) -> None:
        """Raise ValueError unless just these tokens, of positions or their pools, are named."""
        if not self.volatilities:
            return
        known = list(tokens)
        for symbol in self.volatilities:
            if symbol not in known:
                names = ", ".join(known)
                raise ValueError(
                    f"policy.risk.volatilities: {symbol!r} is no token of the portfolio: {names}"
                )
        missing = [symbol for symbol in known if symbol not in self.volatilities]
        if missing:
            raise ValueError(
                f"policy.risk.volatilities: {missing[0]} is missing; a token that never moves "
                "against the numeraire has 0%"
            )

    def by_token(self) -> tuple[tuple[str, int], ...]:
        """Volatilities as the policy has them."""
        return _ordered(self.volatilities)

    def by_pair(self) -> tuple[tuple[str, str, int], ...]:
        """Correlations as the policy has them."""
        found = [(_both(key), rho) for key, rho in self.correlations.items()]
        return tuple(sorted((min(both), max(both), rho) for both, rho in found))


def _both(key: str) -> tuple[str, str]:
    one, _, other = key.partition("/")
    if not one or not other or one == other:
        raise ValueError(f"{key!r} is no correlation of two tokens; write it like WETH/WBTC: 80%")
    return one, other


def _ordered(found: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(found.items()))
