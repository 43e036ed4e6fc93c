"""A portfolio at one block: everything that was read, nothing that was concluded."""

from __future__ import annotations

from dataclasses import dataclass

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
class LpHolding:
    """``shares`` of the pair at ``pair`` (an address), and where they were entered, if known."""

    pair: str
    shares: int
    entry: LpEntry | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Positions, pools, prices and gas of one wallet at one block.

    ``balances`` holds every token of the portfolio and every intermediate that a route may use;
    ``pairs`` every pool that can be traded or is held; ``prices`` one price per token of both.
    ``native_wei`` is the gas purse and no position. ``priority_fee_wei`` is what the node suggests.
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

    def balance(self, token: Token) -> int:
        """Balance of ``token`` in its smallest unit; 0 when it was not read."""
        return next((a.raw for a in self.balances if a.token == token), 0)

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
