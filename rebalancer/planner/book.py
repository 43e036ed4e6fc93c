"""What is still to be sold and bought while trades are being found, and what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rebalancer.model import PPM, Reason, SwapLeg, Token, mul_div_down, mul_div_up
from rebalancer.planner.bands import band_ppm, group_of, grouped
from rebalancer.planner.market import Market, Route, pool_share_ppm
from rebalancer.planner.problem import Problem
from rebalancer.planner.routes import Sized, best_route, roomiest_route, route_legs, routes
from rebalancer.planner.targets import Aim, spare
from rebalancer.planner.texts import money, percent, told_apart

Trade = tuple[SwapLeg, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """Who may sell how much, in smallest units, and who buy for how much; None: all, everything.

    With ``slack_ppm`` a seller may give so much more than his excess, where the buyer must get what
    he needs to the last unit.
    """

    sellers: Mapping[Token, int] | None = None
    buyers_e8: Mapping[Token, int] | None = None
    least_e8: int = 1
    slack_ppm: int = 0


@dataclass(frozen=True, slots=True)
class Cap:
    """What one pair of tokens may still trade; ``used_e8`` of ``limit_e8`` is spent."""

    code: str
    used_e8: int
    limit_e8: int

    @property
    def left_e8(self) -> int:
        return max(self.limit_e8 - self.used_e8, 0)


@dataclass(slots=True)
class Book:
    """Excesses and deficits, the pools as the trades so far have left them, and the trades."""

    problem: Problem
    market: Market
    aims: tuple[Aim, ...]
    wanted: dict[Token, int]
    excess: dict[Token, int]  # smallest units
    deficit_e8: dict[Token, int]
    trades: list[Trade] = field(default_factory=list)
    legs: list[SwapLeg] = field(default_factory=list)
    blocked: dict[tuple[Token, Token], Reason | None] = field(default_factory=dict)
    sold_e8: dict[tuple[Token, Token], int] = field(default_factory=dict)
    change_e8: dict[Token, int] = field(default_factory=dict)
    batch_is_full: Reason | None = None

    @classmethod
    def of(cls, problem: Problem, market: Market, aims: Sequence[Aim]) -> Book:
        spares = [spare(problem, aim) for aim in aims if aim.value_e8 >= aim.wanted_e8]
        return cls(
            problem=problem,
            market=market,
            aims=tuple(aims),
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

    def deposits(self) -> dict[Token, int]:
        """What came in of tokens that there is too much of, at most the excess."""
        came = {amount.token: amount.raw for amount in self.problem.circumstances.deposits}
        return {t: min(raw, came[t]) for t, raw in self.excess.items() if came.get(t, 0) > 0}

    def room_e8(self, seller: Token, buyer: Token, stage: Stage) -> int:
        """What could be sold of the one for the other."""
        return min(self.worth(seller, self.sellable(seller, stage)), self.needed(buyer, stage))

    def needed(self, buyer: Token, stage: Stage) -> int:
        """Value that the stage lets ``buyer`` still get."""
        deficit = self.deficit_e8[buyer]
        if stage.buyers_e8 is None:
            return deficit
        got = max(self.change_e8.get(buyer, 0), 0)
        return max(min(deficit, stage.buyers_e8.get(buyer, 0) - got), 0)

    def sellable(self, seller: Token, stage: Stage) -> int:
        """Smallest units of the excess that the stage lets go."""
        if stage.slack_ppm:
            held = self.problem.snapshot.balance(seller)
            more = self.excess[seller] * stage.slack_ppm // PPM
            return min(self.excess[seller] + more, held) if self.excess[seller] else 0
        if stage.sellers is None:
            return self.excess[seller]
        gone = sum(leg.amount_in for leg in self.legs if leg.token_in == seller and not leg.chained)
        return max(min(self.excess[seller], stage.sellers.get(seller, 0) - gone), 0)

    def next_pair(self, stage: Stage) -> tuple[Token, Token] | None:
        """Seller and buyer with the largest excess and deficit that may still trade."""
        sellers = sorted(
            self.excess, key=lambda t: (-self.worth(t, self.excess[t]), t.address.lower())
        )
        buyers = sorted(self.deficit_e8, key=lambda t: (-self.deficit_e8[t], t.address.lower()))
        for seller in sellers:
            for buyer in buyers:
                if (seller, buyer) in self.blocked:
                    continue
                if self.room_e8(seller, buyer, stage) >= stage.least_e8:
                    return seller, buyer
        return None

    def size(self, seller: Token, buyer: Token, stage: Stage) -> Sized | None:
        """Route and amount for this round, or None where nothing of the minimum trade fits."""
        most = self.sellable(seller, stage)
        cap = self.cap(seller, buyer)
        if cap is not None:
            most = min(most, self.problem.snapshot.price(seller).raw_down(cap.left_e8))
        if self.worth(seller, most) < stage.least_e8:
            return None
        needed = self.needed(buyer, stage)
        # A stage with slack pays for what the pools take: the output must be what is needed.
        more = needed * stage.slack_ppm // PPM
        wanted = min(most, self._raw_up(seller, needed + more))
        choice = routes(self.market, seller, buyer)
        route = best_route(self.problem, self.market, self.legs, choice, wanted)
        if route is not None:
            resized = Sized(
                route, self._to_deficit(route, seller, self._raw_up(buyer, needed), most)
            )
            # A pool that pays more than the oracle fills the deficit with less than the minimum.
            enough = self._enough(seller, resized, stage) or stage.buyers_e8 is not None
            return resized if enough and resized.amount_in else Sized(route, wanted)
        sized = roomiest_route(self.problem, self.market, choice, wanted)
        return sized if sized is not None and self._enough(seller, sized, stage) else None

    def _enough(self, seller: Token, sized: Sized, stage: Stage) -> bool:
        return self.worth(seller, sized.amount_in) >= stage.least_e8

    def _to_deficit(self, route: Route, seller: Token, amount_out: int, most: int) -> int:
        """Amount that just buys ``amount_out``, fees and impact paid, at most ``most``.

        A token that should go wholly takes its dust along: nothing could trade it afterwards.
        """
        capacity = self.market.capacity(route, self.problem.policy.max_impact_ppm)
        fills = self.market.least_in(route, amount_out)
        enough = most if fills is None else min(fills, most)
        amount_in = max(min(enough, capacity), 0)
        dust_e8 = self.worth(seller, self.excess[seller] - amount_in)
        if self.wanted[seller] == 0 and dust_e8 < self.least_e8:
            amount_in = max(amount_in, min(most, capacity))
        return amount_in

    def trade(self, seller: Token, buyer: Token, sized: Sized) -> None:
        """Book ``sized`` and move the pools."""
        trade = route_legs(self.problem, self.market, sized)
        self.trades.append(trade)
        self.legs.extend(trade)
        self.market = self.market.after(trade)
        self.excess[seller] = max(self.excess[seller] - sized.amount_in, 0)
        sold_e8 = self.worth(seller, sized.amount_in)
        bought_e8 = self.worth(buyer, trade[-1].amount_out)
        self.deficit_e8[buyer] = max(self.deficit_e8[buyer] - bought_e8, 0)
        self.sold_e8[seller, buyer] = self.sold_e8.get((seller, buyer), 0) + sold_e8
        self.change_e8[seller] = self.change_e8.get(seller, 0) - sold_e8
        self.change_e8[buyer] = self.change_e8.get(buyer, 0) + bought_e8

    def cap(self, seller: Token, buyer: Token) -> Cap | None:
        """The tighter of what a trade and what a day may sell; None where neither is limited."""
        policy = self.problem.policy
        caps = []
        if policy.max_trade_e8 is not None:
            used = self.sold_e8.get((seller, buyer), 0)
            caps.append(Cap("max_trade_e8", used, policy.max_trade_e8))
        if policy.max_turnover_ppm is not None:
            used = self.problem.circumstances.turnover_e8 + sum(self.sold_e8.values())
            limit = mul_div_down(self.problem.valuation.nav_e8, policy.max_turnover_ppm, PPM)
            caps.append(Cap("max_turnover_e8", used, limit))
        return min(caps, key=lambda cap: cap.left_e8, default=None)

    def within_bands(self) -> bool:
        """Whether the trades so far leave every position and bucket within its band."""
        valuation, policy = self.problem.valuation, self.problem.policy
        tokens = {aim.token.symbol: aim.token for aim in self.aims}
        values: dict[str, int] = {}
        for target in self.problem.targets:
            change = 0
            if target.position in tokens:
                change = self.change_e8.get(tokens[target.position], 0)
            value = valuation.position(target.position).value_e8 + change
            values[group_of(target)] = values.get(group_of(target), 0) + value
        return all(
            abs(values[name] * PPM - together.weight_ppm * valuation.nav_e8)
            <= band_ppm(together, policy) * valuation.nav_e8
            for name, together in grouped(self.problem.targets).items()
        )

    def give_up(self, seller: Token, buyer: Token, stage: Stage) -> None:
        """Do not try this pair again; remember what stands in the way of the rest."""
        self.blocked[seller, buyer] = self._obstacle(seller, buyer, stage)

    def limits(self) -> tuple[Reason, ...]:
        """What is left untraded that should have been traded, and which limit left it."""
        anything = Stage()
        reasons = []
        for (seller, buyer), reason in self.blocked.items():
            room = self.room_e8(seller, buyer, anything)
            if room >= self.least_e8 and reason is not None:
                rest = money(room, self.problem.snapshot.numeraire)
                reasons.append(
                    Reason(
                        reason.code,
                        f"{rest} of {seller.symbol} {reason.text}",
                        reason.measured,
                        reason.limit,
                    )
                )
        full = () if self.batch_is_full is None else (self.batch_is_full,)
        return (*reasons, *self._too_small(), *full)

    def _obstacle(self, seller: Token, buyer: Token, stage: Stage) -> Reason:
        """The limit in the way, its text without the amount that it leaves."""
        policy, numeraire = self.problem.policy, self.problem.snapshot.numeraire
        unsold = f"is left unsold for {buyer.symbol}"
        cap = self.cap(seller, buyer)
        if cap is not None and cap.left_e8 < stage.least_e8:
            used, limit = money(cap.used_e8, numeraire), money(cap.limit_e8, numeraire)
            whole = {
                "max_trade_e8": f"one trade may be {limit}",
                "max_turnover_e8": f"{used} of the {limit} that 24 hours may sell are used",
            }
            return Reason(cap.code, f"{unsold}: {whole[cap.code]}", cap.used_e8, cap.limit_e8)
        needed = self._raw_up(seller, self.needed(buyer, stage))
        amount_in = min(self.sellable(seller, stage), needed)
        choice = routes(self.market, seller, buyer)
        impact = min((self.market.impact_ppm(r, amount_in) for r in choice), default=None)
        if impact is not None and impact > policy.max_impact_ppm:
            shown, limit = told_apart(percent, impact, policy.max_impact_ppm, most_places=4)
            text = f"{unsold}: it would move the price by {shown}, allowed is {limit}"
            return Reason("max_impact_ppm", text, impact, policy.max_impact_ppm)
        if policy.max_pool_share_ppm is not None and choice:
            share = min(self._pool_share(route, amount_in) for route in choice)
            if share > policy.max_pool_share_ppm:
                shown, limit = told_apart(percent, share, policy.max_pool_share_ppm, most_places=4)
                text = f"{unsold}: it would be {shown} of the pool's reserve, allowed is {limit}"
                return Reason("max_pool_share_ppm", text, share, policy.max_pool_share_ppm)
        return Reason("no_route", f"finds no usable route to {buyer.symbol}")

    def _pool_share(self, route: Route, amount_in: int) -> int:
        amounts = self.market.amounts(route, amount_in)
        start, now = self.market.start, self.market.now
        return max(
            pool_share_ppm(start[pair], now[pair], token, amount)
            for pair, token, amount in zip(route.pairs, route.tokens, amounts, strict=False)
        )

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
