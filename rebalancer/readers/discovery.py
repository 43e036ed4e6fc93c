"""LP positions that a portfolio's wallets hold and its file does not list.

Known pools need no search: every AMM of the network times every pair of its tokens has an address,
and one eth_call asks them all. With a block to begin at, each wallet's Transfer events name every
token that ever came or left; those that are pairs of a factory, and the farms that pairs' shares
went to, are asked too, also where networks.yaml does not know the factory or a token yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rebalancer.config.networks import Network
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.evm.abi import checksum
from rebalancer.evm.rpc import Rpc
from rebalancer.model import BlockRef
from rebalancer.readers.call import Call
from rebalancer.readers.farms import staking_token
from rebalancer.readers.fence import ask
from rebalancer.readers.logs import TRANSFER, Log, LogScan, address_of, transfers_of
from rebalancer.readers.pairs import Candidate, candidates
from rebalancer.readers.tokens import Answers, balance_of

ZERO = "0x" + "00" * 20


@dataclass(frozen=True, slots=True)
class Found:
    """An LP position that is held: ``shares`` by the ``wallets`` and ``staked`` in ``farm``.

    ``name`` is how a portfolio file names it; where it cannot, ``missing`` says what networks.yaml
    lacks. ``since_block`` is the block of the first event, if events were read. ``listed`` is one
    that the file has, but not the farm.
    """

    pair: str
    name: str | None
    shares: int
    staked: int = 0
    farm: str | None = None
    since_block: int | None = None
    missing: str = ""
    listed: bool = False
    wallets: tuple[str, ...] = ()

    @property
    def line(self) -> str | None:
        """The line to put under ``positions``; None where networks.yaml comes first.

        Of a listed position it is the key that its line lacks.
        """
        if self.listed:
            return f'staked_in: "{self.farm}"'
        if self.name is None:
            return None
        since = f", since_block: {self.since_block}" if self.since_block else ""
        farm = f', staked_in: "{self.farm}"' if self.farm else ""
        return f'- {{lp: "{self.name}", target: 0%{since}{farm}}}'


def discover(
    rpc: Rpc, resolved: ResolvedPortfolio, block: BlockRef, since_block: int | None = None
) -> tuple[Found, ...]:
    """Positions held at ``block`` that are not listed, by name, the unnamed last.

    What several wallets hold of one pair is one position; its farm is that of the first that has
    one. ``since_block`` is where the search of the logs begins; None: known pools alone. One
    request for each wallet without it. Raises ReadError where the node refuses.
    """
    found: dict[str, Found] = {}
    for wallet in (resolved.portfolio.wallet, *resolved.portfolio.watch):
        for item in _of_wallet(rpc, resolved, wallet, block, since_block):
            known = found.get(item.pair)
            found[item.pair] = item if known is None else _together(known, item)
    return tuple(sorted(found.values(), key=_by_name))


def _by_name(found: Found) -> tuple[bool, str, int]:
    return found.name is None, found.name or "", int(found.pair, 16)


def _together(one: Found, other: Found) -> Found:
    """One position of several wallets, from the block of the earliest event on."""
    blocks = [f.since_block for f in (one, other) if f.since_block is not None]
    return replace(
        one,
        shares=one.shares + other.shares,
        staked=one.staked + (other.staked if one.farm in (None, other.farm) else 0),
        farm=one.farm or other.farm,
        since_block=min(blocks, default=None),
        wallets=(*one.wallets, *other.wallets),
    )


def _of_wallet(
    rpc: Rpc, resolved: ResolvedPortfolio, wallet: str, block: BlockRef, since_block: int | None
) -> list[Found]:
    """What one wallet holds and the file does not list."""
    network = resolved.network
    tokens = [network.token(symbol) for symbol in network.tokens]
    pools = {pool.address: pool for pool in candidates(network, tokens)}
    logs: Sequence[Log] = ()
    if since_block is not None and since_block <= block.number:
        scan = LogScan(transfers_of(wallet), since_block)
        logs = [log for log in scan.advance(rpc, block) if _is_transfer(log)]
    strangers = {log.address for log in logs} - pools.keys() - {t.address for t in tokens}
    calls = [balance_of(pool, wallet) for pool in pools]
    calls += [call for address in sorted(strangers) for call in _who(address, wallet)]
    answers = ask(rpc, network.multicall3, (), calls, block.hash)
    pairs = pools.keys() | {a for a in strangers if _is_pair(answers, a)}
    stakes = _stakes(rpc, network, wallet, block, [log for log in logs if log.address in pairs])

    listed = {lp.pair: lp for lp in resolved.lps}
    first = _first_blocks(logs)
    found = []
    for pair in pairs:
        shares = _uint(answers, balance_of(pair, wallet))
        farm, staked = stakes.get(pair, (None, 0))
        known = listed.get(pair)
        if known is not None and (farm is None or known.staked_in == farm):
            continue
        if shares or staked:
            name, missing = _name(answers, network, pair, pools.get(pair))
            since = first.get(pair)
            on_list = known is not None
            found.append(
                Found(pair, name, shares, staked, farm, since, missing, on_list, (wallet,))
            )
    return found


def _who(address: str, wallet: str) -> tuple[Call, ...]:
    """What tells a pair from any other token, and how much is held of it."""
    ends = ("factory()", "token0()", "token1()")
    return (*(Call(address, end, (), ("address",)) for end in ends), balance_of(address, wallet))


def _is_pair(answers: Answers, address: str) -> bool:
    return all(answers[call].values() is not None for call in _who(address, ZERO)[:3])


def _stakes(
    rpc: Rpc, network: Network, wallet: str, block: BlockRef, logs: Iterable[Log]
) -> dict[str, tuple[str, int]]:
    """By pair, the farm that holds most of the wallet's shares of it, and how many."""
    sent = {(log.address, address_of(log.topics[2])) for log in logs}
    sent = {(pair, to) for pair, to in sent if to not in (wallet, pair, ZERO)}
    calls = [c for _, to in sorted(sent) for c in (staking_token(to), balance_of(to, wallet))]
    answers = ask(rpc, network.multicall3, (), calls, block.hash) if calls else {}
    stakes: dict[str, tuple[str, int]] = {}
    for pair, to in sorted(sent):
        staking = answers[staking_token(to)].values()
        staked = _uint(answers, balance_of(to, wallet))
        if staking is not None and checksum(staking[0]) == pair and staked:
            stakes[pair] = max(stakes.get(pair, (to, 0)), (to, staked), key=lambda s: s[1])
    return stakes


