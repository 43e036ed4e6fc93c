"""What a plan's certificate says, read from its text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


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


def proved_legs(certificate: str) -> list[tuple[str, str, str, int, int, bool]]:
    """Pool, sold, bought (addresses in lower case), amounts and chaining of each leg."""
    claim: Any = json.loads(certificate)
    names = ("pool", "sold", "bought", "amount_in", "amount_out", "chained")
    return [tuple(leg.get(name) for name in names) for leg in claim["legs"]]
