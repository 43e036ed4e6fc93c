"""Guards of size, age and too good to be true: what a plan may trade, by whom it is judged."""

from __future__ import annotations

from collections.abc import Iterable

from rebalancer.model import PPM, BlockRef, Plan, Reason, mul_div_down
from rebalancer.planner.costs import cost_share_ppm
from rebalancer.planner.exchanges import exchanged_e8
from rebalancer.planner.market import pool_share_ppm, swap_hops
from rebalancer.planner.problem import Problem
from rebalancer.planner.texts import duration, money, percent, told_apart
from rebalancer.planner.wallet import moved_tokens, price_of, priced_tokens, value_down


def trades_within_cap(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """All legs together give at most ``max_trade_e8`` of one token for another."""
    limit = problem.policy.max_trade_e8
    if limit is None:
        return
    for (given, bought), sold in exchanged_e8(problem.snapshot, plan.legs).items():
        if sold > limit:
            names = (" and ".join(token.symbol for token in tokens) for tokens in (given, bought))
            text = (
                f"The plan gives {money(sold, plan.numeraire)} of {' for '.join(names)}, one trade "
                f"may be {money(limit, plan.numeraire)}"
            )
            yield Reason("max_trade_e8", text, sold, limit)


def turnover_within_day(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """What 24 hours have sold already and what the plan sells keep ``max_turnover_ppm`` of NAV."""
    share = problem.policy.max_turnover_ppm
    if share is None:
        return
    limit = mul_div_down(problem.valuation.nav_e8, share, PPM)
    turnover = problem.circumstances.turnover_e8 + plan.costs.traded_e8
    if turnover > limit:
        text = (
            f"24 hours would have sold {money(turnover, plan.numeraire)}, "
            f"allowed is {money(limit, plan.numeraire)}"
        )
        yield Reason("max_turnover_e8", text, turnover, limit)


def pool_share_within_limit(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """No pool is paid more than ``max_pool_share_ppm`` of the reserve that it had for swaps."""
    limit = problem.policy.max_pool_share_ppm
    if limit is None:
        return
    for index, leg, start, now in swap_hops(problem.snapshot, plan.legs):
        share = pool_share_ppm(start, now, leg.token_in, leg.amount_in)
        if share > limit:
            shown, allowed = told_apart(percent, share, limit, most_places=4)
            text = f"Leg {index} pays {shown} of what {now.name} holds, allowed is {allowed}"
            yield Reason("max_pool_share_ppm", text, share, limit)


def stale_gain_within_limit(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """What pools off the oracle seem to give away is a small part of the traded value."""
    policy = problem.policy
    limit = policy.max_off_oracle_ppm
    if policy.max_stale_gain_ppm is not None:
        limit = policy.max_stale_gain_ppm
    gain = max(-plan.costs.off_oracle_e8, 0)
    share = cost_share_ppm(gain, plan.costs.traded_e8)
    if share > limit:
        shown, allowed = told_apart(percent, share, limit, most_places=4)
        text = (
            f"Pools off the oracle would give {money(gain, plan.numeraire)}, {shown} of the traded "
            f"value; more than {allowed} is too good to be true"
        )
        yield Reason("max_stale_gain_ppm", text, share, limit)


def prices_fresh(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """Every price that a leg is judged by changed at most ``max_price_age_s`` before the block."""
    limit = problem.policy.max_price_age_s
    if limit is None:
        return
    snapshot = problem.snapshot
    moved = (t for token in moved_tokens(plan.legs) for t in priced_tokens(snapshot, token))
    for token in dict.fromkeys(moved):
        age = snapshot.block.timestamp - price_of(snapshot, token).updated_at
        if age > limit:
            text = (
                f"The price of {token.symbol} is {duration(age)} old, allowed is {duration(limit)}"
            )
            yield Reason("max_price_age_s", text, age, limit)


def no_dust(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """What a plan sells of a token is worth the minimum trade; a withdrawal's rest may be less."""
    least = problem.policy.min_trade_e8
    if problem.owed is not None:
        return
    for change in plan.net:
        sold = value_down(problem.snapshot, change.token, max(-change.raw, 0))
        if change.raw < 0 and sold < least:
            text = (
                f"The plan sells {money(sold, plan.numeraire)} of {change.token.symbol}, the "
                f"smallest trade is {money(least, plan.numeraire)}"
            )
            yield Reason("dust_e8", text, sold, least)


def plan_still_good(plan: Plan, head: BlockRef) -> tuple[Reason, ...]:
    """Every way in which a plan is too old at ``head``: blocks, deadline, chain, a fork of it."""
    found = []
    age = head.number - plan.block_number
    if head.chain_id != plan.chain_id:
        text = f"The plan is for chain {plan.chain_id}, this is chain {head.chain_id}"
        found.append(Reason("chain_id", text, head.chain_id, plan.chain_id))
    if age > plan.max_age_blocks:
        text = f"The plan is {age} blocks old, {plan.max_age_blocks} are allowed"
        found.append(Reason("max_age_blocks", text, age, plan.max_age_blocks))
    if head.timestamp >= plan.deadline_ts:
        late = duration(head.timestamp - plan.deadline_ts)
        text = f"The plan's deadline passed {late} ago"
        found.append(Reason("deadline_s", text, head.timestamp, plan.deadline_ts))
    if age == 0 and head.hash != plan.block_hash:
        text = f"Block {plan.block_number} of the plan was replaced by another"
        found.append(Reason("reorganised", text))
    return tuple(found)
