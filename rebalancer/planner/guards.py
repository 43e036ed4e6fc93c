"""The last look at a finished plan, whoever proposed it: pure functions that return violations.

Guards of consistency speak of a plan that contradicts itself or its snapshot: a defect, never to be
sent. Guards of limits speak of a sound plan that goes further than the policy allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rebalancer.model import PPM, BlockRef, Plan, Reason, mul_div_down
from rebalancer.planner.costs import cost_share_ppm, is_extreme
from rebalancer.planner.market import (
    Market,
    held_out_of,
    hop_impact_ppm,
    off_oracle_ppm,
    pool_share_ppm,
)
from rebalancer.planner.problem import Problem
from rebalancer.planner.replay import replay
from rebalancer.planner.routes import min_amount_out
from rebalancer.planner.targets import aims, stuck_positions
from rebalancer.planner.texts import duration, money, percent, told_apart
from rebalancer.planner.trades import MAX_LEGS

Guard = Callable[[Problem, Plan], Iterable[Reason]]


def violations(problem: Problem, plan: Plan, guards: Iterable[Guard]) -> tuple[Reason, ...]:
    """Every violation that any of ``guards`` finds, in their order."""
    return tuple(reason for guard in guards for reason in guard(problem, plan))


def sells_only_what_is_held(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """What the wallet pays must be there before the first leg, whatever the legs bring."""
    for amount in plan.sold():
        held = problem.snapshot.balance(amount.token)
        if amount.raw > held:
            text = f"The plan sells {amount.raw} of {amount.token.symbol}, {held} are there"
            yield Reason("sells_more_than_held", text, amount.raw, held)


def trades_only_positions(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """The wallet's other tokens are not the portfolio's to sell, and none may be left behind."""
    ours = {problem.token(target.position) for target in problem.targets}
    owed = None if problem.owed is None else problem.owed.token
    for change in plan.net:
        if change.token not in ours and (change.token != owed or change.raw < 0):
            text = f"The plan changes the balance of {change.token.symbol}, which is no position"
            yield Reason("not_a_position", text)
    for amount in plan.sold():
        if amount.token not in ours:
            text = f"The plan sells {amount.token.symbol}, which is no position"
            yield Reason("not_a_position", text)


def trades_nothing_held_out(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """No leg pays or takes a token that is held out, nor passes through its pool."""
    for index, leg in enumerate(plan.legs):
        for item in held_out_of(problem.snapshot, problem.snapshot.pair(leg.pair)):
            text = f"Leg {index} trades {item.name}, which is held out: {item.text}"
            yield Reason("held_out", text)


def min_outs_follow_slippage(_: Problem, plan: Plan) -> Iterable[Reason]:
    """Every leg's least output is its expected one less the slippage, and never above it."""
    for index, leg in enumerate(plan.legs):
        least = min_amount_out(leg.amount_out, plan.slippage_ppm)
        if not 0 < leg.min_amount_out <= leg.amount_out or leg.min_amount_out != least:
            text = f"Leg {index} accepts {leg.min_amount_out}, by the slippage it is {least}"
            yield Reason("min_amount_out", text, leg.min_amount_out, least)


