"""What a plan gives of one token for another: all its legs together, whatever they pass through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rebalancer.model import Leg, Snapshot, SwapLeg, Token, mul_div_down
from rebalancer.planner.wallet import feeds_next, net_moves, value_down

#: Tokens that are given, and those that they are given for: two where liquidity moves, else one.
Exchange = tuple[tuple[Token, ...], tuple[Token, ...]]


def exchanged_e8(snapshot: Snapshot, legs: Sequence[Leg]) -> dict[Exchange, int]:
    """Value given of one token for another in 1e-8 of the numeraire, in order of first use.

    What comes from WETH over DAI to USDC is WETH for USDC, whether one pool pays the next or DAI
    comes to the wallet in between: a token of which the plan leaves as much as there was passes
    through, and what it is sold for was bought with what was given for it. To redeem a position's
    shares, and to add to it, are trades of their own. Each part is rounded down, as the greedy
    planner counts what it sells.
    """
    found: dict[Exchange, int] = {}
    passing = {token: _Passing() for token, raw in net_moves(legs).items() if not raw}
    fed: dict[Token, int] = {}
    for index, leg in enumerate(legs):
        if not isinstance(leg, SwapLeg):
            taken = sum(value_down(snapshot, amount.token, amount.raw) for amount in leg.takes)
            tokens = tuple(a.token for a in leg.takes), tuple(a.token for a in leg.pays)
            found[tokens] = found.get(tokens, 0) + taken
            continue
        given, own = (fed, 0) if leg.chained else ({}, leg.amount_in)
        if own and leg.token_in in passing:
            given, own = passing[leg.token_in].take(own)
        if own:
            given = given | {leg.token_in: value_down(snapshot, leg.token_in, own)}
        fed = {}
        if feeds_next(legs, index):
            fed = given
        elif leg.token_out in passing:
            passing[leg.token_out].put(leg.amount_out, given)
        else:
            _count(found, given, leg.token_out)
    for token, rest in passing.items():
        _count(found, rest.given, token)
    return found


def _count(found: dict[Exchange, int], given: dict[Token, int], bought: Token) -> None:
    for token, value_e8 in given.items():
        if value_e8:
            tokens = (token,), (bought,)
            found[tokens] = found.get(tokens, 0) + value_e8


@dataclass(slots=True)
class _Passing:
    """Of a token that passes through: what is there of it, and the values given for that."""

    raw: int = 0
    given: dict[Token, int] = field(default_factory=dict)

    def put(self, raw: int, given: dict[Token, int]) -> None:
        self.raw += raw
        for token, value_e8 in given.items():
            self.given[token] = self.given.get(token, 0) + value_e8

    def take(self, raw: int) -> tuple[dict[Token, int], int]:
        """The values given for ``raw`` units of it, and how many of these were there before."""
        taken = min(raw, self.raw)
        if not taken:
            return {}, raw
        shares = {t: mul_div_down(value, taken, self.raw) for t, value in self.given.items()}
        self.raw -= taken
        for token, value_e8 in shares.items():
            self.given[token] -= value_e8
        return shares, raw - taken
