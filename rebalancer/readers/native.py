"""What a wallet's balance of the native token did between two blocks, and why.

No log tells of ether. But every transaction that a wallet sends raises its nonce, so the blocks
with one are found by halving, and in such a block the balance after less that before, and the gas
on top, is what the transactions moved. What came in other blocks came without the wallet's doing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rebalancer.errors import RpcUnavailable
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import BlockRef
from rebalancer.readers.chain import batch_on
from rebalancer.readers.wire import as_hash, as_quantity, refused

#: Requests in one batch: more than a hundred are refused by some providers, and the two blocks are
#: looked at with them; whole blocks are large.
_BATCH, _BLOCKS = 96, 10
_HINT = "use an archive node, or leave gas_reserve out of the portfolio"


@dataclass(frozen=True, slots=True)
class NativeMove:
    """``wei`` that came (positive) or went in one transaction, and ``gas_wei`` that it cost.

    ``tx_hash`` is empty for what came without a transaction that is known.
    """

    block_number: int
    tx_hash: str
    wei: int
    gas_wei: int


def read_native_moves(
    rpc: Rpc, wallet: str, after: BlockRef, block: BlockRef, known: Mapping[int, Sequence[str]]
) -> tuple[NativeMove, ...]:
    """Moves in the blocks after ``after`` up to ``block``; they add up to the balance's change.

    ``known`` are transactions by block that may have moved ether although another wallet sent them.
    Where several transactions of one block moved some, each of the wallet's own counts what it sent
    along, and the first of all what remains. Raises ReadError where the node refuses, Reorganised
    where one of the two blocks is not part of the chain, RpcUnavailable for answers of another
    shape.
    """
    first, last = after.number, block.number
    ask = _Asker(rpc, wallet, (after, block))
    sent = ask.blocks_of_nonces(first, last)
    numbers = sorted({*sent, *known})
    edges = sorted({first, last, *numbers, *(number - 1 for number in numbers)})
    balances = dict(zip(edges, ask.numbers("eth_getBalance", edges), strict=True))
    moves: list[NativeMove] = []
    own = ask.transactions(sent)
    for number in numbers:
        change = balances[number] - balances[number - 1]
        moves += _of_block(number, change, own.get(number, ()), known.get(number, ()))
    rest = balances[last] - balances[first] - sum(move.wei - move.gas_wei for move in moves)
    if rest:
        moves.append(NativeMove(last, "", rest, 0))
    return tuple(moves)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A transaction of the wallet; ``wei`` is what it sent along, 0 if it failed."""

    tx_hash: str
    wei: int
    gas_wei: int


def _of_block(
    number: int, change: int, own: Sequence[_Sent], known: Sequence[str]
) -> Iterator[NativeMove]:
    """The moves of one block, which add up to ``change``."""
    remains = change + sum(item.wei + item.gas_wei for item in own)
    for index, item in enumerate(own):
        came = remains if index == 0 else 0
        yield NativeMove(number, item.tx_hash, came - item.wei, item.gas_wei)
    if not own and remains:
        yield NativeMove(number, known[0], remains, 0)


@dataclass(frozen=True, slots=True)
class _Asker:
    rpc: Rpc
    wallet: str
    standing: tuple[BlockRef, ...]

    def blocks_of_nonces(self, first: int, last: int) -> list[int]:
        """The blocks after ``first`` up to ``last`` in which the wallet's nonce rose."""
        nonces = dict(
            zip((first, last), self.numbers("eth_getTransactionCount", (first, last)), strict=True)
        )
        found, open_spans = [], [(first, last)]
        while open_spans:
            halves: list[tuple[int, int]] = []
            for low, high in open_spans:
                if nonces[low] == nonces[high]:
                    continue
                if high - low == 1:
                    found.append(high)
                else:
                    middle = (low + high) // 2
                    halves += [(low, middle), (middle, high)]
            middles = [high for _, high in halves[::2]]
            nonces |= zip(middles, self.numbers("eth_getTransactionCount", middles), strict=True)
            open_spans = halves
        return sorted(found)

    def transactions(self, numbers: Sequence[int]) -> dict[int, list[_Sent]]:
        """The wallet's own transactions in these blocks, in their order."""
        calls = [("eth_getBlockByNumber", (hex(number), True)) for number in numbers]
        blocks = self._ask(calls, _BLOCKS)
        sent = {n: self._of_wallet(block) for n, block in zip(numbers, blocks, strict=True)}
        hashes = [as_hash(tx.get("hash"), "a transaction") for txs in sent.values() for tx in txs]
        receipts = self._ask([("eth_getTransactionReceipt", (tx_hash,)) for tx_hash in hashes])
        costs = dict(zip(hashes, receipts, strict=True))
        return {
            number: [_sent(tx, costs[as_hash(tx["hash"], "a transaction")]) for tx in txs]
            for number, txs in sent.items()
        }

    def numbers(self, method: str, blocks: Iterable[int]) -> list[int]:
        """What ``method`` says of the wallet at each block."""
        answers = self._ask([(method, (self.wallet, hex(number))) for number in blocks])
        return [as_quantity(answer, method) for answer in answers]

    def _of_wallet(self, block: Any) -> list[dict[str, Any]]:
        transactions = block.get("transactions") if isinstance(block, dict) else None
        if not isinstance(transactions, list) or not all(isinstance(t, dict) for t in transactions):
            raise _nonsense("a block")
        owner = self.wallet.lower()
        return [tx for tx in transactions if str(tx.get("from")).lower() == owner]

    def _ask(
        self, calls: Sequence[tuple[str, Sequence[object]]], at_once: int = _BATCH
    ) -> list[Any]:
        answers: list[Any] = []
        try:
            for start in range(0, len(calls), at_once):
                chunk = calls[start : start + at_once]
                answers += batch_on(self.rpc, chunk, *self.standing)
        except RpcError as error:
            raise refused(error, f"the native balance of {self.wallet}", hint=_HINT) from error
        return answers


def _sent(transaction: Mapping[str, Any], receipt: Any) -> _Sent:
    if not isinstance(receipt, dict):
        raise _nonsense("a receipt")
    gas = as_quantity(receipt.get("gasUsed"), "gasUsed")
    price = as_quantity(receipt.get("effectiveGasPrice"), "effectiveGasPrice")
    succeeded = as_quantity(receipt.get("status"), "status") == 1
    value = as_quantity(transaction.get("value"), "value")
    return _Sent(
        as_hash(transaction.get("hash"), "a transaction"), value if succeeded else 0, gas * price
    )


def _nonsense(what: str) -> RpcUnavailable:
    return RpcUnavailable(
        f"the node's answer for {what} is none",
        hint="the endpoint is faulty or is no Ethereum node: use another one",
    )
