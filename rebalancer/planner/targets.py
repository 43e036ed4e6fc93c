"""How much of each token the portfolio should hold once the trades are done."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass

from rebalancer.model import (
    PPM,
    Amount,
    PairState,
    Reason,
    Target,
    Token,
    format_units,
    mul_div_down,
    mul_div_up,
)
from rebalancer.planner.bands import Drift, group_of
from rebalancer.planner.market import Market, open_market
from rebalancer.planner.problem import Problem
from rebalancer.planner.reset import back_to_edges
from rebalancer.planner.routes import stuck_tokens
from rebalancer.planner.texts import money, points, signed_points, told_apart


@dataclass(frozen=True, slots=True)
class Aim:
    """One token position: what is held, what it is worth and what it should be worth.

    ``held`` is what all wallets hold; of that only the trading wallet's part can be sold.
    ``full_e8`` is its target's share of what the tradable tokens hold together, ``wanted_e8`` how
    much of the way there the policy goes. Values in 1e-8 of the numeraire.
    """

    token: Token
    held: int
    value_e8: int
    full_e8: int
    wanted_e8: int


def aims(problem: Problem, stuck: Set[Token], cost_e8: int = 0) -> tuple[Aim, ...]:
    """Wanted value of every token position that can be traded, in order of position name.

    LP positions and ``stuck`` tokens keep their value; the rest share what remains of NAV, less the
    ``cost_e8`` that trading is expected to lose on the way, in proportion to their targets. All of
    them together then want what they are worth now, less that cost. Where no tradable token has a
    target there is nothing to buy, and everyone keeps what he has. Rounded down. What is owed to a
    withdrawal comes off what is shared, and its token wants that much more.
    """
    movable: list[tuple[Token, int, Target]] = []
    for target in problem.targets:
        token = problem.token(target.position)
        if token is not None and token not in stuck:
            value_e8 = problem.valuation.position(target.position).value_e8
            movable.append((token, value_e8, target))
    values = [value for _, value, _ in movable]
    together = sum(values) - problem.owed_e8
    weights = sum(target.weight_ppm for _, _, target in movable)
    # A withdrawal is met in full, so what pays for it goes all the way.
    edges = problem.edges if problem.owed is None else None
    to_target = problem.owed is not None or edges is not None
    reset_ppm = PPM if to_target else problem.policy.reset_ppm
    # Only the traded part of the way pays the cost, so that all wanted values add up to what is
    # left: a reset of one half must see twice the cost.
    shared = max(together - mul_div_up(cost_e8, PPM, reset_ppm), 0) if reset_ppm else together
    fulls = [
        mul_div_down(shared, target.weight_ppm, weights) if weights else value
        for _, value, target in movable
    ]
    if edges is None:
        wanted = [
            mul_div_down(value * (PPM - reset_ppm) + full * reset_ppm, 1, PPM)
            for value, full in zip(values, fulls, strict=True)
        ]
    else:
        names = [group_of(target) for _, _, target in movable]
        nav_e8 = problem.valuation.nav_e8
        edges_e8 = {name: mul_div_down(e, nav_e8, PPM) for name, e in edges.items()}
        wanted = back_to_edges(names, values, fulls, edges_e8, shared)
    owed = problem.owed
    found = []
    for (token, value_e8, _), full, want in zip(movable, fulls, wanted, strict=True):
        extra = problem.owed_e8 if owed is not None and owed.token == token else 0
        held = problem.snapshot.owned(token) + problem.snapshot.watched_balance(token)
        found.append(Aim(token, held, value_e8, full + extra, want + extra))
    if owed is not None and owed.token not in stuck and not problem.is_position(owed.token):
        found.append(Aim(owed.token, 0, 0, problem.owed_e8, problem.owed_e8))
    return tuple(found)


def stuck_positions(problem: Problem) -> frozenset[Token]:
    """Tokens of the portfolio that no usable route joins with any other of them."""
    market, _ = open_market(problem.snapshot, problem.policy)
    found = (problem.token(target.position) for target in problem.targets)
    tokens = [token for token in found if token is not None]
    if problem.owed is not None and problem.owed.token not in tokens:
        tokens.append(problem.owed.token)
    return stuck_tokens(market, tokens)


def spare(problem: Problem, aim: Aim) -> Amount:
    """What of ``aim.token`` may be sold: all beyond the wanted value, rounded down; at least 0.

    A wanted value of 0 leaves nothing behind, not even what is worth less than a unit of value.
    Never more than the trading wallet has: watched wallets sell nothing. Nor more than a slice may.
    """
    raw = min(_excess(problem, aim), problem.snapshot.balance(aim.token))
    most = raw if problem.most is None else problem.most.get(aim.token, 0)
    return Amount(aim.token, min(raw, most))


def out_of_reach(problem: Problem, found: Sequence[Aim]) -> tuple[Reason, ...]:
    """What should be sold and lies in watched wallets: as long as it does, so do the weights."""
    reasons = []
    for aim in found:
        excess, there = _excess(problem, aim), problem.snapshot.balance(aim.token)
        if problem.snapshot.watched and excess > there:
            price, numeraire = problem.snapshot.price(aim.token), problem.snapshot.numeraire
            beyond = money(price.value_down(excess - there), numeraire)
            text = (
                f"{beyond} of {aim.token.symbol} that should be sold are in watched wallets, which "
                f"sell nothing: the trading wallet has "
                f"{format_units(there, aim.token.decimals)} {aim.token.symbol}"
            )
            reasons.append(Reason("watched_raw", text, excess, there))
        elif there < excess <= problem.snapshot.owned(aim.token):
            native = problem.snapshot.native.token
            text = (
                f"{format_units(excess - there, native.decimals, 6)} {native.symbol} that count as "
                f"{aim.token.symbol} and should be sold are left for the plan's own gas"
            )
            reasons.append(Reason("gas_reserve_wei", text, excess, there))
    return tuple(reasons)


def _excess(problem: Problem, aim: Aim) -> int:
    """What all wallets have beyond the wanted value, smallest units."""
    price = problem.snapshot.price(aim.token)
    kept = mul_div_up(aim.wanted_e8, price.denominator, price.numerator)
    return max(aim.held - kept, 0)


def movable_pairs(problem: Problem, market: Market) -> dict[str, PairState]:
    """By position, the pairs whose LP shares a plan may add and remove.

    Their pool must be usable, which it is not while it, or one of its tokens, is held out, empty or
    far off the oracle, both tokens must be read, and the target must be the position's own.
    """
    read = {amount.token for amount in problem.snapshot.balances}
    wanted = {target.position for target in problem.targets if not target.kept}
    return {
        pair.name: pair
        for pair in market.now.values()
        if pair.name in wanted and {pair.token0, pair.token1} <= read
    }


def held_out(
    problem: Problem,
    drifts: tuple[Drift, ...],
    stuck: Set[Token],
    movable: Collection[str] = (),
    why: str = "the greedy planner trades no LP positions (planner: optimal does)",
) -> tuple[Reason, ...]:
    """Name the positions that are left alone although they need not be where they are.

    An LP position that is not ``movable`` is named when it is outside its band, a stuck token
    unless it is neither held nor wanted: what is left for the others is then not what their targets
    say.
    """
    reasons = []
    for drift in drifts:
        token = problem.token(drift.position)
        if token is None and drift.outside and drift.position not in movable:
            moved, band = told_apart(points, abs(drift.drift_ppm), drift.band_ppm, most_places=4)
            sign = "-" if drift.drift_ppm < 0 else "+"
            reasons.append(
                Reason(
                    code="lp_held_out_ppm",
                    text=(
                        f"{drift.position} drifted {sign}{moved} points, its band is {band}, but "
                        f"{why}; the tokens share what remains"
                    ),
                    measured=abs(drift.drift_ppm),
                    limit=drift.band_ppm,
                )
            )
        elif token is not None and (item := problem.snapshot.held_out_reason(token.address)):
            text = f"{drift.position} is held out of every trade: {item.text}"
            reasons.append(Reason(item.code, text))
        elif token in stuck and (drift.weight_ppm or drift.target_ppm):
            reasons.append(
                Reason(
                    code="no_pool",
                    text=(
                        f"{drift.position} ({signed_points(drift.drift_ppm)} points) has no usable "
                        "pool to any other token of the portfolio and is left alone"
                    ),
                )
            )
    return tuple(reasons)
