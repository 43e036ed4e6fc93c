"""Matching what is overweight with what is underweight, the largest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rebalancer.model import PPM, Reason, SwapLeg, Token, mul_div_up
from rebalancer.planner.market import Market, Route
from rebalancer.planner.problem import Problem
from rebalancer.planner.routes import (
    Sized,
    best_route,
    roomiest_route,
    route_legs,
    routes,
)
from rebalancer.planner.targets import Aim, spare
from rebalancer.planner.texts import money, percent, told_apart

#: What the executor takes in one batch.
MAX_LEGS = 32
_MAX_HOPS = 2

Trade = tuple[SwapLeg, ...]


@dataclass(frozen=True, slots=True)
class Matched:
    """Trades in order of execution, each the legs of one route, and the limits that cut them."""

    trades: tuple[Trade, ...]
    limits: tuple[Reason, ...]

    @property
    def legs(self) -> tuple[SwapLeg, ...]:
        return tuple(leg for trade in self.trades for leg in trade)


def match(problem: Problem, market: Market, aims: Sequence[Aim]) -> Matched:
    """Trade towards ``aims``: each round sells the largest excess for the largest deficit.

    A round that the impact limit cuts trades what fits; the rest is tried again, over other pools,
    until nothing of at least the minimum trade fits any more.
    """
    book = _Book.of(problem, market, aims)
    while (pair := book.next_pair()) is not None:
        if len(book.legs) + _MAX_HOPS > MAX_LEGS:
            return Matched(tuple(book.trades), (*book.limits(), _leg_limit(len(book.legs))))
        sized = book.size(*pair)
        if sized is None:
            book.give_up(*pair)
        else:
            book.trade(*pair, sized)
    return Matched(tuple(book.trades), book.limits())


def _leg_limit(legs: int) -> Reason:
    text = f"The plan has {legs} legs, a batch takes {MAX_LEGS}; the rest waits for the next one"
    return Reason("max_legs", text, legs, MAX_LEGS)


@dataclass(slots=True)
class _Book:
    """What is still to be sold and bought while trades are being found."""

    problem: Problem
    market: Market
    wanted: dict[Token, int]
    excess: dict[Token, int]  # smallest units
    deficit_e8: dict[Token, int]
    trades: list[Trade] = field(default_factory=list)
    legs: list[SwapLeg] = field(default_factory=list)
    blocked: dict[tuple[Token, Token], int | None] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, market: Market, aims: Sequence[Aim]) -> _Book:
        spares = [spare(problem, aim) for aim in aims if aim.value_e8 >= aim.wanted_e8]
        return cls(
            problem=problem,
            market=market,
            wanted={aim.token: aim.wanted_e8 for aim in aims},
            excess={amount.token: amount.raw for amount in spares},
            deficit_e8={
                aim.token: aim.wanted_e8 - aim.value_e8
                for aim in aims
                if aim.value_e8 < aim.wanted_e8
            },
        )

    @property
    def least_e8(self) -> int:
        """The minimum trade; where the policy has none, a trade must still be worth a unit."""
        return max(self.problem.policy.min_trade_e8, 1)

    def worth(self, token: Token, raw: int) -> int:
        return self.problem.snapshot.price(token).value_down(raw)

    def room_e8(self, seller: Token, buyer: Token) -> int:
        """What could be sold of the one for the other."""
        return min(self.worth(seller, self.excess[seller]), self.deficit_e8[buyer])

    def next_pair(self) -> tuple[Token, Token] | None:
        """Seller and buyer with the largest excess and deficit that may still trade."""
        sellers = sorted(
            self.excess, key=lambda t: (-self.worth(t, self.excess[t]), t.address.lower())
        )
        buyers = sorted(self.deficit_e8, key=lambda t: (-self.deficit_e8[t], t.address.lower()))
        for seller in sellers:
            for buyer in buyers:
                if (seller, buyer) in self.blocked:
                    continue
                if self.room_e8(seller, buyer) >= self.least_e8:
                    return seller, buyer
        return None

    def size(self, seller: Token, buyer: Token) -> Sized | None:
        """Route and amount for this round, or None where nothing of the minimum trade fits."""
        wanted = min(self.excess[seller], self._raw_up(seller, self.deficit_e8[buyer]))
        choice = routes(self.market, seller, buyer)
        route = best_route(self.problem, self.market, self.legs, choice, wanted)
        if route is not None:
            resized = Sized(route, self._to_deficit(route, seller, buyer))
            # A pool that pays more than the oracle fills the deficit with less than the minimum.
            return resized if self._enough(seller, resized) else Sized(route, wanted)
        sized = roomiest_route(self.problem, self.market, choice, wanted)
        return sized if sized is not None and self._enough(seller, sized) else None

    def _enough(self, seller: Token, sized: Sized) -> bool:
        return self.worth(seller, sized.amount_in) >= self.least_e8

    def _to_deficit(self, route: Route, seller: Token, buyer: Token) -> int:
        """Amount whose output is just worth the deficit, fees and impact paid, if there is so much.

        A token that should go wholly takes its dust along: nothing could trade it afterwards.
        """
        excess = self.excess[seller]
        capacity = self.market.capacity(route, self.problem.policy.max_impact_ppm)
        fills = self.market.least_in(route, self._raw_up(buyer, self.deficit_e8[buyer]))
        enough = excess if fills is None else min(fills, excess)
        amount_in = max(min(enough, capacity), 0)
        dust_e8 = self.worth(seller, excess - amount_in)
        if self.wanted[seller] == 0 and dust_e8 < self.least_e8:
            amount_in = max(amount_in, min(excess, capacity))
        return amount_in

    def trade(self, seller: Token, buyer: Token, sized: Sized) -> None:
        """Book ``sized`` and move the pools."""
        trade = route_legs(self.problem, self.market, sized)
        self.trades.append(trade)
        self.legs.extend(trade)
        self.market = self.market.after(trade)
        self.excess[seller] -= sized.amount_in
        bought_e8 = self.worth(buyer, trade[-1].amount_out)
        self.deficit_e8[buyer] = max(self.deficit_e8[buyer] - bought_e8, 0)

    def give_up(self, seller: Token, buyer: Token) -> None:
        """Do not try this pair again; remember the least impact that the rest would have."""
        amount_in = min(self.excess[seller], self._raw_up(seller, self.deficit_e8[buyer]))
        choice = routes(self.market, seller, buyer)
        impacts = [self.market.impact_ppm(route, amount_in) for route in choice]
        self.blocked[seller, buyer] = min(impacts, default=None)

    def limits(self) -> tuple[Reason, ...]:
        """What is left untraded that should have been traded, and which limit left it."""
        reasons = [
            self._blocked_reason(seller, buyer, impact)
            for (seller, buyer), impact in self.blocked.items()
            if self.room_e8(seller, buyer) >= self.least_e8
        ]
        return (*reasons, *self._too_small())

    def _blocked_reason(self, seller: Token, buyer: Token, impact: int | None) -> Reason:
        policy = self.problem.policy
        rest = money(self.room_e8(seller, buyer), self.problem.snapshot.numeraire)
        if impact is None or impact <= policy.max_impact_ppm:
            text = f"{rest} of {seller.symbol} finds no usable route to {buyer.symbol}"
            return Reason("no_route", text)
        shown, limit = told_apart(percent, impact, policy.max_impact_ppm, most_places=4)
        text = (
            f"{rest} of {seller.symbol} is left unsold for {buyer.symbol}: it would move the "
            f"price by {shown}, allowed is {limit}"
        )
        return Reason("max_impact_ppm", text, impact, policy.max_impact_ppm)

    def _too_small(self) -> tuple[Reason, ...]:
        """Positions left off by more than the dead band because the trade would be too small."""
        policy, nav = self.problem.policy, self.problem.valuation.nav_e8
        gaps = {token: self.worth(token, raw) for token, raw in self.excess.items()}
        gaps |= self.deficit_e8
        numeraire = self.problem.snapshot.numeraire
        return tuple(
            Reason(
                code="min_trade_e8",
                text=(
                    f"{token.symbol} stays {money(gap, numeraire)} off: the smallest trade is "
                    f"{money(policy.min_trade_e8, numeraire)}"
                ),
                measured=gap,
                limit=policy.min_trade_e8,
            )
            for token, gap in sorted(gaps.items(), key=lambda g: (-g[1], g[0].address.lower()))
            if policy.dead_band_ppm * nav < gap * PPM and gap < policy.min_trade_e8
        )

    def _raw_up(self, token: Token, value_e8: int) -> int:
        price = self.problem.snapshot.price(token)
        return mul_div_up(value_e8, price.denominator, price.numerator)
