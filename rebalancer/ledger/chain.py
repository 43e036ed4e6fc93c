"""The chain as the audit reads it: receipts, blocks, balances and transfers, each at a named block.

Decodes on its own, from the raw JSON: an audit that used the bundler's reading would repeat its
mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import DecodingError

from rebalancer.errors import ReadError
from rebalancer.evm.abi import decode_output, encode_call, from_hex, to_hex, topic
from rebalancer.evm.rpc import Rpc, RpcError

TRANSFER = topic("Transfer(address,address,uint256)")
#: What a step of ours makes its contract say: kind of leg, topics with the signature, words.
STEPS = {
    topic("Swap(address,uint256,uint256,uint256,uint256,address)"): ("swap", 3, 4),
    topic("Mint(address,uint256,uint256)"): ("add", 2, 2),
    topic("Burn(address,uint256,uint256,address)"): ("remove", 3, 2),
    topic("Deposit(address,uint256)"): ("wrap", 2, 1),
    topic("Withdrawal(address,uint256)"): ("unwrap", 2, 1),
}
_NOBODY = "0x" + "00" * 20
#: EIP-4895 counts withdrawals in gwei.
_GWEI = 10**9
#: Larger JSON-RPC batches are refused by some nodes.
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Transfer:
    """An ERC-20 Transfer event; addresses in lower case."""

    token: str
    sender: str
    receiver: str
    amount: int
    tx_hash: str


@dataclass(frozen=True, slots=True)
class StepEvent:
    """What a pair or wrapped ether says of one step; addresses in lower case.

    ``kind`` is that of the leg, ``sender`` who asked for it. ``party`` is who was paid by it, for
    unwrapping who paid; empty where no Transfer tells. ``words`` are the event's amounts as they
    stand there: in 0, in 1, out 0, out 1 of a swap, the amounts of token0 and token1 of liquidity,
    of which ``shares`` were minted or burnt.
    """

    kind: str
    contract: str
    sender: str
    party: str
    words: tuple[int, ...]
    shares: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction; ``sender`` and ``to`` in lower case."""

    tx_hash: str
    block_number: int
    block_hash: str
    status: int
    gas_used: int
    effective_gas_price_wei: int
    sender: str
    to: str
    steps: tuple[StepEvent, ...]
    transfers: tuple[Transfer, ...]

    @property
    def gas_cost_wei(self) -> int:
        return self.gas_used * self.effective_gas_price_wei


@dataclass(frozen=True, slots=True)
class ChainTransaction:
    """A transaction as the node knows it; ``block_number`` is None while it is pending."""

    tx_hash: str
    sender: str
    to: str
    nonce: int
    value_wei: int
    block_number: int | None


@dataclass(frozen=True, slots=True)
class Block:
    """A block with its transactions; ``withdrawals`` are ``(address, wei)`` of the beacon chain."""

    number: int
    hash: str
    parent_hash: str
    transactions: tuple[ChainTransaction, ...]
    withdrawals: tuple[tuple[str, int], ...]


