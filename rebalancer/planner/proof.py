"""What a plan's certificate says, read from its text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rebalancer.model import AddLeg, Leg, RemoveLeg, SwapLeg


@dataclass(frozen=True, slots=True)
class Proof:
    """Values of the certificate's objective in 1e-8 of the numeraire, see docs/optimal.md.

    ``hold_e8`` without any trade, ``realised_e8`` after the legs, ``upper_e8`` what no plan
    exceeds, ``gap_e8`` the difference of the last two.
    """

    hold_e8: int
    realised_e8: int
    upper_e8: int
    gap_e8: int

    @property
    def gain_e8(self) -> int:
        """How much better than doing nothing."""
        return self.realised_e8 - self.hold_e8


def proof(certificate: str) -> Proof:
    """The four numbers of a certificate, as it states them; the guards have verified them."""
    claim: Any = json.loads(certificate)
    return Proof(*(claim[name] for name in ("hold_e8", "realised_e8", "upper_e8", "gap_e8")))


def proved_legs(certificate: str) -> list[tuple[str | int | bool, ...]]:
    """Each leg of a certificate as ``as_proved`` writes it."""
    claim: Any = json.loads(certificate)
    swap = ("pool", "sold", "bought", "amount_in", "amount_out", "chained")
    lp = ("pool", "kind", "shares", "amount0", "amount1")
    return [
        tuple(leg.get(name) for name in (swap if leg.get("kind") == "swap" else lp))
        for leg in claim["legs"]
    ]


def as_proved(leg: Leg) -> tuple[str | int | bool, ...]:
    """What a certificate says of a leg; addresses in lower case. No certificate wraps anything."""
    if isinstance(leg, SwapLeg):
        sold, bought = leg.token_in.address.lower(), leg.token_out.address.lower()
        return leg.pair.lower(), sold, bought, leg.amount_in, leg.amount_out, leg.chained
    if isinstance(leg, AddLeg | RemoveLeg):
        kind = "mint" if isinstance(leg, AddLeg) else "burn"
        return leg.pair.lower(), kind, leg.shares, leg.amount0, leg.amount1
    return (leg.kind, leg.amount)
