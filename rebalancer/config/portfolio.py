"""portfolio.yaml: whose money, which targets, by which rules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rebalancer.config.networks import Address, Network, Strict, sort_tokens
from rebalancer.config.quantities import Duration, GasPrice, Ratio, Share, Value
from rebalancer.model import BPS, PPM, Policy, Target, Token


class PositionSpec(Strict):
    """One position: a ``token``, or an ``lp`` position written ``amm:A/B``."""

    token: str | None = None
    lp: str | None = None
    target: Share
    band: Share | None = None
    band_relative: Ratio | None = None
    entry_block: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> PositionSpec:
        if (self.token is None) == (self.lp is None):
            raise ValueError("a position is either a token or an lp")
        if self.token is not None and self.entry_block is not None:
            raise ValueError("entry_block belongs to an lp position")
        return self

    @property
    def label(self) -> str:
        """The position as the file names it."""
        return self.token or self.lp or ""


class PolicySpec(Strict):
    """The ``policy`` section; every key has a default, see the README's reference."""

    trigger: Literal["threshold", "calendar", "hybrid"] = "hybrid"
    every: Duration = 3_600
    band: Share = 30_000
    band_relative: Ratio | None = None
    band_rule: Literal["tighter", "wider"] = "tighter"
    dead_band: Share = 5_000
    reset: Share = PPM
    drift_aversion: Ratio = 500_000
    min_trade: Value = 100 * 10**8
    max_impact: Share = 10_000
    max_cost: Share = 20_000
    max_off_oracle: Share = 20_000
    slippage: Share = 5_000
    max_gas_price: GasPrice = 100 * 10**9
    deadline: Duration = 300
    max_age_blocks: Annotated[int, Field(ge=0)] = 5

    def to_policy(self) -> Policy:
        return Policy(
            trigger=self.trigger,
            band_abs_ppm=self.band,
            band_rel_ppm=self.band_relative,
            band_rule=self.band_rule,
            calendar_s=self.every,
            dead_band_ppm=self.dead_band,
            reset_ppm=self.reset,
            drift_aversion_ppm=self.drift_aversion,
            min_trade_e8=self.min_trade,
            max_impact_ppm=self.max_impact,
            max_cost_ppm=self.max_cost,
            max_off_oracle_ppm=self.max_off_oracle,
            slippage_ppm=self.slippage,
            max_gas_price_wei=self.max_gas_price,
            deadline_s=self.deadline,
            max_age_blocks=self.max_age_blocks,
        )


class Schedule(Strict):
    """When the keeper looks at the portfolio: a cron line, or every so long."""

    cron: str | None = None
    every: Duration | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Schedule:
        if (self.cron is None) == (self.every is None):
            raise ValueError("a schedule is either cron or every")
        if self.every == 0:
            raise ValueError("every must be at least a second")
        if self.cron is not None:
            from apscheduler.triggers.cron import CronTrigger

            try:
                CronTrigger.from_crontab(self.cron, timezone="UTC")
            except ValueError as error:
                raise ValueError(f"{self.cron!r} is not a cron line: {error}") from None
        return self


class Portfolio(Strict):
    """One portfolio: ``positions`` add up to exactly 100 %."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    network: str
    wallet: Address
    numeraire: str = "USD"
    positions: Annotated[tuple[PositionSpec, ...], Field(min_length=1)]
    policy: PolicySpec = PolicySpec()
    schedule: Schedule = Schedule.model_validate({"every": "5m"})
    approvals: Literal["exact", "never"] = "exact"

    @model_validator(mode="after")
    def _targets_add_up(self) -> Portfolio:
        total = sum(position.target for position in self.positions)
        if total != PPM:
            raise ValueError(f"the targets add up to {total / BPS:g}%, not to 100%")
        labels = [position.label for position in self.positions]
        if len(set(labels)) != len(labels):
            raise ValueError("a position is listed twice")
        return self


class LpSpec(Strict):
    """An LP position with its names resolved."""

    amm: str
    token0: Token
    token1: Token
    pair: str
    entry_block: int | None

    @property
    def name(self) -> str:
        """The name that ``PairState.name`` gives the same pair."""
        return f"{self.amm}:{self.token0.symbol}/{self.token1.symbol}"


class ResolvedPortfolio(Strict):
    """A portfolio against its network: every name is known, every pair has its address."""

    portfolio: Portfolio
    network: Network
    tokens: tuple[Token, ...]
    lps: tuple[LpSpec, ...]
    targets: tuple[Target, ...]
    policy: Policy


def resolve(portfolio: Portfolio, network: Network) -> ResolvedPortfolio:
    """Look every name up in the network; raises ValueError naming what is unknown."""
    tokens: list[Token] = []
    lps: list[LpSpec] = []
    targets: list[Target] = []
    for spec in portfolio.positions:
        if spec.token is not None:
            tokens.append(_token(network, spec.token))
            name = spec.token
        else:
            lps.append(_lp(network, spec))
            name = lps[-1].name
        targets.append(Target(name, spec.target, spec.band, spec.band_relative))
    if len({target.position for target in targets}) != len(targets):
        raise ValueError("a position is listed twice")
    if portfolio.numeraire != "USD":
        _token(network, portfolio.numeraire)
    return ResolvedPortfolio(
        portfolio=portfolio,
        network=network,
        tokens=tuple(tokens),
        lps=tuple(lps),
        targets=tuple(targets),
        policy=portfolio.policy.to_policy(),
    )


def _token(network: Network, symbol: str) -> Token:
    if symbol not in network.tokens:
        known = ", ".join(network.tokens)
        raise ValueError(f"{network.name} has no token {symbol!r}; it has {known}")
    return network.token(symbol)


def _lp(network: Network, spec: PositionSpec) -> LpSpec:
    label = spec.label
    amm, _, symbols = label.partition(":")
    left, _, right = symbols.partition("/")
    if not right:
        raise ValueError(f"{label!r} is not an LP position; write it like uniswap_v2:WETH/USDC")
    if amm not in network.amms:
        raise ValueError(f"{network.name} has no amm {amm!r}; it has {', '.join(network.amms)}")
    a, b = _token(network, left), _token(network, right)
    if a == b:
        raise ValueError(f"{label!r} needs two different tokens")
    token0, token1 = sort_tokens(a, b)
    pair = network.amms[amm].pair_address(a, b)
    return LpSpec(amm=amm, token0=token0, token1=token1, pair=pair, entry_block=spec.entry_block)
