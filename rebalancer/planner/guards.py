"""The last look at a finished plan, whoever proposed it: pure functions that return violations.

Guards of consistency speak of a plan that contradicts itself or its snapshot: a defect, never to be
sent. Guards of limits speak of a sound plan that goes further than the policy allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from rebalancer.errors import PlanError
from rebalancer.model import (
    Amount,
    HeldOut,
    Leg,
    Plan,
    Reason,
    Token,
    UnwrapLeg,
    WrapLeg,
)
from rebalancer.planner.batch import batch_size
from rebalancer.planner.caps import (
    no_dust,
    pool_share_within_limit,
    prices_fresh,
    stale_gain_within_limit,
    trades_within_cap,
    turnover_within_day,
)
from rebalancer.planner.costs import cost_share_ppm, is_extreme, lost_e8
from rebalancer.planner.market import held_out_of, hop_impact_ppm, off_oracle_ppm, swap_hops
from rebalancer.planner.optimal.verify import verify
from rebalancer.planner.problem import Problem
from rebalancer.planner.proof import as_proved, proved_legs
from rebalancer.planner.purse import trades_of
from rebalancer.planner.replay import replay
from rebalancer.planner.routes import min_amount_out
from rebalancer.planner.targets import aims, stuck_positions
from rebalancer.planner.texts import money, percent, told_apart
from rebalancer.planner.trades import MAX_ENTRIES, MAX_LEGS, MAX_WATCHED
from rebalancer.planner.wallet import (
    balance,
    feeds_next,
    moved_tokens,
    net_moves,
    share_of,
    value_up,
)

Guard = Callable[[Problem, Plan], Iterable[Reason]]


def violations(problem: Problem, plan: Plan, guards: Iterable[Guard]) -> tuple[Reason, ...]:
    """Every violation that any of ``guards`` finds, in their order.

    They see the plan's trades on the problem's snapshot, without what the purse wraps for them.
    """
    bare = undressed(problem, plan)
    return tuple(reason for guard in guards for reason in guard(problem, bare))


def undressed(problem: Problem, plan: Plan) -> Plan:
    """The plan without the legs of the gas purse, as it is on the problem's snapshot."""
    if problem.purse is None:
        return plan
    trades = trades_of(plan.legs, problem.purse)
    return replace(plan, legs=trades, net=net_of(trades))


def net_of(legs: Sequence[Leg]) -> tuple[Amount, ...]:
    """What ``legs`` change of each balance of the wallet, in order of first use; none that is 0."""
    return tuple(Amount(token, raw) for token, raw in net_moves(legs).items() if raw)