def _name(
    answers: Answers, network: Network, pair: str, pool: Candidate | None
) -> tuple[str | None, str]:
    """How a portfolio file names the pair, or what keeps it from doing so."""
    if pool is not None:
        return pool.name, ""
    factory, *tokens = (_address(answers, call) for call in _who(pair, ZERO)[:3])
    if factory not in {amm.factory for amm in network.amms.values()}:
        return None, f"the factory {factory} is not among the amms of {network.name}"
    known = {spec.address for spec in network.tokens.values()}
    unknown = [token for token in tokens if token not in known]
    if unknown:
        return None, f"the token {unknown[0]} is not among the tokens of {network.name}"
    return None, f"it names the factory {factory}, which has another pair of these tokens"


def _first_blocks(logs: Iterable[Log]) -> dict[str, int]:
    first: dict[str, int] = {}
    for log in logs:
        first.setdefault(log.address, log.block_number)
    return first


def _is_transfer(log: Log) -> bool:
    return len(log.topics) == 3 and log.topics[0] == TRANSFER


def _address(answers: Answers, call: Call) -> str:
    values = answers[call].values()
    return checksum(values[0]) if values else ""


def _uint(answers: Answers, call: Call) -> int:
    """What was answered, or 0: a contract that does not answer holds nothing for us."""
    values = answers[call].values()
    return int(values[0]) if values else 0
