"""portfolio.yaml: whose money, which targets, by which rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rebalancer.amm.goals import position_targets
from rebalancer.config.calendar import cron_trigger
from rebalancer.config.execution import Execution
from rebalancer.config.gas_reserve import resolve_reserve
from rebalancer.config.networks import Address, Network, Strict, sort_tokens
from rebalancer.config.policy import PolicySpec
from rebalancer.config.position import PositionSpec
from rebalancer.config.quantities import Duration, NativeAmount, Value
from rebalancer.config.smoothing import Smoothing
from rebalancer.model import (
    PPM,
    GasReserve,
    Goal,
    Policy,
    Scheme,
    SliceRules,
    Snapshot,
    Target,
    Token,
    format_units,
)

#: Depth at which an outcome is final, where the portfolio does not say: proof-of-stake chains
#: reorganise one block now and then, two hardly ever.
CONFIRMATIONS = 2


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
            cron_trigger(self.cron)
        return self


class Portfolio(Strict):
    """One portfolio: the targets of ``positions`` add up to exactly 100 %.

    ``buckets`` are lists of tokens and LP positions; they are positions without being listed.
    ``targets_on`` says of what the targets are shares, see docs/lp.md.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    network: str
    wallet: Address
    #: Wallets that count and are never traded, see docs/readers.md.
    watch: tuple[Address, ...] = ()
    numeraire: str = "USD"
    positions: Annotated[tuple[PositionSpec, ...], Field(min_length=1)]
    buckets: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    targets_on: Literal["positions", "exposures"] = "positions"
    policy: PolicySpec = PolicySpec()
    #: Average of past prices that the trigger goes by; None: the present ones, see docs/prices.md.
    smoothing: Smoothing | None = None
    schedule: Schedule = Schedule.model_validate({"every": "5m"})
    #: How the wallet holds its money, see docs/executor.md.
    mode: Literal["allowance", "eip7702", "safe"] = "allowance"
    approvals: Literal["exact", "never", "permit"] = "exact"
    #: Who sees transactions before they are in a block, see docs/bundler.md.
    submission: Literal["public", "private", "flashbots"] = "public"
    #: Blocks until an outcome is final; None: CONFIRMATIONS, and 1 on a local Anvil, which mines on
    #: demand.
    confirmations: Annotated[int, Field(ge=0, le=64)] | None = None
    #: Blocks without inclusion before fees are raised; 0: never.
    replace_after: Annotated[int, Field(ge=0)] = 3
    #: What of the native token stays for gas; what the wallet has above counts as its wrapped
    #: token and is traded. None: all of it is for gas, see docs/planner.md.
    gas_reserve: NativeAmount | None = None
    #: Plans that are too large for one go, in slices; None: every plan is one transaction.
    execution: Execution | None = None
    #: A plan that trades more than this waits for `rebalancer approve`; None: none does.
    approve_above: Value | None = None

    @property
    def slice_takes_blocks(self) -> int:
        """Blocks from a slice's decision until the next one may be made, at least.

        A block for the approval, where it needs one, and one for the trade, which is then final so
        many deep.
        """
        approves = self.mode == "allowance" and self.approvals != "never"
        return approves + max(
            CONFIRMATIONS if self.confirmations is None else self.confirmations, 1
        )

    def slice_rules(self) -> SliceRules | None:
        """How large plans are cut; None where they are not."""
        if self.execution is None:
            return None
        return self.execution.to_rules(self.slice_takes_blocks)

    @model_validator(mode="after")
    def _wallets_differ(self) -> Portfolio:
        wallets = (self.wallet, *self.watch)
        if len(set(wallets)) != len(wallets):
            twice = next(wallet for wallet in wallets if wallets.count(wallet) > 1)
            raise ValueError(f"the wallet {twice} is named twice: its holdings would count twice")
        if self.watch and self.policy.to_policy().planner == "optimal":
            raise ValueError(
                "the optimal planner does not know wallets that are only watched; "
                "set planner: greedy in the policy, or leave watch away"
            )
        return self

    @model_validator(mode="after")
    def _slices_are_sent_here(self) -> Portfolio:
        if self.execution is not None and self.mode == "safe":
            raise ValueError(
                "a Safe's owners may execute a slice elsewhere, where nobody counts it; "
                "leave execution away with mode: safe"
            )
        return self

    @model_validator(mode="after")
    def _buckets_are_whole(self) -> Portfolio:
        members = [label for labels in self.buckets.values() for label in labels]
        if twice := [label for label in members if members.count(label) > 1]:
            raise ValueError(f"{twice[0]} is in a bucket twice")
        asked = {spec.bucket for spec in self.positions if spec.bucket is not None}
        if unknown := sorted(asked - self.buckets.keys()):
            raise ValueError(f"there is no bucket {unknown[0]!r}; list its members under buckets")
        if idle := sorted(self.buckets.keys() - asked):
            raise ValueError(f"the bucket {idle[0]!r} has no target among the positions")
        for spec in self.positions:
            bucketed = spec.label in members
            looked_through = spec.lp is not None and self.targets_on == "exposures"
            if spec.target is not None and bucketed:
                raise ValueError(f"{spec.label} is in a bucket and cannot have its own target")
            if spec.target is not None and looked_through:
                raise ValueError(
                    f"{spec.label} is looked through (targets_on: exposures) and has no target"
                )
            if spec.target is None and not bucketed and not looked_through:
                raise ValueError(f"{spec.label} has no target and is in no bucket")
            if spec.target is None and (spec.band, spec.band_relative) != (None, None):
                raise ValueError(f"{spec.label} has a band but no target")
        if self.targets_on == "exposures" and any(":" in label for label in members):
            raise ValueError("a bucket of exposures holds tokens; LP positions are looked through")
        return self

    @model_validator(mode="after")
    def _targets_add_up(self) -> Portfolio:
        total = sum(position.target or 0 for position in self.positions)
        if total != PPM:
            raise ValueError(f"the targets add up to {format_units(total, 4)}%, not to 100%")
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
    since_block: int | None = None
    staked_in: str | None = None

    @property
    def name(self) -> str:
        """The name that ``PairState.name`` gives the same pair."""
        return f"{self.amm}:{self.token0.symbol}/{self.token1.symbol}"


