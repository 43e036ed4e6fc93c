"""``execution`` of portfolio.yaml: what is understood, and what is refused and why."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rebalancer.config.execution import Execution
from rebalancer.config.portfolio import Portfolio
from rebalancer.model import E8, SliceRules


def rules(**keys: Any) -> SliceRules:
    return Execution.model_validate(keys).to_rules()


def test_by_time__lasts_twice_as_long_as_its_slices_need() -> None:
    assert rules(slices=8, every="5m") == SliceRules(
        slices=8, clock="seconds", every=300, lasts=4_800, above_e8=0, worst_ppm=50_000
    )


def test_by_blocks__and_everything_said() -> None:
    made = rules(slices=8, every_blocks=25, expires_blocks=1_000, above=50_000, max_price_move="2%")
    assert made == SliceRules(8, "blocks", 25, 1_000, 50_000 * E8, 20_000)
    assert rules(slices=2, every="1h", expires="1h").lasts == 3_600


FILE = {
    "name": "main",
    "network": "mainnet",
    "wallet": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "positions": [{"token": "WETH", "target": "100%"}],
}


@pytest.mark.parametrize(
    ("keys", "blocks"),
    [
        ({}, 3),  # approval, trade, and a block on top
        ({"approvals": "never"}, 2),
        ({"mode": "eip7702", "confirmations": 1}, 1),
        ({"approvals": "permit", "confirmations": 12}, 13),
        ({"confirmations": 0}, 2),
    ],
)
@pytest.mark.parametrize(
    ("clock", "block"), [("every_blocks", 1), ("every", 12)], ids=["blocks", "seconds"]
)
def test_an_order_lasts_long_enough_for_its_last_slice(
    keys: dict[str, Any], blocks: int, clock: str, block: int
) -> None:
    """However close slices are wanted: the next one waits until the one before is final."""
    execution = {"slices": 4, clock: 1 if clock == "every_blocks" else "1s"}
    file = Portfolio.model_validate({**FILE, "execution": execution, **keys})
    made = file.slice_rules()
    assert made is not None
    assert file.slice_takes_blocks == blocks
    assert made.lasts == 2 * 4 * blocks * block
    assert made.lasts > 3 * blocks * block, "the last one would not be decided"


def test_an_order_of_distant_slices__lasts_by_their_distance() -> None:
    file = Portfolio.model_validate({**FILE, "execution": {"slices": 4, "every": "1m"}})
    made = file.slice_rules()
    assert made is not None
    assert made.lasts == 480
    assert Portfolio.model_validate(FILE).slice_rules() is None


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"slices": 8}, "either every so long or every_blocks"),
        ({"slices": 8, "every": "5m", "every_blocks": 25}, "either every so long or every_blocks"),
        ({"slices": 1, "every": "5m"}, "greater than or equal to 2"),
        ({"slices": 8, "every": "0s"}, "at least a second"),
        ({"slices": 8, "every": "5m", "expires_blocks": 100}, "expires belongs to every"),
        ({"slices": 8, "every_blocks": 5, "expires": "1h"}, "expires belongs to every"),
        ({"slices": 8, "every": "5m", "expires": "34m"}, "expire before its last slice"),
        ({"slices": 8, "every": "5m", "max_price_move": "0%"}, "above 0%"),
        ({"slices": 8, "every": "5m", "max_price_move": "100%"}, "below 100%"),
        ({"slices": 8, "every": "5m", "pause": True}, "Extra inputs"),
    ],
)
def test_refused__and_says_why(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Execution.model_validate(keys)


def test_not_with_a_safe() -> None:
    file = {**FILE, "execution": {"slices": 4, "every": "1m"}}
    assert Portfolio.model_validate(file).execution is not None
    with pytest.raises(ValidationError, match="leave execution away with mode: safe"):
        Portfolio.model_validate({**file, "mode": "safe"})
