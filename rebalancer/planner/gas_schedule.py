"""What a plan's transactions use of gas, as data in one place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rebalancer.model import AddLeg, Leg, RemoveLeg, SwapLeg, Token, WrapLeg
from rebalancer.planner.wallet import moved_tokens, net_moves


@dataclass(frozen=True, slots=True)
class GasSchedule:
    """Gas by component, nearly additive over a plan's legs.

    ``base`` is the transaction itself, ``per_token`` the first touch of each token (LP shares and
    ether are in their own legs), ``per_approval`` a transaction of its own for each token and each
    pair's shares that legs take, and ``chained_saving`` what a leg saves that is paid straight from
    the pair before it. ``same_pool_saving`` is what a leg saves whose pair an earlier one used, and
    ``first_balance`` what it costs besides to leave the wallet something that it had nothing of.
    ``protocol_fee`` comes to adding and removing where the protocol takes its share just before.
    """

    name: str
    base: int
    per_swap: int
    per_token: int
    per_approval: int
    chained_saving: int
    per_add: int
    per_remove: int
    per_wrap: int
    per_unwrap: int
    same_pool_saving: int
    first_balance: int
    protocol_fee: int

    def units(
        self, legs: Sequence[Leg], without: Collection[Token] = (), due: Collection[str] = ()
    ) -> int:
        """Expected gas of executing ``legs`` as one batch, approvals included; 0 for no legs.

        ``without`` are the tokens and LP shares that the wallet has nothing of, ``due`` the
        addresses of the pairs whose protocol takes a share when liquidity moves. Approvals are
        counted at an exact allowance per sold token, which is what the wallet grants unless it
        keeps standing ones: then the true gas is lower, never higher.
        """
        if not legs:
            return 0
        beside = {leg.share for leg in legs if isinstance(leg, AddLeg | RemoveLeg)}
        beside |= {leg.native for leg in legs if not isinstance(leg, SwapLeg | AddLeg | RemoveLeg)}
        tokens = set(moved_tokens(legs)) - beside
        taken = {a.token for leg in legs if not isinstance(leg, WrapLeg) for a in leg.takes}
        gained = {token for token, raw in net_moves(legs).items() if raw > 0}
        moved_liquidity = {leg.pair for leg in legs if isinstance(leg, AddLeg | RemoveLeg)}
        pools = [leg.pair for leg in legs if isinstance(leg, SwapLeg | AddLeg | RemoveLeg)]
        return (
            self.base
            + sum(self._of(leg) for leg in legs)
            + self.per_token * len(tokens)
            + self.per_approval * len(taken)
            - self.same_pool_saving * (len(pools) - len(set(pools)))
            + self.first_balance * len(gained & set(without))
            + self.protocol_fee * len(moved_liquidity & set(due))
        )

    def _of(self, leg: Leg) -> int:
        if isinstance(leg, SwapLeg):
            return self.per_swap - (self.chained_saving if leg.chained else 0)
        if isinstance(leg, AddLeg):
            return self.per_add
        if isinstance(leg, RemoveLeg):
            return self.per_remove
        return self.per_wrap if isinstance(leg, WrapLeg) else self.per_unwrap

    def trade(self) -> int:
        """Gas of the smallest plan: one swap, two tokens, one approval."""
        return self.base + self.per_swap + 2 * self.per_token + self.per_approval


#: contracts/Executor.vy on official Uniswap V2 pair bytecode with plain ERC-20s under the Prague
#: rules, by tests/contracts/gas_snapshot.json: 156,162 for two swaps, 61,740 for each further one
#: of the same token into another, 10,711 less for a hop that the one before pays. A plan that is
#: one route of up to three hops goes another way, and uses 2,100 to 2,450 less than this says.
#: ``per_token`` is how much more a swap into a token uses that no leg touched before, and
#: ``per_approval`` a transaction that approves from zero: measurements of the official pair with
#: plain ERC-20s, taken over and not repeated here. Proxy tokens such as USDC use more.
#: Measured with the same contracts: adding 117,589, redeeming 124,251, in one batch with a swap of
#: other pools 2,000 more or less; in the swap's own pool 33,000 less, as for a second swap there;
#: wrapping and unwrapping 54,172 and 60,332 alone, 25,089 and 32,809 beside a swap. On Anvil 502
#: random plans used 0.8 % less than this in the median, nine of ten from 4 % less to 3 % more.
PRAGUE = GasSchedule(
    name="prague",
    base=25_388,
    per_swap=54_437,
    per_token=7_300,
    per_approval=46_162,
    chained_saving=10_711,
    per_add=77_601,
    per_remove=84_263,
    per_wrap=20_000,
    per_unwrap=27_000,
    same_pool_saving=33_000,
    first_balance=17_100,
    protocol_fee=25_000,
)
