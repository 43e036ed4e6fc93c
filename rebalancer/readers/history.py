"""How LP shares came in and went out: the lots of a position, from the pair's Transfer events.

Shares that were minted to the wallet count what was paid in, by the Mint event of the same
transaction, and the pair as that mint left it. Shares that came from elsewhere, and those held
before ``since_block``, count what they would have been redeemed for at the end of that block.
Shares that leave take their part of every lot (``amm.lots``). Staking in the position's own farm is
no move. What the events add up to must be what the wallet holds, or nothing is said at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rebalancer.amm.liquidity import effective_total_supply
from rebalancer.amm.lots import remove, total_shares
from rebalancer.config.networks import Network
from rebalancer.config.portfolio import LpSpec
from rebalancer.errors import ReadError, RpcUnavailable
from rebalancer.evm.abi import topic
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import BlockRef, LpEntry, LpLot, PairState, mul_div_down
from rebalancer.readers.call import Call, Result
from rebalancer.readers.chain import Reorganised
from rebalancer.readers.entries import calls_at
from rebalancer.readers.logs import (
    TRANSFER,
    Log,
    LogScan,
    address_of,
    logs_of_block,
    transfers_of,
    uints,
)
from rebalancer.readers.pairs import fee_to, get_reserves, k_last, total_supply
from rebalancer.readers.tokens import balance_of
from rebalancer.readers.wire import refused

MINT = topic("Mint(address,uint256,uint256)")
SYNC = topic("Sync(uint112,uint112)")
ZERO = "0x" + "00" * 20
_HINT = (
    "use an archive node that keeps all logs, or name the entry_block of the position instead of "
    "since_block"
)

_Key = tuple[str, int, int | None, int]


@dataclass(slots=True)
class LotReader:
    """Reads lots, and remembers how far it has read: the next time it goes on from there.

    The memory is this object's and nowhere else; a reorganisation empties it.
    """

    rpc: Rpc
    network: Network
    wallet: str
    _scans: dict[str, LogScan] = field(default_factory=dict)
    _entered: dict[_Key, LpLot] = field(default_factory=dict)

    def lots(self, lp: LpSpec, shares: int, block: BlockRef) -> tuple[LpLot, ...]:
        """The lots of ``shares`` of a position at ``block``, oldest first; they add up to them.

        Raises ReadError for a node that does not have the logs or the state of the past, and for
        events that do not explain the shares; RpcUnavailable for silence.
        """
        if lp.since_block is None:
            raise ValueError(f"{lp.name} has no since_block")
        first = lp.since_block
        if first > block.number:
            raise ReadError(
                f"since_block {first} of {lp.name} is after block {block.number}, which is read",
                hint="correct since_block in the portfolio, or read a later block",
                block=block.number,
            )
        moves = list(_moves(self._transfers(lp, first, block), lp, self.wallet))
        opening = shares - sum(move.shares for move in moves)
        self._check_opening(lp, opening, first - 1, block)
        before = [_Move(first - 1, None, "", opening, minted=False)] if opening > 0 else []
        self._read_entries(lp, [*before, *(move for move in moves if move.shares > 0)], block)
        lots: tuple[LpLot, ...] = ()
        for move in (*before, *moves):
            if move.shares > 0:
                lots = (*lots, self._entered[move.key(lp)])
            elif -move.shares <= total_shares(lots):
                lots = remove(lots, -move.shares)
            else:
                raise _unexplained(lp, "more left than had come", block)
        return lots

    def _transfers(self, lp: LpSpec, first: int, block: BlockRef) -> tuple[Log, ...]:
        scan = self._scans.get(lp.pair)
        if scan is not None:
            try:
                return scan.advance(self.rpc, block)
            except Reorganised:
                self._scans.clear()
                self._entered.clear()
        scan = LogScan(transfers_of(self.wallet, (lp.pair,)), first)
        self._scans[lp.pair] = scan
        return scan.advance(self.rpc, block)

    def _check_opening(self, lp: LpSpec, opening: int, number: int, block: BlockRef) -> None:
        """What was held before the first event must be what the chain says was held."""
        if opening == 0:
            return
        if opening < 0:
            raise _unexplained(lp, "more came in than is there", block)
        owners = [balance_of(lp.pair, self.wallet)]
        if lp.staked_in is not None:
            owners.append(balance_of(lp.staked_in, self.wallet))
        what = f"the shares of {lp.name} at block {number}"
        answers = calls_at(self.rpc, block, [(call, number) for call in owners], what, _HINT)
        # A contract that did not exist yet answers nothing: nobody held shares of it.
        held = sum(int(values[0]) for a in answers if (values := a.values()) is not None)
        if held != opening:
            raise _unexplained(lp, f"{held} were held at block {number}, not {opening}", block)

    def _read_entries(self, lp: LpSpec, moves: Sequence[_Move], block: BlockRef) -> None:
        """Fill ``_entered`` for the moves that are not there yet: one request for each hundred."""
        new = [move for move in moves if move.key(lp) not in self._entered]
        if not new:
            return
        what = f"the pair of {lp.name} when its shares came in"
        factory = self.network.amms[lp.amm].factory
        calls = _state_calls(lp.pair, factory)
        asked = [(call, move.block_number) for move in new for call in calls]
        results = calls_at(self.rpc, block, asked, what, _HINT)
        blocks = self._block_logs(lp, [m.block_number for m in new if m.minted], what, block)
        for index, move in enumerate(new):
            answers = results[index * len(calls) : (index + 1) * len(calls)]
            state = _pair_at(self.network, lp, answers)
            if isinstance(state, str):
                raise ReadError(f"{what}, at block {move.block_number}: {state}", hint=_HINT)
            lot = _received(lp, move, state)
            if move.minted:
                lot = _added(lp, move, state, blocks[move.block_number]) or lot
            self._entered[move.key(lp)] = lot

    def _block_logs(
        self, lp: LpSpec, numbers: Sequence[int], what: str, block: BlockRef
    ) -> Mapping[int, Sequence[Log]]:
        """Every event of the pair in each of these blocks."""
        try:
            return logs_of_block(self.rpc, lp.pair, numbers, block)
        except RpcError as error:
            raise refused(error, what, hint=_HINT) from error


@dataclass(frozen=True, slots=True)
class _Move:
    """Shares that came (positive) or left in one event; ``index`` None for those held before."""

    block_number: int
    index: int | None
    tx_hash: str
    shares: int
    minted: bool

    def key(self, lp: LpSpec) -> _Key:
        """What it is remembered by."""
        return lp.pair, self.block_number, self.index, self.shares


def _moves(logs: Sequence[Log], lp: LpSpec, wallet: str) -> Iterator[_Move]:
    own = {wallet, lp.staked_in}
    for log in logs:
        if not _is_transfer(log):
            raise RpcUnavailable(f"the node's Transfer of {lp.name} is none of an ERC-20")
        sender, receiver = address_of(log.topics[1]), address_of(log.topics[2])
        (raw,) = uints(log, 1)
        if sender in own and receiver in own:
            continue
        signed = raw if receiver == wallet else -raw
        if raw:
            minted = sender == ZERO
            yield _Move(log.block_number, log.index, log.tx_hash, signed, minted)


def _state_calls(pair: str, factory: str) -> tuple[Call, ...]:
    return get_reserves(pair), total_supply(pair), k_last(pair), fee_to(factory)


def _pair_at(network: Network, lp: LpSpec, answers: Sequence[Result]) -> PairState | str:
    """The pair at the end of a block by the answers to ``_state_calls``, or why there is none."""
    values = [answer.values() for answer in answers]
    reserves, supply, k, receiver = values
    if reserves is None or supply is None or k is None or receiver is None:
        return next(answer.failure for answer in answers if answer.values() is None)
    if 0 in reserves[:2] or supply[0] == 0:
        return "the pair is empty"
    return PairState(
        address=lp.pair,
        amm=lp.amm,
        token0=lp.token0,
        token1=lp.token1,
        fee_ppm=network.amms[lp.amm].fee,
        reserve0=int(reserves[0]),
        reserve1=int(reserves[1]),
        total_supply=int(supply[0]),
        k_last=int(k[0]),
        protocol_fee_on=int(receiver[0], 16) != 0,
    )


def _received(lp: LpSpec, move: _Move, pair: PairState) -> LpLot:
    """A lot that counts what its shares would have been redeemed for at the end of the block."""
    supply = effective_total_supply(pair)
    return LpLot(
        how="opening" if move.index is None else "received",
        entry=LpEntry(move.block_number, pair.reserve0, pair.reserve1, supply),
        entered=move.shares,
        shares=move.shares,
        amount0=mul_div_down(move.shares, pair.reserve0, supply),
        amount1=mul_div_down(move.shares, pair.reserve1, supply),
    )


def _added(lp: LpSpec, move: _Move, pair: PairState, logs: Sequence[Log]) -> LpLot | None:
    """A lot that counts what its Mint event says was paid in, with the pair as that left it.

    The pair mints the shares, syncs its reserves, and says Mint: in that order and with no other
    mint between. None for shares that the pair minted otherwise, as the protocol's own are. The
    supply right after is that at the end of the block less what was minted since.
    """
    later = [log for log in logs if move.index is not None and log.index > move.index]
    paid = next((log for log in later if _is(log, MINT)), None)
    if paid is None or paid.tx_hash != move.tx_hash:
        return None
    between = [log for log in later if log.index < paid.index]
    synced = next((log for log in between if _is(log, SYNC)), None)
    if synced is None or any(_minted(log) for log in between):
        return None
    since = [log for log in later if log.index > paid.index]
    supply = pair.total_supply - sum(_minted(log) - _burned(log) for log in since)
    amount0, amount1 = uints(paid, 2)
    reserve0, reserve1 = uints(synced, 2)
    return LpLot(
        how="added",
        entry=LpEntry(move.block_number, reserve0, reserve1, supply),
        entered=move.shares,
        shares=move.shares,
        amount0=amount0,
        amount1=amount1,
    )


def _minted(log: Log) -> int:
    """Shares that an event says were made; 0 for any other event."""
    return uints(log, 1)[0] if _is_transfer(log) and int(log.topics[1], 16) == 0 else 0


def _burned(log: Log) -> int:
    """Shares that an event says the pair destroyed: those it sent to nobody."""
    if not _is_transfer(log) or int(log.topics[2], 16) != 0:
        return 0
    return uints(log, 1)[0] if address_of(log.topics[1]) == log.address else 0


def _is_transfer(log: Log) -> bool:
    return _is(log, TRANSFER) and len(log.topics) == 3


def _is(log: Log, event: str) -> bool:
    return log.topics[:1] == (event,)


def _unexplained(lp: LpSpec, why: str, block: BlockRef) -> ReadError:
    return ReadError(
        f"the logs do not explain the shares of {lp.name}: {why}", hint=_HINT, block=block.number
    )