class ResolvedPortfolio(Strict):
    """A portfolio against its network: every name is known, every pair has its address.

    ``targets`` are those of the positions, where the file gives every position its own; with
    buckets or targets on exposures they depend on the snapshot, see ``targets_at``.
    """

    portfolio: Portfolio
    network: Network
    tokens: tuple[Token, ...]
    lps: tuple[LpSpec, ...]
    scheme: Scheme
    policy: Policy
    gas_reserve: GasReserve | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        """The goals as the file has them, one a position; a bucket's share is at its first."""
        goals = {goal.members[0]: goal for goal in self.scheme.goals}
        return tuple(self._target(name, goals.get(name)) for name in self.scheme.positions)

    @property
    def is_plain(self) -> bool:
        """Whether every position has its own target, whatever the snapshot."""
        return self.scheme.on == "positions" and not any(g.bucket for g in self.scheme.goals)

    def targets_at(self, snapshot: Snapshot) -> tuple[Target, ...]:
        """A target for every position, as the goals have it at ``snapshot``."""
        return self.targets if self.is_plain else position_targets(snapshot, self.scheme)

    def _target(self, name: str, goal: Goal | None) -> Target:
        times = self.scheme.multiplier_ppm(name)
        if goal is None:
            return Target(name, 0, multiplier_ppm=times)
        bands = (goal.band_abs_ppm, goal.band_rel_ppm)
        return Target(name, goal.weight_ppm, *bands, bucket=goal.bucket, multiplier_ppm=times)


