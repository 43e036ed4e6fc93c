"""A portfolio at one block: everything that was read, nothing that was concluded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rebalancer.model.canonical import ADDED_LATER
from rebalancer.model.price import Price
from rebalancer.model.token import Amount, Token


@dataclass(frozen=True, slots=True)
class BlockRef:
    """The block that a read was made at; ``base_fee_wei`` is that block's own."""

    chain_id: int
    number: int
    hash: str
    timestamp: int
    base_fee_wei: int


@dataclass(frozen=True, slots=True)
class PairState:
    """A constant-product pair at one block.

    ``amm`` is the name in networks.yaml, ``fee_ppm`` the swap fee in parts per million (3000 for
    Uniswap V2). ``total_supply`` is as stored; ``k_last`` and ``protocol_fee_on`` tell which shares
    the next mint or burn will add to it (see ``rebalancer.amm.liquidity``).
    """

    address: str
    amm: str
    token0: Token
    token1: Token
    fee_ppm: int
    reserve0: int
    reserve1: int
    total_supply: int
    k_last: int
    protocol_fee_on: bool

    @property
    def name(self) -> str:
        """Name as portfolio files write it, for example ``uniswap_v2:USDC/WETH``."""
        return f"{self.amm}:{self.token0.symbol}/{self.token1.symbol}"

    def has(self, token: Token) -> bool:
        return token in (self.token0, self.token1)

    def other(self, token: Token) -> Token:
        """The token that one gets for ``token`` here."""
        return self.token1 if token == self.token0 else self.token0

    def reserves(self, token_in: Token) -> tuple[int, int]:
        """Reserves as ``(of token_in, of the other)``."""
        if token_in == self.token0:
            return self.reserve0, self.reserve1
        return self.reserve1, self.reserve0


@dataclass(frozen=True, slots=True)
class LpEntry:
    """The pair as it stood when the position was entered: the point that IL is measured from."""

    block_number: int
    reserve0: int
    reserve1: int
    total_supply: int


@dataclass(frozen=True, slots=True)
class LpLot:
    """Shares that came in together, as far as they are still there.

    Of ``entered`` shares ``shares`` are left. ``amount0`` and ``amount1`` went in for the entered
    ones: paid into the pair for ``added`` ones; for those ``received`` from elsewhere, or held at
    the ``opening`` of the record, what they would have been redeemed for. ``entry`` is the pair
    right after they were added; for the others at the end of the block, with the protocol's pending
    shares in its supply.
    """

    how: Literal["added", "received", "opening"]
    entry: LpEntry
    entered: int
    shares: int
    amount0: int
    amount1: int


@dataclass(frozen=True, slots=True)
class Reward:
    """``raw`` smallest units of the token at ``address`` that a farm owes and can pay.

    ``token`` is None, and the reward worth nothing here, where networks.yaml has no such token.
    """

    address: str
    token: Token | None
    raw: int


@dataclass(frozen=True, slots=True)
class LpHolding:
    """``shares`` of the pair at ``pair`` (an address), and how they came in, if known.

    ``staked`` of the shares lie in the farm at ``farm`` and cannot be traded from there; ``reward``
    is what the farm owes. ``entry`` is the one point at which all were entered; ``lots``, where the
    history was read, are all entries that are left and add up to ``shares``.
    """

    pair: str
    shares: int
    entry: LpEntry | None
    staked: int = field(default=0, metadata=ADDED_LATER)
    farm: str | None = field(default=None, metadata=ADDED_LATER)
    reward: Reward | None = field(default=None, metadata=ADDED_LATER)
    lots: tuple[LpLot, ...] = field(default=(), metadata=ADDED_LATER)

    @property
    def liquid(self) -> int:
        """Shares that the wallet itself holds."""
        return self.shares - self.staked


#: Code of what is held out because it could not be read: it has no value at all.
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A token or an LP position that nothing may trade, and why.

    ``name`` is as targets name it, ``address`` that of the token or the pair. With the ``code``
    UNREADABLE it is in no balance, holding or pair of the snapshot; with any other it is, valued
    like the rest.
    """

    name: str
    address: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """A token whose code is another contract's, which somebody can exchange."""

    token: Token
    implementation: str


@dataclass(frozen=True, slots=True)
class GasReserve:
    """What of the native token stays for gas, ``wei`` of it.

    What the trading wallet has above counts as ``wrapped``, one for one.
    """

    wrapped: Token
    wei: int


