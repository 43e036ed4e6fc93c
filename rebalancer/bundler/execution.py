"""The call that does a plan: to whom, with which data and ether."""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.bundler.calls import EXECUTE, Call
from rebalancer.bundler.executor import EXECUTOR_ADDRESS, encode_execute, ether_of
from rebalancer.bundler.steps import Permit
from rebalancer.model import Leg, Plan, SwapLeg


def execute_call(
    plan: Plan,
    to: str = EXECUTOR_ADDRESS,
    permits: Sequence[Permit] = (),
    only: int | None = None,
) -> Call:
    """The call that does a plan's legs; ``to`` is the executor, or the wallet that delegates.

    ``only`` the first few of its legs are for finding out what each does: no floor is put under
    what they bring together.
    """
    legs: Sequence[Leg] = plan.legs if only is None else plan.legs[:only]
    as_wallet = to.lower() == plan.wallet.lower()
    data = encode_execute(
        legs,
        plan.deadline_ts,
        max_base_fee_wei=plan.max_fee_wei,
        permits=permits,
        guarded=only is None,
        as_wallet=as_wallet,
    )
    what = "swaps" if all(isinstance(leg, SwapLeg) for leg in legs) else "legs"
    # A wallet that runs the batch itself wraps of its own ether.
    value_wei = 0 if as_wallet else ether_of(legs)
    return Call(EXECUTE, f"execute {len(legs)} {what}", to, data, value_wei, tuple(permits))