def resolve(portfolio: Portfolio, network: Network) -> ResolvedPortfolio:
    """Look every name up in the network; raises ValueError naming what is unknown."""
    specs = _all_positions(portfolio)
    tokens = {spec.label: _token(network, spec.label) for spec in specs if spec.token}
    lps = {spec.label: _lp(network, spec) for spec in specs if spec.lp}
    names = {label: label for label in tokens} | {label: lp.name for label, lp in lps.items()}
    if len(set(names.values())) != len(names):
        raise ValueError("a position is listed twice")
    if portfolio.numeraire != "USD":
        _token(network, portfolio.numeraire)
    scheme = Scheme(
        on=portfolio.targets_on,
        positions=tuple(names[spec.label] for spec in specs),
        goals=tuple(_goals(portfolio, names)),
        multipliers=tuple((s.label, s.multiplier) for s in specs if s.multiplier != PPM),
    )
    resolved = ResolvedPortfolio(
        portfolio=portfolio,
        network=network,
        tokens=tuple(tokens.values()),
        lps=tuple(lps.values()),
        scheme=scheme,
        policy=portfolio.policy.to_policy(),
        gas_reserve=resolve_reserve(portfolio.gas_reserve, network, tokens),
    )
    _check_scheme(resolved)
    _check_named(resolved)
    return resolved


def _all_positions(portfolio: Portfolio) -> list[PositionSpec]:
    """Those listed, each bucket replaced by those of its members that are not listed."""
    listed = {spec.label for spec in portfolio.positions}
    found: list[PositionSpec] = []
    for spec in portfolio.positions:
        if spec.bucket is None:
            found.append(spec)
            continue
        for label in portfolio.buckets[spec.bucket]:
            if label not in listed:
                kind = "lp" if ":" in label else "token"
                found.append(PositionSpec.model_validate({kind: label}))
    return found


def _goals(portfolio: Portfolio, names: Mapping[str, str]) -> Iterator[Goal]:
    for spec in portfolio.positions:
        if spec.target is None:
            continue
        labels = (spec.label,) if spec.bucket is None else portfolio.buckets[spec.bucket]
        members = tuple(names[label] for label in labels)
        name = spec.bucket or members[0]
        yield Goal(name, spec.target, members, spec.band, spec.band_relative)


def _check_scheme(resolved: ResolvedPortfolio) -> None:
    """Every bucket has a name of its own, and every exposure a goal."""
    scheme, known = resolved.scheme, {*resolved.scheme.positions, *resolved.network.tokens}
    for goal in scheme.goals:
        if goal.bucket is not None and goal.bucket in known:
            raise ValueError(f"the bucket {goal.bucket!r} has the name of a token")
    if scheme.on == "exposures":
        covered = {member for goal in scheme.goals for member in goal.members}
        for lp in resolved.lps:
            for token in (lp.token0, lp.token1):
                if token.symbol not in covered:
                    raise ValueError(
                        f"{lp.name} gives exposure to {token.symbol}, which has no target; "
                        "list it, with a target of 0% if need be"
                    )


def _check_named(resolved: ResolvedPortfolio) -> None:
    """Every token that the policy names is a position of its own."""
    policy, known = resolved.portfolio.policy, [token.symbol for token in resolved.tokens]
    for key, symbol in policy.tax.named() if policy.tax is not None else ():
        if symbol not in known:
            raise ValueError(f"{key}: {symbol!r} is no token of the portfolio: {', '.join(known)}")
    if policy.risk is not None:
        sides = [token.symbol for lp in resolved.lps for token in (lp.token0, lp.token1)]
        policy.risk.check_tokens(dict.fromkeys([*known, *sides]))


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
    return LpSpec(
        amm=amm,
        token0=token0,
        token1=token1,
        pair=pair,
        entry_block=spec.entry_block,
        since_block=spec.since_block,
        staked_in=spec.staked_in,
    )
