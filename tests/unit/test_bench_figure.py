"""A figure is met, missed, or left open; never met by a peer that was not there."""

from __future__ import annotations

import json

import pytest

from scripts.bench.figure import Figure


@pytest.mark.parametrize(
    ("target", "peer", "peer_value", "ratio", "met"),
    [
        (3.0, None, None, None, True),
        (2.9, None, None, None, False),
        (None, None, None, None, None),
        (0.5, "peer", 6.0, 0.5, True),
        (0.5, "peer", 5.0, 0.6, False),
        (None, "peer", 6.0, 0.5, None),
        (3.0, "peer", None, None, None),
    ],
)
def test_figure__met(
    target: float | None,
    peer: str | None,
    peer_value: float | None,
    ratio: float | None,
    met: bool | None,
) -> None:
    figure = Figure("name", 3.0, "s", target, peer, peer_value)
    assert (figure.ratio, figure.met) == (ratio, met)
    line = json.loads(figure.line())
    assert (line["ratio"], line["met"], line["value"]) == (ratio, met, 3.0)
