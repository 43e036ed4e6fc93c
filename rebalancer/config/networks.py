"""networks.yaml: chains, their AMMs, tokens and price feeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Annotated

from eth_utils.crypto import keccak
from pydantic import AfterValidator, Field, field_validator, model_validator

from rebalancer.config.pricing import PriceSpec
from rebalancer.config.quantities import Duration, Number, Share
from rebalancer.config.strict import Strict as Strict
from rebalancer.evm.abi import checksum, create2_address, from_hex
from rebalancer.evm.health import Limits
from rebalancer.model import GasSchedule, Token, TokenGas
from rebalancer.planner.gas_schedule import DEFAULT_FORK, FORKS


def _checked(address: str) -> str:
    """Refuse an address whose EIP-55 checksum is missing or wrong: one typo is another wallet."""
    try:
        right = checksum(address)
    except ValueError:
        raise ValueError(f"{address!r} is not an address (0x and 40 hex digits)") from None
    if right != address:
        raise ValueError(f"{address!r} has a wrong checksum; if you trust it, write {right}")
    return address


Address = Annotated[str, AfterValidator(_checked)]
Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]


#: More than any token is known to use, so that a typing error is found.
_MOST_GAS = 1_000_000


class Amm(Strict):
    """A Uniswap-V2-style factory; ``fee`` in parts per million."""

    factory: Address
    init_code_hash: Hash
    fee: Share

    def pair_address(self, a: Token, b: Token) -> str:
        """Address that the factory gives the pair of two tokens (CREATE2)."""
        token0, token1 = sort_tokens(a, b)
        return _pair_address(self.factory, self.init_code_hash, token0.address, token1.address)


class Priced(Strict):
    """What has a price: by one Chainlink ``feed``, or by the sources of ``price``."""

    feed: str = ""
    price: PriceSpec | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Priced:
        if bool(self.feed) == (self.price is not None):
            raise ValueError("give either a feed or a price with its sources")
        return self

    @property
    def pricing(self) -> PriceSpec:
        """The sources, whichever way they are written."""
        return self.price or _of_feed(self.feed)

    @property
    def usd_feed(self) -> str:
        """The first feed that alone is a source; empty where there is none."""
        alone = (source[0].feed for source in self.pricing.sources if len(source) == 1)
        return next(filter(None, alone), "")


class GasSpec(Strict):
    """What a token uses that is no plain ERC-20, see ``TokenGas``."""

    touch: Annotated[int, Field(ge=0, le=_MOST_GAS)] | None = None
    transfer: Annotated[int, Field(ge=0, le=_MOST_GAS)] = 0
    approval: Annotated[int, Field(ge=0, le=_MOST_GAS)] | None = None


class TokenSpec(Priced):
    address: Address
    decimals: Annotated[int, Field(ge=0, le=30)]
    gas: GasSpec | None = None


class Feed(Strict):
    """A Chainlink proxy; ``max_age`` in seconds before the snapshot's block.

    An answer at or beyond ``min`` or ``max``, in units of 1e-18, is refused: an aggregator that
    clamps its answers repeats the bound while the market is elsewhere.
    """

    address: Address
    decimals: Annotated[int, Field(ge=0, le=30)]
    max_age: Duration
    min: Number | None = None
    max: Number | None = None


class Sequencer(Strict):
    """Chainlink's uptime feed of a rollup's sequencer; ``grace`` in seconds after it comes back.

    While the sequencer is down, and until feeds had time to catch up, no feed is believed.
    """

    address: Address
    grace: Duration


class Native(Priced):
    """The chain's own currency, that gas is paid in.

    ``wrapped`` is the token that wraps it, one for one; by default that with a W before the symbol.
    """

    symbol: str
    wrapped: str | None = None


class RpcSpec(Strict):
    """What every endpoint of a network is held to; see docs/endpoints.md.

    ``rate`` is requests per second to one endpoint, ``max_lag_blocks`` how far it may be behind the
    most advanced one, ``time_limit`` of one request.
    """

    rate: Annotated[int, Field(gt=0)] | None = 25
    max_lag_blocks: Annotated[int, Field(ge=0)] = 3
    time_limit: Annotated[Duration, Field(gt=0)] = 10

    def to_limits(self) -> Limits:
        return Limits(
            time_limit_s=self.time_limit,
            slow_time_limit_s=3 * self.time_limit,
            rate_per_s=self.rate,
            max_lag_blocks=self.max_lag_blocks,
        )


class Network(Strict):
    """One chain. ``name`` is its key in networks.yaml."""

    name: str
    chain_id: Annotated[int, Field(gt=0)]
    rpc_url_env: str
    native: Native
    multicall3: Address
    amms: dict[str, Amm]
    tokens: dict[str, TokenSpec]
    feeds: dict[str, Feed]
    intermediates: tuple[str, ...] = ()
    #: The most gas of one transaction (EIP-7825); null on a chain that has no such limit.
    tx_gas_cap: Annotated[int, Field(gt=0)] | None = 2**24
    #: Whose rules transactions use gas by.
    fork: str = DEFAULT_FORK
    sequencer: Sequencer | None = None
    rpc: RpcSpec = RpcSpec()

    @field_validator("fork")
    @classmethod
    def _known(cls, fork: str) -> str:
        if fork not in FORKS:
            raise ValueError(
                f"gas was not measured under the rules of {fork!r}; write the latest of "
                f"{', '.join(FORKS)} that the chain's prices of gas agree with"
            )
        return fork

    def token(self, symbol: str) -> Token:
        """The token called ``symbol``; raises KeyError when the network has none."""
        spec = self.tokens[symbol]
        return Token(spec.address, symbol, spec.decimals)

    def gas_schedule(self, tokens: Iterable[Token]) -> GasSchedule:
        """What gas is planned from on this chain, with what is known of ``tokens``."""
        schedule = FORKS[self.fork]
        known = [
            TokenGas(
                address=token.address,
                touch=schedule.per_token if gas.touch is None else gas.touch,
                transfer=gas.transfer,
                approval=schedule.per_approval if gas.approval is None else gas.approval,
            )
            for token in tokens
            if (spec := self.tokens.get(token.symbol)) is not None and (gas := spec.gas) is not None
        ]
        return replace(schedule, tokens=tuple(sorted(known, key=lambda own: own.address)))

    @property
    def wrapped(self) -> str:
        """Symbol of the token that wraps the native one; there may be none of that name."""
        return self.native.wrapped or f"W{self.native.symbol}"


def sort_tokens(a: Token, b: Token) -> tuple[Token, Token]:
    """Order two tokens as a pair does: by address."""
    return (a, b) if int(a.address, 16) < int(b.address, 16) else (b, a)


@lru_cache(maxsize=2**16)
def _of_feed(feed: str) -> PriceSpec:
    return PriceSpec.of_feed(feed)


@lru_cache(maxsize=2**16)
def _pair_address(factory: str, init_code_hash: str, address0: str, address1: str) -> str:
    """Three hashes: with thousands of pools they would be most of a snapshot's time."""
    return create2_address(factory, pair_salt(address0, address1), from_hex(init_code_hash))


def pair_salt(address0: str, address1: str) -> bytes:
    """Salt of a pair: keccak of the two addresses, packed."""
    return keccak(from_hex(address0) + from_hex(address1))
