"""What the encoder of batches writes for each kind of step, and what it refuses to write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rebalancer.bundler.steps import (
    MAX_ENTRIES,
    MAX_WATCHED,
    AddLiquidity,
    Batch,
    Check,
    Permit,
    RemoveLiquidity,
    Step,
    Swap,
    Unwrap,
    Watch,
    Wrap,
    entries_of,
)
from rebalancer.errors import PlanError

A, B, PAIR, WETH = (f"0x{number:040x}" for number in (0xA, 0xB, 0xCC, 0xEE))
SWAP = Swap(PAIR, A, B, 3_000, 7, 5)


def entries(*steps: Step, watched: tuple[Watch, ...] = ()) -> list[tuple[int, int]]:
    return entries_of(Batch(9, 8, watched, steps))


def steps_only(*steps: Step, watched: tuple[Watch, ...] = ()) -> list[tuple[int, int]]:
    found = entries(*steps, watched=watched)
    return found[found[0][0] >> 72 :]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Check(A, 2**256 - 1), [(0xA | 1 << 200, 2**256 - 1)]),
        (
            AddLiquidity(PAIR, A, B, 3, 4, 5),
            [(0xCC | 1 << 184 | 2 << 200, 3 | 4 << 128), (2, 5)],
        ),
        (RemoveLiquidity(PAIR, 3, 4, 5), [(0xCC | 3 << 200, 3), (4, 5)]),
        (Wrap(WETH, 6), [(0xEE | 4 << 200, 6)]),
        (Unwrap(WETH, 6), [(0xEE | 5 << 200, 6)]),
        (Permit(A, 6, 27, 1, 2), [(0xA | 6 << 200, 6), (1, 2)]),
        (Permit(A, 6, 28, 1, 2), [(0xA | 1 << 192 | 6 << 200, 6), (1, 2)]),
        (
            replace(SWAP, measured=True),
            [(0xCC | 997_000 << 160 | 1 << 184 | 0b101 << 192, 7 | 5 << 128)],
        ),
    ],
)
def test_step__word_by_word(step: Step, words: list[tuple[int, int]]) -> None:
    assert steps_only(step) == words


def test_gained__of_watched_tokens__sets_the_flags() -> None:
    watched = (Watch(B), Watch(A), Watch(PAIR), Watch(WETH))

    (swap,) = steps_only(replace(SWAP, amount_in=None), watched=watched)
    add, more = steps_only(AddLiquidity(PAIR, A, B, None, None, 1), watched=watched)
    remove, _ = steps_only(RemoveLiquidity(PAIR, None, 1, 1), watched=watched)
    (unwrap,) = steps_only(Unwrap(WETH, None), watched=watched)

    assert swap[0] >> 184 & 0xFF == 2
    assert swap[0] >> 195 & 0b11 == 0b01
    assert (add[0] >> 184 & 0xFF, more[0]) == (2, 1)
    assert add[0] >> 195 & 0b11 == 0b11
    assert remove[0] >> 184 & 0xFF == 3
    assert unwrap[0] >> 184 & 0xFF == 4


def test_watched__come_first__with_gain_and_loss() -> None:
    found = entries(SWAP, watched=(Watch(B, 3, 4),))

    assert found[0] == (9 | 1 << 64 | 3 << 72, 8)
    assert found[1] == (0xB, 3 | 4 << 128)
    assert found[2] == (0xA, 0)


@pytest.mark.parametrize(
    ("steps", "watched", "reason"),
    [
        ([], (), "needs a step"),
        ([SWAP], (Watch(A), Watch(A.upper().replace("X", "x"))), "watched twice"),
        ([SWAP], tuple(Watch(f"0x{n:040x}") for n in range(MAX_WATCHED + 1)), "at most 16 tokens"),
        ([SWAP] * MAX_ENTRIES, (), "the executor takes 50"),
        ([replace(SWAP, forward=True)], (), "a step that is not there"),
        ([replace(SWAP, forward=True), SWAP], (), "differ in who pays it"),
        ([replace(SWAP, forwarded=True)], (), "differ in who pays it"),
        ([Wrap(WETH, 1, forward=True), Check(A, 1)], (), "differ in who pays it"),
        ([replace(SWAP, amount_in=None)], (Watch(B),), "but it is not watched"),
        ([AddLiquidity(PAIR, A, B, 1, None, 1)], (Watch(A),), "but it is not watched"),
        ([RemoveLiquidity(PAIR, None, 1, 1)], (), "but it is not watched"),
        ([Unwrap(WETH, None)], (), "but it is not watched"),
        ([replace(SWAP, fee_ppm=1_000_000)], (), "not below 100 percent"),
        ([replace(SWAP, fee_ppm=-1)], (), "not below 100 percent"),
        ([replace(SWAP, amount_in=2**112)], (), "it has 112 bits"),
        ([replace(SWAP, amount_in=-1)], (), "it has 112 bits"),
        ([replace(SWAP, min_amount_out=2**128)], (), "it has 128 bits"),
        ([AddLiquidity(PAIR, A, B, 2**128, 1, 1)], (), "it has 128 bits"),
        ([Check(A, 2**256)], (), "it has 256 bits"),
        ([SWAP], (Watch(A, 2**128),), "it has 128 bits"),
    ],
)
def test_batch__that_the_contract_would_read_otherwise__is_refused(
    steps: list[Step], watched: tuple[Watch, ...], reason: str
) -> None:
    with pytest.raises(PlanError, match=reason):
        entries(*steps, watched=watched)


def test_batch__as_large_as_it_can_be__is_written() -> None:
    assert len(entries(*[SWAP] * (MAX_ENTRIES - 2))) == MAX_ENTRIES
