"""One measured figure, printed as one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """``value`` in ``unit``; ``target`` is the most that is allowed.

    With a peer measured in the same run, ``ratio`` is value over peer_value and ``target`` is
    the most that the ratio may be; without one, ``ratio`` is None and ``target`` bounds the value.
    A peer that gave no figure (not installed, or it could not do it) leaves open whether it is met,
    and so does a figure whose data is not there.
    """

    name: str
    value: float | None
    unit: str
    target: float | None
    peer: str | None = None
    peer_value: float | None = None

    @property
    def ratio(self) -> float | None:
        if self.value is None or self.peer_value is None:
            return None
        return round(self.value / self.peer_value, 4)

    @property
    def met(self) -> bool | None:
        measured = self.value if self.peer is None else self.ratio
        return None if self.target is None or measured is None else measured <= self.target

    def line(self) -> str:
        """The figure as the benchmark prints it."""
        return json.dumps({**asdict(self), "ratio": self.ratio, "met": self.met}, sort_keys=True)
