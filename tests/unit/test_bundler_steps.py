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
    encode_batch,
    entries_of,
    route_of,
    terms_of,
)
from rebalancer.errors import PlanError

A, B, PAIR, WETH = (f"0x{number:040x}" for number in (0xA, 0xB, 0xCC, 0xEE))
SWAP = Swap(PAIR, A, B, 3_000, 7, 5)


def entries(*steps: Step, watched: tuple[Watch, ...] = ()) -> list[tuple[int, int]]:
    return entries_of(Batch(9, 8, watched, steps))


def steps_only(*steps: Step, watched: tuple[Watch, ...] = ()) -> list[tuple[int, int]]:
    """The steps' own entries; those that have an operand followed by it."""
    found = entries(*steps, watched=watched)
    first = terms_of(Batch(9, 8, watched, steps)) >> 136
    with_operands: list[tuple[int, int]] = []
    for what, amounts in found[first:]:
        operand = what >> 160 & 0xFFFFFF if what >> 200 in (2, 3, 6) else 0
        with_operands.append((what & ~(operand << 160), amounts))
        with_operands += [found[operand]] if what >> 200 in (2, 3, 6) else []
    return with_operands


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Check(A, 2**256 - 1), [(0xA | 1 << 200, 2**256 - 1)]),
        (
            AddLiquidity(PAIR, A, B, 3, 4, 5),
            [(0xCC | 2 << 200, 3 | 4 << 128), (1, 5)],
        ),
        (RemoveLiquidity(PAIR, 3, 4, 5), [(0xCC | 3 << 200, 3), (4, 5)]),
        (Wrap(WETH, 6), [(0xEE | 4 << 200, 6)]),
        (Unwrap(WETH, 6), [(0xEE | 5 << 200, 6)]),
        (Permit(A, 6, 27, 1, 2), [(0xA | 6 << 200, 6), (1, 2)]),
        (Permit(A, 6, 28, 1, 2), [(0xA | 1 << 192 | 6 << 200, 6), (1, 2)]),
        (
            replace(SWAP, measured=True),
            [(0xCC | 997_000 << 160 | 0b101 << 192, 7 | 5 << 128)],
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

    assert swap[0] >> 184 & 0xFF == 1
    assert swap[0] >> 195 & 0b11 == 0b01
    assert (add[0] >> 184 & 0xFF, more[0]) == (1, 0)
    assert add[0] >> 195 & 0b11 == 0b11
    assert remove[0] >> 184 & 0xFF == 2
    assert unwrap[0] >> 184 & 0xFF == 3


def test_watched__come_first__with_gain_and_loss() -> None:
    found = entries(SWAP, watched=(Watch(B, 3, 4),))

    assert terms_of(Batch(9, 8, (Watch(B, 3, 4),), (SWAP,))) == 9 | 8 << 64 | 1 << 128 | 2 << 136
    assert found[0] == (0xB, 3 | 4 << 128)
    assert found[1] == (0xA, 0)


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
    assert len(entries(*[SWAP] * (MAX_ENTRIES - 1))) == MAX_ENTRIES


def test_operands__stand_behind_the_tokens__and_are_counted() -> None:
    steps = (Permit(A, 6, 27, 1, 2), RemoveLiquidity(PAIR, 3, 4, 5), SWAP)
    found = entries(*steps)

    assert found[:3] == [(0xA, 0), (1, 2), (4, 5)]
    assert [what >> 160 & 0xFFFFFF for what, _ in found[3:]] == [1, 2, 997_000]
    assert terms_of(Batch(9, 8, (), steps)) >> 136 == 3


# Routes.

FORWARDING = replace(SWAP, forward=True)
LAST = Swap("0x" + "dd" * 20, B, WETH, 2_500, None, 4, forwarded=True)
PASSES = replace(LAST, forward=True)
FINAL = replace(LAST, token_in=WETH, token_out=PAIR, min_amount_out=3)


def route(*steps: Step, watched: tuple[Watch, ...] | None = None) -> list[int]:
    (last,) = [step for step in steps[-1:] if isinstance(step, Swap)]
    floor = (Watch(last.token_out, last.min_amount_out),)
    return route_of(Batch(9, 8, floor if watched is None else watched, steps))


def test_route__one_to_three_pairs__word_by_word() -> None:
    first, last = 0xCC | 997_000 << 160 | 1 << 192, int("dd" * 20, 16) | 997_500 << 160 | 1 << 192

    assert route(SWAP) == [0xA | 9 << 160, 0xB | 8 << 160, first, 7 | 5 << 128]
    assert route(FORWARDING, LAST) == [
        0xA | 9 << 160, 0xEE | 8 << 160, first, 7 | 5 << 128, last, 4,
    ]  # fmt: skip
    assert route(FORWARDING, PASSES, FINAL) == [
        0xA | 9 << 160, 0xCC | 8 << 160, first, 7 | 5 << 128, last, 4 | 3 << 128,
        last & ~(1 << 192),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "watched"),
    [
        ([SWAP, SWAP], None),
        ([FORWARDING, PASSES, replace(FINAL, forward=True), replace(LAST, token_in=PAIR)], None),
        ([SWAP], ()),
        ([SWAP], (Watch(B, 6),)),
        ([SWAP], (Watch(B, 5, 1),)),
        ([SWAP], (Watch(A, 5),)),
        ([SWAP], (Watch(B, 5), Watch(A))),
        ([replace(SWAP, measured=True)], None),
        ([FORWARDING, replace(LAST, measured=True)], None),
        ([FORWARDING, replace(LAST, token_out=A)], None),
        ([replace(SWAP, amount_in=None)], (Watch(B, 5),)),
    ],
)
def test_route__of_what_it_would_not_do__is_none(
    steps: list[Step], watched: tuple[Watch, ...] | None
) -> None:
    assert route(*steps, watched=watched) == []


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (Batch(2**64, 8, (Watch(B, 5),), (SWAP,)), "of the deadline .* it has 64 bits"),
        (Batch(9, 2**64, (Watch(B, 5),), (SWAP,)), "of the base fee .* it has 64 bits"),
        (Batch(2**64, 8, (), (SWAP,)), "of the deadline .* it has 64 bits"),
        (Batch(9, 2**64, (), (SWAP,)), "of the base fee .* it has 64 bits"),
        (Batch(9, 8, (Watch(B, 5),), (FORWARDING,)), "a step that is not there"),
        (Batch(9, 8, (Watch(WETH, 4),), (SWAP, LAST)), "differ in who pays it"),
        (Batch(9, 8, (Watch(B, 5),), (replace(SWAP, fee_ppm=10**6),)), "not below 100 percent"),
        (Batch(9, 8, (Watch(B, 5),), (replace(SWAP, amount_in=2**112),)), "it has 112 bits"),
        (Batch(9, 8, (Watch(B, 2**128),), (replace(SWAP, min_amount_out=2**128),)), "128 bits"),
    ],
)
def test_encode__of_either_kind__refuses_what_does_not_fit(batch: Batch, reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        encode_batch(batch)
