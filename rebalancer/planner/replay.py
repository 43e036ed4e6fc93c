"""The snapshot as it would be once a plan's legs were done and nothing else had traded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rebalancer.amm import lots as lp_lots
from rebalancer.amm.liquidity import added_amounts, apply_burn, apply_mint
from rebalancer.amm.swap import apply_swap
from rebalancer.errors import Infeasible, PlanError
from rebalancer.model import (
    AddLeg,
    Amount,
    Leg,
    LpEntry,
    LpHolding,
    LpLot,
    PairState,
    RemoveLeg,
    Snapshot,
    SwapLeg,
    Token,
)
from rebalancer.planner.wallet import feeds_next, liquid_shares, share_of


def replay(snapshot: Snapshot, legs: Sequence[Leg]) -> Snapshot:
    """Execute ``legs`` on ``snapshot`` in exact integers; what they move moves, nothing else.

    LP shares come from, and go to, what the wallet itself holds; a removal takes the same part of
    every lot, an addition is a lot of its own. Raises PlanError where a leg could not happen as it
    stands: an unknown pair or token, another fee than the pair's, more than is there, an output
    that is not what the contract would pay, amounts of which it would leave a part, or a chained
    leg that the leg before does not feed.
    """
    run = _Run.of(snapshot)
    for index, leg in enumerate(legs):
        try:
            run.step(legs, index, leg)
        except Infeasible as error:
            raise PlanError(f"leg {index} cannot be executed: {error}") from None
    return run.result(snapshot)


@dataclass(slots=True)
class _Run:
    block_number: int
    native: Token
    balances: dict[Token, int]
    pairs: dict[str, PairState]
    holdings: dict[str, LpHolding]

    @classmethod
    def of(cls, snapshot: Snapshot) -> _Run:
        shares = {share_of(p): liquid_shares(snapshot, p.address) for p in snapshot.pairs}
        return cls(
            block_number=snapshot.block.number,
            native=snapshot.native.token,
            balances=shares
            | {snapshot.native.token: snapshot.native_wei}
            | {amount.token: amount.raw for amount in snapshot.balances},
            pairs={pair.address: pair for pair in snapshot.pairs},
            holdings={holding.pair: holding for holding in snapshot.holdings},
        )

    def step(self, legs: Sequence[Leg], index: int, leg: Leg) -> None:
        if isinstance(leg, SwapLeg) and leg.chained:
            before = legs[index - 1] if index else None
            if not isinstance(before, SwapLeg) or not _feeds(before, leg):
                raise PlanError(f"leg {index} is chained, but the leg before does not feed it")
        if isinstance(leg, AddLeg | RemoveLeg):
            self._lp_pair(index, leg)
        elif isinstance(leg, SwapLeg):
            self._swap_pair(index, leg)
        for amount in leg.takes:
            self._take(index, amount)
        if isinstance(leg, SwapLeg):
            self._swap(index, leg)
        elif isinstance(leg, AddLeg):
            self._add(index, leg)
        elif isinstance(leg, RemoveLeg):
            self._remove(index, leg)
        elif leg.native != self.native:
            raise PlanError(f"leg {index} wraps {leg.native.symbol}, the chain's ether is another")
        if not feeds_next(legs, index):
            for amount in leg.pays:
                if amount.token not in self.balances:
                    symbol = amount.token.symbol
                    raise PlanError(f"leg {index} buys {symbol}, whose balance was not read")
                self.balances[amount.token] += amount.raw

    def _take(self, index: int, amount: Amount) -> None:
        held = self.balances.get(amount.token, 0)
        if not 0 < amount.raw <= held:
            raise PlanError(
                f"leg {index} sells {amount.raw} smallest units of {amount.token.symbol}, "
                f"and {held} are there"
            )
        self.balances[amount.token] = held - amount.raw

    def _swap(self, index: int, leg: SwapLeg) -> None:
        pair = self._swap_pair(index, leg)
        self.pairs[leg.pair], amount_out = apply_swap(pair, leg.token_in, leg.amount_in)
        if amount_out != leg.amount_out:
            raise PlanError(
                f"leg {index} expects {leg.amount_out} smallest units of {leg.token_out.symbol}, "
                f"and {pair.name} pays {amount_out}"
            )

    def _add(self, index: int, leg: AddLeg) -> None:
        pair = self._lp_pair(index, leg)
        amounts = leg.amount0, leg.amount1
        if added_amounts(pair, *amounts) != amounts:
            raise PlanError(f"leg {index} adds more to {pair.name} than its reserves ask for")
        after, shares = apply_mint(pair, *amounts)
        if shares != leg.shares:
            raise PlanError(f"leg {index} expects {leg.shares} shares, {pair.name} mints {shares}")
        self.pairs[leg.pair] = after
        held = self.holdings.get(leg.pair, LpHolding(leg.pair, 0, None))
        entry = LpEntry(self.block_number, after.reserve0, after.reserve1, after.total_supply)
        lot = LpLot("added", entry, shares, shares, *amounts)
        known = held.lots or not held.shares
        self.holdings[leg.pair] = replace(
            held,
            shares=held.shares + shares,
            entry=None if held.shares else entry,
            lots=(*held.lots, lot) if known else (),
        )

    def _remove(self, index: int, leg: RemoveLeg) -> None:
        pair = self._lp_pair(index, leg)
        self.pairs[leg.pair], *paid = apply_burn(pair, leg.shares)
        if paid != [leg.amount0, leg.amount1]:
            raise PlanError(
                f"leg {index} expects {leg.amount0} and {leg.amount1}, {pair.name} pays {paid[0]} "
                f"and {paid[1]}"
            )
        held = self.holdings[leg.pair]
        lots = lp_lots.remove(held.lots, leg.shares) if held.lots else ()
        left = held.shares - leg.shares
        self.holdings[leg.pair] = replace(
            held, shares=left, entry=held.entry if left else None, lots=lots
        )

    def _swap_pair(self, index: int, leg: SwapLeg) -> PairState:
        pair = self._pair(index, leg.pair, {leg.token_in, leg.token_out}, "swaps on")
        if (leg.amm, leg.fee_ppm) != (pair.amm, pair.fee_ppm):
            raise PlanError(f"leg {index} names another amm or fee than {pair.name} has")
        return pair

    def _lp_pair(self, index: int, leg: AddLeg | RemoveLeg) -> PairState:
        pair = self._pair(index, leg.pair, {leg.token0, leg.token1}, "moves liquidity of")
        if (leg.token0, leg.amm) != (pair.token0, pair.amm):
            raise PlanError(f"leg {index} names another amm or order of tokens than {pair.name}")
        return pair

    def _pair(self, index: int, address: str, tokens: set[Token], doing: str) -> PairState:
        pair = self.pairs.get(address)
        if pair is None or tokens != {pair.token0, pair.token1}:
            raise PlanError(f"leg {index} {doing} {address}, which is no such pair")
        return pair

    def result(self, snapshot: Snapshot) -> Snapshot:
        known = {amount.token for amount in snapshot.balances}
        order = dict.fromkeys((*(h.pair for h in snapshot.holdings), *self.holdings))
        return replace(
            snapshot,
            balances=tuple(Amount(a.token, self.balances[a.token]) for a in snapshot.balances),
            native_wei=(
                snapshot.native_wei if self.native in known else self.balances[self.native]
            ),
            holdings=tuple(self.holdings[pair] for pair in order),
            pairs=tuple(self.pairs[pair.address] for pair in snapshot.pairs),
        )


def _feeds(before: SwapLeg, leg: SwapLeg) -> bool:
    """Whether ``before`` can pay its output straight into the pair of ``leg``."""
    same_amount = (before.token_out, before.amount_out) == (leg.token_in, leg.amount_in)
    return same_amount and before.pair != leg.pair