def costs_add_up(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """The parts are the total, and the total less gas is what the balances lose in value."""
    costs = plan.costs
    lost = costs.fee_e8 + costs.impact_e8 + costs.off_oracle_e8
    if lost + costs.gas_e8 != costs.total_e8:
        yield Reason("costs_e8", "The costs do not add up", costs.total_e8, lost + costs.gas_e8)
    done = replay(problem.snapshot, plan.legs)
    measured = sum(
        problem.snapshot.price(c.token).value_down(problem.snapshot.balance(c.token))
        - problem.snapshot.price(c.token).value_down(done.balance(c.token))
        for c in plan.net
    )
    if lost != measured:
        yield Reason("costs_e8", "The costs are not what the balances lose", lost, measured)


def few_enough_legs(_: Problem, plan: Plan) -> Iterable[Reason]:
    """A batch has room for MAX_LEGS."""
    if len(plan.legs) > MAX_LEGS:
        text = f"The plan has {len(plan.legs)} legs, a batch takes {MAX_LEGS}"
        yield Reason("max_legs", text, len(plan.legs), MAX_LEGS)


def impact_within_limit(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """Every hop keeps ``max_impact_ppm``, measured from the snapshot's spot prices."""
    limit = problem.policy.max_impact_ppm
    start = {pair.address: pair for pair in problem.snapshot.pairs}
    market = Market(start, start)
    for index, leg in enumerate(plan.legs):
        impact = hop_impact_ppm(start[leg.pair], market.now[leg.pair], leg.token_in, leg.amount_in)
        if impact > limit:
            shown, allowed = told_apart(percent, impact, limit, most_places=4)
            text = f"Leg {index} moves {start[leg.pair].name} by {shown}, allowed is {allowed}"
            yield Reason("max_impact_ppm", text, impact, limit)
        market = market.after((leg,))


def pools_near_oracle(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """No leg uses a pool whose price is further from the oracle's than the policy allows."""
    limit = problem.policy.max_off_oracle_ppm
    for address in dict.fromkeys(leg.pair for leg in plan.legs):
        pair = problem.snapshot.pair(address)
        gap = off_oracle_ppm(problem.snapshot, pair)
        if gap > limit:
            shown, allowed = told_apart(percent, gap, limit, most_places=4)
            text = f"{pair.name} is {shown} from the oracle's price, allowed is {allowed}"
            yield Reason("off_oracle_ppm", text, gap, limit)


def nav_loss_within_max_cost(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """What NAV loses keeps ``max_cost_ppm`` of the traded value."""
    loss = plan.nav_before_e8 - plan.nav_after_e8
    share = cost_share_ppm(loss, plan.costs.traded_e8)
    if share > problem.policy.max_cost_ppm and not is_extreme(problem):
        shown, allowed = told_apart(percent, share, problem.policy.max_cost_ppm, most_places=4)
        text = (
            f"NAV would lose {money(loss, plan.numeraire)}, {shown} of the traded value; "
            f"allowed is {allowed}"
        )
        yield Reason("max_nav_loss_ppm", text, share, problem.policy.max_cost_ppm)


def no_position_further_off(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """No token ends further from its share of what the tradable tokens hold than it began.

    Beyond what trading itself costs and one smallest unit of each traded token, which is as exact
    as amounts can be.
    """
    snapshot = problem.snapshot
    lost = plan.costs.total_e8 - plan.costs.gas_e8
    unit = sum(snapshot.price(change.token).value_up(1) for change in plan.net)
    changes = {change.token: change.raw for change in plan.net}
    for aim in aims(problem, stuck_positions(problem), lost):
        after_e8 = snapshot.price(aim.token).value_down(aim.held + changes.get(aim.token, 0))
        allowed = abs(aim.value_e8 - aim.full_e8) + abs(lost) + unit
        if abs(after_e8 - aim.full_e8) > allowed:
            off = money(abs(after_e8 - aim.full_e8), plan.numeraire)
            text = (
                f"{aim.token.symbol} would end {off} from where it should be, further than the "
                f"{money(allowed, plan.numeraire)} it begins at"
            )
            yield Reason("further_off_e8", text, abs(after_e8 - aim.full_e8), allowed)


def trades_within_cap(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """No leg that takes from the wallet sells more than ``max_trade_e8``."""
    limit = problem.policy.max_trade_e8
    for index, leg in enumerate(plan.legs):
        sold = problem.snapshot.price(leg.token_in).value_down(leg.amount_in)
        if limit is not None and not leg.chained and sold > limit:
            text = (
                f"Leg {index} sells {money(sold, plan.numeraire)} of {leg.token_in.symbol}, one "
                f"trade may be {money(limit, plan.numeraire)}"
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
    """No pool is paid more than ``max_pool_share_ppm`` of the reserve that it had."""
    limit = problem.policy.max_pool_share_ppm
    if limit is None:
        return
    start = {pair.address: pair for pair in problem.snapshot.pairs}
    market = Market(start, start)
    for index, leg in enumerate(plan.legs):
        now = market.now[leg.pair]
        share = pool_share_ppm(start[leg.pair], now, leg.token_in, leg.amount_in)
        if share > limit:
            shown, allowed = told_apart(percent, share, limit, most_places=4)
            text = f"Leg {index} pays {shown} of what {now.name} holds, allowed is {allowed}"
            yield Reason("max_pool_share_ppm", text, share, limit)
        market = market.after((leg,))


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
    tokens = dict.fromkeys(t for leg in plan.legs for t in (leg.token_in, leg.token_out))
    for token in tokens:
        age = problem.snapshot.block.timestamp - problem.snapshot.price(token).updated_at
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
        sold = problem.snapshot.price(change.token).value_down(-change.raw)
        if change.raw < 0 and sold < least:
            text = (
                f"The plan sells {money(sold, plan.numeraire)} of {change.token.symbol}, the "
                f"smallest trade is {money(least, plan.numeraire)}"
            )
            yield Reason("dust_e8", text, sold, least)


def keeps_the_withdrawal(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """The plan sells nothing of the token that a withdrawal still needs."""
    owed = problem.owed
    for change in plan.net:
        if owed is not None and change.token == owed.token and change.raw < 0:
            text = f"The plan sells {owed.token.symbol}, which the withdrawal still needs"
            yield Reason("withdrawal", text)


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


CONSISTENCY: tuple[Guard, ...] = (
    sells_only_what_is_held,
    trades_only_positions,
    trades_nothing_held_out,
    min_outs_follow_slippage,
    costs_add_up,
    keeps_the_withdrawal,
)
LIMITS: tuple[Guard, ...] = (
    few_enough_legs,
    impact_within_limit,
    pools_near_oracle,
    trades_within_cap,
    turnover_within_day,
    pool_share_within_limit,
    stale_gain_within_limit,
    prices_fresh,
    no_dust,
    nav_loss_within_max_cost,
    no_position_further_off,
)
