"""Each real swap of ../shared/data/univ2/real_swaps.csv against the AMM room.

A trader took all he could when one unit more would have broken the pair's invariant; there ours
must equal what he got. Every other swap must be below ours, for a reason that is computed from its
amounts alone. ``pytest -s tests/unit/test_real_swaps.py`` lists them.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from rebalancer.amm import (
    apply_swap,
    get_amount_in,
    get_amount_out,
    invariant_holds,
    max_amount_out,
    spot_price,
)
from rebalancer.model import PairState, Token

FEE_PPM = 3_000
#: Router02's swapTokensForExactETH, swapTokensForExactTokens and swapETHForExactTokens.
EXACT_OUT_SELECTORS = ("0x4a25d94a", "0x8803dbee", "0xfb3bdb41")

TOOK_ALL = "took all he could"
EXACT_OUT = "asked for a fixed output and paid the least input that buys it"
CAME_BACK = "took the formula's output, but the token sent some back into the pair"
COARSE = "took the most that is a multiple of 2^n: the amount is packed into few bits"
UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class RealSwap:
    """A row, turned so that ``out`` is the side that was taken.

    ``also_paid`` is what the pair received of the taken token; ``pair`` is the state before.
    """

    label: str
    pair: PairState
    token_in: Token
    amount_in: int
    also_paid: int
    amount_out: int
    reserves_after: tuple[int, int]
    selector: str
    formula_minus_actual: str

    @property
    def reserves(self) -> tuple[int, int]:
        return self.pair.reserves(self.token_in)

    @property
    def ours(self) -> int:
        """Most that the pair would have let go, for exactly what it was paid."""
        return max_amount_out(self.amount_in, *self.reserves, FEE_PPM, also_paid=self.also_paid)

    def allowed(self, amount_out: int) -> bool:
        """The pair's own check, which ``ours`` is not made with."""
        if amount_out >= self.reserves[1]:
            return False
        return invariant_holds(
            *self.reserves,
            FEE_PPM,
            amount0_in=self.amount_in,
            amount1_in=self.also_paid,
            amount1_out=amount_out,
        )

    @property
    def reason(self) -> str:
        """Why the trader got what he got, decided by his amounts."""
        if not self.allowed(self.amount_out + 1):
            return TOOK_ALL
        formula_out = get_amount_out(self.amount_in, *self.reserves, FEE_PPM)
        if self.also_paid and self.amount_out == formula_out:
            return CAME_BACK
        if self.amount_in == get_amount_in(self.amount_out, *self.reserves, FEE_PPM):
            return EXACT_OUT
        step = self.amount_out & -self.amount_out
        if step >= 2**32 and not self.allowed(self.amount_out + step):
            return COARSE
        return UNEXPLAINED


@pytest.fixture(scope="module")
def swaps(real_data: Path) -> list[RealSwap]:
    with (real_data / "univ2" / "real_swaps.csv").open(newline="") as file:
        return [real_swap(row) for row in csv.DictReader(file)]


def real_swap(row: dict[str, str]) -> RealSwap:
    tokens = [
        Token(row[f"token{i}"], row[f"sym{i}"] or row[f"token{i}"][:8], int(row[f"dec{i}"] or 18))
        for i in (0, 1)
    ]
    ins, outs = [int(row["in0"]), int(row["in1"])], [int(row["out0"]), int(row["out1"])]
    assert outs.count(0) == 1, "a swap that takes both tokens needs another comparison"
    out = 0 if outs[0] else 1
    pair = PairState(
        address=row["pair"],
        amm=row["dex"],
        token0=tokens[0],
        token1=tokens[1],
        fee_ppm=FEE_PPM,
        reserve0=int(row["r0"]),
        reserve1=int(row["r1"]),
        total_supply=0,
        k_last=0,
        protocol_fee_on=False,
    )
    return RealSwap(
        label=f"{row['block']} {row['tx_hash'][:10]} log {row['log_index']:>3} "
        f"{row['router'] or 'contract ' + row['tx_to'][:10]} {row['selector']}",
        pair=pair,
        token_in=tokens[1 - out],
        amount_in=ins[1 - out],
        also_paid=ins[out],
        amount_out=outs[out],
        reserves_after=(int(row["r0a"]), int(row["r1a"])),
        selector=row["selector"],
        formula_minus_actual=row["formula_minus_actual"],
    )


def test_real_swaps__each_one__equal_where_he_took_all_and_never_above_ours(
    swaps: list[RealSwap],
) -> None:
    sys.stdout.write("\n" + table(swaps) + "\n")
    for swap in swaps:
        assert swap.amount_in > 0, swap.label
        assert swap.allowed(swap.ours), swap.label
        assert not swap.allowed(swap.ours + 1), swap.label
        if swap.reason == TOOK_ALL:
            assert swap.amount_out == swap.ours, swap.label
        else:
            assert swap.amount_out < swap.ours, swap.label
        if not swap.also_paid:
            formula_out = get_amount_out(swap.amount_in, *swap.reserves, FEE_PPM)
            assert formula_out == swap.ours, swap.label
            assert str(formula_out - swap.amount_out) == swap.formula_minus_actual, swap.label


def test_real_swaps__reasons__are_these(swaps: list[RealSwap]) -> None:
    assert Counter(swap.reason for swap in swaps) == {
        TOOK_ALL: 104,
        EXACT_OUT: 5,
        CAME_BACK: 4,
        COARSE: 2,
    }
    # What the transactions themselves say agrees with what the amounts do.
    assert all(swap.selector in EXACT_OUT_SELECTORS for swap in swaps if swap.reason == EXACT_OUT)


def test_real_swaps__one_sided_and_taken_in_full__leave_the_reserves_we_say(
    swaps: list[RealSwap],
) -> None:
    compared = 0
    for swap in swaps:
        if swap.reason == TOOK_ALL and not swap.also_paid:
            after, amount_out = apply_swap(swap.pair, swap.token_in, swap.amount_in)
            assert amount_out == swap.amount_out, swap.label
            assert (after.reserve0, after.reserve1) == swap.reserves_after, swap.label
            assert spot_price(after, swap.token_in) < spot_price(swap.pair, swap.token_in)
            compared += 1
    assert compared == 104


def table(swaps: list[RealSwap]) -> str:
    counts = Counter(swap.reason for swap in swaps)
    lines = [f"{count:>4}  {reason}" for reason, count in counts.most_common()]
    lines += ["", "not all that he could have taken (ours - actual, in parts of 10^12 of actual):"]
    lines += [
        f"  {swap.label}: {swap.ours - swap.amount_out} "
        f"({(swap.ours - swap.amount_out) * 10**12 // swap.amount_out}) {swap.reason}"
        for swap in swaps
        if swap.reason != TOOK_ALL
    ]
    return "\n".join(lines)
