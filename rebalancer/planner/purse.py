"""The gas purse of a portfolio with a gas reserve: what of it trades, and what fills it up again.

Trades are found as if what may be wrapped were wrapped already, and without what the reserve lacks.
A finished plan then begins by wrapping exactly what its trades have not got, and ends by unwrapping
what was set aside. Its value is the same at every step, because the native token above the reserve
counts as the wrapped one from the start (``Snapshot.owned``); what goes into the reserve leaves
NAV, as a withdrawal does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rebalancer.model import (
    Amount,
    Leg,
    Reason,
    Snapshot,
    Token,
    UnwrapLeg,
    WrapLeg,
    format_units,
    forwards,
)

_DECIMALS = 18


@dataclass(frozen=True, slots=True)
class Purse:
    """A purse as a plan is made from it; ``read`` is the snapshot before anything was moved.

    ``free_wei`` may be wrapped; ``top_up_wei`` of the wrapped token are to be unwrapped. ``kept``
    of the wrapped token are to be in the wallet at the end, for a withdrawal.
    """

    read: Snapshot
    wrapped: Token
    free_wei: int
    top_up_wei: int
    kept: int = 0

    @property
    def native(self) -> Token:
        return self.read.native.token

    @property
    def reserve_wei(self) -> int:
        reserve = self.read.gas_reserve
        return 0 if reserve is None else reserve.wei

    def dress(self, trades: Sequence[Leg]) -> tuple[Leg, ...]:
        """The legs of a whole plan: wrap what ``trades`` lack, trade, unwrap what the reserve does.

        No trades, no plan.
        """
        if not trades:
            return ()
        lacking = min(self._lacking(trades), self.free_wei)
        before = (WrapLeg(self.native, self.wrapped, lacking),) if lacking > 0 else ()
        fills = self.top_up_wei
        after = (UnwrapLeg(self.native, self.wrapped, fills),) if fills > 0 else ()
        return (*before, *trades, *after)

    def _lacking(self, trades: Sequence[Leg]) -> int:
        """What the wrapped token's balance lacks at its lowest, or for what must be left of it."""
        raw = self.read.balance(self.wrapped)
        lowest = raw
        for index, leg in enumerate(trades):
            raw -= sum(amount.raw for amount in leg.takes if amount.token == self.wrapped)
            lowest = min(lowest, raw)
            if not forwards(trades, index):
                raw += sum(amount.raw for amount in leg.pays if amount.token == self.wrapped)
        return max(-lowest, self.kept + self.top_up_wei - raw)

    def short_of_gas(self, legs: Sequence[Leg], gas_wei: int) -> Reason | None:
        """Why whole legs may not go: what they wrap leaves less than the reserve and their gas."""
        wrapped = sum(leg.amount for leg in legs if isinstance(leg, WrapLeg))
        left, least = self.read.native_wei - wrapped, self.reserve_wei + gas_wei
        if not wrapped or left >= least:
            return None
        symbol = self.native.symbol
        text = (
            f"Wrapping {format_units(wrapped, _DECIMALS, 6)} {symbol} would leave "
            f"{format_units(left, _DECIMALS, 6)}; the gas reserve and the plan's own gas, at its "
            f"worst, are {format_units(least, _DECIMALS, 6)}"
        )
        return Reason("gas_reserve_wei", text, left, least)

    def still_ether(self) -> tuple[Reason, ...]:
        """What of a withdrawal of the wrapped token is there as ether, while nothing is traded."""
        lacking = min(self.kept - self.read.balance(self.wrapped), self.free_wei)
        if lacking <= 0:
            return ()
        amount, native = format_units(lacking, _DECIMALS), self.native.symbol
        text = (
            f"{amount} {self.wrapped.symbol} of the withdrawal are there as {native} above the gas "
            f"reserve; no plan is made to wrap them alone: take them out as {native}, or wrap them"
        )
        return (Reason("withdrawal_is_native_wei", text, lacking, 0),)

    def notes(self) -> tuple[Reason, ...]:
        """What of the wrapped token goes into the reserve, and what is still missing there."""
        if not self.top_up_wei:
            return ()
        native, reserve = self.read.native_wei, self.reserve_wei
        missing = reserve - native - self.top_up_wei
        symbol = self.native.symbol
        text = (
            f"{format_units(self.top_up_wei, _DECIMALS)} {self.wrapped.symbol} are unwrapped to "
            f"fill up the gas reserve of {format_units(reserve, _DECIMALS)} {symbol}"
        )
        if missing > 0:
            text += f"; {format_units(missing, _DECIMALS)} {symbol} are still missing"
        return (Reason("gas_reserve_wei", text, native, reserve),)


def open_purse(
    snapshot: Snapshot, gas_wei: int, nav_e8: int, withdrawal: Amount | None = None
) -> tuple[Snapshot, Purse | None]:
    """The snapshot that trades are found on, and the purse; without a gas reserve as it is.

    ``gas_wei`` stays beside the reserve, for the plan itself. A wrapped token that is held out is
    neither wrapped nor unwrapped, and no reserve takes all that there is.
    """
    reserve = snapshot.gas_reserve
    if reserve is None or snapshot.held_out_reason(reserve.wrapped.address) is not None:
        return snapshot, None
    wrapped, held = reserve.wrapped, snapshot.balance(reserve.wrapped)
    free = max(snapshot.surplus_wei - gas_wei, 0)
    top_up = min(max(reserve.wei - snapshot.native_wei, 0), held)
    if snapshot.price(wrapped).value_up(top_up) >= nav_e8:
        top_up = 0
    kept = withdrawal.raw if withdrawal is not None and withdrawal.token == wrapped else 0
    moved = free - top_up
    balances = tuple(
        Amount(a.token, a.raw + moved) if a.token == wrapped else a for a in snapshot.balances
    )
    opened = replace(snapshot, balances=balances, native_wei=snapshot.native_wei - moved)
    return opened, Purse(snapshot, wrapped, free, top_up, kept)


def trades_of(legs: Sequence[Leg], purse: Purse | None) -> tuple[Leg, ...]:
    """The legs of a whole plan without those of the purse; what ``dress`` was given."""
    if purse is None:
        return tuple(legs)
    first = 1 if legs and isinstance(legs[0], WrapLeg) else 0
    last = len(legs) - 1 if len(legs) > first and isinstance(legs[-1], UnwrapLeg) else len(legs)
    return tuple(legs[first:last])
