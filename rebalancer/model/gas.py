"""What a plan's transactions use of gas, as plain data: by component, by token, and corrected."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from rebalancer.model.leg import (
    AddLeg,
    Leg,
    RemoveLeg,
    SwapLeg,
    WrapLeg,
    contract_of,
    moved_tokens,
    net_moves,
)
from rebalancer.model.token import Token
from rebalancer.model.units import PPM, mul_div_nearest


@dataclass(frozen=True, slots=True)
class TokenGas:
    """What the token at ``address`` uses where it is no plain ERC-20.

    ``touch`` and ``approval`` stand in for the schedule's ``per_token`` and ``per_approval``;
    ``transfer`` is what each leg that moves it uses beyond one that moves a plain one: a payment
    and the pair's look at its balance.
    """

    address: str
    touch: int
    transfer: int
    approval: int


@dataclass(frozen=True, slots=True)
class GasCorrection:
    """What past rebalances used for each unit that was planned: executing, and approving before.

    ``rebalances`` is how many say so.
    """

    execution_ppm: int
    approval_ppm: int
    rebalances: int


@dataclass(frozen=True, slots=True)
class PlannedGas:
    """Where a plan's gas comes from: a schedule's name, and what corrected it."""

    schedule: str
    correction: GasCorrection | None = None


@dataclass(frozen=True, slots=True)
class GasSchedule:
    """Gas by component, nearly additive over a plan's legs.

    ``base`` is the transaction itself, ``per_token`` the first touch of each token (LP shares and
    ether are in their own legs), ``per_approval`` a transaction of its own for each token and each
    pair's shares that legs take, and ``chained_saving`` what a leg saves that is paid straight from
    the pair before it. ``same_pool_saving`` is what a leg saves whose pair an earlier one used, and
    ``first_balance`` what it costs besides to leave the wallet something that it had nothing of.
    ``protocol_fee`` comes to adding and removing where the protocol takes its share just before.
    ``tokens`` are those that are not plain ERC-20s.
    """

    name: str
    base: int
    per_swap: int
    per_token: int
    per_approval: int
    chained_saving: int
    per_add: int
    per_remove: int
    per_wrap: int
    per_unwrap: int
    same_pool_saving: int
    first_balance: int
    protocol_fee: int
    tokens: tuple[TokenGas, ...] = ()

    def units(
        self, legs: Sequence[Leg], without: Collection[Token] = (), due: Collection[str] = ()
    ) -> int:
        """Expected gas of executing ``legs`` as one batch, approvals included; 0 for no legs.

        ``without`` are the tokens and LP shares that the wallet has nothing of, ``due`` the
        addresses of the pairs whose protocol takes a share when liquidity moves. Approvals are
        counted at an exact allowance per sold token, which is what the wallet grants unless it
        keeps standing ones: then the true gas is lower, never higher.
        """
        return self.execution(legs, without, due) + self.approvals(legs)

    def execution(
        self, legs: Sequence[Leg], without: Collection[Token] = (), due: Collection[str] = ()
    ) -> int:
        """The same without the approvals."""
        if not legs:
            return 0
        beside = {leg.share for leg in legs if isinstance(leg, AddLeg | RemoveLeg)}
        beside |= {leg.native for leg in legs if not isinstance(leg, SwapLeg | AddLeg | RemoveLeg)}
        tokens = set(moved_tokens(legs)) - beside
        gained = {token for token, raw in net_moves(legs).items() if raw > 0}
        moved_liquidity = {leg.pair for leg in legs if isinstance(leg, AddLeg | RemoveLeg)}
        pools = [contract_of(leg) for leg in legs if isinstance(leg, SwapLeg | AddLeg | RemoveLeg)]
        return (
            self.base
            + sum(self._of(leg) for leg in legs)
            + sum(self.touch(token) for token in tokens)
            - self.same_pool_saving * (len(pools) - len(set(pools)))
            + self.first_balance * len(gained & set(without))
            + self.protocol_fee * len(moved_liquidity & set(due))
        )

    def approvals(self, legs: Sequence[Leg]) -> int:
        """Expected gas of letting the executor take what ``legs`` take."""
        taken = {a.token for leg in legs if not isinstance(leg, WrapLeg) for a in leg.takes}
        return sum(self.approval(token) for token in taken)

    def touch(self, token: Token) -> int:
        """Gas of the first touch of ``token`` in a batch."""
        own = self._own(token)
        return self.per_token if own is None else own.touch

    def approval(self, token: Token) -> int:
        """Gas of approving ``token``, or a pair's shares."""
        own = self._own(token)
        return self.per_approval if own is None else own.approval

    def transfers(self, *tokens: Token) -> int:
        """What a leg that moves ``tokens`` uses beyond one that moves plain ones."""
        return sum(own.transfer for token in tokens if (own := self._own(token)) is not None)

    def trade(self) -> int:
        """Gas of the smallest plan: one swap, two tokens, one approval."""
        return self.base + self.per_swap + 2 * self.per_token + self.per_approval

    def corrected(self, correction: GasCorrection) -> GasSchedule:
        """The schedule with every figure times the correction, to the nearest unit."""
        execution, approval = correction.execution_ppm, correction.approval_ppm

        def scaled(gas: int, ppm: int) -> int:
            return mul_div_nearest(gas, ppm, PPM)

        whole: dict[str, Any] = {
            field.name: scaled(
                getattr(self, field.name), approval if field.name == "per_approval" else execution
            )
            for field in fields(self)
            if field.name not in ("name", "tokens")
        }
        tokens = tuple(
            TokenGas(
                own.address,
                touch=scaled(own.touch, execution),
                transfer=scaled(own.transfer, execution),
                approval=scaled(own.approval, approval),
            )
            for own in self.tokens
        )
        return replace(self, tokens=tokens, **whole)

    def unapproved(self) -> GasSchedule:
        """The same for a wallet that need not approve anything."""
        tokens = tuple(replace(own, approval=0) for own in self.tokens)
        return replace(self, per_approval=0, tokens=tokens)

    def _own(self, token: Token) -> TokenGas | None:
        return next((own for own in self.tokens if own.address == token.address), None)

    def _of(self, leg: Leg) -> int:
        if isinstance(leg, SwapLeg):
            saved = self.chained_saving if leg.chained else 0
            return self.per_swap - saved + self.transfers(leg.token_in, leg.token_out)
        if isinstance(leg, AddLeg):
            return self.per_add + self.transfers(leg.token0, leg.token1)
        if isinstance(leg, RemoveLeg):
            return self.per_remove + self.transfers(leg.token0, leg.token1)
        return self.per_wrap if isinstance(leg, WrapLeg) else self.per_unwrap
