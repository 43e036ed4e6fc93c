"""The snapshot as it would be once a plan's legs were done and nothing else had traded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rebalancer.amm.swap import apply_swap
from rebalancer.errors import Infeasible, PlanError
from rebalancer.model import Amount, Snapshot, SwapLeg


def replay(snapshot: Snapshot, legs: Sequence[SwapLeg]) -> Snapshot:
    """Execute ``legs`` on ``snapshot`` in exact integers; balances and reserves move, nothing else.

    Raises PlanError where a leg could not happen as it stands: an unknown pair or token, another
    fee than the pair's, more than the balance, an output that is not what the pair would pay, or a
    chained leg that the leg before does not feed.
    """
    balances = {amount.token: amount.raw for amount in snapshot.balances}
    pairs = {pair.address: pair for pair in snapshot.pairs}
    for index, leg in enumerate(legs):
        pair = pairs.get(leg.pair)
        if pair is None or {leg.token_in, leg.token_out} != {pair.token0, pair.token1}:
            raise PlanError(f"leg {index} swaps on {leg.pair}, which is no such pair")
        if (leg.amm, leg.fee_ppm) != (pair.amm, pair.fee_ppm):
            raise PlanError(f"leg {index} names another amm or fee than {pair.name} has")
        if leg.chained:
            before = legs[index - 1] if index else None
            if before is None or not _feeds(before, leg):
                raise PlanError(f"leg {index} is chained, but the leg before does not feed it")
        else:
            held = balances.get(leg.token_in, 0)
            if not 0 < leg.amount_in <= held:
                raise PlanError(
                    f"leg {index} sells {leg.amount_in} smallest units of {leg.token_in.symbol}, "
                    f"and {held} are there"
                )
            balances[leg.token_in] = held - leg.amount_in
        try:
            pairs[leg.pair], amount_out = apply_swap(pair, leg.token_in, leg.amount_in)
        except Infeasible as error:
            raise PlanError(f"leg {index} cannot be executed: {error}") from None
        if amount_out != leg.amount_out:
            raise PlanError(
                f"leg {index} expects {leg.amount_out} smallest units of {leg.token_out.symbol}, "
                f"and {pair.name} pays {amount_out}"
            )
        if index + 1 < len(legs) and legs[index + 1].chained:
            continue
        if leg.token_out not in balances:
            raise PlanError(f"leg {index} buys {leg.token_out.symbol}, whose balance was not read")
        balances[leg.token_out] += leg.amount_out
    return replace(
        snapshot,
        balances=tuple(Amount(a.token, balances[a.token]) for a in snapshot.balances),
        pairs=tuple(pairs[pair.address] for pair in snapshot.pairs),
    )


def _feeds(before: SwapLeg, leg: SwapLeg) -> bool:
    """Whether ``before`` can pay its output straight into the pair of ``leg``."""
    same_amount = (before.token_out, before.amount_out) == (leg.token_in, leg.amount_in)
    return same_amount and before.pair != leg.pair
