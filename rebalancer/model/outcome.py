"""What a plan became: simulated, signed, mined, and what it really paid and received."""

from __future__ import annotations

from dataclasses import dataclass, field

from rebalancer.model.canonical import ADDED_LATER
from rebalancer.model.token import Amount, Token


@dataclass(frozen=True, slots=True)
class Fill:
    """What leg ``index`` of a plan really took and paid, read from the events of its contract.

    ``pair`` is that contract. Adding liquidity takes ``more_in`` besides, removing it pays
    ``more_out`` besides; the rest of it, and other legs, are one token for another.
    """

    index: int
    pair: str
    token_in: Token
    token_out: Token
    amount_in: int
    amount_out: int
    more_in: Amount | None = field(default=None, metadata=ADDED_LATER)
    more_out: Amount | None = field(default=None, metadata=ADDED_LATER)

    @property
    def takes(self) -> tuple[Amount, ...]:
        """All that went in, also where the leg before paid it."""
        first = Amount(self.token_in, self.amount_in)
        return (first,) if self.more_in is None else (first, self.more_in)

    @property
    def pays(self) -> tuple[Amount, ...]:
        """All that came out, also where the next leg got it."""
        first = Amount(self.token_out, self.amount_out)
        return (first,) if self.more_out is None else (first, self.more_out)


@dataclass(frozen=True, slots=True)
class Simulation:
    """What the node says a bundle would do, at the block that it was simulated on."""

    block_number: int
    block_hash: str
    gas_used: tuple[int, ...]
    fills: tuple[Fill, ...]


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A signed transaction of a bundle: ``raw`` is its wire form, enough to send it again.

    ``purpose`` is ``approve`` or ``execute``; ``value_wei`` is the ether that it moves.
    """

    tx_hash: str
    purpose: str
    sender: str
    to: str
    nonce: int
    gas_limit: int
    max_fee_wei: int
    max_priority_fee_wei: int
    data: str
    raw: str
    value_wei: int = field(default=0, metadata=ADDED_LATER)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The signed transactions of one plan, in nonce order; ``plan_id`` is the plan's digest."""

    plan_id: str
    chain_id: int
    wallet: str
    deadline_ts: int
    transactions: tuple[SignedTransaction, ...]


@dataclass(frozen=True, slots=True)
class GasComponent:
    """A share of a transaction's gas; the components of one transaction add up to ``gas_used``."""

    name: str
    gas: int


@dataclass(frozen=True, slots=True)
class TransactionOutcome:
    """A mined transaction: ``status`` 1 succeeded, 0 reverted; gas by component."""

    tx_hash: str
    purpose: str
    block_number: int
    block_hash: str
    status: int
    gas_used: int
    effective_gas_price_wei: int
    components: tuple[GasComponent, ...]
    fills: tuple[Fill, ...]

    @property
    def gas_cost_wei(self) -> int:
        return self.gas_used * self.effective_gas_price_wei
