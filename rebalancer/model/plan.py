"""What the planner decides: hold, or a plan of swaps with its costs and its reasons."""

from __future__ import annotations

from dataclasses import dataclass, field

from rebalancer.model.canonical import ADDED_LATER
from rebalancer.model.gas import PlannedGas
from rebalancer.model.leg import Leg, WrapLeg
from rebalancer.model.token import Amount, Token


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding with its numbers: ``code`` for machines, ``text`` for people.

    ``measured`` and ``limit`` are integers in the unit that ends ``code`` (``..._ppm``, ``..._e8``,
    ``..._s``, ``..._wei``); None where the finding is not a comparison.
    """

    code: str
    text: str
    measured: int | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Costs:
    """Expected cost in 1e-8 of the numeraire; ``total = fee + impact + off_oracle + gas``.

    ``off_oracle_e8`` is what the pools' spot prices differ from the oracle's at these sizes:
    positive is a loss, negative a gain. ``traded_e8`` is the value sold, intermediates not counted.
    Beside the total, as no transaction pays them: ``tax_e8`` falls due on what the plan sells, and
    ``reserve_e8`` is set aside for slippage. A plan has to be worth these too.
    """

    traded_e8: int
    fee_e8: int
    impact_e8: int
    off_oracle_e8: int
    gas_e8: int
    total_e8: int
    gas_units: int
    gas_price_wei: int
    tax_e8: int = field(default=0, metadata=ADDED_LATER)
    reserve_e8: int = field(default=0, metadata=ADDED_LATER)
    #: Where ``gas_units`` come from; None: Prague's figures for plain tokens, uncorrected.
    planned_gas: PlannedGas | None = field(default=None, metadata=ADDED_LATER)

    @property
    def beside_e8(self) -> int:
        """What a plan must be worth beside its total cost: tax and the reserve for slippage."""
        return self.tax_e8 + self.reserve_e8


@dataclass(frozen=True, slots=True)
class ExpectedPosition:
    """Where a position stands before, where it should be, and where the plan leaves it."""

    name: str
    before_ppm: int
    target_ppm: int
    after_ppm: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Ordered legs with what they are expected to cost and to bring about.

    ``parent`` is the digest of the valuation, ``policy`` that of the policy. ``max_fee_wei`` and
    ``deadline_ts`` bound what may be signed for it; a plan more than ``max_age_blocks`` behind the
    head is made again instead. ``net`` is the expected change of each token balance of the wallet.
    ``nav_after_e8`` is the NAV at the same prices once the legs are done; gas is paid beside it.
    ``benefit_e8`` is the drift penalty that the plan removes. ``withdrawal`` stays in the wallet
    for its owner to take; positions and NAV are those without it. ``certificate``, canonical JSON,
    proves how far from the best plan this one can be at most, see docs/optimal.md. A slice of an
    ``order`` names it by digest; its gas may cost ``most_gas_e8`` of what that order has left.
    """

    parent: str
    policy: str
    chain_id: int
    block_number: int
    block_hash: str
    wallet: str
    numeraire: str
    legs: tuple[Leg, ...]
    net: tuple[Amount, ...]
    positions: tuple[ExpectedPosition, ...]
    nav_before_e8: int
    nav_after_e8: int
    costs: Costs
    benefit_e8: int
    slippage_ppm: int
    max_fee_wei: int
    deadline_ts: int
    max_age_blocks: int
    withdrawal: Amount | None = field(default=None, metadata=ADDED_LATER)
    certificate: str | None = field(default=None, metadata=ADDED_LATER)
    order: str | None = field(default=None, metadata=ADDED_LATER)
    most_gas_e8: int | None = field(default=None, metadata=ADDED_LATER)

    def sold(self) -> tuple[Amount, ...]:
        """What the executor takes of the wallet's tokens, one amount per token, by first use.

        Shares of pairs are tokens too; ether is none, it goes along with the transaction. What
        an earlier leg paid to the wallet and a later one takes counts as well: it is taken.
        """
        totals: dict[Token, int] = {}
        for leg in self.legs:
            for amount in () if isinstance(leg, WrapLeg) else leg.takes:
                totals[amount.token] = totals.get(amount.token, 0) + amount.raw
        return tuple(Amount(token, raw) for token, raw in totals.items())


@dataclass(frozen=True, slots=True)
class Hold:
    """Do nothing, and why. ``parent`` is the digest of the valuation."""

    parent: str
    block_number: int
    block_hash: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Rebalance:
    """Trade by ``plan``; ``reasons`` fired the trigger, ``limits`` are those that cut the plan."""

    parent: str
    block_number: int
    block_hash: str
    reasons: tuple[Reason, ...]
    limits: tuple[Reason, ...]
    plan: Plan


Decision = Hold | Rebalance
