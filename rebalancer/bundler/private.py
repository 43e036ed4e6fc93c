"""Order flow that no stranger sees before it is in a block.

``PrivateSubmitter`` hands transactions to one private RPC endpoint and to nobody else.
``FlashbotsSubmitter`` offers all that is left of a bundle as a whole, for each of the next blocks,
to a relay that knows us by a signature (https://docs.flashbots.net, ``eth_sendBundle``). Neither
falls back on the public way: what is not included before the plan's deadline does not happen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from eth_utils.crypto import keccak

from rebalancer.bundler.head import Head
from rebalancer.errors import ConfigError, RpcUnavailable
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import SignedTransaction

#: For so many blocks a private endpoint may keep a transaction; Flashbots Protect's own default.
PRIVATE_BLOCKS = 25
#: A bundle is offered for each of the next so many blocks.
TARGET_BLOCKS = 3


class RelayKey(Protocol):
    """Signs requests to a relay; not the wallet's key, and it needs no funds."""

    @property
    def address(self) -> str:
        """EIP-55 checksummed."""

    def sign_text(self, text: str) -> str:
        """Signature of an EIP-191 personal message, 0x hex."""


#: Sends a body with extra headers and returns what was answered; raises RpcUnavailable.
Post = Callable[[bytes, dict[str, str]], bytes]


@dataclass(slots=True)
class PrivateSubmitter:
    """``eth_sendPrivateTransaction``, or ``eth_sendRawTransaction`` where that is not known.

    Each transaction is handed over once in ``blocks`` blocks, which is the time that the endpoint
    is given: it is told the last block, and told again when that has passed.
    """

    endpoint: Rpc
    blocks: int = PRIVATE_BLOCKS
    name: str = "private"
    replaceable: bool = True
    together: bool = False
    _until: dict[str, int] = field(default_factory=dict)

    def send(self, transactions: Sequence[SignedTransaction], head: Head) -> bool:
        offered = False
        for transaction in transactions:
            if self._until.get(transaction.tx_hash, 0) >= head.number + 1:
                continue
            last = head.number + self.blocks
            self._hand_over(transaction, last)
            self._until[transaction.tx_hash] = last
            offered = True
        return offered

    def _hand_over(self, transaction: SignedTransaction, last_block: int) -> None:
        request = {"tx": transaction.raw, "maxBlockNumber": hex(last_block)}
        try:
            self.endpoint.call("eth_sendPrivateTransaction", request)
        except RpcError as error:
            if error.code not in (-32601, -32004):  # only "no such method"
                raise
            self.endpoint.call("eth_sendRawTransaction", transaction.raw)


@dataclass(slots=True)
class FlashbotsSubmitter:
    """``eth_sendBundle``: everything that is left of a bundle, in one block or not at all.

    For every new head it is offered for the next ``blocks`` blocks; the same bytes each time, so
    that it can be in one of them only. Nothing of it ever lies in a public pool: nothing is stuck,
    replaced or cancelled, and after ``deadline`` nothing is offered any more.
    """

    post: Post
    key: RelayKey
    blocks: int = TARGET_BLOCKS
    name: str = "flashbots"
    replaceable: bool = False
    together: bool = True
    _offered: set[tuple[int, str]] = field(default_factory=set)

    def send(self, transactions: Sequence[SignedTransaction], head: Head) -> bool:
        offered = False
        raws = [transaction.raw for transaction in transactions]
        for target in range(head.number + 1, head.number + 1 + self.blocks):
            slot = (target, transactions[0].tx_hash)
            if slot not in self._offered:
                self._ask("eth_sendBundle", {"txs": raws, "blockNumber": hex(target)})
                self._offered.add(slot)
                offered = True
        return offered

    def _ask(self, method: str, request: dict[str, Any]) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": [request]})
        encoded = body.encode()
        signature = self.key.sign_text("0x" + keccak(encoded).hex())
        headers = {
            "Content-Type": "application/json",
            "X-Flashbots-Signature": f"{self.key.address}:{signature}",
        }
        try:
            answer = json.loads(self.post(encoded, headers))
            error = answer.get("error")
        except (ValueError, AttributeError):
            raise RpcUnavailable(
                "the relay did not answer with JSON-RPC", hint="check REBALANCER_RELAY_URL in .env"
            ) from None
        if isinstance(error, dict):
            code, message = error.get("code", 0), str(error.get("message", "unknown error"))
            raise RpcError(method, code if isinstance(code, int) else 0, message)
        if error is not None:
            raise RpcError(method, 0, str(error))
        return answer.get("result")


class LocalRelayKey:
    """A relay key in this process's memory; its repr does not show it."""

    __slots__ = ("_account",)

    def __init__(self, private_key: str) -> None:
        from eth_account import Account

        try:
            self._account: Any = Account.from_key(private_key)
        except ValueError:
            raise ConfigError(
                "the relay key is not valid", hint="any private key without funds will do"
            ) from None

    @property
    def address(self) -> str:
        return str(self._account.address)

    def sign_text(self, text: str) -> str:
        from eth_account.messages import encode_defunct

        return str(self._account.sign_message(encode_defunct(text=text)).signature.to_0x_hex())

    def __repr__(self) -> str:
        return f"LocalRelayKey({self.address})"


def http_post(url: str, timeout_s: float = 10.0) -> Post:
    """Posts to a relay; its URL is in no error."""

    def post(body: bytes, headers: dict[str, str]) -> bytes:
        import requests

        try:
            answer = requests.post(url, data=body, headers=headers, timeout=timeout_s)
        except (requests.RequestException, ValueError):
            raise RpcUnavailable(
                "the relay cannot be reached", hint="check REBALANCER_RELAY_URL in .env"
            ) from None
        return answer.content

    return post
