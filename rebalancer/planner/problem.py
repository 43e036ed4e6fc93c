"""The seam between deciding and proposing: what a proposer is given and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from rebalancer.errors import PlanError
from rebalancer.model import (
    Amount,
    Circumstances,
    Leg,
    PlannedGas,
    Policy,
    Reason,
    Snapshot,
    Target,
    Token,
    Valuation,
)
from rebalancer.planner.gas_schedule import GasSchedule
from rebalancer.planner.purse import Purse
from rebalancer.planner.wallet import first_and_due

#: How much of the best plan is tried where it breaks a limit on its cost, the most first.
SHARES_PPM = (500_000, 250_000, 100_000)
#: No deposits, no withdrawal, nothing measured.
NOTHING_ELSE = Circumstances()


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything that a proposal may depend on; positions and targets are in order of name.

    ``snapshot`` and ``valuation`` are without what a withdrawal takes; ``owed`` is what the wallet
    does not hold of it and must buy, before anything else and ``only_raise`` nothing else. The
    rules are settled: kappa and bands are numbers. ``edges`` are the drifts, by position or bucket
    in ppm of NAV, that trading leaves at most; None where it goes a share of the way instead.
    """

    snapshot: Snapshot
    valuation: Valuation
    targets: tuple[Target, ...]
    policy: Policy
    gas_schedule: GasSchedule
    circumstances: Circumstances = NOTHING_ELSE
    owed: Amount | None = None
    only_raise: bool = False
    edges: Mapping[str, int] | None = None
    #: With a gas reserve: in ``snapshot`` what may be wrapped is, what fills it up is not there.
    purse: Purse | None = None
    #: Of a slice: the most that it may sell, smallest units by token and 0 of all others.
    most: Mapping[Token, int] | None = None

    @property
    def owed_e8(self) -> int:
        """What ``owed`` is worth, rounded up."""
        return (
            0 if self.owed is None else self.snapshot.price(self.owed.token).value_up(self.owed.raw)
        )

    def without_owed(self, done: Snapshot) -> Snapshot:
        """``done`` less what is owed to a withdrawal, as far as it is there by then."""
        owed = self.owed
        if owed is None:
            return done
        left = tuple(
            Amount(a.token, max(a.raw - owed.raw, 0)) if a.token == owed.token else a
            for a in done.balances
        )
        return replace(done, balances=left)

    def is_position(self, token: Token) -> bool:
        """Whether ``token`` itself is one of the portfolio's positions."""
        return any(target.position == token.symbol for target in self.targets)

    @property
    def gas_price_wei(self) -> int:
        """What a unit of gas costs now: the block's base fee and the suggested priority fee."""
        return self.snapshot.block.base_fee_wei + self.snapshot.priority_fee_wei

    def gas_units(self, legs: Sequence[Leg]) -> int:
        """Expected gas of ``legs``; what the wallet has nothing of costs more when it comes."""
        legs = self.whole(legs)
        read = self.snapshot if self.purse is None else self.purse.read
        without, due = first_and_due(read, legs)
        aside = self.circumstances.withdrawal
        if aside is not None and (self.owed is None or self.owed.raw < aside.raw):
            without.discard(aside.token)  # it is there, though it is not ours to trade
        return self.gas_schedule.units(legs, without, due)

    @property
    def planned_gas(self) -> PlannedGas | None:
        """Where ``gas_units`` come from; None where nothing names a schedule."""
        schedule, correction = self.circumstances.gas, self.circumstances.gas_correction
        return None if schedule is None else PlannedGas(schedule.name, correction)

    def worst_gas_wei(self, legs: Sequence[Leg]) -> int:
        """What ``legs`` may cost in gas at most: at the highest price that may be signed."""
        return self.gas_units(legs) * self.policy.max_gas_price_wei

    def whole(self, trades: Sequence[Leg]) -> tuple[Leg, ...]:
        """The legs of a plan of ``trades``: with what the purse wraps before and unwraps after."""
        return tuple(trades) if self.purse is None else self.purse.dress(trades)

    def gas_value_e8(self, gas_units: int) -> int:
        """What ``gas_units`` cost in 1e-8 of the numeraire, rounded up."""
        return self.snapshot.native.value_up(gas_units * self.gas_price_wei)

    def token(self, position: str) -> Token | None:
        """The token of a token position; None for an LP position.

        Raises PlanError for a name that two tokens share or that the snapshot does not know.
        """
        tokens = [a.token for a in self.snapshot.balances if a.token.symbol == position]
        if len(tokens) > 1:
            raise PlanError(
                f"two tokens are called {position}: {tokens[0].address}, {tokens[1].address}",
                hint="give them different symbols in networks.yaml",
            )
        if tokens:
            return tokens[0]
        if any(pair.name == position for pair in self.snapshot.pairs):
            return None
        raise PlanError(
            f"{position} has a target, but the snapshot holds no such token and no such pair",
            hint="a position is a token's symbol or an LP position like uniswap_v2:USDC/WETH",
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """Legs in the order of execution, none where nothing can be traded; ``limits`` cut them.

    ``certificate`` proves how far from the best they can be; None where nobody knows. It may be
    short and prove little; ``whole`` makes the one that a plan is to have. ``smaller`` finds
    proposals that ask for less, for where this one breaks a limit that it does not know of.
    """

    legs: tuple[Leg, ...]
    limits: tuple[Reason, ...]
    certificate: str | None = None
    whole: Callable[[], str] | None = field(default=None, compare=False)
    smaller: Callable[[], Iterator[Proposal]] | None = field(default=None, compare=False)


class Proposer(Protocol):
    """Finds trades; whether they are worth it and keep every limit is decided afterwards.

    Must be a pure function of the problem: same problem, same proposal.
    """

    def propose(self, problem: Problem) -> Proposal:
        """Legs whose amounts are exact on the snapshot's reserves, one after the other."""
