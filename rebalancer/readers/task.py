"""What a pass over portfolios asks: the same at every block, so it is put together once.

Which pools there are (a hash for each), which feeds, which calls and their bytes depend on the
files alone. A keeper reads the same portfolios block after block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from rebalancer.config.networks import Network
from rebalancer.config.portfolio import LpSpec, ResolvedPortfolio
from rebalancer.readers.call import Call
from rebalancer.readers.farms import Farm, farm_calls
from rebalancer.readers.fence import Questions
from rebalancer.readers.prices import feeds_of, past_calls
from rebalancer.readers.scope import Scope, one_network, scopes_of
from rebalancer.readers.tokens import balance_of, native_balance, token_calls

#: Passes that are remembered. They are as large as what they ask.
_KEPT = 4


@dataclass(frozen=True, slots=True)
class Task:
    """``looks`` are the portfolios with their scopes; ``windows`` the calls of the past by its age
    in seconds; ``smoothed`` the feeds whose earlier rounds are needed.
    """

    network: Network
    looks: tuple[tuple[ResolvedPortfolio, Scope], ...]
    lps: tuple[LpSpec, ...]
    asked: Questions
    windows: Mapping[int, Mapping[Call, None]]
    smoothed: tuple[str, ...]


def prepare(portfolios: Sequence[ResolvedPortfolio], farms: Sequence[Farm] = ()) -> Task:
    """The pass over ``portfolios`` and their ``farms``; a recent one of the very same is reused.

    Raises ConfigError for portfolios of several networks, and for positions that cannot be priced.
    """
    return _prepare(_Same(tuple(portfolios)), tuple(farms))


def forget() -> None:
    """Forget the recent passes."""
    _prepare.cache_clear()


def wallets_of(resolved: ResolvedPortfolio) -> tuple[str, ...]:
    """The trading wallet, and those that are watched."""
    return (resolved.portfolio.wallet, *resolved.portfolio.watch)


class _Same:
    """Portfolios by identity: they are frozen, and larger than what comparing them would save."""

    __slots__ = ("portfolios",)

    def __init__(self, portfolios: tuple[ResolvedPortfolio, ...]) -> None:
        self.portfolios = portfolios

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.portfolios)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Same)
            and len(self.portfolios) == len(other.portfolios)
            and all(a is b for a, b in zip(self.portfolios, other.portfolios, strict=True))
        )


@lru_cache(maxsize=_KEPT)
def _prepare(same: _Same, farms: tuple[Farm, ...]) -> Task:
    portfolios = same.portfolios
    network = one_network(portfolios)
    looks = tuple(zip(portfolios, scopes_of(network, portfolios, farms), strict=True))
    scopes = list({id(scope): scope for _, scope in looks}.values())
    trusted = chain(
        chain.from_iterable(map(_trusted, portfolios)),
        chain.from_iterable(scope.trusted() for scope in scopes),
    )
    wild = chain.from_iterable(_wild(*look) for look in looks)
    windows: dict[int, dict[Call, None]] = {}
    for scope in scopes:
        for window, calls in past_calls(scope.wanted).items():
            windows.setdefault(window, {}).update(dict.fromkeys(calls))
    smoothed = (feed for scope in scopes if scope.smoothing for feed in feeds_of(scope.wanted))
    return Task(
        network=network,
        looks=looks,
        lps=tuple(dict.fromkeys(lp for resolved in portfolios for lp in resolved.lps)),
        asked=Questions.of(trusted, wild),
        windows=windows,
        smoothed=tuple(dict.fromkeys(smoothed)),
    )


def _trusted(resolved: ResolvedPortfolio) -> Iterable[Call]:
    yield native_balance(resolved.network.multicall3, resolved.portfolio.wallet)
    for wallet in wallets_of(resolved):
        for lp in resolved.lps:
            yield balance_of(lp.pair, wallet)


def _wild(resolved: ResolvedPortfolio, scope: Scope) -> Iterable[Call]:
    yield from token_calls(scope.tokens, wallets_of(resolved))
    yield from farm_calls(scope.farms, wallets_of(resolved))