@dataclass(frozen=True, slots=True)
class Watched:
    """What another wallet of the portfolio holds: it counts, and nothing ever trades it.

    ``balances`` are of the snapshot's own tokens in their order, ``holdings`` of its LP positions.
    """

    wallet: str
    balances: tuple[Amount, ...]
    holdings: tuple[LpHolding, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Positions, pools, prices and gas of one portfolio at one block.

    ``balances`` holds every token of the portfolio and every intermediate that a route may use;
    ``pairs`` every pool that can be traded or is held; ``prices`` one price per token of both.
    ``native_wei`` is the gas purse and no position, but for what is above the ``gas_reserve``, if
    there is one. ``priority_fee_wei`` is what the node suggests.
    What could not be read, or is not safe to trade, stands in ``held_out`` by name; ``proxies`` are
    the tokens whose code can be exchanged. ``trigger_prices``, if any, are smoothed prices of the
    tokens by which it is decided whether to trade, and nothing else. ``balances`` and ``holdings``
    are those of the trading ``wallet`` alone; those of wallets that are only watched stand in
    ``watched``, and ``whole`` adds them up.
    """

    block: BlockRef
    wallet: str
    numeraire: str
    native: Price
    native_wei: int
    balances: tuple[Amount, ...]
    holdings: tuple[LpHolding, ...]
    pairs: tuple[PairState, ...]
    prices: tuple[Price, ...]
    priority_fee_wei: int
    held_out: tuple[HeldOut, ...] = field(default=(), metadata=ADDED_LATER)
    proxies: tuple[Proxy, ...] = field(default=(), metadata=ADDED_LATER)
    trigger_prices: tuple[Price, ...] = field(default=(), metadata=ADDED_LATER)
    watched: tuple[Watched, ...] = field(default=(), metadata=ADDED_LATER)
    gas_reserve: GasReserve | None = field(default=None, metadata=ADDED_LATER)

    @property
    def surplus_wei(self) -> int:
        """What there is of the native token above the gas reserve; 0 without a reserve."""
        reserve = self.gas_reserve
        return 0 if reserve is None else max(self.native_wei - reserve.wei, 0)

    def whole(self) -> Snapshot:
        """All wallets as if they were one: what the portfolio has, not what it can trade.

        Where it is not known how the shares of one of them came in, an LP position has no lots, and
        its ``entry``, if any, stands for all shares.
        """
        if not self.watched:
            return self
        raws: dict[Token, int] = {}
        parts: dict[str, list[LpHolding]] = {}
        for other in self.watched:
            for amount in other.balances:
                raws[amount.token] = raws.get(amount.token, 0) + amount.raw
            for holding in other.holdings:
                parts.setdefault(holding.pair, []).append(holding)
        return replace(
            self,
            balances=tuple(Amount(a.token, a.raw + raws.get(a.token, 0)) for a in self.balances),
            holdings=tuple(_together(h, parts.get(h.pair, ())) for h in self.holdings),
            watched=(),
        )

    def alone(self) -> tuple[Snapshot, ...]:
        """Each wallet as if it were the whole portfolio, the trading one first.

        Only the trading wallet has native tokens, and a gas reserve.
        """
        bare = replace(self, watched=(), native_wei=0, gas_reserve=None)
        return (
            replace(self, watched=()),
            *(
                replace(bare, wallet=w.wallet, balances=w.balances, holdings=w.holdings)
                for w in self.watched
            ),
        )

    def balance(self, token: Token) -> int:
        """Balance of ``token`` in the trading wallet, smallest unit; 0 when it was not read."""
        return next((a.raw for a in self.balances if a.token == token), 0)

    def owned(self, token: Token) -> int:
        """What counts as ``token`` in the trading wallet: its balance and what could be wrapped."""
        reserve = self.gas_reserve
        could_be = 0 if reserve is None or reserve.wrapped != token else self.surplus_wei
        return self.balance(token) + could_be

    def watched_balance(self, token: Token) -> int:
        """What the watched wallets have of ``token`` together, smallest unit."""
        return sum(a.raw for other in self.watched for a in other.balances if a.token == token)

    def held_out_reason(self, address: str) -> HeldOut | None:
        """Why the token or pair at ``address`` must not be traded; None when it may be."""
        return next((item for item in self.held_out if item.address == address), None)

    def price(self, token: Token) -> Price:
        """Price of ``token``; raises KeyError when the snapshot has none."""
        for price in self.prices:
            if price.token == token:
                return price
        raise KeyError(token.symbol)

    def pair(self, address: str) -> PairState:
        """The pair at ``address``; raises KeyError when the snapshot has none."""
        for pair in self.pairs:
            if pair.address == address:
                return pair
        raise KeyError(address)


def _together(own: LpHolding, others: Sequence[LpHolding]) -> LpHolding:
    """What several wallets hold of one pair; lots, oldest first, if those of all are known."""
    parts = [part for part in (own, *others) if part.shares]
    lots = sorted((lot for part in parts for lot in part.lots), key=_age)
    rewards = [part.reward for part in (own, *others) if part.reward is not None]
    return replace(
        own,
        shares=sum(part.shares for part in parts),
        staked=sum(part.staked for part in parts),
        reward=replace(rewards[0], raw=sum(reward.raw for reward in rewards)) if rewards else None,
        lots=tuple(lots) if all(part.lots for part in parts) else (),
    )


def _age(lot: LpLot) -> int:
    return lot.entry.block_number