def keeps_the_gas_reserve(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """Wrapping leaves the gas reserve and, beside it, what the plan's own gas may cost at most."""
    if problem.purse is None:
        return
    gas_wei = plan.costs.gas_units * plan.max_fee_wei
    short = problem.purse.short_of_gas(problem.whole(plan.legs), gas_wei)
    if short is not None:
        yield short


def sells_only_what_is_held(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """What a leg takes from the wallet must be there by then: held before, or bought by a leg."""
    moved = moved_tokens(plan.legs)
    held = {token: balance(problem.snapshot, token) for token in moved}
    for index, leg in enumerate(plan.legs):
        for amount in leg.takes:
            there = held[amount.token]
            if amount.raw > there:
                symbol = amount.token.symbol
                text = f"Leg {index} sells {amount.raw} of {symbol}, {there} are there"
                yield Reason("sells_more_than_held", text, amount.raw, there)
            held[amount.token] = there - amount.raw
        if not feeds_next(plan.legs, index):
            for amount in leg.pays:
                held[amount.token] += amount.raw


def trades_only_positions(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """The wallet's other tokens are not the portfolio's to sell, and none may be left behind.

    What a leg buys of another token is sold again to the last unit, or is owed to a withdrawal.
    """
    ours: set[Token | None] = {problem.token(target.position) for target in problem.targets}
    ours |= {share_of(p) for p in problem.snapshot.pairs if problem.is_position(share_of(p))}
    owed = None if problem.owed is None else problem.owed.token
    for change in plan.net:
        if change.token not in ours and (change.token != owed or change.raw < 0):
            text = f"The plan changes the balance of {change.token.symbol}, which is no position"
            yield Reason("not_a_position", text)
    bought = {amount.token for leg in plan.legs for amount in leg.pays}
    for amount in plan.sold():
        if amount.token not in ours | bought:
            text = f"The plan sells {amount.token.symbol}, which is no position"
            yield Reason("not_a_position", text)


def certificate_holds(_: Problem, plan: Plan) -> Iterable[Reason]:
    """A certificate is true, by its independent checker, and is one of these very legs."""
    if plan.certificate is None:
        return
    try:
        verify(plan.certificate)
    except PlanError as error:
        yield Reason("certificate", f"The certificate does not hold: {error}")
        return
    if proved_legs(plan.certificate) != [as_proved(leg) for leg in plan.legs]:
        yield Reason("certificate", "The certificate is one of other legs")


def trades_nothing_held_out(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """No leg pays or takes a token that is held out, nor passes through its pool."""
    snapshot = problem.snapshot
    for index, leg in enumerate(plan.legs):
        if isinstance(leg, WrapLeg | UnwrapLeg):
            item = snapshot.held_out_reason(leg.wrapped.address)
            found: tuple[HeldOut, ...] = () if item is None else (item,)
        else:
            found = held_out_of(snapshot, snapshot.pair(leg.pair))
        for item in found:
            text = f"Leg {index} trades {item.name}, which is held out: {item.text}"
            yield Reason("held_out", text)


def min_outs_follow_slippage(_: Problem, plan: Plan) -> Iterable[Reason]:
    """Whatever a leg pays is at least the expected less the slippage, and never above it.

    Wrapping and unwrapping change no amount, and accept none.
    """
    for index, leg in enumerate(plan.legs):
        exact = isinstance(leg, WrapLeg | UnwrapLeg)
        for pays, accepted in zip(leg.pays, leg.least, strict=True):
            least = pays.raw if exact else min_amount_out(pays.raw, plan.slippage_ppm)
            if not 0 < accepted.raw <= pays.raw or accepted.raw != least:
                text = f"Leg {index} accepts {accepted.raw}, by the slippage it is {least}"
                yield Reason("min_amount_out", text, accepted.raw, least)


def costs_add_up(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """The parts are the total, and the total less gas is what the balances lose in value."""
    costs = plan.costs
    lost = costs.fee_e8 + costs.impact_e8 + costs.off_oracle_e8
    if lost + costs.gas_e8 != costs.total_e8:
        yield Reason("costs_e8", "The costs do not add up", costs.total_e8, lost + costs.gas_e8)
    done = replay(problem.snapshot, plan.legs)
    measured = lost_e8(problem.snapshot, done, plan.net)
    if lost != measured:
        yield Reason("costs_e8", "The costs are not what the balances lose", lost, measured)


def few_enough_legs(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """A batch has room for MAX_LEGS, and its words for so many entries and watched tokens."""
    legs = problem.whole(plan.legs)
    entries, paid = batch_size(legs)
    for code, what, found, most in (
        ("max_legs", "legs", len(legs), MAX_LEGS),
        ("max_entries", "entries", entries, MAX_ENTRIES),
        ("max_watched", "tokens to watch", paid, MAX_WATCHED),
    ):
        if found > most:
            yield Reason(code, f"The plan has {found} {what}, a batch takes {most}", found, most)


def impact_within_limit(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """Every hop keeps ``max_impact_ppm``, measured from the snapshot's spot prices."""
    limit = problem.policy.max_impact_ppm
    for index, leg, start, now in swap_hops(problem.snapshot, plan.legs):
        impact = hop_impact_ppm(start, now, leg.token_in, leg.amount_in)
        if impact > limit:
            shown, allowed = told_apart(percent, impact, limit, most_places=4)
            text = f"Leg {index} moves {start.name} by {shown}, allowed is {allowed}"
            yield Reason("max_impact_ppm", text, impact, limit)


def pools_near_oracle(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """No leg uses a pool whose price is further from the oracle's than the policy allows."""
    limit = problem.policy.max_off_oracle_ppm
    pools = (x.pair for x in plan.legs if not isinstance(x, WrapLeg | UnwrapLeg))
    for address in dict.fromkeys(pools):
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
    as amounts can be. A plan with a certificate has shown by it what it gains.
    """
    if plan.certificate is not None:
        return
    snapshot = problem.snapshot
    lost = plan.costs.total_e8 - plan.costs.gas_e8
    unit = sum(value_up(snapshot, change.token, 1) for change in plan.net)
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


def keeps_the_withdrawal(problem: Problem, plan: Plan) -> Iterable[Reason]:
    """The plan sells nothing of the token that a withdrawal still needs."""
    owed = problem.owed
    for change in plan.net:
        if owed is not None and change.token == owed.token and change.raw < 0:
            text = f"The plan sells {owed.token.symbol}, which the withdrawal still needs"
            yield Reason("withdrawal", text)


CONSISTENCY: tuple[Guard, ...] = (
    sells_only_what_is_held,
    trades_only_positions,
    trades_nothing_held_out,
    min_outs_follow_slippage,
    costs_add_up,
    keeps_the_withdrawal,
    certificate_holds,
)
LIMITS: tuple[Guard, ...] = (
    few_enough_legs,
    keeps_the_gas_reserve,
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