class Chain:
    """Reads over one RPC; raises ReadError for an answer that is not one."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def chain_id(self) -> int:
        return int(self._rpc.call("eth_chainId"), 16)

    def head(self) -> int:
        return int(self._rpc.call("eth_blockNumber"), 16)

    def receipts(self, hashes: Sequence[str]) -> dict[str, Receipt | None]:
        """Receipts by hash, None for what is not mined."""
        answers = self._batch([("eth_getTransactionReceipt", (h,)) for h in hashes])
        with _shaped("eth_getTransactionReceipt"):
            return {h: a and _receipt(a) for h, a in zip(hashes, answers, strict=True)}

    def transactions(self, hashes: Sequence[str]) -> dict[str, ChainTransaction | None]:
        """Transactions by hash, None for what the node does not know."""
        answers = self._batch([("eth_getTransactionByHash", (h,)) for h in hashes])
        with _shaped("eth_getTransactionByHash"):
            return {h: a and _transaction(a) for h, a in zip(hashes, answers, strict=True)}

    def canonical_hashes(self, numbers: Sequence[int]) -> dict[int, str | None]:
        """Hash of the canonical block of each number, None beyond the head."""
        answers = self._batch([("eth_getBlockByNumber", (hex(n), False)) for n in numbers])
        with _shaped("eth_getBlockByNumber"):
            return {n: a and str(a["hash"]) for n, a in zip(numbers, answers, strict=True)}

    def block(self, number: int) -> Block:
        """The canonical block of this number; raises ReadError when there is none."""
        answer = self._rpc.call("eth_getBlockByNumber", hex(number), True)
        with _shaped("eth_getBlockByNumber"):
            return _block(answer)

    def nonce(self, wallet: str, block_number: int) -> int:
        """Transactions that ``wallet`` has sent up to and with this block."""
        return int(self._rpc.call("eth_getTransactionCount", wallet, hex(block_number)), 16)

    def balances(
        self, wallet: str, tokens: Sequence[str], block_hash: str
    ) -> tuple[int, dict[str, int]]:
        """Native and token balances after the block of this hash (EIP-1898)."""
        at = {"blockHash": block_hash}
        data = to_hex(encode_call("balanceOf(address)", wallet))
        calls: list[tuple[str, Sequence[Any]]] = [("eth_getBalance", (wallet, at))]
        calls += [("eth_call", ({"to": token, "data": data}, at)) for token in tokens]
        with _archive(f"balances at block {block_hash[:12]}"):
            native, *answers = self._batch(calls)
        with _shaped("balanceOf"):
            raws = [decode_output(["uint256"], from_hex(answer))[0] for answer in answers]
            return int(native, 16), dict(zip(tokens, raws, strict=True))

    def transfers(self, wallet: str, tokens: Sequence[str], block_hash: str) -> list[Transfer]:
        """Transfers of these tokens from or to ``wallet`` in one block, each once."""
        owner = f"0x{int(wallet, 16):064x}"
        base = {"blockHash": block_hash, "address": list(tokens)}
        calls: list[tuple[str, Sequence[Any]]] = [
            ("eth_getLogs", ({**base, "topics": [TRANSFER, owner]},)),
            ("eth_getLogs", ({**base, "topics": [TRANSFER, None, owner]},)),
        ]
        with _archive(f"logs of block {block_hash[:12]}"):
            answers = self._batch(calls)
        with _shaped("eth_getLogs"):
            # A transfer to oneself is in both answers.
            logs = {(log["transactionHash"], log["logIndex"]): log for a in answers for log in a}
            return list(_transfers(logs.values()))

    def mined_with_nonce(
        self, wallet: str, nonce: int, first: int, last: int
    ) -> ChainTransaction | None:
        """The transaction by which ``wallet`` used ``nonce``, by bisection over archive state."""
        with _archive(f"the nonce of {wallet}"):
            while first < last:
                middle = (first + last) // 2
                if self.nonce(wallet, middle) > nonce:
                    last = middle
                else:
                    first = middle + 1
        sent = [tx for tx in self.block(first).transactions if tx.nonce == nonce]
        return next((tx for tx in sent if tx.sender == wallet.lower()), None)

    def _batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(calls), _BATCH):
            answers += self._rpc.batch(calls[start : start + _BATCH])
        return answers


def _receipt(raw: Mapping[str, Any]) -> Receipt:
    return Receipt(
        tx_hash=raw["transactionHash"],
        block_number=int(raw["blockNumber"], 16),
        block_hash=raw["blockHash"],
        status=int(raw["status"], 16),
        gas_used=int(raw["gasUsed"], 16),
        effective_gas_price_wei=int(raw["effectiveGasPrice"], 16),
        sender=raw["from"].lower(),
        to=(raw["to"] or "").lower(),
        steps=tuple(_steps(raw["logs"])),
        transfers=tuple(_transfers(raw["logs"])),
    )


def _transaction(raw: Mapping[str, Any]) -> ChainTransaction:
    block = raw["blockNumber"]
    return ChainTransaction(
        tx_hash=raw["hash"],
        sender=raw["from"].lower(),
        to=(raw["to"] or "").lower(),
        nonce=int(raw["nonce"], 16),
        value_wei=int(raw["value"], 16),
        block_number=None if block is None else int(block, 16),
    )


def _block(raw: Mapping[str, Any]) -> Block:
    withdrawals = [(w["address"], int(w["amount"], 16)) for w in raw.get("withdrawals") or []]
    return Block(
        number=int(raw["number"], 16),
        hash=raw["hash"],
        parent_hash=raw["parentHash"],
        transactions=tuple(_transaction(tx) for tx in raw["transactions"]),
        withdrawals=tuple((address.lower(), gwei * _GWEI) for address, gwei in withdrawals),
    )


def _steps(logs: Sequence[Mapping[str, Any]]) -> Iterator[StepEvent]:
    for index, log in enumerate(logs):
        topics, contract = log["topics"], log["address"].lower()
        kind, named, words = STEPS.get(topics[0] if topics else "", ("", 0, 0))
        data = from_hex(log["data"])
        if not kind or len(topics) != named or len(data) != 32 * words:
            continue
        sender, shares = _address(topics[1]), 0
        before = [t for t in _transfers(logs[:index]) if t.token == contract]
        if kind in ("swap", "remove"):
            party = _address(topics[2])
            burnt = [t for t in before if (t.sender, t.receiver) == (contract, _NOBODY)]
            shares = burnt[-1].amount if burnt and kind == "remove" else 0
        elif kind == "add":
            minted = [t for t in before if t.sender == _NOBODY]
            party, shares = (minted[-1].receiver, minted[-1].amount) if minted else ("", 0)
        elif kind == "wrap":
            later = [t for t in _transfers(logs[index:]) if t.token == contract]
            party = next((t.receiver for t in later if t.sender == sender), "")
        else:
            paid = [t for t in before if t.receiver == sender]
            party = paid[-1].sender if paid else ""
        amounts = decode_output(["uint256"] * words, data)
        yield StepEvent(kind, contract, sender, party, amounts, shares)


def _transfers(logs: Iterable[Mapping[str, Any]]) -> Iterator[Transfer]:
    for log in logs:
        topics = log["topics"]
        # A fourth topic makes it ERC-721's Transfer of the same signature.
        if len(topics) == 3 and topics[0] == TRANSFER:
            (amount,) = decode_output(["uint256"], from_hex(log["data"]))
            yield Transfer(
                token=log["address"].lower(),
                sender=_address(topics[1]),
                receiver=_address(topics[2]),
                amount=amount,
                tx_hash=log["transactionHash"],
            )


def _address(word: str) -> str:
    return f"0x{int(word, 16):040x}"


@contextmanager
def _shaped(method: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, DecodingError) as error:
        raise ReadError(
            f"the node's answer to {method} is not what it should be",
            hint="check the RPC endpoint, or use another one",
        ) from error


@contextmanager
def _archive(what: str) -> Iterator[None]:
    try:
        yield
    except RpcError as error:
        raise ReadError(
            f"the node does not give {what}: {error}",
            hint="reconciliation reads old blocks: use an archive node",
        ) from error
