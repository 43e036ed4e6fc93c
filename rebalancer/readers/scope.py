"""What portfolios of the same positions have in common, however many wallets hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain

from rebalancer.config.networks import Network
from rebalancer.config.portfolio import LpSpec, ResolvedPortfolio
from rebalancer.config.smoothing import Smoothing
from rebalancer.errors import ConfigError
from rebalancer.model import BlockRef, PairState, Price, Token
from rebalancer.readers.call import Call
from rebalancer.readers.farms import Farm, reward_tokens
from rebalancer.readers.pairs import Candidate, pair_calls, read_pairs, route_pools
from rebalancer.readers.past import Past
from rebalancer.readers.prices import Quotes, price_calls, quotes, read_prices, smoothed_prices
from rebalancer.readers.smoothing import Round, smoothed_feeds
from rebalancer.readers.tokens import Answers, needed_tokens


@dataclass(frozen=True, slots=True)
class Market:
    """Prices and pools at one block; without what is lost."""

    native: Price
    prices: tuple[Price, ...]
    calm: tuple[Price, ...]
    pairs: tuple[PairState, ...]


@dataclass(frozen=True, slots=True)
class World:
    """What was read of the chain, for every scope."""

    block: BlockRef
    answers: Answers
    past: Mapping[int, Past]
    rounds: Mapping[str, Sequence[Round]]
    _markets: dict[tuple[int, Set[str]], Market] = field(default_factory=dict)

    def market(self, scope: Scope, lost: Set[str]) -> Market:
        """``scope.market``, worked out once for all portfolios that have the scope."""
        key = id(scope), lost
        if key not in self._markets:
            self._markets[key] = scope.market(self, lost)
        return self._markets[key]


@dataclass(frozen=True, slots=True)
class Scope:
    """Tokens and LP positions in the order of reading, and the pools and prices that they need."""

    numeraire: str
    tokens: tuple[Token, ...]
    lps: tuple[LpSpec, ...]
    farms: tuple[Farm, ...]
    pools: tuple[Candidate, ...]
    wanted: Quotes
    smoothing: Smoothing | None

    def trusted(self) -> Iterable[Call]:
        """Calls of contracts that are vouched for."""
        return chain(price_calls(self.wanted), pair_calls(self.pools))

    def market(self, world: World, lost: Set[str]) -> Market:
        """Prices and pools without the addresses that are ``lost``.

        Raises ReadError for what cannot be read or trusted.
        """
        at, answers = world.block, world.answers
        prices = read_prices(answers, self.wanted, at, world.past)
        calm: tuple[Price, ...] = ()
        if self.smoothing:
            averages = smoothed_feeds(world.rounds, at.timestamp, self.smoothing)
            calm = smoothed_prices(answers, self.wanted, at, world.past, averages)
        lps = [lp for lp in self.lps if lp.pair not in lost]
        pools = [p for p in self.pools if not lost & {p.token0.address, p.token1.address}]
        return Market(
            native=prices.native,
            prices=tuple(p for p in prices.prices if p.token.address not in lost),
            calm=tuple(p for p in calm if p.token.address not in lost),
            pairs=read_pairs(answers, pools, lps, at.number),
        )


def scopes_of(
    network: Network, portfolios: Sequence[ResolvedPortfolio], farms: Sequence[Farm] = ()
) -> list[Scope]:
    """The scope of each portfolio, one object for all that have the same.

    Raises ConfigError for positions that cannot be priced.
    """
    known: dict[object, Scope] = {}
    found = []
    for resolved in portfolios:
        lps = tuple(sorted(resolved.lps, key=lambda lp: int(lp.pair, 16)))
        numeraire, smoothing = resolved.portfolio.numeraire, resolved.portfolio.smoothing
        own = tuple(farm for lp in lps for farm in farms if farm.lp == lp)
        tokens = needed_tokens(resolved, reward_tokens(own))
        key = (numeraire, tokens, lps, smoothing)
        if key not in known:
            pools = route_pools(network, tokens, lps)
            wanted = quotes(network, tokens, numeraire)
            known[key] = Scope(numeraire, tokens, lps, own, pools, wanted, smoothing)
        found.append(known[key])
    return found


def one_network(portfolios: Sequence[ResolvedPortfolio]) -> Network:
    """The network of all ``portfolios``; raises ConfigError where they have several."""
    network = portfolios[0].network
    for resolved in portfolios[1:]:
        if resolved.network is not network and resolved.network != network:
            raise ConfigError(
                f"{portfolios[0].portfolio.name} and {resolved.portfolio.name} are not of one "
                "network, so they have no block in common",
                hint="read the portfolios of each network by themselves, with one networks.yaml",
            )
    return network
